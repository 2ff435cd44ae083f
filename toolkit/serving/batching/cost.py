"""How long a batch takes: what a simulation asks, and the answer of measured steps.

    seconds = f(tokens) + a sequences + b context + c pairs

f is a line from each power of two to the next, since kernels differ by the number of their rows.
``Roofline`` answers from a data sheet.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.optimize import nnls

from .work import Work


class Cost(Protocol):
    """A cost model.

    Attributes:
        stages: of the pipeline.
    """

    @property
    def stages(self) -> int:
        """Of the pipeline."""

    def seconds(self, work: Work[int]) -> float:
        """How long a batch is in each stage."""


KNOTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Tokens where ``Calibrated`` bends; after the last it goes straight on."""
STRETCHES = tuple(pairwise((*KNOTS, sys.maxsize)))

PASSES = 4
"""Of a fit, until its weights hardly move."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A sum of what each part of the work costs, fitted to measured steps.

    Attributes:
        step: seconds of a step, whatever is in it.
        token: seconds for each further token that passes through the model: a number for the
            stretch from each of ``KNOTS`` to the next, one for all beyond.
        sequence: for each request in the batch.
        context: for each token whose keys and values are read.
        pair: for each pair of a query and a key.
    """

    step: float
    token: tuple[float, ...]
    sequence: float
    context: float
    pair: float

    @property
    def stages(self) -> int:
        """One: the steps were measured on one machine."""
        return 1

    @classmethod
    def fit(cls, works: Iterable[Work[int]], seconds: Sequence[float] | np.ndarray) -> Calibrated:
        """The costs, none negative, with the least sum of squared relative errors.

        Relative to what is expected, in passes: relative to what was measured, steps that were
        quick by chance would weigh more, and all be foretold as too short.

        Args:
            works: of the steps.
            seconds: that each took.
        Raises:
            ValueError: no steps, not as many times as steps, or a time that isn't positive.
        """
        rows = np.array([_parts(work) for work in works], dtype=np.float64)
        times = np.array(seconds, dtype=np.float64)
        if not len(rows) or len(rows) != len(times):
            raise ValueError(
                f"there must be a time for each step, and one at least: got {len(times)} times "
                f"for {len(rows)} steps"
            )
        if not (times > 0).all():
            raise ValueError(f"each step must take some time, got {times.min()!r} seconds")
        # Columns of one size, or the solver can't tell pairs, in millions, from steps.
        scale = np.abs(rows).max(axis=0).clip(min=1)
        expected = times
        for _ in range(PASSES):
            weights, _ = nnls(rows / scale / expected[:, None], times / expected)
            expected = rows / scale @ weights
        step, *token, sequence, context, pair = (weights / scale).tolist()
        return cls(step, tuple(token), sequence, context, pair)

    def seconds(self, work: Work[int]) -> float:
        """See ``Cost``."""
        costs = (self.step, *self.token, self.sequence, self.context, self.pair)
        return sum(map(operator.mul, costs, _parts(work)))


def _parts(work: Work[int]) -> tuple[int, ...]:
    """What a step's costs are multiplied by."""
    tokens = work.tokens
    stretches = (max(0, min(tokens, end) - start) for start, end in STRETCHES)
    return 1, *stretches, work.sequences, work.context, work.pairs
