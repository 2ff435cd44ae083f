"""How to cut a signature into bands, and what that does to recall.

A signature of b bands of r rows puts a document into b buckets, one a band; two documents are
compared when they share a bucket. If their similarity is s, all r rows of one band agree with
probability s^r, so they share at least one bucket with probability

    P(s) = 1 - (1 - s^r)^b,

an S-shaped curve: more rows push it to the right, more bands push it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from toolkit.arguments import check_fraction, whole_number

Similarity = TypeVar("Similarity", float, Float64[np.ndarray, "*s"])


@dataclass(frozen=True, slots=True)
class Bands:
    """A split of a signature into ``b`` bands of ``r`` rows.

    Attributes:
        b: bands, at least 1.
        r: rows in a band, at least 1.
    """

    b: int
    r: int

    def __post_init__(self) -> None:
        for name in ("b", "r"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if self.b < 1 or self.r < 1:
            raise ValueError(f"bands and rows must be at least 1, got ({self.b!r}, {self.r!r})")

    def probability(self, similarity: Similarity) -> Similarity:
        """The chance that two documents of this Jaccard similarity share a bucket.

        Args:
            similarity: 0 to 1, one or an array.
        Returns:
            1 - (1 - s^r)^b, of the same shape.
        """
        return 1.0 - (1.0 - similarity**self.r) ** self.b


def optimal_bands(threshold: float, num_perm: int) -> Bands:
    """The bands nearest to a step at ``threshold``: nothing below it, everything above.

    Minimises the area of P below the threshold (false positives) plus that of 1 - P above it
    (false negatives), as if every similarity were equally common. In real text pairs crowd just
    above the threshold, and many of them are then missed: see ``bands_for_recall``.

    Args:
        threshold: Jaccard similarity, 0 < threshold < 1.
        num_perm: signature length, at least 2; b * r <= num_perm.
    Returns:
        Bands(b, r).
    Raises:
        TypeError: threshold is no number, or num_perm no whole one.
        ValueError: threshold or num_perm outside its range.
    Source:
        Zhu and others, LSH Ensemble, 2016; it is what the library datasketch chooses.
    """
    num_perm = _check(threshold, num_perm)

    def error(bands: Bands) -> float:
        false_positives = _area(bands, 0.0, threshold)
        false_negatives = (1.0 - threshold) - _area(bands, threshold, 1.0)
        return false_positives + false_negatives

    return min(_splits(num_perm), key=error)


def bands_for_recall(threshold: float, num_perm: int, recall: float = 0.98) -> Bands:
    """The most selective bands that still find pairs at ``threshold`` with probability ``recall``.

    Of all (b, r) with P(threshold) >= recall, the one with the least area of P below the
    threshold. P rises with similarity, so every pair at least that similar is found at least as
    surely.

    Args:
        threshold: Jaccard similarity, 0 < threshold < 1.
        num_perm: signature length, at least 2; b * r <= num_perm.
        recall: 0 < recall < 1.
    Returns:
        Bands(b, r).
    Raises:
        TypeError: threshold or recall is no number, or num_perm no whole one.
        ValueError: an argument outside its range, or ``num_perm`` too short for such a recall.
    """
    num_perm = _check(threshold, num_perm)
    check_fraction("recall", recall)
    enough = [bands for bands in _splits(num_perm) if bands.probability(threshold) >= recall]
    if not enough:
        raise ValueError(
            f"no bands of {num_perm} permutations find pairs at {threshold} with probability "
            f"{recall}: raise num_perm or lower recall"
        )
    return min(enough, key=lambda bands: _area(bands, 0.0, threshold))


def _splits(num_perm: int) -> list[Bands]:
    return [Bands(b, r) for b in range(1, num_perm + 1) for r in range(1, num_perm // b + 1)]


def _area(bands: Bands, low: float, high: float) -> float:
    """The integral of P from ``low`` to ``high``.

    P is a polynomial of degree b r, which Gauss's rule integrates exactly with more than b r / 2
    points: the power of two above that, so that few rules are needed.
    """
    points, weights = _gauss(1 << (bands.b * bands.r).bit_length() - 1)
    half = (high - low) / 2
    return float(half * (weights @ bands.probability(low + half * (points + 1))))


@cache
def _gauss(count: int) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
    return np.polynomial.legendre.leggauss(count)


def _check(threshold: float, num_perm: int) -> int:
    check_fraction("threshold", threshold)
    num_perm = whole_number("num_perm", num_perm)
    if num_perm < 2:
        raise ValueError(f"num_perm must be at least 2, got {num_perm!r}")
    return num_perm
