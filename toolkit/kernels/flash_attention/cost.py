"""What attention costs: floating-point operations, and bytes between the GPU's memory and its chip.

FLOPs are those of the two products Q K^T and P V, as the papers count them. Bytes are counted tile
by tile, for tensors of ``itemsize`` bytes and log-sum-exps of 4: what the kernels really ask for,
were no cache in between.

Source:
    Dao et al. 2022, FlashAttention, theorem 2: Theta(N d + N^2) accesses for the formula, and
    Theta(N^2 d^2 / M) for tiles that fill a chip's memory of M.
"""

from __future__ import annotations

from .tiles import Tiles


def attention_flops(
    batch: int, heads: int, queries: int, keys: int, head_dim: int, *, causal: bool = False
) -> int:
    """4 B H Sq Sk D, and half of it when causal, by the benchmarks' convention."""
    flops = 4 * batch * heads * queries * keys * head_dim
    return flops // 2 if causal else flops


def seen_by(
    block: int, tiles: Tiles, queries: int, keys: int, causal: bool, window: int | None
) -> range:
    """The first keys of the tiles that a block of queries visits."""
    lowest = block * tiles.queries + keys - queries
    end = min(keys, lowest + tiles.queries) if causal else keys
    begin = max(0, lowest - window + 1) // tiles.keys * tiles.keys if window else 0
    return range(begin, end, tiles.keys)


def flash_bytes(
    batch: int, heads: int, queries: int, keys: int, head_dim: int, *,
    tiles: Tiles, causal: bool = False, window: int | None = None, itemsize: int = 2,
) -> int:  # fmt: skip
    """Bytes of the forward kernel: Q, O and log-sum-exps once, K and V once a block that visits."""
    once = queries * (2 * head_dim * itemsize + 4)
    visited = 0
    for block in range(-(-queries // tiles.queries)):
        starts = seen_by(block, tiles, queries, keys, causal, window)
        visited += sum(min(tiles.keys, keys - start) for start in starts)
    return batch * heads * (once + visited * 2 * head_dim * itemsize)


def attention_bytes(
    batch: int, heads: int, queries: int, keys: int, head_dim: int, *,
    tiles: Tiles, itemsize: int = 2,
) -> int:  # fmt: skip
    """Bytes of the formula in three kernels, with scores in memory.

    S = Q K^T reads a tile of Q and of K for each tile of S that it writes; the softmax reads S and
    writes P; O = P V reads P once, and V once a block of queries. S and P are in fp32.
    """
    blocks_q, blocks_k = -(-queries // tiles.queries), -(-keys // tiles.keys)
    scores = queries * keys * 4
    products = (blocks_k * queries + blocks_q * keys) * head_dim * itemsize + scores
    softmax = 2 * scores
    mixing = scores + (blocks_q * keys + queries) * head_dim * itemsize
    return batch * heads * (products + softmax + mixing)
