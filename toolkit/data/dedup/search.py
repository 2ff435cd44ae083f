"""How near-duplicates are looked for: the same stages, whoever runs them.

    texts -> exact sets and sketches -> keys, or candidate pairs -> verified pairs

One process runs them over all texts at once (``deduplicate``), an index document by document
(``DedupIndex``), and Ray on many machines (``deduplicate_dataset``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64, UInt32, UInt64

from toolkit.arguments import check_fraction

from .bands import Bands, bands_for_recall
from .blocks import blocks, in_parallel
from .candidates import band_keys, candidate_pairs
from .exact import jaccard_of_pairs
from .hamming import hamming_pairs, table_masks
from .hashing import ShingleSets, check_texts, joined, tokens
from .minhash import MinHasher
from .radius import Radius
from .shingling import Unit, check_shingling
from .simhash import SimHasher

Method = Literal["minhash", "simhash"]
Sketches = UInt32[np.ndarray, "documents num_perm"] | UInt64[np.ndarray, " documents"]
"""MinHash signatures, or SimHash fingerprints."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is a near-duplicate, and which pairs are worth comparing.

    Attributes:
        threshold: the least Jaccard similarity of a near-duplicate, 0 to 1, both excluded.
        ngram, unit: of the shingles whose sets are compared, as in ``shingles``.
        hasher: makes the sketches.
        rule: which sketches make two documents candidates.
    """

    threshold: float
    ngram: int
    unit: Unit
    hasher: MinHasher | SimHasher
    rule: Bands | Radius

    @classmethod
    def by(
        cls,
        threshold: float = 0.8,
        method: Method = "minhash",
        radius: int | None = None,
        ngram: int = 5,
        unit: Unit = "word",
        seed: int = 1,
    ) -> Search:
        """The search of a method's name and a few numbers.

        Args:
            threshold: Jaccard similarity, 0 < threshold < 1.
            method: "minhash", 128 permutations in bands that find a pair at ``threshold`` with
                probability 0.98; or "simhash", 64 bits of shingles of three.
            radius: for "simhash", the bits in which a candidate pair may differ.
            ngram, unit: of the shingles, as in ``shingles``.
            seed: of the permutations.
        Raises:
            TypeError: a number is of the wrong kind.
            ValueError: an argument outside its range; a radius without "simhash", or none with it.
        """
        check_fraction("threshold", threshold)
        ngram = check_shingling(ngram, unit)
        if method not in get_args(Method):
            raise ValueError(f'method must be "minhash" or "simhash", got {method!r}')
        if method == "simhash":
            if radius is None:
                raise ValueError(
                    "simhash needs a radius, the bits in which two fingerprints may differ: "
                    "a larger one finds more pairs and compares more in vain"
                )
            simhasher = SimHasher(unit=unit)
            return cls(threshold, ngram, unit, simhasher, Radius(radius, simhasher.bits))
        if radius is not None:
            raise ValueError(f"minhash takes no radius, got {radius!r}: only simhash has one")
        hasher = MinHasher(ngram=ngram, unit=unit, seed=seed)
        return cls(threshold, ngram, unit, hasher, bands_for_recall(threshold, hasher.num_perm))

    def sketch(self, texts: Sequence[str]) -> tuple[ShingleSets, Sketches]:
        """The exact sets of a block of texts, and their sketches."""
        words = tokens(texts, self.unit)
        sets = words.sets(self.ngram)
        if isinstance(self.hasher, MinHasher):
            return sets, self.hasher.sign(sets)
        return sets, self.hasher.fingerprint(words)

    def sketch_all(self, texts: Sequence[str], workers: int) -> tuple[ShingleSets, Sketches]:
        """``sketch`` of all texts, block by block on several threads."""
        check_texts(texts)
        none = self.sketch([])
        found = [none, *in_parallel(self.sketch, blocks(texts), workers)]
        return joined([sets for sets, _ in found]), np.concatenate([part for _, part in found])

    def candidates(self, sets: ShingleSets, sketches: Sketches) -> Int64[np.ndarray, "pairs 2"]:
        """The pairs worth comparing, rows (i, j) with i < j, ascending; no empty document."""
        documents = np.flatnonzero(sets.sizes)
        if isinstance(self.rule, Bands):
            return documents[candidate_pairs(sketches[documents], self.rule)]
        return documents[hamming_pairs(sketches[documents], self.rule)]

    def verify(
        self, sets: ShingleSets, pairs: Int64[np.ndarray, "pairs 2"], workers: int = 1
    ) -> Float64[np.ndarray, " pairs"]:
        """The exact similarity of pairs; 0 of those below the threshold."""
        similarity = in_parallel(
            lambda some: jaccard_of_pairs(sets.hashes, sets.offsets, some, self.threshold),
            np.array_split(pairs, workers),
            workers,
        )
        return np.concatenate(list(similarity))

    def keys(self, sketches: Sketches, documents: int) -> UInt64[np.ndarray, "documents tables"]:
        """The keys under which each document is found: candidates share one in its table.

        Args:
            sketches: of some documents.
            documents: how many there are in all, or will be.
        """
        if isinstance(self.rule, Bands):
            return band_keys(sketches, self.rule.b, self.rule.r)
        return sketches[:, None] & table_masks(self.rule, documents)
