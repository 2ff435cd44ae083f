"""Calibration finds what a step costs, on a clock that runs by the work done."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from toolkit.data.tokenizers import BPE
from toolkit.models.llama import Llama, LlamaConfig
from toolkit.serving.batching import Calibrated, engine, work_of
from toolkit.serving.batching.calibrate import calibrate

TOKENS = (9e-3, 4e-3, 2e-3, 5e-3, 1e-3, 2e-3, 1e-3, 8e-4, 9e-4)
"""A bend at each knot."""


def test_a_cost_is_found_although_every_first_run_is_slow(monkeypatch):
    true = Calibrated(0.02, TOKENS, sequence=2e-3, context=1e-5, pair=1e-7)
    clock = SimpleNamespace(now=0.0)
    clock.perf_counter = lambda: clock.now
    seen: list[tuple[int, ...]] = []

    def worked(batch, running):
        work = work_of(batch, running)
        # a step that was not seen before takes three times as long: its code is compiled
        clock.now += true.seconds(work) * (1 if tuple(work) in seen else 3)
        seen.append(tuple(work))
        return work

    monkeypatch.setattr(engine, "time", clock)
    monkeypatch.setattr(engine, "work_of", worked)
    model = Llama(LlamaConfig.tiny(context=640)).eval()
    # what it writes does not matter, only how many tokens, by the clock above
    model.last_states = lambda ids, cache: torch.zeros(*ids.shape, model.config.width)
    model.tokenizer = BPE([bytes([byte]) for byte in range(256)], [])
    fit = calibrate(model)
    assert fit.token == pytest.approx(true.token, rel=1e-4)
    rest = [(cost.step, cost.sequence, cost.context, cost.pair) for cost in (fit, true)]
    assert rest[0] == pytest.approx(rest[1], rel=1e-4)
    kinds = {(work[1] > 0, work[0] > 0) for work in seen}  # decodes, prefills
    assert kinds == {(True, True), (True, False), (False, True)}
