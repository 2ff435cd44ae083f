"""A sample of a corpus's pairs, small enough to draw, that still speaks for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8, UInt32

from .arguments import check_fraction, whole_number
from .candidates import check_signatures
from .exact import PAIR, overlapping_pairs
from .hashing import check_texts, shingle_sets
from .minhash import MinHasher

BINS = 20
"""Bins of Jaccard similarity, each 0.05 wide."""


@dataclass(frozen=True, slots=True)
class PairSample:
    """Pairs of documents with what it takes to see which of them any bands would find.

    Attributes:
        jaccard: exact similarity of each pair, ascending.
        agree: one bit a permutation, 1 where both signatures have the same value, the first
            permutation in the highest bit: ``np.packbits(agreement, axis=1)``.
        stands_for: how many of the corpus's pairs each sampled one stands for.
        documents: indices (i, j) of each pair, i < j.
        num_perm: permutations in a signature, a multiple of 8.
        threshold: the similarity from which a pair counts as near-duplicate.
        total_pairs: pairs of the corpus that share a shingle, which is ``stands_for.sum()``.
    """

    jaccard: Float64[np.ndarray, " pairs"]
    agree: UInt8[np.ndarray, "pairs num_perm/8"]
    stands_for: Float64[np.ndarray, " pairs"]
    documents: Int64[np.ndarray, "pairs 2"]
    num_perm: int
    threshold: float
    total_pairs: int


def sample_pairs(
    texts: Sequence[str],
    threshold: float = 0.8,
    *,
    signatures: UInt32[np.ndarray, "documents num_perm"] | None = None,
    num_perm: int = 128,
    per_bin: int = 60,
    seed: int = 1,
) -> PairSample:
    """Draw up to ``per_bin`` pairs from each twentieth of the Jaccard scale.

    Nearly all pairs of a corpus are nearly unlike, so a plain sample would show little else. Here
    each bin is sampled on its own and each pair weighted by how many it stands for. The exact
    similarity of all pairs is computed for it: for thousands of documents, not millions.

    Args:
        texts: the documents.
        threshold: Jaccard similarity, 0 < threshold < 1; recorded, it changes no pair.
        signatures: whose agreement to look at; the library's own if left out.
        num_perm: permutations of those, a multiple of 8.
        per_bin: pairs drawn from a bin, at least 1; a bin with fewer gives them all.
        seed: of the permutations and of the draw.
    Returns:
        PairSample over the pairs that share at least one shingle (a word 5-gram).
    Raises:
        TypeError: ``texts`` is no list of strings, ``signatures`` no array, or a number is of the
            wrong kind.
        ValueError: an argument outside its range, or ``signatures`` of another shape.
    """
    check_fraction("threshold", threshold)
    check_texts(texts)
    if signatures is not None:
        check_signatures(signatures)
        if len(signatures) != len(texts):
            raise ValueError(f"{len(texts)} texts need as many signatures, got {len(signatures)}")
        num_perm = signatures.shape[1]
    num_perm, per_bin = whole_number("num_perm", num_perm), whole_number("per_bin", per_bin)
    if num_perm < 8 or num_perm % 8:
        raise ValueError(
            f"num_perm must be a multiple of 8, got {num_perm!r}: agreement is packed in bytes"
        )
    if per_bin < 1:
        raise ValueError(f"per_bin must be at least 1, got {per_bin!r}")
    hasher = MinHasher(num_perm, seed=seed)
    sets = shingle_sets(texts, hasher.ngram, hasher.unit)

    # The pairs with the least random keys of each bin are a uniform sample of it, whatever the
    # order they come in, and can be kept up to date block by block.
    rng = np.random.default_rng(seed)
    counts = np.zeros(BINS, dtype=np.int64)
    drawn, keys = np.empty(0, dtype=PAIR), np.empty(0)
    for pairs in overlapping_pairs(sets):
        counts += np.bincount(_bin(pairs), minlength=BINS)
        drawn, keys = np.concatenate([drawn, pairs]), np.concatenate([keys, rng.random(len(pairs))])
        least = _least_of_each_bin(drawn, keys, per_bin)
        drawn, keys = drawn[least], keys[least]
    drawn = np.sort(drawn, order=["jaccard", "i", "j"])

    bins = _bin(drawn)
    if signatures is None:
        signatures = hasher.sign(sets)
    return PairSample(
        jaccard=drawn["jaccard"].copy(),
        agree=np.packbits(signatures[drawn["i"]] == signatures[drawn["j"]], axis=1),
        stands_for=counts[bins] / np.bincount(bins, minlength=BINS)[bins],
        documents=np.stack([drawn["i"], drawn["j"]], axis=1),
        num_perm=num_perm,
        threshold=threshold,
        total_pairs=int(counts.sum()),
    )


def _bin(pairs: np.ndarray) -> Int64[np.ndarray, " pairs"]:
    return np.minimum((pairs["jaccard"] * BINS).astype(np.int64), BINS - 1)


def _least_of_each_bin(
    pairs: np.ndarray, keys: Float64[np.ndarray, " pairs"], per_bin: int
) -> Int64[np.ndarray, " drawn"]:
    bins = _bin(pairs)
    order = np.lexsort((keys, bins))
    rank = np.arange(len(order)) - np.searchsorted(bins[order], bins[order])
    return order[rank < per_bin]
