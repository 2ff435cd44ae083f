"""FlashAttention's kernels, small enough to write in an evening: one head, contiguous, no options.

    softmax_kernel          a row to a program
    flash_kernel            a tile of queries to a program, which holds m, l and O on the chip
    walk, causal_walk       its loop over the keys: all of them, and those that causal queries see
    value_gradient_kernel   a sum over all queries, with one owner for each of its parts

The full ones are in ``forward`` and ``backward``: many heads, any head size, powers of two.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    """One row of y = softmax(x); WIDTH is a power of two, at least ``columns``."""
    row = tl.program_id(0)
    lanes = tl.arange(0, WIDTH)
    inside = lanes < columns
    x = tl.load(x_ptr + row * columns + lanes, inside, other=float("-inf"))
    powers = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + row * columns + lanes, powers / tl.sum(powers, 0), inside)


@triton.jit
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Take in the tiles of keys from key 0 up to ``last``; query i sees those before limits[i]."""
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = columns[:, None] < keys
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        # S = Q K^T * scale, and -inf where a query may not look
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(columns[None, :] < limits[:, None], scores, float("-inf"))
        # m' = max(m, max S)    a = e^(m - m')    P = e^(S - m')
        higher = tl.maximum(maximum, tl.max(scores, 1))
        fade = tl.exp(maximum - higher)
        weights = tl.exp(scores - higher[:, None])
        # l' = a l + sum P      O' = a O + P V
        total = fade * total + tl.sum(weights, 1)
        output = fade[:, None] * output + tl.dot(weights, v)
        maximum = higher
    return output, maximum, total


@triton.jit
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Take in the tiles that some query of rows ``row`` to ``row + QUERIES`` sees, and no other."""
    # The last query is the last token: query i stands at position i + keys - queries.
    positions = row + tl.arange(0, QUERIES) + keys - queries
    last = tl.minimum(row + QUERIES + keys - queries, keys)
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, last, positions + 1, keys, scale, DIM, KEYS
    )
    return output, maximum, total


@triton.jit
def flash_kernel(
    q_ptr, k_ptr, v_ptr, o_ptr, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """One tile of O = softmax(Q K^T * scale) V; causal only for keys >= queries."""
    row = tl.program_id(0) * QUERIES
    rows = row + tl.arange(0, QUERIES)
    dims = tl.arange(0, DIM)
    inside = rows[:, None] < queries
    q = tl.load(q_ptr + rows[:, None] * DIM + dims[None, :], inside, other=0.0)
    maximum = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    output = tl.zeros([QUERIES, DIM], tl.float32)
    if CAUSAL:
        output, maximum, total = causal_walk(
            output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale, DIM, QUERIES, KEYS
        )
    else:
        limits = tl.zeros([QUERIES], tl.int32) + keys
        output, maximum, total = walk(
            output, maximum, total, q, k_ptr, v_ptr, keys, limits, keys, scale, DIM, KEYS
        )
    # The sum is divided by once, at the end.
    output = output / total[:, None]
    tl.store(o_ptr + rows[:, None] * DIM + dims[None, :], output, inside)


@triton.jit
def value_gradient_kernel(
    p_ptr, do_ptr, dv_ptr, tokens, DIM: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """One tile of dV = P^T dO. The program owns its keys, and adds up over all queries."""
    keys = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, DIM)
    dv = tl.zeros([BLOCK, DIM], tl.float32)
    for start in range(0, tokens, BLOCK):
        queries = start + tl.arange(0, BLOCK)
        inside = (queries[:, None] < tokens) & (keys[None, :] < tokens)
        p = tl.load(p_ptr + queries[:, None] * tokens + keys[None, :], inside, other=0.0)
        do_at = do_ptr + queries[:, None] * DIM + dims[None, :]
        do = tl.load(do_at, queries[:, None] < tokens, other=0.0)
        dv += tl.dot(tl.trans(p), do)
    tl.store(dv_ptr + keys[:, None] * DIM + dims[None, :], dv, keys[:, None] < tokens)
