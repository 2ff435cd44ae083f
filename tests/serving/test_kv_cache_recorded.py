"""A recorded memory does as one that is not, and its log says who did what."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from toolkit.serving.batching import Trace, VllmV1, simulate
from toolkit.serving.kv_cache import RadixMemory
from toolkit.serving.kv_cache.recorded import RecordedRadixMemory


class Cost:
    """A second for a batch."""

    stages = 1

    def seconds(self, work):
        return 1.0


def trace():
    """Eight requests of four blocks: all begin with block 0, and every other one with 0, 1."""
    blocks = [(0, *((1,) if at % 2 else ()), *range(10 * at + 10, 10 * at + 12 + (at + 1) % 2))
              for at in range(8)]  # fmt: skip
    return Trace(np.arange(8) * 3.0, np.full(8, 64), np.full(8, 20), 20, tuple(blocks))


def served(memory):
    schedule = simulate(trace(), VllmV1(max_num_batched_tokens=48), Cost(), lambda: memory)
    return [np.asarray(getattr(schedule, field.name)).tolist() for field in fields(schedule)]


def test_it_serves_as_one_that_is_not_recorded():
    assert served(RecordedRadixMemory(14, 16)) == served(RadixMemory(14, 16))


def test_each_step_is_on_behalf_of_the_request_that_caused_it():
    memory = RecordedRadixMemory(40, 16)
    served(memory)
    history = memory.log.history()
    assert history.page_size == 16
    assert set(history.requests) == set(range(8))
    through = {}
    for visit in history.visits:
        through.setdefault(visit.node, set()).add(visit.request)
    end = history.tree(len(history.steps) - 1)
    last = {span.label: through[span.node] for span in end if span.node}
    assert last[(0,)] == set(range(8))
    assert last[(1,)] == {1, 3, 5, 7}
    for label, by in last.items():
        if label not in ((0,), (1,)):
            assert by == {token // 10 - 1 for token in label}
