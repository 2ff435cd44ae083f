"""From candidates to a corpus without near-duplicates: verify pairs, keep one of each cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from toolkit.compiled import compiled

from .bands import Bands
from .blocks import check_workers
from .exact import PAIR
from .radius import Radius
from .search import Method, Search
from .shingling import Unit, jaccard


@dataclass(frozen=True, slots=True)
class Deduplication:
    """What ``deduplicate`` found and decided.

    Attributes:
        documents: how many there were.
        threshold: the least Jaccard similarity of a near-duplicate.
        rule: what made two documents candidates: the bands of their signatures, or the radius
            around their fingerprints.
        candidates: pairs compared.
        kept: indices of the documents to keep, ascending.
        pairs: verified pairs, of dtype [("i", "i8"), ("j", "i8"), ("jaccard", "f8")], i < j,
            ascending.
        duplicate_of: for each document, the kept one that it duplicates; itself if it is kept.
        empty: indices of documents without a word, all kept.
    """

    documents: int
    threshold: float
    rule: Bands | Radius
    candidates: int
    kept: Int64[np.ndarray, " kept"]
    pairs: np.ndarray
    duplicate_of: Int64[np.ndarray, " documents"]
    empty: Int64[np.ndarray, " empty"]

    @property
    def clusters(self) -> list[Int64[np.ndarray, " members"]]:
        """Each kept document that has duplicates, followed by them in ascending order."""
        members = np.argsort(self.duplicate_of, kind="stable")
        starts = np.flatnonzero(np.diff(self.duplicate_of[members], prepend=-1))
        return [cluster for cluster in np.split(members, starts) if len(cluster) > 1]


def deduplicate(
    texts: Sequence[str],
    threshold: float = 0.8,
    seed: int = 1,
    *,
    method: Method = "minhash",
    radius: int | None = None,
    ngram: int = 5,
    unit: Unit = "word",
    workers: int | None = None,
) -> Deduplication:
    """Choose the documents to keep so that no two of them are known near-duplicates.

    Candidates come from MinHash signatures, 128 permutations in bands that find a pair at
    ``threshold`` with probability 0.98, or from SimHash fingerprints. Every candidate is then
    verified on its exact Jaccard similarity, and in order of index

        a document is removed if, and only if, an earlier kept one is verified
        to be at least ``threshold`` similar; it is a duplicate of the first such.

    So the first document of a cluster stays, every removed document has a near-duplicate among
    the kept, and a chain of neighbours (a like b, b like c, c unlike a) can't delete its far end.
    A document without a word is kept and duplicates nothing.

    ``pairs`` lists every verified pair: a thousand copies of one text are 499,500 of them. A
    ``DedupIndex`` comes to the same ``kept`` and compares each copy once.

    Args:
        texts: the documents.
        threshold: Jaccard similarity, 0 < threshold < 1.
        seed: of the permutations, the only thing here that is random.
        method: "minhash" or "simhash": how candidates are found.
        radius: for "simhash", the bits in which the fingerprints of a candidate pair may differ.
        ngram, unit: of the shingles that are compared, as in ``shingles``.
        workers: threads, as many as there are cores if left out; they change no answer.
    Returns:
        Deduplication.
    Raises:
        TypeError: ``texts`` is no list of strings, or a number is of the wrong kind.
        ValueError: an argument outside its range; a radius without "simhash", or none with it.
    """
    search = Search.by(threshold, method, radius, ngram, unit, seed)
    workers = check_workers(workers)
    sets, sketches = search.sketch_all(texts, workers)
    candidates = search.candidates(sets, sketches)
    similarity = search.verify(sets, candidates, workers)

    near = similarity >= threshold
    pairs = np.empty(np.count_nonzero(near), dtype=PAIR)
    pairs["i"], pairs["j"] = candidates[near].T
    pairs["jaccard"] = similarity[near]

    duplicate_of = first_kept(len(sets), candidates[near])
    return Deduplication(
        documents=len(sets),
        threshold=threshold,
        rule=search.rule,
        candidates=len(candidates),
        kept=np.flatnonzero(duplicate_of == np.arange(len(sets))),
        pairs=pairs,
        duplicate_of=duplicate_of,
        empty=np.flatnonzero(sets.sizes == 0),
    )


def keep(
    sets: Sequence[Set[str]], candidates: Int64[np.ndarray, "pairs 2"], threshold: float = 0.8
) -> list[int]:
    """The rule of ``deduplicate`` in so many words, on plain sets.

    Args:
        sets: the shingles of each document.
        candidates: rows (i, j) with i < j.
        threshold: Jaccard similarity from which a candidate is a near-duplicate.
    Returns:
        The documents that stay, ascending: each that is no near-duplicate of an earlier one that
        stays.
    """
    earlier = defaultdict(list)
    for i, j in candidates.tolist():
        if jaccard(sets[i], sets[j]) >= threshold:
            earlier[j].append(i)
    stays: set[int] = set()
    for document in range(len(sets)):
        if stays.isdisjoint(earlier[document]):
            stays.add(document)
    return sorted(stays)


@compiled
def first_kept(
    documents: int, pairs: Int64[np.ndarray, "pairs 2"]
) -> Int64[np.ndarray, " documents"]:
    """The kept document that each document duplicates; itself if it is kept.

    Args:
        documents: how many there are.
        pairs: near-duplicates, rows (i, j) with i < j, ascending.
    Returns:
        Index of a kept document for each document.
    """
    duplicate_of = np.arange(documents, dtype=np.int64)
    # In ascending order all pairs that could remove i come before those of i: when i is asked
    # whether it stays, that is settled.
    for row in range(len(pairs)):
        i, j = pairs[row, 0], pairs[row, 1]
        if duplicate_of[i] == i and duplicate_of[j] == j:
            duplicate_of[j] = i
    return duplicate_of
