"""Attention over keys and values that lie in blocks, one query at a time, on a CPU.

A query walks its request's block table and reads each block where it lies. As in FlashAttention,
no more than a block's scores are held: with the largest score so far m and the sum of weights l,
a block of scores s and values v changes them and the output o so:

    m' = max(m, max s)    p = e^(s - m')    l' = e^(m - m') l + sum p    o' = e^(m - m') o + p v

and in the end o is divided by l. This is for decodes and the shortest chunks: the queries of a
longer one do better as a matrix.

Source:
    Kwon et al. 2023, PagedAttention; the running softmax, Milakov and Gimelshein 2018.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from toolkit.compiled import compiled


def paged_attention_plain(
    queries: Float[Tensor, "rows heads dim"],
    keys: Float[Tensor, "blocks block_size kv_heads dim"],
    values: Float[Tensor, "blocks block_size kv_heads dim"],
    tables: list[list[int]],
    contexts: list[int],
) -> Float64[Tensor, "rows heads dim"]:
    """Gather what each query sees, then the formula, in float64.

    Args:
        queries: query head i reads KV head i // (heads / kv_heads).
        keys, values: of all blocks, whoever holds them.
        tables: for each query its request's blocks, in order.
        contexts: how many tokens each query sees, from its request's first on; at least 1.
    """
    shared_by, scale = queries.shape[1] // keys.shape[2], queries.shape[2] ** -0.5
    outputs = []
    for q, table, context in zip(queries.double(), tables, contexts, strict=True):
        # (blocks, block_size, kv_heads, dim) -> (context, heads, dim)
        k, v = (
            kept[table].flatten(0, 1)[:context].double().repeat_interleave(shared_by, 1)
            for kept in (keys, values)
        )
        # o = softmax(q k^T / sqrt(d)) v
        weights = (torch.einsum("hd,chd->hc", q, k) * scale).softmax(1)
        outputs.append(torch.einsum("hc,chd->hd", weights, v))
    return torch.stack(outputs)


def paged_attention(
    queries: Float32[Tensor, "rows heads dim"],
    keys: Float32[Tensor, "blocks block_size kv_heads dim"],
    values: Float32[Tensor, "blocks block_size kv_heads dim"],
    tables: Int64[np.ndarray, " held"],
    begins: Int64[np.ndarray, " rows"],
    contexts: Int64[np.ndarray, " rows"],
) -> Float32[Tensor, "rows heads dim"]:
    """What ``paged_attention_plain`` gives, in fp32 and without a copy of the keys.

    Args:
        tables: the block tables, one behind another.
        begins: where in ``tables`` each query's begins.
    """
    output = torch.empty(queries.shape)
    rows, _, dim = queries.shape
    by_kv_head = (rows, keys.shape[2], -1, dim)
    walk_blocks(
        queries.reshape(by_kv_head).contiguous().numpy(), keys.numpy(), values.numpy(),
        tables, begins, contexts, output.view(by_kv_head).numpy(),
    )  # fmt: skip
    return output


@numba.njit(fastmath={"reassoc", "contract"}, nogil=True)
def dot(a: NDArray, b: NDArray) -> np.floating:
    """Added up in any order, so that a vector unit adds many at once."""
    total = np.float32(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled
def walk_blocks(
    queries: NDArray, keys: NDArray, values: NDArray,
    tables: NDArray, begins: NDArray, contexts: NDArray, output: NDArray,
) -> None:  # fmt: skip
    """Write the output; it and the queries are (rows, kv_heads, heads of one KV head, dim)."""
    rows, kv_heads, group, dim = queries.shape
    size = keys.shape[1]
    scale = np.float32(1 / math.sqrt(dim))
    weights = np.empty(size, np.float32)
    highest, total = np.empty(group, np.float32), np.empty(group, np.float32)
    output[:] = 0
    for row in range(rows):
        for head in range(kv_heads):
            highest[:], total[:] = -np.inf, 0
            for first in range(0, contexts[row], size):
                block = tables[begins[row] + first // size]
                many = min(size, contexts[row] - first)
                for member in range(group):
                    q, o = queries[row, head, member], output[row, head, member]
                    high = highest[member]
                    for j in range(many):
                        weights[j] = scale * dot(q, keys[block, j, head])
                        high = max(high, weights[j])
                    fade = np.exp(highest[member] - high)
                    highest[member] = high
                    total[member] *= fade
                    for d in range(dim):
                        o[d] *= fade
                    for j in range(many):
                        weight = np.exp(weights[j] - high)
                        total[member] += weight
                        v = values[block, j, head]
                        for d in range(dim):
                            o[d] += weight * v[d]
            for member in range(group):
                o = output[row, head, member]
                for d in range(dim):
                    o[d] /= total[member]
