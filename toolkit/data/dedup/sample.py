"""A sample of a corpus's pairs, small enough to draw, that still speaks for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8, UInt32, UInt64

from toolkit.arguments import check_fraction, whole_number

from .exact import PAIR, overlapping_pairs
from .hashing import check_texts, shingle_sets
from .minhash import MinHasher
from .search import Method

Signatures = UInt32[np.ndarray, "documents num_perm"] | UInt64[np.ndarray, " documents"]

BINS = 20
"""Bins of Jaccard similarity, each 0.05 wide."""


@dataclass(frozen=True, slots=True)
class PairSample:
    """Pairs of documents with what it takes to see which of them any bands or radius would find.

    Attributes:
        method: "minhash", whose signature has a number at each position, or "simhash", whose
            fingerprint has a bit there.
        jaccard: exact similarity of each pair, ascending.
        agree: one bit a position, 1 where both documents have the same, the first position (of a
            fingerprint: its highest bit) in the highest bit: ``np.packbits(agreement, axis=1)``.
        stands_for: how many of the corpus's pairs each sampled one stands for.
        documents: indices (i, j) of each pair, i < j.
        positions: numbers in a signature or bits in a fingerprint, a multiple of 8.
        threshold: the similarity from which a pair counts as near-duplicate.
        total_pairs: pairs of the corpus that share a shingle, which is ``stands_for.sum()``.
    """

    method: Method
    jaccard: Float64[np.ndarray, " pairs"]
    agree: UInt8[np.ndarray, "pairs positions/8"]
    stands_for: Float64[np.ndarray, " pairs"]
    documents: Int64[np.ndarray, "pairs 2"]
    positions: int
    threshold: float
    total_pairs: int


def sample_pairs(
    texts: Sequence[str],
    threshold: float = 0.8,
    *,
    signatures: Signatures | None = None,
    num_perm: int = 128,
    bits: int = 64,
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
        signatures: whose agreement to look at: a row of uint32 a document for MinHash, one uint64
            a document for SimHash; the library's own MinHash signatures if left out.
        num_perm: permutations of those, a multiple of 8.
        bits: length of SimHash fingerprints, a multiple of 8 up to 64; they are the lowest bits.
        per_bin: pairs drawn from a bin, at least 1; a bin with fewer gives them all.
        seed: of the permutations and of the draw.
    Returns:
        PairSample over the pairs that share at least one shingle (a word 5-gram).
    Raises:
        TypeError: ``texts`` is no list of strings, ``signatures`` no array, or a number is of the
            wrong kind.
        ValueError: an argument outside its range, ``signatures`` of another shape, or a
            fingerprint longer than ``bits``.
    """
    check_fraction("threshold", threshold)
    check_texts(texts)
    method, positions = _kind(signatures, num_perm, bits)
    if signatures is not None and len(signatures) != len(texts):
        raise ValueError(f"{len(texts)} texts need as many signatures, got {len(signatures)}")
    per_bin = whole_number("per_bin", per_bin)
    if per_bin < 1:
        raise ValueError(f"per_bin must be at least 1, got {per_bin!r}")
    hasher = MinHasher(positions, seed=seed)
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
        method=method,
        jaccard=drawn["jaccard"].copy(),
        agree=_agreement(signatures[drawn["i"]], signatures[drawn["j"]], positions),
        stands_for=counts[bins] / np.bincount(bins, minlength=BINS)[bins],
        documents=np.stack([drawn["i"], drawn["j"]], axis=1),
        positions=positions,
        threshold=threshold,
        total_pairs=int(counts.sum()),
    )


def _kind(signatures: Signatures | None, num_perm: int, bits: int) -> tuple[Method, int]:
    """The method that made the signatures, and their positions."""
    if signatures is None:
        return "minhash", _whole_bytes("num_perm", num_perm)
    kind = getattr(signatures, "dtype", type(signatures).__name__)
    if kind not in (np.uint32, np.uint64):
        raise TypeError(
            "signatures must be a uint32 array from MinHasher.signatures or a uint64 array from "
            f"SimHasher.fingerprints, got {kind}"
        )
    if kind == np.uint32:
        if signatures.ndim != 2:
            axes = "two axes, documents and num_perm"
            raise ValueError(f"signatures must have {axes}, got shape {signatures.shape}")
        return "minhash", _whole_bytes("num_perm", signatures.shape[1])
    if signatures.ndim != 1:
        raise ValueError(f"fingerprints must have one axis, got shape {signatures.shape}")
    bits = _whole_bytes("bits", bits)
    longest = int(signatures.max(initial=0)).bit_length()
    if not longest <= bits <= 64:
        raise ValueError(
            f"bits must be at most 64 and no fewer than a fingerprint has, {longest}; got {bits}"
        )
    return "simhash", bits


def _whole_bytes(name: str, value: int) -> int:
    value = whole_number(name, value)
    if value < 8 or value % 8:
        raise ValueError(
            f"{name} must be a multiple of 8, got {value!r}: agreement is packed in bytes"
        )
    return value


def _agreement(one: Signatures, other: Signatures, positions: int) -> UInt8[np.ndarray, "pairs _"]:
    if one.ndim == 2:
        return np.packbits(one == other, axis=1)
    octets = (~(one ^ other)).astype(">u8")[:, None].view(np.uint8)
    return octets[:, 8 - positions // 8 :]


def _bin(pairs: np.ndarray) -> Int64[np.ndarray, " pairs"]:
    return np.minimum((pairs["jaccard"] * BINS).astype(np.int64), BINS - 1)


def _least_of_each_bin(
    pairs: np.ndarray, keys: Float64[np.ndarray, " pairs"], per_bin: int
) -> Int64[np.ndarray, " drawn"]:
    bins = _bin(pairs)
    order = np.lexsort((keys, bins))
    rank = np.arange(len(order)) - np.searchsorted(bins[order], bins[order])
    return order[rank < per_bin]
