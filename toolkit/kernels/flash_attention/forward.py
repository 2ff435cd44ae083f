"""The forward kernel: one program walks over the keys for one tile of queries.

A program holds its queries, a running maximum m, a running sum l and an output O on the chip. For
each tile of keys it computes the scores S = Q K^T, and mends what it holds by how far the maximum
rose (online softmax):

    m' = max(m, max S)    a = 2^(m - m')    P = 2^(S - m')    l' = a l + sum P    O' = a O + P V

in powers of two, since the chip has 2^x and no e^x. Tiles that no query of the program sees are
never loaded; tiles that all see go without a mask. Neither S nor P is written anywhere.

Source:
    Dao et al. 2022, FlashAttention; Dao 2023, FlashAttention-2 (the walk over keys in one
    program, one division at the end); Milakov and Gimelshein 2018 (the online softmax).
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E: tl.constexpr = tl.constexpr(1.4426950408889634)
LN2: tl.constexpr = tl.constexpr(0.6931471805599453)


@triton.jit
def moved(base, rows, stride):
    """``base``, so many rows on: the end of a long text is past what 32 bits count."""
    return base + tl.cast(rows, tl.int64) * stride


@triton.jit
def tanh(x):
    """1 - 2 / (1 + e^2x), and its series where that would lose the digits of a small x."""
    square = x * x
    series = x * (1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0)))
    return tl.where(square < 0.01, series, 1.0 - 2.0 / (1.0 + tl.exp2(x * (2.0 * LOG2E))))


@triton.jit
def capped(products, scale, softcap, SOFTCAP: tl.constexpr):
    """Scores from Q K^T, and the unit that makes them powers of two: S * unit = log2(e^s)."""
    if SOFTCAP:
        return tanh(products * (scale / softcap)), softcap * LOG2E
    return products, scale * LOG2E


@triton.jit
def seen(positions, columns, keys, window, CAUSAL: tl.constexpr, WINDOW: tl.constexpr):
    """Which keys a query sees; ``positions`` and ``columns`` broadcast to a tile."""
    mask = columns < keys
    if CAUSAL:
        mask = mask & (columns <= positions)
    if WINDOW:
        mask = mask & (columns > positions - window)
    return mask


@triton.jit
def taken_in(scores, unit, maximum, total, SEEN: tl.constexpr):
    """The online softmax: weights of a tile, and by how much what came before it fades.

    ``SEEN`` says that every row sees something of the tile; else a row may have no maximum yet.
    """
    # m' = max(m, max S), a = 2^(m - m'), P = 2^(S - m'), l' = a l + sum P
    higher = tl.maximum(maximum, tl.max(scores, 1) * unit)
    shift = higher if SEEN else tl.where(higher == float("-inf"), 0.0, higher)
    weights = tl.exp2(scores * unit - shift[:, None])
    fade = tl.exp2(maximum - shift)
    return weights, fade, higher, total * fade + tl.sum(weights, 1)


@triton.jit
def visited(
    lowest, keys, window,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Which keys a tile of queries visits, the first at position ``lowest``.

    [begin, end) are seen by some query of the tile, and [full, fall) by all: those tiles go
    without a mask.
    """
    begin, full = 0, 0
    end, fall = keys, keys // KEYS * KEYS
    if WINDOW:
        begin = tl.maximum(lowest - window + 1, 0) // KEYS * KEYS
        full = (tl.maximum(lowest + QUERIES - window, 0) + KEYS - 1) // KEYS * KEYS
    if CAUSAL:
        end = tl.minimum(keys, lowest + QUERIES)
        fall = tl.minimum(fall, tl.maximum(lowest + 1, 0) // KEYS * KEYS)
    return begin, full, fall, end


@triton.jit
def walk(
    output, maximum, total, q, k_base, v_base, stride_k, stride_v, first, last,
    positions, keys, scale, window, softcap,
    DIM: tl.constexpr, PADDED: tl.constexpr, KEYS: tl.constexpr, STAGES: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Take in the tiles of keys from ``first`` up to ``last``."""
    dims, tile = tl.arange(0, PADDED), tl.arange(0, KEYS)
    for start in tl.range(first, last, KEYS, num_stages=STAGES):
        columns = start + tile
        k_at = moved(k_base, start, stride_k) + (tile[None, :] * stride_k + dims[:, None])
        v_at = moved(v_base, start, stride_v) + (tile[:, None] * stride_v + dims[None, :])
        if MASKED:
            k = tl.load(k_at, (columns[None, :] < keys) & (dims[:, None] < DIM), other=0.0)
        elif DIM < PADDED:
            k = tl.load(k_at, dims[:, None] < DIM, other=0.0)
        else:
            k = tl.load(k_at)
        # S = Q K^T
        products = tl.dot(q, k, input_precision=PRECISION)
        scores, unit = capped(products, scale, softcap, SOFTCAP)
        if MASKED:
            mask = seen(positions[:, None], columns[None, :], keys, window, CAUSAL, WINDOW)
            scores = tl.where(mask, scores, float("-inf"))
        weights, fade, maximum, total = taken_in(scores, unit, maximum, total, not MASKED)
        # O' = a O + P V
        output = output * fade[:, None]
        if MASKED:
            v = tl.load(v_at, (columns[:, None] < keys) & (dims[None, :] < DIM), other=0.0)
        elif DIM < PADDED:
            v = tl.load(v_at, dims[None, :] < DIM, other=0.0)
        else:
            v = tl.load(v_at)
        output = tl.dot(weights.to(v.dtype), v, output, input_precision=PRECISION)
    return output, maximum, total


@triton.jit
def flash_forward(
    q_ptr, k_ptr, v_ptr, o_ptr, lse_ptr, starts_q_ptr, starts_k_ptr,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row,
    o_batch, o_head, o_row, lse_batch, lse_head,
    queries, keys, scale, window, softcap,
    GROUP: tl.constexpr, DIM: tl.constexpr, PADDED: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, STAGES: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, PACKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Outputs and log-sum-exps of one tile of queries of one head of one sequence."""
    block = tl.program_id(0)
    if CAUSAL:
        # The last queries see most keys: begin with them, and the short ones fill the gaps.
        block = tl.num_programs(0) - 1 - block
    head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    q_base = q_ptr + batch * q_batch + head * q_head
    k_base = k_ptr + batch * k_batch + head // GROUP * k_head
    v_base = v_ptr + batch * v_batch + head // GROUP * v_head
    o_base = o_ptr + batch * o_batch + head * o_head
    lse_base = lse_ptr + batch * lse_batch + head * lse_head
    if PACKED:
        start_q = tl.load(starts_q_ptr + batch)
        start_k = tl.load(starts_k_ptr + batch)
        queries = tl.load(starts_q_ptr + batch + 1) - start_q
        keys = tl.load(starts_k_ptr + batch + 1) - start_k
        # Past a sequence's end there are no queries, and nothing to read for them.
        keys = tl.where(block * QUERIES < queries, keys, 0)
        q_base, o_base = moved(q_base, start_q, q_row), moved(o_base, start_q, o_row)
        k_base, v_base = moved(k_base, start_k, k_row), moved(v_base, start_k, v_row)
        lse_base += start_q

    tile, dims = tl.arange(0, QUERIES), tl.arange(0, PADDED)
    rows = block * QUERIES + tile
    inside = (rows[:, None] < queries) & (dims[None, :] < DIM)
    q_base = moved(q_base, block * QUERIES, q_row)
    q = tl.load(q_base + (tile[:, None] * q_row + dims[None, :]), inside, other=0.0)
    maximum = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    output = tl.zeros([QUERIES, PADDED], tl.float32)

    positions = rows + (keys - queries)
    lowest = block * QUERIES + (keys - queries)
    begin, full, fall, end = visited(lowest, keys, window, QUERIES, KEYS, CAUSAL, WINDOW)
    if WINDOW:
        output, maximum, total = walk(
            output, maximum, total, q, k_base, v_base, k_row, v_row, begin, tl.minimum(full, end),
            positions, keys, scale, window, softcap, DIM, PADDED, KEYS, STAGES,
            CAUSAL, WINDOW, SOFTCAP, True, PRECISION,
        )  # fmt: skip
    output, maximum, total = walk(
        output, maximum, total, q, k_base, v_base, k_row, v_row, full, fall,
        positions, keys, scale, window, softcap, DIM, PADDED, KEYS, STAGES,
        CAUSAL, WINDOW, SOFTCAP, False, PRECISION,
    )  # fmt: skip
    output, maximum, total = walk(
        output, maximum, total, q, k_base, v_base, k_row, v_row, tl.maximum(full, fall), end,
        positions, keys, scale, window, softcap, DIM, PADDED, KEYS, STAGES,
        CAUSAL, WINDOW, SOFTCAP, True, PRECISION,
    )  # fmt: skip

    # O / l, and ln(sum e^s) = ln 2 (m + log2 l); a row that saw nothing has l = 0
    blind = total == 0.0
    total = tl.where(blind, 1.0, total)
    output = output / total[:, None]
    o_at = moved(o_base, block * QUERIES, o_row) + (tile[:, None] * o_row + dims[None, :])
    tl.store(o_at, output.to(o_ptr.dtype.element_ty), inside)
    lse = tl.where(blind, float("-inf"), (maximum + tl.log2(total)) * LN2)
    tl.store(lse_base + rows, lse, rows < queries)
