"""Locality-sensitive hashing: the pairs of documents that share a bucket.

Comparing all pairs of n documents takes n (n - 1) / 2 comparisons. Each band of a signature is
the key of a bucket instead, and only documents that meet in a bucket are compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import combinations

import numpy as np
from jaxtyping import Int64, UInt32, UInt64

from toolkit.compiled import compiled

from .bands import Bands
from .hashing import mix
from .minhash import EMPTY


def candidate_pairs_plain(
    signatures: UInt32[np.ndarray, "documents num_perm"], bands: Bands
) -> set[tuple[int, int]]:
    """``candidate_pairs`` in so many words: a dictionary of buckets, and every pair in each."""
    buckets = defaultdict(list)
    for document, signature in enumerate(signatures):
        if (signature == EMPTY).all():
            continue
        for band in range(bands.b):
            rows = signature[band * bands.r : (band + 1) * bands.r]
            buckets[band, rows.tobytes()].append(document)
    return {pair for bucket in buckets.values() for pair in combinations(bucket, 2)}


def candidate_pairs(
    signatures: UInt32[np.ndarray, "documents num_perm"], bands: Bands
) -> Int64[np.ndarray, "pairs 2"]:
    """The pairs of documents whose signatures agree on all rows of at least one band.

    Buckets are told apart by a 64-bit hash of their rows, which at worst (2^-64 a pair) compares
    a pair too many. Documents with the same signature are bucketed once, however many they are,
    so memory is that of the answer; an empty document is in no bucket.

    Args:
        signatures: from ``MinHasher.signatures``.
        bands: the split; b * r may leave the last values of a signature unused.
    Returns:
        Rows (i, j) with i < j, in ascending order, without repeats.
    Raises:
        TypeError: signatures of another dtype than uint32.
        ValueError: signatures are no matrix, or have fewer than b * r values.
    Source:
        Indyk, Motwani, Approximate nearest neighbors, 1998; Mining of Massive Datasets, 3.4.
    """
    check_signatures(signatures)
    if bands.b * bands.r > signatures.shape[1]:
        raise ValueError(
            f"{bands.b} bands of {bands.r} rows need signatures of {bands.b * bands.r} values, "
            f"got {signatures.shape[1]}: raise num_perm or choose smaller bands"
        )
    documents = np.flatnonzero((signatures != EMPTY).any(axis=1))
    signatures = signatures[documents]
    whole = band_keys(signatures, 1, signatures.shape[1])[:, 0]
    return documents[
        pairs_by_keys(whole, lambda first: band_keys(signatures[first], bands.b, bands.r))
    ]


def pairs_by_keys(
    sketches: UInt64[np.ndarray, " documents"],
    keys: Callable[[Int64[np.ndarray, " groups"]], UInt64[np.ndarray, "groups tables"]],
    radius: int | None = None,
) -> Int64[np.ndarray, "pairs 2"]:
    """The pairs of documents that share a key in some table.

    Documents of the same sketch share every key: they are looked up once, however many they are.

    Args:
        sketches: of each document; the same where all keys are.
        keys: given the first document of each group of the same sketch, its key in every table.
        radius: if given, only pairs whose sketches differ in at most so many bits.
    Returns:
        Rows (i, j) with i < j, in ascending order, without repeats.
    """
    distinct, first, group = np.unique(sketches, return_index=True, return_inverse=True)
    members = np.argsort(group, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=len(first)))])

    keys_of_groups = keys(first)
    found = [np.repeat(np.arange(len(first)), 2).reshape(-1, 2)]  # each group meets itself
    for table in range(keys_of_groups.shape[1]):
        order = np.argsort(keys_of_groups[:, table], kind="stable")
        found.append(
            _first_meetings(
                keys_of_groups, table, order, distinct, -1 if radius is None else radius
            )
        )
    pairs = _expand(np.concatenate(found), members, offsets)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


@compiled
def band_keys(
    signatures: UInt32[np.ndarray, "documents num_perm"], b: int, r: int
) -> UInt64[np.ndarray, "documents b"]:
    """A 64-bit hash of the r rows of each of b bands."""
    keys = np.zeros((len(signatures), b), dtype=np.uint64)
    for document in range(len(signatures)):
        for band in range(b):
            h = np.uint64(0)
            for row in range(band * r, (band + 1) * r):
                h = mix(h + np.uint64(signatures[document, row]))
            keys[document, band] = h
    return keys


@compiled
def _first_meetings(
    keys: UInt64[np.ndarray, "groups tables"],
    table: int,
    order: Int64[np.ndarray, " groups"],
    sketches: UInt64[np.ndarray, " groups"],
    radius: int,
) -> Int64[np.ndarray, "pairs 2"]:
    """The pairs that share a bucket of this table and of none before it, within the radius."""
    found = np.empty((1024, 2), dtype=np.int64)
    count = 0
    sorted_keys, sorted_sketches = keys[order, table], sketches[order]
    start = 0  # of the bucket that position i lies in
    for i in range(len(order)):
        if sorted_keys[i] != sorted_keys[start]:
            start = i
        for j in range(start, i):
            if radius >= 0 and bits_set(sorted_sketches[i] ^ sorted_sketches[j]) > radius:
                continue
            met = False
            for earlier in range(table):
                met |= keys[order[i], earlier] == keys[order[j], earlier]
            if met:
                continue
            if count == len(found):
                found = np.concatenate((found, np.empty_like(found)))
            found[count, 0] = order[j]
            found[count, 1] = order[i]
            count += 1
    return found[:count]


@compiled
def bits_set(x: np.uint64) -> np.int64:
    """How many bits are 1, by adding neighbours in ever wider fields."""
    x -= x >> np.uint64(1) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + (x >> np.uint64(2) & np.uint64(0x3333333333333333))
    x = x + (x >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64(x * np.uint64(0x0101010101010101) >> np.uint64(56))


@compiled
def _expand(
    pairs: Int64[np.ndarray, "pairs_of_groups 2"],
    members: Int64[np.ndarray, " documents"],
    offsets: Int64[np.ndarray, " groups+1"],
) -> Int64[np.ndarray, "pairs 2"]:
    """Pairs of groups as pairs of their members; a group with itself, as all pairs within it."""
    total = 0
    for row in range(len(pairs)):
        g, h = pairs[row, 0], pairs[row, 1]
        size = offsets[g + 1] - offsets[g]
        total += size * (size - 1) // 2 if g == h else size * (offsets[h + 1] - offsets[h])
    expanded = np.empty((total, 2), dtype=np.int64)
    count = 0
    for row in range(len(pairs)):
        g, h = pairs[row, 0], pairs[row, 1]
        for i in range(offsets[g], offsets[g + 1]):
            for j in range(i + 1 if g == h else offsets[h], offsets[h + 1]):
                expanded[count, 0] = min(members[i], members[j])
                expanded[count, 1] = max(members[i], members[j])
                count += 1
    return expanded


def check_signatures(signatures: UInt32[np.ndarray, "documents num_perm"]) -> None:
    """Refuse what is not a matrix of signatures."""
    if getattr(signatures, "dtype", None) != np.uint32:
        got = getattr(signatures, "dtype", type(signatures).__name__)
        raise TypeError(f"signatures must be a uint32 array from MinHasher.signatures, got {got}")
    if signatures.ndim != 2:
        raise ValueError(
            f"signatures must have two axes, documents and num_perm, got shape {signatures.shape}"
        )
