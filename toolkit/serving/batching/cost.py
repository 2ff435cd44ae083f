"""How long a batch takes: what a simulation asks, and the answer of measured steps.

    seconds = x . w        x = 1, tokens, sequences, context, pairs       w >= 0

``Roofline`` answers from a data sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A sum of what each part of the work costs, fitted to measured steps.

    Attributes:
        step: seconds of a step, whatever is in it.
        token: seconds for each token that passes through the model.
        sequence: for each request in the batch.
        context: for each token whose keys and values are read.
        pair: for each pair of a query and a key.
    """

    step: float
    token: float
    sequence: float
    context: float
    pair: float

    @property
    def stages(self) -> int:
        """One: the steps were measured on one machine."""
        return 1

    @classmethod
    def fit(cls, works: Iterable[Work[int]], seconds: Sequence[float] | np.ndarray) -> Calibrated:
        """The weights, none negative, with the least sum of squared relative errors.

        Args:
            works: of the steps.
            seconds: that each took.
        Raises:
            ValueError: no steps, not as many times as steps, or a time that isn't positive.
        """
        rows = np.array([_features(work) for work in works], dtype=np.float64)
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
        weights, _ = nnls(rows / scale / times[:, None], np.ones(len(rows)))
        return cls(*(weights / scale).tolist())

    def seconds(self, work: Work[int]) -> float:
        """See ``Cost``."""
        return (
            self.step
            + self.token * work.tokens
            + self.sequence * work.sequences
            + self.context * work.context
            + self.pair * work.pairs
        )


def _features(work: Work[int]) -> tuple[int, int, int, int, int]:
    return 1, work.tokens, work.sequences, work.context, work.pairs
