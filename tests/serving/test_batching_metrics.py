"""Latencies, throughput and targets, against definitions written out token by token."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from toolkit.kernels.roofline import CARDS
from toolkit.serving.batching import (
    MODELS,
    Batch,
    Blocks,
    Continuous,
    Exponential,
    Fixed,
    LiveRequest,
    Percentiles,
    Recorder,
    Roofline,
    Static,
    Targets,
    Trace,
    VllmV0,
    VllmV1,
    Work,
    max_rate,
    meets,
    metrics,
    simulate,
)


@dataclass(frozen=True)
class Linear:
    """A tenth of a second, and a thousandth a token."""

    stages: int = 1

    def seconds(self, work):
        return 0.1 + 0.001 * work.tokens


@pytest.fixture(scope="module")
def schedule():
    trace = Trace.synthetic(
        150, 2.0, prompts=Exponential(300, 900), outputs=Exponential(12, 60), seed=0
    )
    return simulate(trace, VllmV0(9), Linear(), lambda: Blocks(80, 16))


def by_request(schedule):
    for request in range(schedule.requests):
        yield schedule.arrival[request], schedule.tokens(request).tolist()


def test_latencies_by_their_definitions(schedule):
    result = metrics(schedule)
    ttft = [times[0] - arrival for arrival, times in by_request(schedule)]
    tpot = [(t[-1] - t[0]) / (len(t) - 1) for _, t in by_request(schedule) if len(t) > 1]
    gaps = [b - a for _, t in by_request(schedule) for a, b in pairwise(t)]
    whole = [times[-1] - arrival for arrival, times in by_request(schedule)]
    assert len(tpot) < 150, "some write a single token"
    for found, expected in (
        (result.ttft, ttft),
        (result.tpot, tpot),
        (result.inter_token, gaps),
        (result.end_to_end, whole),
    ):
        assert found.mean == pytest.approx(np.mean(expected))
        for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
            assert getattr(found, name) == pytest.approx(np.quantile(expected, q))
    # the mean of a request hides what the percentile of all tokens shows
    assert result.tpot.p50 < result.inter_token.p99 / 2


def test_throughput_and_memory(schedule):
    result = metrics(schedule)
    tokens = sum(len(times) for _, times in by_request(schedule))
    assert result.seconds == schedule.token_times.max()
    assert result.tokens_per_second == pytest.approx(tokens / result.seconds)
    assert result.requests_per_second == pytest.approx(150 / result.seconds)
    assert result.preemptions == schedule.preemptions.sum() > 0
    assert result.padding == result.bubbles == 0.0
    held = sum(u * s for u, s in zip(schedule.blocks_used, schedule.seconds, strict=True))
    assert result.blocks_used == pytest.approx(held / schedule.seconds.sum() / 80)
    assert np.isnan(result.mfu)
    assert np.isnan(result.mbu)


def test_who_was_served_as_promised(schedule):
    targets = Targets(ttft=8.0, tpot=0.3, inter_token=0.4)
    expected = []
    for arrival, t in by_request(schedule):
        gaps = np.diff(t)
        expected.append(
            t[0] - arrival <= 8.0
            and (len(t) == 1 or gaps.mean() <= 0.3)
            and (gaps > 0.4).sum() <= 0.01 * len(gaps)
        )
    assert meets(schedule, targets).tolist() == expected
    assert 10 < sum(expected) < 140
    for one in ("ttft", "tpot", "inter_token"):  # each of the three counts
        alone = meets(schedule, Targets(**{one: getattr(targets, one)}))
        assert sum(expected) < alone.sum() < 150
    result = metrics(schedule, targets)
    assert result.attainment == pytest.approx(sum(expected) / 150)
    assert result.goodput == pytest.approx(sum(expected) / result.seconds)
    assert metrics(schedule).attainment == 1.0


def test_one_late_gap_in_a_hundred_is_allowed():
    # 101 tokens: 100 gaps, of which the prompts that come in between make one or two long
    trace = Trace(np.array([0.0, 2.05]), np.array([1, 900]), np.array([101, 1]), 101)
    schedule = simulate(trace, VllmV0(), Linear())
    assert (np.diff(schedule.tokens(0)) > 0.2).sum() == 1
    assert meets(schedule, Targets(inter_token=0.2)).tolist() == [True, True]
    trace = Trace(np.array([0.0, 2.05, 7.0]), np.array([1, 900, 900]), np.array([101, 1, 1]), 101)
    schedule = simulate(trace, VllmV0(), Linear())
    assert meets(schedule, Targets(inter_token=0.2)).tolist() == [False, True, True]


def test_padding_is_counted():
    trace = Trace(np.zeros(2), np.array([6, 2]), np.array([3, 1]), 3)
    # 6 + 2 and 4 of padding, then twice one token and one of padding
    assert metrics(simulate(trace, Static(2), Linear())).padding == pytest.approx(6 / 16)


def test_utilisation_is_what_was_needed_of_what_the_cards_could_do():
    cost = Roofline(MODELS["Mistral-7B"], CARDS["A100 80GB SXM"])
    prefill = simulate(
        Trace(np.zeros(4), np.full(4, 4000), np.ones(4, dtype=int), 1), VllmV1(4000), cost
    )
    result = metrics(prefill, cost=cost)
    assert result.mfu == pytest.approx(1.0), "long prompts are bound by compute alone"
    assert result.mbu < 0.1
    decode = simulate(Trace(np.zeros(2), np.full(2, 2), np.full(2, 200), 200), VllmV1(), cost)
    result = metrics(decode, cost=cost)
    assert result.mbu == pytest.approx(1.0, rel=1e-6), "few decodes by memory alone"
    assert result.mfu < 0.02
    # in a rectangle the units are as busy, and a part of it is for nothing
    trace = Trace(np.zeros(2), np.array([4000, 1]), np.ones(2, dtype=int), 1)
    padded = metrics(simulate(trace, Static(2), cost), cost=cost)
    assert padded.mfu == pytest.approx(0.5, abs=0.02)


def test_bubbles_lower_utilisation():
    cost = Roofline(MODELS["Mistral-7B"], CARDS["A100 80GB SXM"], stages=2, link=1e15)
    trace = Trace(np.zeros(2), np.full(2, 4000), np.ones(2, dtype=int), 1)
    result = metrics(simulate(trace, VllmV1(4000), cost), cost=cost)
    # two equal batches through two stages: three steps, in which each stage works for two
    assert result.bubbles == pytest.approx(1 / 3)
    assert result.mfu == pytest.approx(2 / 3, rel=1e-3)


def test_nothing_to_measure_is_not_a_number():
    assert all(np.isnan(value) for value in (Percentiles.of(np.empty(0)).p99,))
    trace = Trace(np.zeros(1), np.array([5]), np.array([1]), 1)
    result = metrics(simulate(trace, VllmV1(), Linear()), Targets(tpot=0.1, inter_token=0.1))
    assert np.isnan(result.tpot.mean)
    assert np.isnan(result.inter_token.p99)
    assert result.attainment == 1.0


def test_a_request_that_was_never_served_met_nothing():
    trace = Trace(np.zeros(1), np.array([5]), np.array([1]), 1)
    done = simulate(trace, VllmV1(), Linear())
    recorder = Recorder(blocks=4)
    (request,) = map(LiveRequest.of, trace)
    work = Work(5, 0, 0, 1, 5, 15)
    recorder.step(Batch({0: 5}), work, [request], entered=[0.0], seconds=0.105, blocks_used=1)
    schedule = recorder.schedule([0.0, 0.0], [5, 5])
    assert schedule.tokens(0) == pytest.approx(done.tokens(0))
    assert schedule.tokens(1).tolist() == []
    assert np.isnan([schedule.first_token[1], schedule.last_token[1], schedule.began[1]]).all()
    assert meets(schedule, Targets()).tolist() == [True, False]
    assert metrics(schedule).attainment == 0.5


def test_a_schedule_without_a_token_or_an_iteration_is_refused(schedule):
    with pytest.raises(ValueError, match=r"of 0 iterations and .* tokens has nothing to measure"):
        metrics(schedule.window(3, 3))
    recorder = Recorder(blocks=4)
    work = Work(3, 0, 0, 1, 3, 6)
    recorder.step(Batch({0: 3}), work, [], entered=[0.0], seconds=0.1, blocks_used=1)
    with pytest.raises(ValueError, match="of 1 iterations and 0 tokens has nothing to measure"):
        metrics(recorder.schedule([0.0], [5]))


@pytest.mark.parametrize("name", ["ttft", "tpot", "inter_token"])
def test_a_target_that_is_not_positive_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        Targets(**{name: 0})


@dataclass(frozen=True)
class Second:
    """An iteration takes one."""

    stages: int = 1

    def seconds(self, work):
        return 1.0


def test_the_capacity_of_a_server_with_regular_arrivals():
    """One at a time, a second each, 400 in all: at a rate r the i-th waits i (1 - 1 / r)."""
    trace = Trace.synthetic(400, 7.0, cv=0.0, prompts=Fixed(5), outputs=Fixed(1), seed=0)
    found = max_rate(trace, Continuous(1), Second(), Targets(ttft=101.0))
    # P90 of 1 + i (1 - 1 / r) is 101
    exact = 1 / (1 - 100 / (0.9 * 399))
    assert exact / 2 ** (1 / 64) <= found <= exact * (1 + 1e-9)
    slow = max_rate(trace.at_rate(0.01), Continuous(1), Second(), Targets(ttft=101.0))
    assert slow == pytest.approx(found, rel=0.02)


class Stutters:
    """A second, and three for each so many-th iteration."""

    stages = 1

    def __init__(self, every):
        self.every, self.calls = every, 0

    def seconds(self, work):
        self.calls += 1
        return 1.0 if self.calls % self.every else 3.0


@pytest.mark.parametrize(
    ("name", "every", "met"),
    [
        # a prompt, then a token: each second iteration is a gap, and a request has one
        ("tpot", 10, False),  # 20 of 100 are slow, and 10 may be
        ("tpot", 24, True),  # 8
        ("inter_token", 24, False),  # 8 of 100 are long, and one may be
        ("inter_token", 400, True),  # 1 of 200
    ],
)
def test_of_which_percentiles_the_targets_are(name, every, met):
    trace = Trace.synthetic(480, 1.0, prompts=Fixed(5), outputs=Fixed(2), seed=0)
    targets = Targets(**{name: 2.0})
    if met:
        with pytest.raises(ValueError, match="the targets are met even at"):
            max_rate(trace, Continuous(1), Stutters(every), targets)
    else:
        assert max_rate(trace, Continuous(1), Stutters(every), targets) == 0.0


def test_no_rate_and_any_rate():
    trace = Trace.synthetic(50, 1.0, prompts=Fixed(5), outputs=Fixed(2), seed=0)
    assert max_rate(trace, Continuous(4), Second(), Targets(ttft=0.5)) == 0.0
    assert max_rate(trace, Continuous(4), Second(), Targets(inter_token=0.5)) == 0.0
    assert max_rate(trace, Continuous(4), Second(), Targets(tpot=0.5)) == 0.0
    with pytest.raises(ValueError, match=r"met even at 3,\d* requests a second: take a trace of m"):
        max_rate(trace, Continuous(4), Second(), Targets(inter_token=1.5))
