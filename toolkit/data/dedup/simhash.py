"""SimHash fingerprints: a document in 64 bits, near-duplicates a few bits apart.

Give each shingle a random vector of +1 and -1, one entry a bit of its hash, and add the vectors
up; a fingerprint has the signs of the sum. Two documents differ in a bit when a random plane lies
between them, which happens with probability θ / π, θ being the angle between their counts of
shingles. Where MinHash compares sets by 128 numbers, SimHash compares directions by 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt64

from toolkit.arguments import whole_number
from toolkit.compiled import compiled

from .blocks import blocks, check_workers, in_parallel
from .hashing import Tokens, check_texts, tokens
from .shingling import Unit, check_shingling

MOST_BITS = 64


def simhash_fingerprint(hashes: UInt64[np.ndarray, " shingles"], bits: int = 64) -> int:
    """The fingerprint of one document, as the formula has it: signs of a sum of ±1 vectors.

    Args:
        hashes: its shingles, one that comes twice standing there twice.
        bits: of the fingerprint, the lowest of each hash.
    Returns:
        Bit k is 1 where more hashes have it than have not; 0 for a document without shingles.
    Source:
        Charikar, Similarity estimation techniques from rounding algorithms, 2002; in this form,
        Manku, Jain, Das Sarma, Detecting near-duplicates for web crawling, 2007.
    """
    votes = [sum(1 if hash >> k & 1 else -1 for hash in hashes.tolist()) for k in range(bits)]
    return sum(1 << k for k, vote in enumerate(votes) if vote > 0)


@dataclass(frozen=True, slots=True)
class SimHasher:
    """Turns texts into fingerprints.

    Equal settings give equal fingerprints, in any process, order or batch.

    Attributes:
        bits: of a fingerprint, 1 to 64.
        ngram: length of a shingle, at least 1.
        unit: "word" or "char", as in ``shingles``.
    """

    bits: int = 64
    ngram: int = 3
    unit: Unit = "word"

    def __post_init__(self) -> None:
        for name in ("bits", "ngram"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if not 1 <= self.bits <= MOST_BITS:
            raise ValueError(f"bits must be between 1 and {MOST_BITS}, got {self.bits!r}")
        check_shingling(self.ngram, self.unit)

    def fingerprints(
        self, texts: Sequence[str], workers: int | None = None
    ) -> UInt64[np.ndarray, " documents"]:
        """One fingerprint a text, in its lowest ``bits``.

        Args:
            texts: the documents.
            workers: threads, as many as there are cores if left out; they change no fingerprint.
        Returns:
            Fingerprints; 0 for a text without a shingle.
        Raises:
            TypeError: ``texts`` is no list of strings, or ``workers`` no whole number.
            ValueError: ``workers`` is below 1.
        """
        check_texts(texts)
        found = in_parallel(
            lambda block: self.fingerprint(tokens(block, self.unit)),
            blocks(texts),
            check_workers(workers),
        )
        return np.concatenate([np.empty(0, np.uint64), *found])

    def fingerprint(self, documents: Tokens) -> UInt64[np.ndarray, " documents"]:
        """The fingerprints of documents already cut into tokens of this ``unit``."""
        return _majorities(*documents.ngrams(self.ngram), self.bits)


@compiled
def _majorities(
    hashes: UInt64[np.ndarray, " shingles"], offsets: Int64[np.ndarray, " documents+1"], bits: int
) -> UInt64[np.ndarray, " documents"]:
    """``simhash_fingerprint`` of every document."""
    fingerprints = np.zeros(len(offsets) - 1, dtype=np.uint64)
    have = np.empty(MOST_BITS, dtype=np.uint32)  # how many hashes have each bit
    for document in range(len(fingerprints)):
        have[:] = 0
        for i in range(offsets[document], offsets[document + 1]):
            for k in range(MOST_BITS):
                have[k] += np.uint32(hashes[i] >> np.uint64(k) & np.uint64(1))
        for k in range(bits):
            if 2 * have[k] > offsets[document + 1] - offsets[document]:
                fingerprints[document] |= np.uint64(1) << np.uint64(k)
    return fingerprints
