"""What attention refuses, in a sentence each: the value, the rule, the way out."""

from __future__ import annotations

from itertools import pairwise
from math import inf, isfinite
from numbers import Integral, Real

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float16, torch.bfloat16)

MOST_SPLITS = 128
"""Of a decoding step: the kernel that joins the splits holds all of them at once."""


def check_rules(scale: float | None, window: int | None, softcap: float | None) -> None:
    """Raises for a scale, window or softcap that is no number of its kind or out of range."""
    if scale is not None and not (isinstance(scale, Real) and isfinite(scale)):
        raise ValueError(f"scale must be a finite number, got {scale!r}")
    if window is not None and not (isinstance(window, Integral) and window >= 1):
        raise ValueError(f"window must be a whole number, at least 1, got {window!r}")
    if softcap is not None and not (isinstance(softcap, Real) and 0 < softcap < inf):
        raise ValueError(
            f"softcap must be a finite number above 0, got {softcap!r}: leave it out for none"
        )


def check_dense(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Raises for q (batch, heads, queries, dim) and k, v (batch, kv_heads, keys, dim) at odds."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 4:
            raise ValueError(
                f"{name} must be (batch, heads, seq, head_dim), got {tuple(x.shape)}: "
                "for packed sequences there is flash_attention_varlen"
            )
    if q.shape[0] != k.shape[0]:
        raise ValueError(f"q and k must have the same batch, got {q.shape[0]} and {k.shape[0]}")
    _check_alike(q, k, v, heads=1)


def check_packed(
    q: Tensor, k: Tensor, v: Tensor, starts_q: Tensor, starts_k: Tensor
) -> tuple[list[int], list[int]]:
    """The sequences' lengths in queries and in keys; raises for what doesn't fit together."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 3:
            raise ValueError(f"{name} must be (total, heads, head_dim), got {tuple(x.shape)}")
    _check_alike(q, k, v, heads=1)
    lengths = _lengths("cu_seqlens_q", starts_q, q), _lengths("cu_seqlens_k", starts_k, k)
    if len(lengths[0]) != len(lengths[1]):
        raise ValueError(
            "cu_seqlens_q and cu_seqlens_k must be of the same sequences, got "
            f"{len(lengths[0])} and {len(lengths[1])}"
        )
    return lengths


def check_cache(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, context_lens: Tensor
) -> None:
    """Raises for a paged cache that doesn't fit one query a sequence (batch, heads, dim)."""
    if q.ndim != 3:
        raise ValueError(f"q must be (batch, heads, head_dim), got {tuple(q.shape)}")
    for name, x in (("k_cache", k_cache), ("v_cache", v_cache)):
        if x.ndim != 4:
            raise ValueError(
                f"{name} must be (blocks, block_size, kv_heads, head_dim), got {tuple(x.shape)}"
            )
    _check_alike(q, k_cache, v_cache, heads=-2)
    for name, x, ndim in (("block_table", block_table, 2), ("context_lens", context_lens, 1)):
        if x.dtype != torch.int32 or x.ndim != ndim or x.shape[0] != q.shape[0]:
            raise ValueError(
                f"{name} must be int32 with {ndim} dimensions, a row for each of q's "
                f"{q.shape[0]} sequences, got {x.dtype} of shape {tuple(x.shape)}"
            )
        if x.device != q.device:
            raise ValueError(f"{name} must be on q's device, {q.device}, got {x.device}")
        if x.stride(-1) != 1:
            raise ValueError(f"{name} must be contiguous: call .contiguous()")
    if not k_cache.shape[1]:
        raise ValueError("k_cache must have blocks of at least one token, got a block_size of 0")
    if q.is_cuda:
        return  # to look at the tables' contents would be to wait for the GPU
    room = block_table.shape[1] * k_cache.shape[1]
    if len(context_lens) and not 0 <= context_lens.min() <= context_lens.max() <= room:
        raise ValueError(
            f"context_lens must be 0 to {room}, the tokens that block_table has blocks for, got "
            f"{context_lens.tolist()}"
        )
    needed = -(-context_lens // k_cache.shape[1])
    used = block_table[torch.arange(block_table.shape[1]) < needed[:, None]]
    if len(used) and not 0 <= used.min() <= used.max() < len(k_cache):
        raise ValueError(
            f"block_table must hold numbers of the cache's {len(k_cache)} blocks, got "
            f"{int(used.min())} to {int(used.max())}"
        )


def _check_alike(q: Tensor, k: Tensor, v: Tensor, heads: int) -> None:
    if k.shape != v.shape:
        raise ValueError(
            f"k and v must have the same shape, got {tuple(k.shape)} and {tuple(v.shape)}"
        )
    if not 16 <= q.shape[-1] <= 256 or q.shape[-1] != k.shape[-1]:
        raise ValueError(
            f"head_dim must be 16 to 256 and the same for q and k, got {q.shape[-1]} and "
            f"{k.shape[-1]}"
        )
    if not k.shape[heads] or q.shape[1] % k.shape[heads]:
        raise ValueError(
            f"query heads must be a multiple of KV heads, got {q.shape[1]} and {k.shape[heads]}"
        )
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.dtype not in DTYPES or x.dtype != q.dtype:
            raise TypeError(
                f"q, k and v must all be float32, float16 or bfloat16, got {name} of {x.dtype}"
                f" and q of {q.dtype}"
            )
        if x.device != q.device:
            raise ValueError(f"{name} must be on q's device, {q.device}, got {x.device}")
        if x.stride(-1) != 1:
            raise ValueError(
                f"{name}'s last dimension must be contiguous, got strides {x.stride()}: "
                "call .contiguous()"
            )


def _lengths(name: str, starts: Tensor, x: Tensor) -> list[int]:
    if starts.dtype != torch.int32 or starts.ndim != 1 or len(starts) < 2:
        raise ValueError(
            f"{name} must be a vector of int32 with at least two entries, got {starts.dtype} of "
            f"shape {tuple(starts.shape)}"
        )
    if starts.device != x.device:
        raise ValueError(f"{name} must be on q's device, {x.device}, got {starts.device}")
    if starts.stride(0) != 1:
        raise ValueError(f"{name} must be contiguous: call .contiguous()")
    told = starts.tolist()
    lengths = [end - start for start, end in pairwise(told)]
    if told[0] != 0 or told[-1] != len(x) or min(lengths) < 0:
        raise ValueError(f"{name} must rise from 0 to the total of {len(x)} rows, got {told}")
    return lengths
