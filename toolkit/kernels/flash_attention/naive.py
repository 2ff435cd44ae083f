"""Attention in three kernels, with scores in memory: what FlashAttention does away with.

One head at a time of (heads, seq, head_dim), no options: for counting bytes beside
``flash_forward``, and for a GPU's roofline.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from toolkit.kernels.engine import precision

from .tiles import Tiles


@triton.jit
def score_tile(
    q_ptr, k_ptr, s_ptr, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile of S = Q K^T * scale."""
    head = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    columns = tl.program_id(1) * KEYS + tl.arange(0, KEYS)
    dims = tl.arange(0, DIM)
    q_at = q_ptr + head * queries * DIM + rows[:, None] * DIM + dims[None, :]
    k_at = k_ptr + head * keys * DIM + columns[:, None] * DIM + dims[None, :]
    q = tl.load(q_at, rows[:, None] < queries, other=0.0)
    k = tl.load(k_at, columns[:, None] < keys, other=0.0)
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
    s_at = s_ptr + (head * queries + rows[:, None]) * keys + columns[None, :]
    tl.store(s_at, scores, (rows[:, None] < queries) & (columns[None, :] < keys))


@triton.jit
def softmax_row(s_ptr, p_ptr, keys, WIDTH: tl.constexpr):
    """One row of P = softmax(S)."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    scores = tl.load(s_ptr + row * keys + columns, columns < keys, other=float("-inf"))
    weights = tl.exp(scores - tl.max(scores, 0))
    tl.store(p_ptr + row * keys + columns, weights / tl.sum(weights, 0), columns < keys)


@triton.jit
def mix_tile(
    p_ptr, v_ptr, o_ptr, queries, keys,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile of O = P V."""
    head = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    dims = tl.arange(0, DIM)
    output = tl.zeros([QUERIES, DIM], tl.float32)
    for start in range(0, keys, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = (rows[:, None] < queries) & (columns[None, :] < keys)
        p_at = p_ptr + (head * queries + rows[:, None]) * keys + columns[None, :]
        v_at = v_ptr + head * keys * DIM + columns[:, None] * DIM + dims[None, :]
        p = tl.load(p_at, inside, other=0.0)
        v = tl.load(v_at, columns[:, None] < keys, other=0.0)
        output = tl.dot(p.to(v.dtype), v, output, input_precision=PRECISION)
    o_at = o_ptr + head * queries * DIM + rows[:, None] * DIM + dims[None, :]
    tl.store(o_at, output.to(o_ptr.dtype.element_ty), rows[:, None] < queries)


def naive_attention(
    q: Float[Tensor, "heads queries dim"],
    k: Float[Tensor, "heads keys dim"],
    v: Float[Tensor, "heads keys dim"],
    tiles: Tiles,
) -> Float[Tensor, "heads queries dim"]:
    """Attention of contiguous tensors whose head_dim is a power of two."""
    heads, queries, dim = q.shape
    keys = k.shape[1]
    scores = q.new_empty(heads, queries, keys, dtype=torch.float32)
    weights, output = torch.empty_like(scores), torch.empty_like(q)
    sizes = {"DIM": dim, "QUERIES": tiles.queries, "KEYS": tiles.keys, "PRECISION": precision(q)}
    blocks_q, blocks_k = triton.cdiv(queries, tiles.queries), triton.cdiv(keys, tiles.keys)
    score_tile[(blocks_q, blocks_k, heads)](q, k, scores, queries, keys, dim**-0.5, **sizes)
    softmax_row[(heads * queries,)](scores, weights, keys, WIDTH=triton.next_power_of_2(keys))
    mix_tile[(blocks_q, heads)](weights, v, output, queries, keys, **sizes)
    return output
