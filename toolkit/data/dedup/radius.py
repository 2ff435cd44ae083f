"""How many bits two fingerprints may differ in, and what that does to recall.

Each bit of a SimHash fingerprint says on which side of a random plane a document's features lie.
The plane falls between two documents at an angle θ with probability θ / π. Sets of one size and
Jaccard similarity s have cos θ = 2s / (1 + s), so one bit differs with probability

    p = arccos(2s / (1 + s)) / π

and at most k of all bits with

    P(s) = Σ C(bits, d) p^d (1 - p)^(bits - d), over d from 0 to k,

an S-shaped curve: a larger radius pushes it to the left, more bits make it steeper.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from toolkit.arguments import whole_number

from .bands import Similarity


@dataclass(frozen=True, slots=True)
class Radius:
    """The most bits, ``k`` of ``bits``, in which the fingerprints of a candidate pair may differ.

    Attributes:
        k: bits that may differ, 0 to ``bits``.
        bits: length of a fingerprint, at least 1.
    """

    k: int
    bits: int = 64

    def __post_init__(self) -> None:
        for name in ("k", "bits"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if self.bits < 1:
            raise ValueError(f"bits must be at least 1, got {self.bits!r}")
        if not 0 <= self.k <= self.bits:
            raise ValueError(f"a radius in {self.bits} bits is 0 to {self.bits}, got {self.k!r}")

    def probability(self, similarity: Similarity) -> Similarity:
        """The chance that two documents of this Jaccard similarity are within the radius.

        Their sets are taken to have one size, and ``similarity`` to be that of the very features
        that the fingerprints are made of.

        Args:
            similarity: 0 to 1, one or an array.
        Returns:
            Σ C(bits, d) p^d (1 - p)^(bits - d) over d ≤ k, of the same shape.
        Source:
            Charikar, Similarity estimation techniques from rounding algorithms, 2002; Manku, Jain,
            Das Sarma, Detecting near-duplicates for web crawling, 2007.
        """
        p = np.arccos(2 * similarity / (1 + similarity)) / np.pi
        n = self.bits
        return sum(comb(n, d) * p**d * (1 - p) ** (n - d) for d in range(self.k + 1))
