"""Calibration finds what a step costs, on a clock that runs by the work done."""

from __future__ import annotations

from dataclasses import astuple
from types import SimpleNamespace

import pytest

from toolkit.data.tokenizers import BPE
from toolkit.models.llama import Llama, LlamaConfig
from toolkit.serving.batching import Calibrated, engine, work_of
from toolkit.serving.batching.calibrate import calibrate


def test_a_cost_is_found_although_every_first_run_is_slow(monkeypatch):
    true = Calibrated(step=0.02, token=1e-3, sequence=2e-3, context=1e-5, pair=1e-7)
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
    model.tokenizer = BPE([bytes([byte]) for byte in range(256)], [])
    assert astuple(calibrate(model)) == pytest.approx(astuple(true), rel=1e-6)
    kinds = {(work[1] > 0, work[0] > 0) for work in seen}  # decodes, prefills
    assert kinds == {(True, True), (True, False), (False, True)}
