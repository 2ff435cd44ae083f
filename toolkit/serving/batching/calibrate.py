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

LOADS = ((512, 12), (128, 6), (32, 2))
"""Token budgets and most requests at once: from long chunks beside many answers to few of each."""


def calibrate(model: Llama, *, seed: int = 0) -> Calibrated:
    """Measure steps of many kinds and fit what each part of their work costs.

    It takes about a minute for a small model, in which the machine should have nothing else to do.

    Args:
        model: with a tokenizer and a context of at least 616 tokens.
        seed: of the requests that are served.
    """
    dice = np.random.default_rng(seed)
    prompts = np.geomspace(8, 600, 12).astype(int)[dice.permutation(12)]
    trace = Trace(np.zeros(12), prompts, dice.integers(4, 16, 12), max_tokens=16)
    works: list[Work[int]] = []
    seconds: list[float] = []
    for budget, most in LOADS:
        runs = [_measured(model, VllmV1(budget, most), trace) for _ in range(RUNS)]
        columns = [column.tolist() for column in runs[0].work]
        works += [Work(*row) for row in zip(*columns, strict=True)]
        seconds += np.median([run.seconds for run in runs], axis=0).tolist()
    return Calibrated.fit(works, seconds)


def _measured(model: Llama, policy: VllmV1, trace: Trace) -> Schedule:
    return replay(Engine(model, policy, Blocks(1024)), trace)
