"""Positions told in other ways: added to the embedding, or to the scores.

Source:
    Vaswani et al. 2017, Attention Is All You Need, section 3.5;
    Press, Smith and Lewis 2022, Train Short, Test Long (ALiBi), and its code for numbers of heads
    that are no powers of two.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32, Int
from torch import Tensor

from toolkit.arguments import whole_number

from .rope import rope, turns
from .scaling import check_length


def sinusoidal(
    positions: Int[Tensor, "*shape"], width: int, base: float = 10_000.0
) -> Float32[Tensor, "*shape width"]:
    """What the first transformer adds to its embeddings: sin(m theta_i), cos(m theta_i), ...

    The angles are RoPE's: there they turn queries and keys, here they are given as they are.

    Args:
        positions: m, whole numbers of any shape.
        width: of the embeddings, an even number.
        base: see ``rope``.
    Raises:
        ValueError, TypeError: an argument is out of its range.
    """
    if whole_number("width", width) < 2 or width % 2:
        raise ValueError(
            f"width must be an even number of at least 2, for sines and cosines, got {width}"
        )
    turned = turns(rope(width, base), positions)
    return torch.stack((turned.imag, turned.real), -1).flatten(-2)


def alibi_slopes(heads: int) -> Float32[Tensor, " heads"]:
    """How much each head takes from a score for every token of distance.

    For n heads, a power of two, 2^(-8/n), 2^(-16/n), ... 2^-8. Else those of the power of two
    below, and for the heads that are left every other one of the power above.

    Raises:
        ValueError, TypeError: heads is not at least 1.
    """
    heads = whole_number("heads", heads)
    if heads < 1:
        raise ValueError(f"heads must be at least 1, got {heads}")
    below = 1 << (heads.bit_length() - 1)
    of_below = torch.arange(1, below + 1, dtype=torch.float64) / below
    of_above = (torch.arange(heads - below, dtype=torch.float64) + 0.5) / below
    return torch.exp2(-8 * torch.cat((of_below, of_above))).float()


def alibi_bias(heads: int, queries: int, keys: int) -> Float32[Tensor, "heads queries keys"]:
    """What ALiBi adds to the scores: -slope * distance, and -inf where a key is yet to come.

    Args:
        heads: of the attention.
        queries, keys: how many; the queries are the last of the keys.
    Raises:
        ValueError, TypeError: an argument is out of its range, or there are more queries than keys.
    """
    queries, keys = check_length("queries", queries), check_length("keys", keys)
    if queries > keys:
        raise ValueError(
            f"queries must be the last of the keys, and so no more than {keys}, got {queries}"
        )
    distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
    bias = -alibi_slopes(heads)[:, None, None] * distance
    return bias.masked_fill(distance < 0, -torch.inf)
