"""Who did what when, against a replay by counting tokens; and the file, against its format."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.serving.batching import (
    Blocks,
    Continuous,
    Sarathi,
    SplitFuse,
    Static,
    Trace,
    VllmV0,
    VllmV1,
    simulate,
)
from toolkit.serving.batching.chrome_trace import chrome_trace
from toolkit.serving.batching.lanes import lanes


@dataclass(frozen=True)
class Seconds:
    """Some for a batch, and more for each token."""

    stages: int = 1

    def seconds(self, work):
        return 0.02 + 0.0013 * work.tokens


POLICIES = [
    Static(3),
    Continuous(4),
    VllmV0(max_num_seqs=4),
    Sarathi(chunk_size=16, max_num_seqs=4),
    SplitFuse(16),
    VllmV1(max_num_batched_tokens=16, max_num_seqs=4),
]


def replayed(schedule):
    """By counting: each chunk's kind, each request's waits, and each loss, in order of time."""
    known = schedule.prompt_tokens.tolist()
    computed, answering = [0] * schedule.requests, [False] * schedule.requests
    since = dict(enumerate(schedule.arrival.tolist()))
    kinds, waits, losses = [], [], []
    lost = defaultdict(list)
    for iteration, request in zip(
        schedule.preempted_iteration.tolist(), schedule.preempted_request.tolist(), strict=True
    ):
        lost[iteration].append(request)
    for iteration, start in enumerate(schedule.start.tolist()):
        for request in lost[iteration]:
            computed[request], answering[request], since[request] = 0, False, start
            losses.append((request, start))
        for request, tokens in schedule.chunks(iteration).items():
            if request in since:
                waits.append((request, since.pop(request), start))
            kinds.append(answering[request])
            computed[request] += tokens
            answering[request] = computed[request] == known[request]
            known[request] += answering[request]
    return kinds, [wait for wait in waits if wait[1] < wait[2]], losses


def tight(draw_seed, policy, stages=1):
    """Few blocks, so that requests lose them."""
    rng = np.random.default_rng(draw_seed)
    count = int(rng.integers(1, 12))
    prompts, outputs = rng.integers(1, 40, count), rng.integers(1, 20, count)
    arrival = np.sort(rng.random(count)) * rng.choice([0.1, 2.0])
    trace = Trace(arrival - arrival[0], prompts, outputs, 20)
    return simulate(trace, policy, Seconds(stages), lambda: Blocks(16, 4))


@settings(deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(POLICIES[2:]),  # those that pre-empt; 16 blocks of 4 hold one request at least
    st.sampled_from([1, 2]),
)
def test_lanes_are_what_counting_tokens_gives(seed, policy, stages):
    schedule = tight(seed, policy, stages)
    kinds, waits, losses = replayed(schedule)
    seen = lanes(schedule)
    assert (seen.first, seen.last) == (0, schedule.iterations)
    assert seen.requests.tolist() == list(range(schedule.requests))
    assert seen.chunk_request.tolist() == schedule.chunk_request.tolist()
    assert seen.chunk_tokens.tolist() == schedule.chunk_tokens.tolist()
    assert seen.chunk_decode.tolist() == kinds
    found = zip(*(getattr(seen, f"wait_{name}").tolist() for name in ("request", "start", "end")),
                strict=True)  # fmt: skip
    assert sorted(found) == sorted(waits)
    assert list(zip(seen.lost_request.tolist(), seen.lost_time.tolist(), strict=True)) == losses


def test_some_of_these_lose_their_blocks():
    assert sum(tight(seed, VllmV0(max_num_seqs=4)).preemptions.sum() for seed in range(20)) > 5


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_decodes_are_those_of_the_schedule_where_nothing_is_lost(policy):
    trace = Trace.synthetic(40, 5.0, seed=2)
    small = Trace(trace.arrival, trace.prompt_tokens // 60 + 1, trace.output_tokens // 20 + 1, 100)
    schedule = simulate(small, policy, Seconds())
    seen = lanes(schedule)
    decodes = np.bincount(seen.chunk_iteration[seen.chunk_decode], minlength=schedule.iterations)
    assert decodes.tolist() == schedule.decode_tokens.tolist()


@given(st.integers(0, 1000), st.floats(0, 2), st.floats(0.01, 2))
@settings(deadline=None)
def test_a_span_has_what_reaches_into_it(seed, start, length):
    schedule = tight(seed, VllmV0(max_num_seqs=4))
    end = start + length
    whole, seen = lanes(schedule), lanes(schedule, (start, end))
    under_way = [
        i for i in range(schedule.iterations)
        if schedule.end[i] > start and schedule.start[i] < end
    ]  # fmt: skip
    assert list(range(seen.first, seen.last)) == under_way
    here = np.isin(whole.chunk_iteration, under_way)
    assert seen.chunk_decode.tolist() == whole.chunk_decode[here].tolist()
    assert seen.chunk_request.tolist() == whole.chunk_request[here].tolist()
    waits = (whole.wait_start < end) & (whole.wait_end > start)
    assert sorted(seen.wait_end.tolist()) == sorted(whole.wait_end[waits].tolist())
    alive = (schedule.arrival < end) & (schedule.last_token > start)
    assert seen.requests.tolist() == np.flatnonzero(alive).tolist()


def test_no_iteration_is_no_lane():
    with pytest.raises(ValueError, match="0 iterations has no lanes: it must have at least 1"):
        lanes(tight(8, VllmV0(max_num_seqs=4)).window(0, 0))


def test_who_is_not_served_waits_to_the_end():
    schedule = tight(8, VllmV0(max_num_seqs=4))
    cut = schedule.window(0, 2)
    never = np.flatnonzero(schedule.began > cut.end.max())
    assert len(never)
    begun = np.where(schedule.began > cut.end.max(), np.nan, schedule.began)
    seen = lanes(replace(cut, began=begun))
    ends = dict(zip(seen.wait_request.tolist(), seen.wait_end.tolist(), strict=True))
    there = [request for request in never if schedule.arrival[request] < cut.end.max()]
    assert [ends[request] for request in there] == [cut.end.max()] * len(there)


REQUIRED = {
    "X": {"name", "ph", "ts", "dur", "pid", "tid"},
    "i": {"name", "ph", "ts", "pid", "tid", "s"},
    "C": {"name", "ph", "ts", "pid", "tid", "args"},
    "M": {"name", "ph", "pid", "tid", "args"},
}


@pytest.mark.parametrize("stages", [1, 2])
def test_the_file_keeps_the_formats_rules(stages):
    named = {"first": tight(7, VllmV0(max_num_seqs=4), stages),
             "other": tight(7, Sarathi(chunk_size=16), stages)}  # fmt: skip
    trace = json.loads(json.dumps(chrome_trace(named)))
    events = trace["traceEvents"]
    assert trace["displayTimeUnit"] in ("ms", "ns")
    for event in events:
        assert REQUIRED[event["ph"]] <= set(event) <= REQUIRED[event["ph"]] | {"args"}
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert list(event["args"]) == ["name"]
        else:
            assert isinstance(event["ts"], int)
        if event["ph"] == "X":
            assert event["dur"] >= 0
        if event["ph"] == "i":
            assert event["s"] in ("g", "p", "t")
        if event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    threads = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in threads.values():
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
    called = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert called == set(threads)


def test_the_file_has_what_the_schedule_has():
    schedule = tight(7, VllmV0(max_num_seqs=4))
    events = chrome_trace(schedule)["traceEvents"]
    of = defaultdict(list)
    for event in events:
        of[event["name"]].append(event)
    assert [one["args"]["name"] for one in of["process_name"]] == ["schedule"]
    assert [one["ts"] for one in of["iteration"]] == np.rint(schedule.start * 1e6).tolist()
    assert [one["args"] for one in of["iteration"]] == [
        {"iteration": i, "prefill": prefill, "decode": decode, "padding": padding}
        for i, (prefill, decode, padding) in enumerate(
            zip(schedule.prefill_tokens, schedule.decode_tokens, schedule.padding, strict=True)
        )
    ]
    assert [one["args"]["blocks"] for one in of["blocks in use"]] == schedule.blocks_used.tolist()
    chunks = of["prefill"] + of["decode"]
    assert len(chunks) == len(schedule.chunk_tokens)
    assert sum(one["args"]["tokens"] for one in chunks) == schedule.chunk_tokens.sum()
    assert len(of["pre-empted"]) == schedule.preemptions.sum() > 0
    for one in chunks:
        tokens = schedule.chunks(one["args"]["iteration"])[one["tid"] - 1]
        assert tokens == one["args"]["tokens"]


def test_a_span_of_the_file_is_a_part_of_it():
    schedule = tight(7, VllmV0(max_num_seqs=4))
    whole = chrome_trace(schedule)["traceEvents"]
    middle = float(schedule.start[schedule.iterations // 2])
    part = chrome_trace(schedule, (middle, inf))["traceEvents"]
    assert all(event in whole for event in part)
    assert 0 < sum(event["ph"] == "X" for event in part) < sum(e["ph"] == "X" for e in whole)
