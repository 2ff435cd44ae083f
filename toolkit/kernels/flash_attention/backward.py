"""The backward kernels: the scores are computed again, tile by tile, from what the forward kept.

With P = e^(S - lse) from the log-sum-exps, and D = rowsum(dO * O), the gradients are

    dV = P^T dO    dP = dO V^T    dS = P * (dP - D)    dQ = dS K * scale    dK = dS^T Q * scale

One kernel owns a tile of keys and walks over the queries that see it, for dK and dV; a second owns
a tile of queries, for dQ. Each sum has one owner and one order, so that gradients are the same bit
for bit in every run; the price is that S and dP are computed twice: 7 products instead of 5.

Source:
    Dao et al. 2022, FlashAttention, appendix B; Dao 2023, FlashAttention-2, section 3.1.2.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forward import LOG2E, capped, moved, seen, visited


@triton.jit
def weights_again(products, lse, mask, scale, softcap, SOFTCAP: tl.constexpr, MASKED: tl.constexpr):
    """P of a tile from its Q K^T, and dS of the capped scores for dS of the plain: 1 - tanh^2."""
    scores, unit = capped(products, scale, softcap, SOFTCAP)
    slope = 1.0 - scores * scores if SOFTCAP else 1.0
    weights = tl.exp2(scores * unit - lse)
    if MASKED:
        weights = tl.where(mask, weights, 0.0)
    return weights, slope


@triton.jit
def kept(lse_at, delta_at, inside):
    """Log-sum-exps, in powers of two, and D; a row that saw nothing gets weights of 2^-inf."""
    lse = tl.load(lse_at, inside, other=float("inf")) * LOG2E
    return tl.where(lse == float("-inf"), float("inf"), lse), tl.load(delta_at, inside, other=0.0)


@triton.jit
def row_products(
    o_ptr, do_ptr, dlse_ptr, delta_ptr,
    o_batch, o_head, o_row, do_batch, do_head, do_row, lse_batch, lse_head,
    queries, DIM: tl.constexpr, PADDED: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """D = rowsum(dO * O) - dlse, which all tiles of a row need."""
    head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    low, tile, dims = tl.program_id(0) * QUERIES, tl.arange(0, QUERIES), tl.arange(0, PADDED)
    rows = low + tile
    inside = (rows[:, None] < queries) & (dims[None, :] < DIM)
    o_base = moved(o_ptr + batch * o_batch + head * o_head, low, o_row)
    do_base = moved(do_ptr + batch * do_batch + head * do_head, low, do_row)
    o_at = o_base + (tile[:, None] * o_row + dims[None, :])
    do_at = do_base + (tile[:, None] * do_row + dims[None, :])
    lse_at = batch * lse_batch + head * lse_head + rows
    o = tl.load(o_at, inside, other=0.0).to(tl.float32)
    do = tl.load(do_at, inside, other=0.0).to(tl.float32)
    dlse = tl.load(dlse_ptr + lse_at, rows < queries, other=0.0)
    tl.store(delta_ptr + lse_at, tl.sum(o * do, 1) - dlse, rows < queries)


@triton.jit
def walk_queries(
    dk, dv, k, v, q_base, do_base, lse_base, delta_base, stride_q, stride_do, first, last,
    columns, queries, keys, scale, window, softcap,
    DIM: tl.constexpr, PADDED: tl.constexpr, QUERIES: tl.constexpr, STAGES: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add to dK and dV of one tile of keys what the queries from ``first`` to ``last`` give."""
    dims, tile = tl.arange(0, PADDED), tl.arange(0, QUERIES)
    for start in tl.range(first, last, QUERIES, num_stages=STAGES):
        rows = start + tile
        inside = (rows[:, None] < queries) & (dims[None, :] < DIM)
        q_at = moved(q_base, start, stride_q) + (tile[:, None] * stride_q + dims[None, :])
        q = tl.load(q_at, inside, other=0.0)
        lse, delta = kept(lse_base + rows, delta_base + rows, rows < queries)
        # S^T = K Q^T, so that P^T is at hand without turning a tile
        mask = columns[:, None] < keys
        if MASKED:
            positions = rows[None, :] + (keys - queries)
            mask = seen(positions, columns[:, None], keys, window, CAUSAL, WINDOW)
        weights, slope = weights_again(
            tl.dot(k, tl.trans(q), input_precision=PRECISION),
            lse[None, :], mask, scale, softcap, SOFTCAP, MASKED,
        )  # fmt: skip
        do_at = moved(do_base, start, stride_do) + (tile[:, None] * stride_do + dims[None, :])
        do = tl.load(do_at, inside, other=0.0)
        # dV += P^T dO, dP^T = V dO^T, dS^T = P^T (dP^T - D), dK += dS^T Q
        dv = tl.dot(weights.to(do.dtype), do, dv, input_precision=PRECISION)
        d_weights = tl.dot(v, tl.trans(do), input_precision=PRECISION)
        d_scores = weights * (d_weights - delta[None, :]) * slope
        dk = tl.dot(d_scores.to(q.dtype), q, dk, input_precision=PRECISION)
    return dk, dv


@triton.jit
def flash_backward_keys(
    q_ptr, k_ptr, v_ptr, do_ptr, lse_ptr, delta_ptr, dk_ptr, dv_ptr, starts_q_ptr, starts_k_ptr,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row,
    do_batch, do_head, do_row, lse_batch, lse_head, dk_batch, dk_head, dk_row,
    queries, keys, scale, window, softcap,
    GROUP: tl.constexpr, DIM: tl.constexpr, PADDED: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, STAGES: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, PACKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """dK and dV of one tile of keys of one KV head, from all query heads that share it."""
    low = tl.program_id(0) * KEYS
    kv_head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    start_q, start_k = 0, 0
    if PACKED:
        start_q = tl.load(starts_q_ptr + batch).to(tl.int64)
        start_k = tl.load(starts_k_ptr + batch).to(tl.int64)
        queries = (tl.load(starts_q_ptr + batch + 1) - start_q).to(tl.int32)
        keys = (tl.load(starts_k_ptr + batch + 1) - start_k).to(tl.int32)
        queries = tl.where(low < keys, queries, 0)
    tile, dims = tl.arange(0, KEYS), tl.arange(0, PADDED)
    columns = low + tile
    inside = (columns[:, None] < keys) & (dims[None, :] < DIM)
    k_base = moved(k_ptr + batch * k_batch + kv_head * k_head, start_k + low, k_row)
    v_base = moved(v_ptr + batch * v_batch + kv_head * v_head, start_k + low, v_row)
    k = tl.load(k_base + (tile[:, None] * k_row + dims[None, :]), inside, other=0.0)
    v = tl.load(v_base + (tile[:, None] * v_row + dims[None, :]), inside, other=0.0)
    dk = tl.zeros([KEYS, PADDED], tl.float32)
    dv = tl.zeros([KEYS, PADDED], tl.float32)

    # Queries [begin, end) see some key here, and [full, fall) see all.
    offset = keys - queries
    begin, full = 0, 0
    end, fall = queries, queries
    if CAUSAL:
        begin = tl.maximum(low - offset, 0) // QUERIES * QUERIES
        full = (tl.maximum(low + KEYS - 1 - offset, 0) + QUERIES - 1) // QUERIES * QUERIES
    if WINDOW:
        end = tl.minimum(queries, tl.maximum(low + KEYS - 1 + window - offset, 0))
        fall = tl.minimum(queries, tl.maximum(low + window - offset, 0)) // QUERIES * QUERIES
    head = kv_head * GROUP
    q_base = moved(q_ptr + batch * q_batch + head * q_head, start_q, q_row)
    do_base = moved(do_ptr + batch * do_batch + head * do_head, start_q, do_row)
    kept_base = batch * lse_batch + head * lse_head + start_q
    for _ in range(GROUP):
        lse_base, delta_base = lse_ptr + kept_base, delta_ptr + kept_base
        if CAUSAL:
            dk, dv = walk_queries(
                dk, dv, k, v, q_base, do_base, lse_base, delta_base, q_row, do_row,
                begin, tl.minimum(full, end), columns, queries, keys, scale, window, softcap,
                DIM, PADDED, QUERIES, STAGES, CAUSAL, WINDOW, SOFTCAP, True, PRECISION,
            )  # fmt: skip
        dk, dv = walk_queries(
            dk, dv, k, v, q_base, do_base, lse_base, delta_base, q_row, do_row,
            full, fall, columns, queries, keys, scale, window, softcap,
            DIM, PADDED, QUERIES, STAGES, CAUSAL, WINDOW, SOFTCAP, False, PRECISION,
        )  # fmt: skip
        if WINDOW:
            dk, dv = walk_queries(
                dk, dv, k, v, q_base, do_base, lse_base, delta_base, q_row, do_row,
                tl.maximum(full, fall), end, columns, queries, keys, scale, window, softcap,
                DIM, PADDED, QUERIES, STAGES, CAUSAL, WINDOW, SOFTCAP, True, PRECISION,
            )  # fmt: skip
        q_base += q_head
        do_base += do_head
        kept_base += lse_head

    at = (
        batch * dk_batch + kv_head * dk_head + (start_k + columns[:, None]) * dk_row + dims[None, :]
    )
    tl.store(dk_ptr + at, (dk * scale).to(dk_ptr.dtype.element_ty), inside)
    tl.store(dv_ptr + at, dv.to(dv_ptr.dtype.element_ty), inside)


@triton.jit
def walk_keys(
    dq, q, do, lse, delta, k_base, v_base, stride_k, stride_v, first, last,
    positions, keys, scale, window, softcap,
    DIM: tl.constexpr, PADDED: tl.constexpr, KEYS: tl.constexpr, STAGES: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add to dQ of one tile of queries what the keys from ``first`` to ``last`` give."""
    dims, tile = tl.arange(0, PADDED), tl.arange(0, KEYS)
    for start in tl.range(first, last, KEYS, num_stages=STAGES):
        columns = start + tile
        inside = (columns[:, None] < keys) & (dims[None, :] < DIM)
        k_at = moved(k_base, start, stride_k) + (tile[:, None] * stride_k + dims[None, :])
        v_at = moved(v_base, start, stride_v) + (tile[:, None] * stride_v + dims[None, :])
        k = tl.load(k_at, inside, other=0.0)
        v = tl.load(v_at, inside, other=0.0)
        mask = seen(positions[:, None], columns[None, :], keys, window, CAUSAL, WINDOW)
        weights, slope = weights_again(
            tl.dot(q, tl.trans(k), input_precision=PRECISION),
            lse[:, None], mask, scale, softcap, SOFTCAP, MASKED,
        )  # fmt: skip
        # dP = dO V^T, dS = P (dP - D), dQ += dS K
        d_weights = tl.dot(do, tl.trans(v), input_precision=PRECISION)
        d_scores = weights * (d_weights - delta[:, None]) * slope
        dq = tl.dot(d_scores.to(k.dtype), k, dq, input_precision=PRECISION)
    return dq


@triton.jit
def flash_backward_queries(
    q_ptr, k_ptr, v_ptr, do_ptr, lse_ptr, delta_ptr, dq_ptr, starts_q_ptr, starts_k_ptr,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row,
    do_batch, do_head, do_row, lse_batch, lse_head, dq_batch, dq_head, dq_row,
    queries, keys, scale, window, softcap,
    GROUP: tl.constexpr, DIM: tl.constexpr, PADDED: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, STAGES: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, PACKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """dQ of one tile of queries of one head."""
    block = tl.program_id(0)
    if CAUSAL:
        # The last queries see most keys, and begin.
        block = tl.num_programs(0) - 1 - block
    low = block * QUERIES
    head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    start_q, start_k = 0, 0
    if PACKED:
        start_q = tl.load(starts_q_ptr + batch).to(tl.int64)
        start_k = tl.load(starts_k_ptr + batch).to(tl.int64)
        queries = (tl.load(starts_q_ptr + batch + 1) - start_q).to(tl.int32)
        keys = (tl.load(starts_k_ptr + batch + 1) - start_k).to(tl.int32)
        keys = tl.where(low < queries, keys, 0)
    tile, dims = tl.arange(0, QUERIES), tl.arange(0, PADDED)
    rows = low + tile
    inside = (rows[:, None] < queries) & (dims[None, :] < DIM)
    q_base = moved(q_ptr + batch * q_batch + head * q_head, start_q + low, q_row)
    do_base = moved(do_ptr + batch * do_batch + head * do_head, start_q + low, do_row)
    k_base = moved(k_ptr + batch * k_batch + head // GROUP * k_head, start_k, k_row)
    v_base = moved(v_ptr + batch * v_batch + head // GROUP * v_head, start_k, v_row)
    kept_at = batch * lse_batch + head * lse_head + start_q + rows
    q = tl.load(q_base + (tile[:, None] * q_row + dims[None, :]), inside, other=0.0)
    do = tl.load(do_base + (tile[:, None] * do_row + dims[None, :]), inside, other=0.0)
    lse, delta = kept(lse_ptr + kept_at, delta_ptr + kept_at, rows < queries)
    dq = tl.zeros([QUERIES, PADDED], tl.float32)

    positions = rows + (keys - queries)
    lowest = low + (keys - queries)
    begin, full, fall, end = visited(lowest, keys, window, QUERIES, KEYS, CAUSAL, WINDOW)
    if WINDOW:
        dq = walk_keys(
            dq, q, do, lse, delta, k_base, v_base, k_row, v_row, begin, tl.minimum(full, end),
            positions, keys, scale, window, softcap, DIM, PADDED, KEYS, STAGES,
            CAUSAL, WINDOW, SOFTCAP, True, PRECISION,
        )  # fmt: skip
    dq = walk_keys(
        dq, q, do, lse, delta, k_base, v_base, k_row, v_row, full, fall,
        positions, keys, scale, window, softcap, DIM, PADDED, KEYS, STAGES,
        CAUSAL, WINDOW, SOFTCAP, False, PRECISION,
    )  # fmt: skip
    dq = walk_keys(
        dq, q, do, lse, delta, k_base, v_base, k_row, v_row, tl.maximum(full, fall), end,
        positions, keys, scale, window, softcap, DIM, PADDED, KEYS, STAGES,
        CAUSAL, WINDOW, SOFTCAP, True, PRECISION,
    )  # fmt: skip
    dq_base = moved(dq_ptr + batch * dq_batch + head * dq_head, start_q + low, dq_row)
    dq_at = dq_base + (tile[:, None] * dq_row + dims[None, :])
    tl.store(dq_at, (dq * scale).to(dq_ptr.dtype.element_ty), inside)
