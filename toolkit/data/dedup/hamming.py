"""All pairs of fingerprints within a few bits of each other, without comparing all pairs.

Cut the bits into blocks. Fingerprints that differ in at most k bits differ in at most k blocks, so
of m blocks they agree on some m - k: for each choice of m - k blocks, a table brings those that
agree there together. Few blocks make few tables with crowded buckets, many blocks the reverse.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise
from math import comb, log2

import numpy as np
from jaxtyping import Int64, UInt64

from .candidates import pairs_by_keys
from .radius import Radius

MOST_TABLES = 256


def hamming_pairs(
    fingerprints: UInt64[np.ndarray, " documents"], radius: Radius
) -> Int64[np.ndarray, "pairs 2"]:
    """The pairs of fingerprints within the radius: every one, and no other.

    Args:
        fingerprints: from ``SimHasher.fingerprints``.
        radius: bits that may differ.
    Returns:
        Rows (i, j) with i < j, in ascending order.
    Raises:
        TypeError: fingerprints of another dtype than uint64.
        ValueError: fingerprints are no vector.
    Source:
        Manku, Jain, Das Sarma, Detecting near-duplicates for web crawling, 2007, section 3.
    """
    check_fingerprints(fingerprints)
    masks = table_masks(radius, len(fingerprints))
    return pairs_by_keys(fingerprints, lambda first: fingerprints[first, None] & masks, radius.k)


def hamming_pairs_plain(
    fingerprints: UInt64[np.ndarray, " documents"], radius: Radius
) -> set[tuple[int, int]]:
    """``hamming_pairs`` in so many words: compare them all."""
    numbered = enumerate(fingerprints.tolist())
    return {
        (i, j) for (i, x), (j, y) in combinations(numbered, 2) if (x ^ y).bit_count() <= radius.k
    }


@cache
def table_masks(radius: Radius, documents: int) -> UInt64[np.ndarray, " tables"]:
    """The bits that each table's buckets agree on, so that any pair within ``radius`` meets.

    Args:
        radius: bits that may differ.
        documents: how many there will be; the number of blocks that makes least work for so many
            is chosen. It changes the time, and no pair.
    Returns:
        One mask a table; a mask of 0 is one bucket, in which all are compared.
    """

    k, bits = radius.k, radius.bits

    def work(blocks: int) -> float:
        agreeing = bits * (blocks - k) / blocks
        sort, compare = documents * log2(documents + 2), documents**2 / 2 ** (agreeing + 1)
        return comb(blocks, k) * (sort + compare)

    choices = [blocks for blocks in range(k + 1, bits + 1) if comb(blocks, k) <= MOST_TABLES]
    blocks = min(choices, key=work, default=0)
    if not blocks or work(blocks) > documents**2 / 2:
        return np.zeros(1, dtype=np.uint64)
    edges = [bits * block // blocks for block in range(blocks + 1)]
    parts = [(1 << stop) - (1 << start) for start, stop in pairwise(edges)]
    masks = [sum(chosen) for chosen in combinations(parts, blocks - k)]
    return np.array(masks, dtype=np.uint64)


def check_fingerprints(fingerprints: UInt64[np.ndarray, " documents"]) -> None:
    """Refuse what is not a vector of fingerprints."""
    if getattr(fingerprints, "dtype", None) != np.uint64:
        got = getattr(fingerprints, "dtype", type(fingerprints).__name__)
        raise TypeError(
            f"fingerprints must be a uint64 array from SimHasher.fingerprints, got {got}"
        )
    if fingerprints.ndim != 1:
        raise ValueError(f"fingerprints must have one axis, got shape {fingerprints.shape}")
