"""MinHash signatures: a set of any size in a few hundred bytes that still tell similarity.

Permute all possible shingles at random and keep, of each set, the one that comes first. Two sets
keep the same one exactly when the first of their union lies in both, so

    P[min π(A) = min π(B)] = |A ∩ B| / |A ∪ B| = J(A, B)

and the share of ``num_perm`` permutations on which two signatures agree estimates it, with a
standard error of √(J (1 - J) / num_perm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt32, UInt64

from toolkit.arguments import whole_number
from toolkit.compiled import compiled

from .blocks import blocks, check_workers, in_parallel
from .hashing import ShingleSets, check_texts, tokens
from .shingling import Unit, check_shingling

EMPTY = np.uint32(0xFFFFFFFF)
"""What an empty set has in every place of its signature."""


def permutations(
    num_perm: int, seed: int = 1
) -> tuple[UInt32[np.ndarray, " num_perm"], UInt32[np.ndarray, " num_perm"]]:
    """Draw ``num_perm`` permutations π(x) = a x + b mod 2^32 of the 32-bit numbers.

    An odd ``a`` has an inverse mod 2^32, so no two numbers meet. The family is small, a few of
    all permutations; it suffices because shingles come to it already mixed by their hash.

    Args:
        num_perm: how many.
        seed: of NumPy's default generator. Fewer permutations are the first of more.
    Returns:
        a, all odd, and b.
    """
    draws = np.random.default_rng(seed).integers(2**32, size=(num_perm, 2), dtype=np.uint32)
    return draws[:, 0] | np.uint32(1), draws[:, 1].copy()


def minhash_signature(
    hashes: UInt64[np.ndarray, " shingles"],
    a: UInt32[np.ndarray, " num_perm"],
    b: UInt32[np.ndarray, " num_perm"],
) -> UInt32[np.ndarray, " num_perm"]:
    """The signature of one set, as the formula has it: min over x of a x + b mod 2^32.

    Args:
        hashes: the set's shingles; the upper 32 bits of each are permuted.
        a, b: the permutations.
    Returns:
        The least value under each permutation; 2^32 - 1 throughout for the empty set.
    Source:
        Broder, Charikar, Frieze, Mitzenmacher, Min-wise independent permutations, 1998.
    """
    x = (hashes >> np.uint64(32)).astype(np.uint32)
    return (a[:, None] * x + b[:, None]).min(axis=1, initial=EMPTY)


@dataclass(frozen=True, slots=True)
class MinHasher:
    """Turns texts into signatures.

    Equal settings give equal signatures, in any process, order or batch.

    Attributes:
        num_perm: values in a signature, at least 1.
        ngram: length of a shingle, at least 1.
        unit: "word" or "char", as in ``shingles``.
        seed: of the permutations.
    """

    num_perm: int = 128
    ngram: int = 5
    unit: Unit = "word"
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("num_perm", "ngram", "seed"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if self.num_perm < 1:
            raise ValueError(f"num_perm must be at least 1, got {self.num_perm!r}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed!r}")
        check_shingling(self.ngram, self.unit)

    def signatures(
        self, texts: Sequence[str], workers: int | None = None
    ) -> UInt32[np.ndarray, "documents num_perm"]:
        """One signature a text.

        Args:
            texts: the documents.
            workers: threads, as many as there are cores if left out; they change no signature.
        Returns:
            Signatures; a text without a shingle has 2^32 - 1 in every place.
        Raises:
            TypeError: ``texts`` is no list of strings, or ``workers`` no whole number.
            ValueError: ``workers`` is below 1.
        """
        check_texts(texts)
        # A shingle that comes twice changes no minimum: nothing needs to be sorted here.
        signed = in_parallel(
            lambda block: self._sign(*tokens(block, self.unit).ngrams(self.ngram)),
            blocks(texts),
            check_workers(workers),
        )
        return np.concatenate([self._sign(np.empty(0, np.uint64), np.zeros(1, np.int64)), *signed])

    def sign(self, sets: ShingleSets) -> UInt32[np.ndarray, "documents num_perm"]:
        """The signatures of documents already hashed, with this ``ngram`` and ``unit``."""
        return self._sign(sets.hashes, sets.offsets)

    def _sign(
        self, hashes: UInt64[np.ndarray, " shingles"], offsets: Int64[np.ndarray, " documents+1"]
    ) -> UInt32[np.ndarray, "documents num_perm"]:
        signatures = np.full((len(offsets) - 1, self.num_perm), EMPTY)
        _lower_to_minima(hashes, offsets, *permutations(self.num_perm, self.seed), signatures)
        return signatures


@compiled
def _lower_to_minima(
    hashes: UInt64[np.ndarray, " shingles"],
    offsets: Int64[np.ndarray, " documents+1"],
    a: UInt32[np.ndarray, " num_perm"],
    b: UInt32[np.ndarray, " num_perm"],
    signatures: UInt32[np.ndarray, "documents num_perm"],
) -> None:
    """``minhash_signature`` of every document. The inner loop runs over permutations, which lie
    side by side in memory, so that the processor does eight or sixteen of them at once."""
    for document in range(len(offsets) - 1):
        signature = signatures[document]
        for i in range(offsets[document], offsets[document + 1]):
            x = np.uint32(hashes[i] >> np.uint64(32))
            for k in range(len(a)):
                signature[k] = min(signature[k], np.uint32(a[k] * x + b[k]))
