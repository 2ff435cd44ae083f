"""Decoding: one query a sequence, over a paged cache, split along the sequence.

One new token has one query a head, and a program for each (sequence, head) would leave most of a
GPU idle while a few walk long caches. So the keys of a sequence are cut into splits, each with a
program of its own; all query heads that share a KV head are the rows of one tile, and the cache is
read once. A second kernel joins the splits by their log-sum-exps: o = sum_s e^(lse_s - lse) o_s.

The cache is in pages ("blocks") of a common pool: slot j of a sequence lies in the pool's block
block_table[j // block_size], at j % block_size.

Source:
    Dao, Haziza, Massa, Sizov 2023, Flash-Decoding; Kwon et al. 2023, PagedAttention.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from toolkit.kernels.engine import chip, multiprocessors, on_its_device, precision

from .forward import LN2, LOG2E, capped, taken_in
from .refusals import MOST_SPLITS
from .tiles import DECODE, pick


@triton.jit
def decode_split(
    q_ptr, k_ptr, v_ptr, table_ptr, lens_ptr, o_ptr, lse_ptr,
    q_batch, q_head, k_block, k_slot, k_head, v_block, v_slot, v_head, table_batch,
    o_batch, o_head, o_split, lse_batch, lse_head, scale, window, softcap,
    GROUP: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, PADDED: tl.constexpr,
    BLOCK: tl.constexpr, KEYS: tl.constexpr, STAGES: tl.constexpr,
    WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Output and log-sum-exp of one split, for all query heads of one KV head."""
    split, kv_head = tl.program_id(0), tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    context = tl.load(lens_ptr + batch)
    begin = 0
    if WINDOW:
        begin = tl.maximum(context - window, 0) // KEYS * KEYS
    share = tl.cdiv(tl.cdiv(context - begin, tl.num_programs(0)), KEYS) * KEYS
    first = begin + split * share
    last = tl.minimum(first + share, context)

    members = tl.arange(0, ROWS)
    heads = kv_head * GROUP + members
    dims = tl.arange(0, PADDED)
    inside = (members[:, None] < GROUP) & (dims[None, :] < DIM)
    q_at = q_ptr + batch * q_batch + heads[:, None] * q_head + dims[None, :]
    q = tl.load(q_at, inside, other=0.0)
    maximum = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    output = tl.zeros([ROWS, PADDED], tl.float32)
    for start in tl.range(first, last, KEYS, num_stages=STAGES):
        slots = start + tl.arange(0, KEYS)
        held = slots < last
        if WINDOW:
            held = held & (slots >= context - window)
        block = tl.load(table_ptr + batch * table_batch + slots // BLOCK, held, other=0)
        block = block.to(tl.int64)
        k_at = k_ptr + block * k_block + (slots % BLOCK) * k_slot + kv_head * k_head
        v_at = v_ptr + block * v_block + (slots % BLOCK) * v_slot + kv_head * v_head
        wanted = held[:, None] & (dims[None, :] < DIM)
        k = tl.load(k_at[:, None] + dims[None, :], wanted, other=0.0)
        v = tl.load(v_at[:, None] + dims[None, :], wanted, other=0.0)
        products = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        scores, unit = capped(products, scale, softcap, SOFTCAP)
        scores = tl.where(held[None, :], scores, float("-inf"))
        weights, fade, maximum, total = taken_in(scores, unit, maximum, total, SEEN=False)
        output = output * fade[:, None]
        output = tl.dot(weights.to(v.dtype), v, output, input_precision=PRECISION)

    blind = total == 0.0
    total = tl.where(blind, 1.0, total)
    o_at = o_ptr + batch * o_batch + heads[:, None] * o_head + split * o_split + dims[None, :]
    tl.store(o_at, output / total[:, None], inside)
    lse = tl.where(blind, float("-inf"), (maximum + tl.log2(total)) * LN2)
    tl.store(lse_ptr + batch * lse_batch + heads * lse_head + split, lse, members < GROUP)


@triton.jit
def decode_join(
    o_ptr, lse_ptr, out_ptr, out_lse_ptr,
    o_batch, o_head, o_split, lse_batch, lse_head, out_batch, out_head, out_lse_batch, splits,
    DIM: tl.constexpr, PADDED: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """The splits of one head as one: each weighs e^(its log-sum-exp)."""
    head, batch = tl.program_id(0), tl.program_id(1).to(tl.int64)
    which = tl.arange(0, SPLITS)
    dims = tl.arange(0, PADDED)
    lse_at = lse_ptr + batch * lse_batch + head * lse_head + which
    lse = tl.load(lse_at, which < splits, other=float("-inf"))
    highest = tl.max(lse, 0)
    shift = tl.where(highest == float("-inf"), 0.0, highest)
    weights = tl.exp2((lse - shift) * LOG2E)
    total = tl.sum(weights, 0)
    blind = total == 0.0
    total = tl.where(blind, 1.0, total)
    o_at = o_ptr + batch * o_batch + head * o_head + which[:, None] * o_split + dims[None, :]
    inside = (which[:, None] < splits) & (dims[None, :] < DIM)
    parts = tl.load(o_at, inside, other=0.0)
    output = tl.sum(parts * weights[:, None], 0) / total
    out_at = out_ptr + batch * out_batch + head * out_head + dims
    tl.store(out_at, output.to(out_ptr.dtype.element_ty), dims < DIM)
    joined = tl.where(blind, float("-inf"), shift + tl.log2(total) * LN2)
    tl.store(out_lse_ptr + batch * out_lse_batch + head, joined)


@on_its_device
def launch_decode(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, context_lens: Tensor,
    scale: float, window: int | None, softcap: float | None, num_splits: int | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Outputs (batch, heads, dim) and log-sum-exps (batch, heads) in fp32."""
    batch, heads, dim = q.shape
    block_size, kv_heads = k_cache.shape[1:3]
    output, lse = torch.empty_like(q), q.new_empty(q.shape[:2], dtype=torch.float32)
    if not batch:
        return output, lse
    padded, ruled = triton.next_power_of_2(dim), window is not None or softcap is not None
    tiles = pick(DECODE, padded, q.element_size(), chip(q), ruled)
    longest = triton.cdiv(block_table.shape[1] * block_size, tiles.keys)
    splits = num_splits or splits_that_fill(q, kv_heads, longest)
    parts = q.new_empty(batch, heads, splits, dim, dtype=torch.float32)
    parts_lse = q.new_empty(batch, heads, splits, dtype=torch.float32)
    group = heads // kv_heads
    decode_split[(splits, kv_heads, batch)](
        q, k_cache, v_cache, block_table, context_lens, parts, parts_lse,
        *q.stride()[:2], *k_cache.stride()[:3], *v_cache.stride()[:3], block_table.stride(0),
        *parts.stride()[:3], *parts_lse.stride()[:2], scale, window or 0, softcap or 0.0,
        GROUP=group, ROWS=max(16, triton.next_power_of_2(group)), DIM=dim, PADDED=padded,
        BLOCK=block_size, KEYS=tiles.keys, STAGES=tiles.stages,
        WINDOW=window is not None, SOFTCAP=softcap is not None, PRECISION=precision(q),
        num_warps=tiles.warps, num_stages=tiles.stages,
    )  # fmt: skip
    decode_join[(heads, batch)](
        parts, parts_lse, output, lse,
        *parts.stride()[:3], *parts_lse.stride()[:2], *output.stride()[:2], lse.stride(0), splits,
        DIM=dim, PADDED=padded, SPLITS=triton.next_power_of_2(splits),
    )  # fmt: skip
    return output, lse


def splits_that_fill(q: Tensor, kv_heads: int, longest: int) -> int:
    """Splits that give every multiprocessor two programs, of at least four tiles each.

    ``longest`` is the tiles that the table can hold: the contexts themselves are on the GPU, and
    asking for them would wait for it.
    """
    wanted = triton.cdiv(2 * multiprocessors(q), q.shape[0] * kv_heads)
    return max(1, min(wanted, triton.cdiv(longest, 4), MOST_SPLITS))
