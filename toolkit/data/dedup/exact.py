"""Exact Jaccard similarities: of given pairs, and of all pairs of a corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64, Int64, UInt64
from scipy import sparse

from toolkit.arguments import check_fraction
from toolkit.compiled import compiled

from .hashing import ShingleSets, shingle_sets
from .shingling import Unit

PAIR = np.dtype([("i", "i8"), ("j", "i8"), ("jaccard", "f8")])
"""A verified pair: documents i < j and the exact Jaccard similarity of their shingles."""


def all_pairs_jaccard(
    texts: Sequence[str], threshold: float = 0.8, ngram: int = 5, unit: Unit = "word"
) -> np.ndarray:
    """Every pair of documents at least ``threshold`` similar, found by comparing them all.

    With X the matrix of documents against shingles, 1 where a document has a shingle, the numbers
    of shingles shared are X X^T. It is the truth that ``deduplicate`` is measured against, and
    grows with the square of the corpus.

    Args:
        texts: the documents.
        threshold: Jaccard similarity, 0 < threshold < 1.
        ngram, unit: of the shingles, as in ``shingles``.
    Returns:
        Array of dtype ``PAIR``, i < j, ascending.
    Raises:
        TypeError: ``texts`` is no list of strings, or a number is of the wrong kind.
        ValueError: an argument outside its range.
    """
    check_fraction("threshold", threshold)
    sets = shingle_sets(texts, ngram, unit)
    blocks = overlapping_pairs(sets, threshold)
    return np.concatenate([np.empty(0, PAIR), *blocks])


def overlapping_pairs(
    sets: ShingleSets, threshold: float = 0.0, block: int = 1024
) -> Iterator[np.ndarray]:
    """The pairs that share a shingle and are at least ``threshold`` similar.

    Args:
        sets: the documents.
        threshold: least Jaccard similarity; 0 for all pairs that share a shingle.
        block: documents i of one array, to bound memory.
    Yields:
        Arrays of dtype ``PAIR``, i < j, ascending within and between arrays.
    """
    distinct, columns = np.unique(sets.hashes, return_inverse=True)
    ones = np.ones(len(columns), dtype=np.int32)
    index = columns.astype(np.int32), sets.offsets.astype(np.int32)
    x = sparse.csr_array((ones, *index), shape=(len(sets), len(distinct)))
    sizes = sets.sizes
    for start in range(0, len(sets), block):
        shared = (x[start : start + block] @ x[start:].T.tocsr()).tocoo()
        upper = shared.row < shared.col
        i, j, both = shared.row[upper] + start, shared.col[upper] + start, shared.data[upper]
        jaccard = both / (sizes[i] + sizes[j] - both)
        enough = jaccard >= threshold
        pairs = np.empty(np.count_nonzero(enough), dtype=PAIR)
        pairs["i"], pairs["j"], pairs["jaccard"] = i[enough], j[enough], jaccard[enough]
        yield pairs[np.lexsort((pairs["j"], pairs["i"]))]


@compiled
def jaccard_of_pairs(
    hashes: UInt64[np.ndarray, " shingles"],
    offsets: Int64[np.ndarray, " documents+1"],
    pairs: Int64[np.ndarray, "pairs 2"],
    threshold: float,
) -> Float64[np.ndarray, " pairs"]:
    """Exact Jaccard of pairs of sets; 0 for those below the threshold, most of which end early."""
    similarity = np.empty(len(pairs), dtype=np.float64)
    for pair in range(len(pairs)):
        i, j = pairs[pair]
        a, b = hashes[offsets[i] : offsets[i + 1]], hashes[offsets[j] : offsets[j + 1]]
        similarity[pair] = jaccard_if_near(a, b, threshold)
    return similarity


@compiled
def jaccard_if_near(
    a: UInt64[np.ndarray, " m"], b: UInt64[np.ndarray, " n"], threshold: float
) -> float:
    """Exact Jaccard of two sets, or 0 if it is below the threshold, by walking down both at once.

    To share ``enough`` members a set can spare only so many: the walk stops where more are gone.
    """
    members = len(a) + len(b)
    if members == 0:
        return 0.0
    enough = int(members * threshold / (1 + threshold))
    while enough <= min(len(a), len(b)) and enough / (members - enough) < threshold:
        enough += 1
    spare_a, spare_b = len(a) - enough, len(b) - enough
    i = j = both = 0
    while i < len(a) and j < len(b):
        x, y = a[i], b[j]
        both += x == y
        i += x <= y
        j += y <= x
        if i - both > spare_a or j - both > spare_b:
            return 0.0
    similarity = both / (members - both)
    return similarity if similarity >= threshold else 0.0
