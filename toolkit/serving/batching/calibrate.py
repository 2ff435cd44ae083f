"""What a step costs on this machine: an engine's own steps, measured, and a cost model fitted.

The same requests all at once make the same batches in each run, whatever the clock says. So a step
is measured several times over, and its median is not what another program did to it.
"""

from __future__ import annotations

import numpy as np

from toolkit.models.llama import Llama

from .cost import Calibrated
from .engine import Engine
from .memory import Blocks
from .policies import VllmV1
from .replay import replay
from .schedule import Schedule
from .trace import Trace
from .work import Work

RUNS = 3
"""Of which a step's median is taken."""

LOADS = ((512, 12), (128, 16), (64, 4), (32, 8), (16, 12), (8, 2))
"""Token budgets and most requests at once: long chunks beside many answers, few of each, and all
that lies between.
"""


def calibrate(model: Llama, *, seed: int = 0) -> Calibrated:
    """Measure steps of many kinds and fit what each part of their work costs.

    It takes a minute or two for a small model, in which the machine should have nothing else to do.

    Args:
        model: with a tokenizer and a context of at least 616 tokens.
        seed: of the requests that are served.
    """
    rng = np.random.default_rng(seed)
    works: list[Work[int]] = []
    seconds: list[float] = []
    for budget, most in LOADS:
        longest = min(600, 4 * budget)
        prompts = np.geomspace(8, longest, 16).astype(int)[rng.permutation(16)]
        trace = Trace(np.zeros(16), prompts, rng.integers(4, 16, 16), max_tokens=16)
        runs = [_measured(model, VllmV1(budget, most), trace) for _ in range(RUNS)]
        works += steps(runs[0])
        seconds += np.median([run.seconds for run in runs], axis=0).tolist()
    return Calibrated.fit(works, seconds)


def steps(schedule: Schedule) -> list[Work[int]]:
    """The work of each step, for ``Calibrated.fit`` beside ``schedule.seconds``."""
    columns = [column.tolist() for column in schedule.work]
    return [Work(*row) for row in zip(*columns, strict=True)]


def _measured(model: Llama, policy: VllmV1, trace: Trace) -> Schedule:
    return replay(Engine(model, policy, Blocks(1024)), trace)
