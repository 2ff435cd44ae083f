"""Softmax attention: the formula in a few lines, torch's fast kernel, and chunks of queries.

Query heads may share keys and values: with h query heads and g KV heads, query head i reads KV
head i // (h / g). g = h is multi-head attention, g = 1 multi-query, what lies between grouped.

Source:
    Vaswani et al. 2017, Attention Is All You Need, section 3.2; Ainslie et al. 2023, GQA.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from .cost import check_shared


def causal_mask(
    queries: int, keys: int, device: torch.device | str | None = None
) -> Bool[Tensor, "queries keys"]:
    """True where a query may look: at its own token and those before it.

    The queries are the last of the keys' tokens, as they are when a cache holds the others: query
    i stands at position keys - queries + i.

    Raises:
        ValueError: more queries than keys.
    """
    _check_last(queries, keys)
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def attention_plain(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch kv_heads keys dim"],
    v: Float[Tensor, "batch kv_heads keys value_dim"],
    *,
    mask: Bool[Tensor, "*#batch_heads #queries #keys"] | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Attention by its formula: what ``attention`` gives, with all scores in memory."""
    _check(q, k, v, mask, causal)
    # query head i reads KV head i // (h / g)
    shared_by = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(shared_by, 1), v.repeat_interleave(shared_by, 1)
    # s = q k^T / sqrt(d)
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    hidden = ~_allowed(q.shape[2], k.shape[2], mask, causal, q.device)
    # o = softmax(s) v. A query with nothing to look at divides 0 by 0: it gets zeros.
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1).masked_fill(hidden, 0.0)
    return weights @ v


def attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch kv_heads keys dim"],
    v: Float[Tensor, "batch kv_heads keys value_dim"],
    *,
    mask: Bool[Tensor, "*#batch_heads #queries #keys"] | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads queries value_dim"]:
    """softmax(q k^T / sqrt(dim)) v, by torch's fused kernel.

    It keeps no table of all scores, and copies no shared keys, where keys are as long as values.

    Args:
        q: queries.
        k: keys; kv_heads divides heads.
        v: values.
        mask: True where a query may look; (queries, keys), or with heads and batch before them,
            each as long as that of the scores or 1. A query that may look nowhere gets zeros.
        causal: a query sees its own token and those before it; the queries are the last of the
            keys' tokens.
        scale: what scores are multiplied with, in place of 1 / sqrt(dim).
    Raises:
        ValueError: shapes that don't fit, kv_heads that don't divide heads, or causal with more
            queries than keys.
        TypeError: a mask that isn't boolean.
    """
    _check(q, k, v, mask, causal)
    heads, queries, keys = q.shape[1], q.shape[2], k.shape[2]
    if queries == 1:
        # The last token sees all the others: decoding needs no mask.
        causal = False
        if mask is None:
            # The heads that share a key are as good as queries of it, and read it once together.
            q = q.reshape(q.shape[0], k.shape[1], heads // k.shape[1], q.shape[3])
    # The kernel's own causal mask needs no memory, but lies along the first keys, not the last.
    kernels_own = causal and queries == keys and mask is None
    if causal and not kernels_own:
        mask = _allowed(queries, keys, mask, causal, q.device)
    o = functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=kernels_own,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return o.reshape(o.shape[0], heads, queries, o.shape[3])


def attention_in_chunks(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch kv_heads keys dim"],
    v: Float[Tensor, "batch kv_heads keys value_dim"],
    chunk: int,
    *,
    scale: float | None = None,
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Causal attention, ``chunk`` queries at a time against the keys up to the last of them.

    The scores of a chunk, or its mask, are chunk times keys: memory grows with the keys, not with
    their square. It matters where a mask must be made, for a long prompt after a cached one, and
    where there is no fused kernel; for a whole text at once the kernel of ``attention`` is as
    frugal, and faster.

    Args:
        q, k, v, scale: as for ``attention``; the queries are the last of the keys' tokens.
        chunk: queries at a time, at least 1.
    Raises:
        ValueError: chunk < 1, more queries than keys, or other shapes that ``attention`` refuses.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 query, got {chunk}")
    _check(q, k, v, None, True)
    before = k.shape[2] - q.shape[2]
    done = []
    for start in range(0, max(q.shape[2], 1), chunk):
        some = q[:, :, start : start + chunk]
        end = before + start + some.shape[2]
        seen_k, seen_v = k[:, :, :end], v[:, :, :end]
        done.append(attention(some, seen_k, seen_v, causal=True, scale=scale))
    return torch.cat(done, 2)


def _allowed(
    queries: int, keys: int, mask: Tensor | None, causal: bool, device: torch.device
) -> Bool[Tensor, "*#batch_heads #queries #keys"]:
    if not causal:
        return torch.ones((), dtype=torch.bool, device=device) if mask is None else mask
    before_or_own = causal_mask(queries, keys, device)
    return before_or_own if mask is None else mask & before_or_own


def _check(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> None:
    if not (
        q.dim() == k.dim() == v.dim() == 4
        and q.shape[0] == k.shape[0]
        and q.shape[3] == k.shape[3]
        and k.shape[:3] == v.shape[:3]
    ):
        raise ValueError(
            "q, k and v must be (batch, heads, queries, dim), (batch, kv_heads, keys, dim) and "
            f"(batch, kv_heads, keys, value_dim), got {tuple(q.shape)}, {tuple(k.shape)} and "
            f"{tuple(v.shape)}"
        )
    check_shared(q.shape[1], k.shape[1])
    if causal:
        _check_last(q.shape[2], k.shape[2])
    if mask is not None:
        _check_mask(mask, (q.shape[0], q.shape[1], q.shape[2], k.shape[2]))


def _check_last(queries: int, keys: int) -> None:
    if queries > keys:
        raise ValueError(
            f"the queries must be the last of the keys' tokens, got {queries} queries and "
            f"{keys} keys: leave causal out where they are of different texts"
        )


def _check_mask(mask: Tensor, scores: tuple[int, int, int, int]) -> None:
    if mask.dtype is not torch.bool:
        raise TypeError(
            f"mask must be boolean, True where a query may look, got {mask.dtype}: compare it "
            "with what hides a key, as in mask != 0"
        )
    sizes = list(zip(reversed(mask.shape), reversed(scores), strict=False))
    if not 2 <= mask.dim() <= 4 or any(size not in (1, whole) for size, whole in sizes):
        raise ValueError(
            f"mask must be of the scores' shape {scores} (batch, heads, queries, keys), or 1 "
            f"where it is the same for all, got {tuple(mask.shape)}"
        )
