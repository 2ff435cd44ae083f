"""The simulator against queues whose waiting times are known, and pipelines worked out by hand."""

from dataclasses import dataclass

import numpy as np
import pytest

from toolkit.serving.batching import (
    Blocks,
    Continuous,
    Exponential,
    Fixed,
    Request,
    Sarathi,
    Schedule,
    Trace,
    VllmV0,
    VllmV1,
    simulate,
)


@dataclass(frozen=True)
class Seconds:
    """So many for each token."""

    each: float = 1.0
    stages: int = 1

    def seconds(self, work):
        return self.each * work.tokens


def trace_of(*requests):
    arrival, prompt, output = map(np.array, zip(*requests, strict=True))
    return Trace(arrival.astype(float), prompt, output, int(output.max()))


def waits(trace, each):
    """Served one at a time, in order, each in one iteration."""
    schedule = simulate(trace, Continuous(1), Seconds(each))
    return schedule.began - schedule.arrival


def within(waits, expected):
    """Whether the mean is as expected, within 4 standard errors from the means of 40 spans."""
    spans = waits.reshape(40, -1).mean(axis=1)
    error = spans.std(ddof=1) / np.sqrt(len(spans))
    assert error < 0.1 * expected, "there are requests enough to tell"
    return abs(waits.mean() - expected) < 4 * error


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_equal_requests_wait_as_in_a_queue_m_d_1(load):
    trace = Trace.synthetic(40_000, load, prompts=Fixed(1), outputs=Fixed(1), seed=0)
    # W = rho D / (2 (1 - rho)), Pollaczek and Khinchine
    assert within(waits(trace, 1.0), load / (2 * (1 - load)))


def test_unequal_requests_wait_as_in_a_queue_m_g_1():
    load = 0.6
    lengths = Exponential(1000, 100_000)
    trace = Trace.synthetic(40_000, load, prompts=lengths, outputs=Fixed(1), seed=1)
    service = trace.prompt_tokens / 1000
    # W = lambda E[S^2] / (2 (1 - rho))
    expected = load * (service**2).mean() / (2 * (1 - load * service.mean()))
    assert within(waits(trace, 1e-3), expected)


def test_lindley_s_recursion_request_by_request():
    trace = Trace.synthetic(3000, 1.1, cv=2.0, prompts=Exponential(9, 99), outputs=Fixed(1), seed=2)
    wait = expected = 0.0
    found = waits(trace, 0.1)
    for i in range(1, len(trace)):
        gap = trace.arrival[i] - trace.arrival[i - 1]
        wait = max(0.0, wait + 0.1 * trace.prompt_tokens[i - 1] - gap)
        expected += wait
        assert found[i] == pytest.approx(wait, abs=1e-6)
    assert expected > 100


def test_two_stages_of_equal_batches_have_only_the_ends_idle():
    trace = trace_of((0, 1, 2), (0, 1, 2))
    schedule = simulate(trace, VllmV1(), Seconds(stages=2))
    assert schedule.entered.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert [schedule.chunks(i) for i in range(4)] == [{0: 1}, {1: 1}, {0: 1}, {1: 1}]
    assert schedule.tokens(0).tolist() == [2, 4]
    assert schedule.tokens(1).tolist() == [3, 5]
    # 4 batches of a second in each of 2 stages, in 5 seconds
    assert schedule.bubbles == pytest.approx(1 - 4 / 5)


def test_uneven_batches_leave_bubbles():
    trace = trace_of((0, 3, 2), (0, 1, 2))
    schedule = simulate(trace, VllmV1(), Seconds(stages=2))
    # the short one waits for the long one in front of the second stage; the first stage is idle
    assert schedule.entered.tolist() == [[0, 3], [3, 6], [6, 7], [7, 8]]
    assert schedule.seconds.tolist() == [3, 1, 1, 1]
    assert schedule.busy == 9
    assert schedule.bubbles == pytest.approx(1 - 6 / 9)


def test_nobody_there_is_no_bubble():
    trace = trace_of((0, 1, 1), (100, 1, 1), (100, 1, 1))
    schedule = simulate(trace, VllmV1(), Seconds(stages=2))
    assert schedule.busy == 2 + 3
    assert schedule.bubbles == pytest.approx(1 - 3 / 5)
    assert simulate(trace, VllmV1(), Seconds()).bubbles == 0.0


def test_with_stages_requests_are_dealt_out_and_blocks_shared():
    trace = trace_of(*[(0, 4, 1)] * 4)
    schedule = simulate(trace, VllmV1(), Seconds(stages=2), lambda: Blocks(5, block_size=2))
    assert [schedule.chunks(i) for i in range(2)] == [{0: 4, 2: 4}, {1: 4, 3: 4}]
    assert schedule.blocks == 10
    assert schedule.blocks_used.tolist() == [4, 8]
    # a request that a share of the blocks can't hold is refused, though all together could
    with pytest.raises(ValueError, match="request 0 may have 12 tokens, and the memory holds 10"):
        simulate(trace_of((0, 11, 1)), VllmV1(), Seconds(stages=2), lambda: Blocks(5, 2))


def test_a_batch_is_planned_when_the_first_stage_has_room_for_it():
    # the first request is back at 2, the first stage is free at 5, and the third came at 3
    trace = trace_of((0, 1, 2), (0, 4, 1), (3, 1, 1))
    schedule = simulate(trace, VllmV1(), Seconds(stages=2))
    assert [schedule.chunks(i) for i in range(3)] == [{0: 1}, {1: 4}, {0: 1, 2: 1}]
    assert schedule.start.tolist() == [0, 1, 5]


def test_who_waits_for_the_first_stage_holds_blocks_as_well():
    # the first is back at 3, and begins again after the third, which waits for the second until 10
    trace = trace_of((0, 1, 2), (0, 9, 1), (0, 1, 1))
    schedule = simulate(trace, VllmV1(), Seconds(stages=3), lambda: Blocks(11, block_size=1))
    assert schedule.start.tolist() == [0, 1, 10, 11]
    assert schedule.blocks_used.tolist() == [1, 10, 11, 12]


def test_a_memory_in_place_of_its_maker_is_refused():
    with pytest.raises(TypeError, match=r"a function that makes one, such as lambda: Blocks\(9\)"):
        simulate(trace_of((0, 1, 1)), VllmV1(), Seconds(), Blocks(9))


def test_by_default_there_are_blocks_for_everyone():
    trace = Trace.synthetic(200, 1e6, seed=0)
    schedule = simulate(trace, VllmV1(100_000, 1000), Seconds(1e-6))
    assert schedule.preemptions.sum() == 0
    assert schedule.blocks_used.max() <= schedule.blocks


def some_schedule():
    trace = Trace.synthetic(
        40, 5.0, prompts=Exponential(40, 99), outputs=Exponential(9, 20), seed=0
    )
    return simulate(trace, VllmV1(32), Seconds(0.01), lambda: Blocks(14, block_size=9))


def test_a_window_has_its_iterations_and_all_requests():
    schedule = some_schedule()
    assert len(schedule.preempted_request) > 3
    middle = schedule.window(20, 90)
    assert middle.iterations == 70
    assert middle.requests == schedule.requests
    for i in range(70):
        assert middle.chunks(i) == schedule.chunks(20 + i)
    assert middle.start.tolist() == schedule.start[20:90].tolist()
    assert middle.end.tolist() == schedule.end[20:90].tolist()
    assert [column.tolist() for column in middle.work] == [
        column[20:90].tolist() for column in schedule.work
    ]
    here = (schedule.preempted_iteration >= 20) & (schedule.preempted_iteration < 90)
    assert (middle.preempted_iteration + 20).tolist() == schedule.preempted_iteration[here].tolist()
    assert middle.preempted_request.tolist() == schedule.preempted_request[here].tolist()
    assert schedule.window(5, 5).iterations == 0


def test_between_two_times_lie_the_iterations_under_way():
    schedule = some_schedule()
    for start, end in [(0.0, 0.5), (1.234, 2.2), (3.0, 3.0001), (1e6, 2e6), (-5.0, -1.0)]:
        first, last = schedule.between(start, end)
        expected = [
            i
            for i in range(schedule.iterations)
            if schedule.end[i] > start and schedule.start[i] < end
        ]
        assert list(range(first, last)) == expected


def test_the_record_is_the_same_each_time():
    one, two = some_schedule(), some_schedule()
    for name in Schedule.__slots__:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_a_request_without_a_token_has_no_times():
    schedule = some_schedule().window(0, 0)
    assert schedule.busy == 0.0
    assert schedule.bubbles == 0.0


def test_preempted_requests_are_counted_where_they_lost():
    schedule = some_schedule()
    counts = np.bincount(schedule.preempted_request, minlength=schedule.requests)
    assert schedule.preemptions.tolist() == counts.tolist()
    assert (np.diff(schedule.preempted_iteration) >= 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrival": np.nan}, "arrival must be a number of seconds, got nan"),
        ({"arrival": np.inf}, "arrival must be a number of seconds, got inf"),
        ({"prompt_tokens": 0}, "prompt_tokens must be at least 1, got 0"),
        ({"output_tokens": 0}, "output_tokens must be at least 1 and at most max_tokens, .* got 0"),
        ({"output_tokens": 6}, "at most max_tokens, which is 5, got 6"),
        ({"tokens": (7,)}, "tokens must be as many as prompt_tokens, which is 2, got 1"),
    ],
)
def test_a_request_that_cannot_be_is_refused(changes, message):
    plain = {"id": 3, "arrival": 0.0, "prompt_tokens": 2, "output_tokens": 5, "max_tokens": 5}
    assert Request(**plain, tokens=(7, 8)).max_tokens == 5
    with pytest.raises(ValueError, match=message):
        Request(**{**plain, **changes})


def test_v0_stalls_decodes_for_a_prompt_and_sarathi_does_not():
    trace = trace_of((0, 10, 50), (20.5, 400, 2))
    stalled = simulate(trace, VllmV0(), Seconds())
    chunked = simulate(trace, Sarathi(21), Seconds())
    assert np.diff(stalled.tokens(0)).max() == 402  # the prompt, and then both decode
    assert np.diff(chunked.tokens(0)).max() == 21
