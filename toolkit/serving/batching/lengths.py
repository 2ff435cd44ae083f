"""How long prompts and answers are: distributions of a number of tokens, at least 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Int64
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr

from toolkit.arguments import at_least_one, whole_number

NARROWEST, WIDEST = 1e-3, 5.0
"""Standard deviations of a logarithm, between which it is looked for."""


class Lengths(Protocol):
    """A distribution of lengths.

    Attributes:
        most: the longest that there may be.
    """

    @property
    def most(self) -> int:
        """The longest that there may be."""

    def draw(self, rng: np.random.Generator, count: int) -> Int64[np.ndarray, " count"]:
        """So many lengths, each at least 1."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """All of one length."""

    tokens: int

    def __post_init__(self) -> None:
        at_least_one(tokens=self.tokens)

    @property
    def most(self) -> int:
        """See ``Lengths``."""
        return self.tokens

    def draw(self, rng: np.random.Generator, count: int) -> Int64[np.ndarray, " count"]:
        """See ``Lengths``."""
        return np.full(count, self.tokens, np.int64)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Of a mean, and none longer than ``most``: those that would be are as long as it."""

    mean: float
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.mean <= whole_number("most", self.most):
            raise ValueError(
                f"mean must be at least 1 and at most {self.most}, which is the most, "
                f"got {self.mean!r}"
            )

    def draw(self, rng: np.random.Generator, count: int) -> Int64[np.ndarray, " count"]:
        """See ``Lengths``."""
        return _whole(rng.exponential(self.mean, count), self.most)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Of a mean and a median, and none longer than ``most``: those that would be are as long as it.

    With M the most and m the median, the standard deviation of the logarithm is the root of

        mean = E[min(X, M)] = m e^(s^2 / 2) Phi(ln(M / m) / s - s) + M (1 - Phi(ln(M / m) / s))

    Raises:
        ValueError: numbers that no such distribution has.
    """

    mean: float
    median: float
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.median < self.mean < whole_number("most", self.most):
            raise ValueError(
                "it must be 1 <= median < mean < most, got "
                f"median {self.median!r}, mean {self.mean!r} and most {self.most!r}"
            )
        highest = self._cut_mean(self._spread_of_highest_mean())
        if highest < self.mean:
            raise ValueError(
                f"no lengths of median {self.median!r} and at most {self.most!r} have a mean of "
                f"{self.mean!r}: it is at most {highest:,.0f}"
            )

    def draw(self, rng: np.random.Generator, count: int) -> Int64[np.ndarray, " count"]:
        """See ``Lengths``."""
        widest = self._spread_of_highest_mean()
        sigma = brentq(lambda s: self._cut_mean(s) - self.mean, NARROWEST, widest)
        return _whole(rng.lognormal(np.log(self.median), sigma, count), self.most)

    def _spread_of_highest_mean(self) -> float:
        # the wider, the longer the long ones, until all of these are cut and short ones win
        found = minimize_scalar(
            lambda s: -self._cut_mean(s), bounds=(NARROWEST, WIDEST), method="bounded"
        )
        return float(found.x)

    def _cut_mean(self, s: float) -> float:
        z = np.log(self.most / self.median) / s
        return float(self.median * np.exp(s**2 / 2) * ndtr(z - s) + self.most * ndtr(-z))


def _whole(lengths: np.ndarray, most: int) -> Int64[np.ndarray, " count"]:
    return np.clip(np.rint(lengths), 1, most).astype(np.int64)
