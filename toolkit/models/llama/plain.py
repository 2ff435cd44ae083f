"""The formulas as one would write them down, one text at a time and no classes.

The modules of ``layers``, the cache and the model say the same, faster; they are compared with
these, and the lab asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Complex64, Float
from torch import Tensor

from toolkit.models.attention import attention_plain
from toolkit.models.positions import rope, rotate, turns

Kept = tuple[Float[Tensor, "kv_heads seen dim"], Float[Tensor, "kv_heads seen dim"]]
"""A block's rotated keys and its values."""


def rms_norm(
    x: Float[Tensor, "... width"], gain: Float[Tensor, " width"], eps: float = 1e-5
) -> Float[Tensor, "... width"]:
    """Scale each state to a root mean square of 1, then each of its numbers by its gain.

    Source:
        Zhang and Sennrich 2019.
    """
    # x / sqrt(mean(x²) + ε) · g
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + eps) * gain


def swiglu(
    x: Float[Tensor, "... width"],
    gate: Float[Tensor, "ffn width"],
    up: Float[Tensor, "ffn width"],
    down: Float[Tensor, "width ffn"],
) -> Float[Tensor, "... width"]:
    """The feed-forward: W_down (silu(W_gate x) ⊙ W_up x), where silu(z) = z · sigmoid(z).

    Source:
        Shazeer 2020.
    """
    z = x @ gate.T
    return (z * torch.sigmoid(z) * (x @ up.T)) @ down.T


def causal_attention(
    q: Float[Tensor, "heads queries dim"],
    k: Float[Tensor, "kv_heads keys dim"],
    v: Float[Tensor, "kv_heads keys value_dim"],
) -> Float[Tensor, "heads queries value_dim"]:
    """Grouped-query attention of the last tokens of a text to all of it up to themselves.

    Args:
        q: queries of the last tokens; query head i reads KV head i // (heads / kv_heads).
        k, v: keys and values of all tokens.
    """
    return attention_plain(q[None], k[None], v[None], causal=True)[0]


def sampling_probabilities(
    logits: Float[Tensor, " vocab"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, " vocab"]:
    """What the next token is drawn from: ``probabilities`` of one text, by its definition.

    Args:
        logits: of each token.
        temperature: over 0.
        top_k: only tokens at least as likely as the k-th likeliest; 1 to vocab.
        top_p: of those, the fewest likeliest that have at least this probability together; of
            equally likely ones, that of the lower id first.
    """
    logits = logits / temperature
    if top_k is not None:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -math.inf)
    probs = logits.softmax(0)
    if top_p is not None:
        ordered, order = probs.sort(descending=True, stable=True)
        before = ordered.cumsum(0) - ordered
        probs = probs.index_fill(0, order[before >= top_p], 0.0)
    return probs / probs.sum()


def block(
    x: Float[Tensor, "tokens width"],
    weights: Mapping[str, Float[Tensor, ...]],
    turning: Complex64[Tensor, "tokens pairs"],
    kept: Kept,
) -> tuple[Float[Tensor, "tokens width"], Kept]:
    """A block on one text's next tokens.

    Args:
        x: their states.
        weights: ``attention_norm`` and ``ffn_norm`` [width]; ``q`` [heads * dim, width], ``k``
            and ``v`` [kv_heads * dim, width], ``out`` [width, heads * dim]; ``gate`` and ``up``
            [ffn, width], ``down`` [width, ffn].
        turning: the turns of their positions.
        kept: the block's rotated keys, and values, of all tokens before.
    Returns:
        The states after the block, and what is kept now.
    """
    h = rms_norm(x, weights["attention_norm"])
    q, k, v = (
        (h @ weights[name].T).unflatten(-1, (-1, kept[0].shape[-1])).transpose(0, 1)
        for name in ("q", "k", "v")
    )
    k = torch.cat([kept[0], rotate(k, turning)], 1)
    v = torch.cat([kept[1], v], 1)
    seen = causal_attention(rotate(q, turning), k, v)
    x = x + seen.transpose(0, 1).flatten(1) @ weights["out"].T
    h = rms_norm(x, weights["ffn_norm"])
    return x + swiglu(h, weights["gate"], weights["up"], weights["down"]), (k, v)


def next_token_logits(
    ids: Sequence[int],
    model: Mapping[str, Any],
    cache: Sequence[Kept],
    rope_base: float = 100_000.0,
) -> tuple[Float[Tensor, " vocab"], list[Kept]]:
    """The whole model: the logits of what follows a text's next tokens.

    Args:
        ids: these tokens, at least one.
        model: ``embed`` [vocab, width], ``blocks``, a list of what ``block`` takes as weights, and
            ``norm`` [width].
        cache: what each block has kept of all tokens before.
        rope_base: RoPE's base; SmolLM2's by default.
    Returns:
        The logits of the token after the last, and the cache that holds these tokens too.
    """
    seen, head_dim = cache[0][0].shape[1:]
    turning = turns(rope(head_dim, rope_base), torch.arange(seen, seen + len(ids)))
    x = model["embed"][torch.tensor(ids)]
    now = []
    for weights, kept in zip(model["blocks"], cache, strict=True):
        x, kept = block(x, weights, turning, kept)
        now.append(kept)
    return model["embed"] @ rms_norm(x[-1], model["norm"]), now
