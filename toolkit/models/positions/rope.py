"""RoPE: each pair of a head's numbers is a dial that turns as the position grows.

A pair (a, b) is the complex number a + ib; at position m it is multiplied by e^(i m theta), each
pair with a theta of its own. The product of a query at m and a key at n then depends on m - n
alone. Which two numbers make a pair is the layout: neighbours (``"interleaved"``, as in the paper
and in GGUF files of Llamas), or one from each half of the head (``"halves"``, as in transformers).

Source:
    Su et al. 2021, RoFormer: Enhanced Transformer with Rotary Position Embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Complex64, Float, Float32, Float64, Int
from torch import Tensor

from toolkit.arguments import whole_number

Layout = Literal["interleaved", "halves"]


@dataclass(frozen=True, slots=True, eq=False)
class Rope:
    """How fast each pair turns, and how long the turned pair is.

    Attributes:
        frequencies: theta of each pair, radians per position.
        temperature: what queries and keys are multiplied with while they turn, so that scores grow
            by its square; 1 but for YaRN. Numbers of a head that do not turn are not multiplied:
            where there are some, the square belongs in the softmax's scale instead.
    """

    frequencies: Float64[Tensor, " pairs"]
    temperature: float = 1.0


def rope(head_dim: int, base: float = 10_000.0) -> Rope:
    """RoPE as models are trained with it: theta_i = base^(-2i / head_dim).

    Args:
        head_dim: numbers of a query or key that turn, an even number.
        base: over 1; 10,000 in the paper, 100,000 in SmolLM2, 500,000 in Llama 3.
    Raises:
        ValueError, TypeError: an argument is out of its range.
    """
    head_dim = whole_number("head_dim", head_dim)
    if head_dim < 2 or head_dim % 2:
        raise ValueError(
            f"head_dim must be an even number of at least 2, since numbers turn in pairs, "
            f"got {head_dim}"
        )
    check_base(base)
    i = torch.arange(head_dim // 2, dtype=torch.float64)
    return Rope(float(base) ** (-2 * i / head_dim))


def check_base(base: float) -> None:
    """Refuse bases that are not over 1."""
    if not 1.0 < base < math.inf:
        raise ValueError(
            f"base must be a number over 1, so that later pairs turn slower, got {base!r}"
        )


def turns(rope: Rope, positions: Int[Tensor, "*shape"]) -> Complex64[Tensor, "*shape pairs"]:
    """The complex number that each pair is multiplied with: temperature * e^(i m theta).

    Angles are in float64: around 100,000 radians, two float32 numbers are 0.008 apart.

    Args:
        rope: the frequencies.
        positions: m, whole numbers of any shape.
    Raises:
        TypeError: positions are not whole numbers.
    """
    if positions.dtype.is_floating_point or positions.dtype.is_complex:
        raise TypeError(
            f"positions must be whole numbers, since {positions.dtype} does not hold them all: "
            f"use positions.long()"
        )
    angles = positions[..., None] * rope.frequencies.to(positions.device)
    lengths = torch.full_like(angles, rope.temperature)
    return torch.polar(lengths, angles).to(torch.complex64)


def rotate(
    x: Float[Tensor, "... dim"],
    turns: Complex64[Tensor, "... pairs"],
    layout: Layout = "interleaved",
) -> Float[Tensor, "... dim"]:
    """Turn every pair: (a + ib) e^(i m theta).

    Args:
        x: queries or keys, such as "batch heads tokens dim". What is not float32 or float64 is
            turned in float32 and comes back as it was.
        turns: those of the positions, "tokens pairs" or "batch 1 tokens pairs": each dimension is
            that of ``x`` or 1, or is left out at the front.
        layout: which numbers make a pair: ``"interleaved"`` takes x[2i] and x[2i+1], ``"halves"``
            takes x[i] and x[i + dim/2].
    Returns:
        The same shape and dtype.
    Raises:
        ValueError, TypeError: the shapes do not fit, ``x`` holds no floating-point numbers, or
            there is no such layout.
    """
    _check_shapes(x.shape, turns.shape)
    wide = x if x.dtype is torch.float32 or x.dtype is torch.float64 else _widened(x)
    if layout == "interleaved":
        turned = torch.view_as_real(_neighbours(wide) * turns).flatten(-2)
    elif layout == "halves":
        pairs = torch.complex(*wide.chunk(2, -1)) * turns
        turned = torch.cat((pairs.real, pairs.imag), -1)
    else:
        raise ValueError(f"layout must be one of {', '.join(get_args(Layout))}, got {layout!r}")
    return turned if wide is x else turned.to(x.dtype)


def rotate_plain(x: Float[Tensor, " dim"], rope: Rope, position: int) -> Float[Tensor, " dim"]:
    """One query or key at one position, pair by pair: the plain version of ``rotate``.

    | a' |   | cos(m theta)  -sin(m theta) | | a |
    | b' | = | sin(m theta)   cos(m theta) | | b |
    """
    turned = torch.empty_like(x)
    for i, theta in enumerate(rope.frequencies.tolist()):
        a, b = x[2 * i], x[2 * i + 1]
        cos, sin = math.cos(position * theta), math.sin(position * theta)
        turned[2 * i] = rope.temperature * (a * cos - b * sin)
        turned[2 * i + 1] = rope.temperature * (a * sin + b * cos)
    return turned


def to_halves(
    weight: Float[Tensor, "heads*dim ..."], head_dim: int
) -> Float[Tensor, "heads*dim ..."]:
    """A projection to queries or keys in interleaved layout, its rows in the order of halves.

    Scores stay as they are, since queries and keys are reordered alike.

    Args:
        weight: the weight, or the bias, of all heads one after another.
        head_dim: rows of a head.
    Raises:
        ValueError: head_dim is odd, or the rows are not whole heads.
    """
    _check_heads(weight, head_dim)
    return weight.unflatten(0, (-1, head_dim // 2, 2)).transpose(1, 2).flatten(0, 2)


def to_interleaved(
    weight: Float[Tensor, "heads*dim ..."], head_dim: int
) -> Float[Tensor, "heads*dim ..."]:
    """A projection to queries or keys in the layout of halves, with each pair's rows neighbours.

    Undoes ``to_halves``, and takes and refuses the same.
    """
    _check_heads(weight, head_dim)
    return weight.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)


def _widened(x: Tensor) -> Float32[Tensor, "*shape"]:
    if not x.dtype.is_floating_point:
        raise TypeError(f"x must be of floating-point numbers, got {x.dtype}: use x.float()")
    return x.float()


def _neighbours(x: Float[Tensor, "... dim"]) -> Tensor:
    pairs = x.unflatten(-1, (-1, 2))
    try:
        return torch.view_as_complex(pairs)
    except RuntimeError:  # strides or an offset that complex numbers cannot have: a slice's, say
        return torch.view_as_complex(pairs.clone(memory_format=torch.contiguous_format))


def _check_shapes(shape: torch.Size, over: torch.Size) -> None:
    if shape[-1] == 2 * over[-1] and len(shape) >= len(over):
        for i in range(2, len(over) + 1):
            if over[-i] != 1 and over[-i] != shape[-i]:
                break
        else:
            return
    raise ValueError(
        f"turns of shape {tuple(over)} do not fit x of shape {tuple(shape)}: the last dimension "
        f"must be half of x's, each other that of x or 1"
    )


def _check_heads(weight: Tensor, head_dim: int) -> None:
    if head_dim < 2 or head_dim % 2 or weight.shape[0] % head_dim:
        raise ValueError(
            f"head_dim must be even and divide the {weight.shape[0]} rows of the weight, "
            f"got {head_dim}"
        )
