"""The lab's own parts, beside what they are parts of: metrics, Orca, Sarathi-Serve, vLLM.

By themselves they are judged in the lab's checks, by other means.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.kernels.roofline import CARDS
from toolkit.serving.batching import (
    MODELS,
    Blocks,
    Continuous,
    Exponential,
    LiveRequest,
    LogNormal,
    PolicyError,
    Roofline,
    Sarathi,
    Scheduler,
    State,
    Targets,
    Trace,
    VllmV1,
    metrics,
    simulate,
)
from toolkit.serving.batching.informed import Informed
from toolkit.serving.batching.small import (
    admit,
    blocks_of,
    chunk_sizes,
    latencies,
    make_room,
    summary,
)
from toolkit.serving.batching.stall_free import StallFree

CARD = Roofline(MODELS["Mistral-7B"], CARDS["A100 80GB SXM"])
SHORT = LogNormal(mean=60, median=40, most=200)


def live(number: int, known: int, computed: int, longest: int) -> LiveRequest:
    return LiveRequest(number, 0.0, 1, longest - 1, known, computed)


@pytest.fixture(scope="module")
def served():
    trace = Trace.synthetic(60, 8.0, outputs=Exponential(20, 90), seed=3)
    return simulate(trace, Sarathi(256), CARD)


def test_latencies_of_all_requests_are_the_metrics_of_the_schedule(served):
    found = metrics(served)
    rows = zip(served.arrival, map(served.tokens, range(served.requests)), strict=True)
    ttft, tpot, longest = np.array([latencies(*row) for row in rows]).T
    assert ttft.mean() == pytest.approx(found.ttft.mean)
    assert np.nanmean(tpot) == pytest.approx(found.tpot.mean)
    assert (np.isnan(tpot) == (served.output_tokens == 1)).all()
    for request in (0, 17, 59):
        times = served.tokens(request)
        gap = max(np.diff(times), default=math.nan)
        assert longest[request] == pytest.approx(gap, nan_ok=True)


@pytest.mark.parametrize("gap", [0.01, 0.015, 0.02])
def test_summary_is_the_metrics_of_the_schedule(served, gap):
    """Answers of up to 90 tokens: if 99 of 100 gaps meet a target, all do."""
    found = metrics(served, Targets(ttft=0.2, inter_token=gap))
    rows = [(at, served.tokens(i).tolist()) for i, at in enumerate(served.arrival.tolist())]
    p99, goodput = summary(rows, 0.2, gap)
    assert p99 == pytest.approx(found.inter_token.p99)
    assert goodput == pytest.approx(found.goodput)


class Compared:
    """A policy, and beside it what a part of the lab would do."""

    def __init__(self, policy, part):
        self.policy, self.part, self.calls = policy, part, 0

    def next_batch(self, state: State):
        batch = self.policy.next_batch(state)
        self.calls += 1
        self.part(state, batch)
        return batch


def test_admit_is_what_orca_does():
    def part(state, batch):
        joined = [number for number in batch.chunks if number not in {r.id for r in state.running}]
        assert joined == admit(state.running, state.waiting, 12, state.memory.blocks)

    trace = Trace.synthetic(80, 50.0, prompts=SHORT, outputs=SHORT, seed=0)
    compared = Compared(Continuous(12), part)
    simulate(trace, compared, CARD, lambda: Blocks(130))
    assert compared.calls > 100


def test_chunk_sizes_are_sarathis_where_memory_is_ample():
    def part(state, batch):
        assert batch.chunks == chunk_sizes(state.running, state.waiting, 128)

    trace = Trace.synthetic(60, 20.0, outputs=SHORT, seed=1)
    compared = Compared(Sarathi(128), part)
    simulate(trace, compared, CARD)
    assert compared.calls > 100


def test_make_room_is_what_vllm_v1_does():
    lost_any = 0

    def part(state, batch):
        nonlocal lost_any
        asked = {r.id: min(r.left, 64) for r in state.running}
        if sum(asked.values()) > 4096:
            return
        granted, lost = make_room(state.running, asked, state.memory.free)
        assert lost == batch.preempted
        assert granted.items() <= batch.chunks.items()
        lost_any += len(lost)

    trace = Trace.synthetic(40, 1e6, prompts=SHORT, outputs=SHORT, seed=2)
    compared = Compared(VllmV1(4096, 40, long_prefill_token_threshold=64), part)
    simulate(trace, compared, CARD, lambda: Blocks(40))
    assert lost_any > 20


@given(st.lists(st.tuples(st.integers(0, 70), st.integers(1, 40)), max_size=8), st.integers(0, 12))
def test_room_is_made_for_all_that_is_granted_and_for_nobody_in_vain(sizes, free):
    running = [live(i, c + n, c, 200) for i, (c, n) in enumerate(sizes)]
    chunks = {i: n for i, (_, n) in enumerate(sizes)}
    granted, lost = make_room(running, chunks, free)
    # those that lose their blocks are the last, the last one first, and all others are granted
    assert lost == list(reversed(range(len(sizes) - len(lost), len(sizes))))
    assert granted == {i: chunks[i] for i in range(len(sizes) - len(lost))}

    def enough(gone):
        stay = range(len(sizes) - gone)
        held = sum(blocks_of(r.computed) for r in running)
        return sum(blocks_of(sum(sizes[i])) for i in stay) <= free + held

    assert enough(len(lost))
    assert not lost or not enough(len(lost) - 1)


class Honest:
    """Passes events on, and holds them against the state that they tell of."""

    def __init__(self, decide):
        self.decide, self.seen, self.told = decide, None, {}
        self.informed = Informed(self.hear)

    def next_batch(self, state: State):
        self.seen = state
        return self.informed.next_batch(state)

    def hear(self, events):
        for what, number, *sizes in events:
            if what == "arrived":
                self.told[number] = [sizes[0], 0]
            elif what == "ended":
                known, computed = self.told.pop(number)
                assert known == computed  # all that it had was computed when it wrote its last
            else:
                known, computed = self.told[number]
                computed += sizes[0] if what == "computed" else 0
                self.told[number] = [known + (what == "wrote"), 0 if what == "lost" else computed]
        here = [*self.seen.running, *self.seen.waiting]
        assert self.told == {r.id: [r.known, r.computed] for r in here}
        return self.decide(events)


@pytest.mark.parametrize("outputs", [SHORT, Exponential(1.5, 200)], ids=["long", "of one token"])
def test_events_tell_all_that_changes_where_blocks_are_lost_too(outputs):
    trace = Trace.synthetic(40, 200.0, prompts=SHORT, outputs=outputs, seed=4)
    honest = Honest(StallFree(64, 16, 45).next_batch)
    schedule = simulate(trace, honest, CARD, lambda: Blocks(45))
    assert (schedule.output_tokens == trace.output_tokens).all()
    assert (schedule.preemptions.sum() > 10) == (outputs is SHORT)


def test_a_request_that_is_cancelled_has_ended_whether_it_runs_or_waits():
    policy = StallFree(8, 1, 20)
    scheduler = Scheduler(Informed(policy.next_batch), Blocks(20))
    runs, waits = live(0, 20, 0, 60), live(1, 20, 0, 60)
    scheduler.add(runs)
    scheduler.add(waits)
    scheduler.finish(scheduler.plan(0.0))
    scheduler.remove(waits)
    scheduler.finish(scheduler.plan(0.0))
    scheduler.remove(runs)
    assert not scheduler.plan(0.0).chunks
    assert not policy.running
    assert not policy.waiting


@pytest.mark.parametrize("said", [None, ({0: 1},), ([1], []), ({0: 1}, 7)], ids=repr)
def test_who_says_something_else_than_chunks_and_losses_is_told(said):
    says = iter([({0: 1}, []), said])
    trace = Trace(np.zeros(1), np.array([3]), np.array([1]), 1)
    with pytest.raises(PolicyError, match="iteration 1: decide must give chunks, a dict, and who"):
        simulate(trace, Informed(lambda events: next(says)), CARD)


def test_it_keeps_the_books_of_one_run():
    trace = Trace.synthetic(8, 100.0, prompts=SHORT, outputs=SHORT, seed=1)
    message = "keeps the books of one memory, .*: make one for each run, with one stage"
    informed = Informed(StallFree(64, 4, 100).next_batch)
    simulate(trace, informed, CARD, lambda: Blocks(100))
    with pytest.raises(ValueError, match=message):
        simulate(trace, informed, CARD, lambda: Blocks(100))
    two = Roofline(MODELS["Mistral-7B"], CARDS["A100 80GB SXM"], stages=2)
    with pytest.raises(ValueError, match=message):
        simulate(trace, Informed(StallFree(64, 4, 100).next_batch), two, lambda: Blocks(100))


@pytest.mark.parametrize(("budget", "places", "blocks"), [(64, 16, 45), (256, 4, 400), (17, 8, 60)])
def test_the_policy_keeps_to_its_budget_its_places_and_the_order_of_the_queue(
    budget, places, blocks
):
    def part(state, batch):
        running = {request.id for request in state.running} - set(batch.preempted)
        new = [number for number in batch.chunks if number not in running]
        assert sum(batch.chunks.values()) <= budget
        assert len(running) + len(new) <= places
        assert new == [request.id for request in state.waiting][: len(new)]
        assert not (new and batch.preempted)
        assert batch.chunks or batch.preempted

    trace = Trace.synthetic(50, 100.0, prompts=SHORT, outputs=SHORT, seed=5)
    policy = Informed(StallFree(budget, places, blocks).next_batch)
    schedule = simulate(trace, Compared(policy, part), CARD, lambda: Blocks(blocks))
    assert (schedule.output_tokens == trace.output_tokens).all()


def test_with_ample_memory_the_policy_is_sarathi():
    trace = Trace.synthetic(80, 6.0, outputs=SHORT, seed=6)
    ours = simulate(
        trace, Informed(StallFree(512, 128, 100_000).next_batch), CARD, lambda: Blocks(100_000)
    )
    theirs = simulate(trace, Sarathi(512, 128), CARD, lambda: Blocks(100_000))
    assert (ours.chunk_tokens == theirs.chunk_tokens).all()
    assert (ours.token_times == theirs.token_times).all()


def test_parts_need_no_more_than_a_records_fields():
    """What a lab sends is a record of four numbers, and nothing that is computed from them."""

    class Sent:
        def __init__(self, number, known, computed, longest):
            self.id, self.known, self.computed, self.longest = number, known, computed, longest

    running = [Sent(0, 40, 10, 90), Sent(1, 33, 32, 90)]
    waiting = [Sent(2, 8, 0, 20)]
    assert admit(running, waiting, 4, 14) == [2]
    assert admit(running, waiting, 4, 13) == []
    assert chunk_sizes(running, waiting, 33) == {1: 1, 0: 30, 2: 2}
    assert make_room(running, {0: 30, 1: 1}, 2) == ({0: 30}, [1])
    assert replace(live(0, 40, 10, 90), computed=0).left == 40
