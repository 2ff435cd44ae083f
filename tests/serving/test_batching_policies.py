"""Each policy on a few small requests, its schedule worked out by hand from the paper's rules."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from toolkit.serving.batching import (
    Batch,
    Blocks,
    Continuous,
    PolicyError,
    Sarathi,
    SplitFuse,
    Static,
    Trace,
    VllmV0,
    VllmV1,
    simulate,
)


@dataclass(frozen=True)
class Ticks:
    """An iteration takes a second."""

    stages: int = 1

    def seconds(self, work):
        return 1.0


def trace_of(*requests):
    arrival, prompt, output = map(np.array, zip(*requests, strict=True))
    return Trace(arrival.astype(float), prompt, output, int(output.max()))


def iterations(schedule):
    return [schedule.chunks(i) for i in range(schedule.iterations)]


def lost(schedule):
    return list(
        zip(schedule.preempted_iteration.tolist(), schedule.preempted_request.tolist(), strict=True)
    )


# arrival, prompt, output: the third one comes while the first iteration is computed
THREE = trace_of((0, 4, 3), (0, 2, 1), (0.5, 5, 2))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        # nobody joins until both have ended
        (Static(2), [{0: 4, 1: 2}, {0: 1}, {0: 1}, {2: 5}, {2: 1}]),
        (Static(1), [{0: 4}, {0: 1}, {0: 1}, {1: 2}, {2: 5}, {2: 1}]),
        # the third one's prompt is in the batch in which the first one decodes
        (Continuous(2), [{0: 4, 1: 2}, {0: 1, 2: 5}, {0: 1, 2: 1}]),
        (Continuous(1), [{0: 4}, {0: 1}, {0: 1}, {1: 2}, {2: 5}, {2: 1}]),
        # the first one stands still while the third one's prompt is computed
        (VllmV0(), [{0: 4, 1: 2}, {2: 5}, {0: 1, 2: 1}, {0: 1}]),
        (VllmV0(max_num_seqs=1), [{0: 4}, {0: 1}, {0: 1}, {1: 2}, {2: 5}, {2: 1}]),
        # a decode first, then what the chunk has room for
        (Sarathi(4), [{0: 4}, {0: 1, 1: 2, 2: 1}, {0: 1, 2: 3}, {2: 1}, {2: 1}]),
        (Sarathi(3), [{0: 3}, {0: 1, 1: 2}, {0: 1, 2: 2}, {0: 1, 2: 2}, {2: 1}, {2: 1}]),
        (Sarathi(8, max_num_seqs=1), [{0: 4}, {0: 1}, {0: 1}, {1: 2}, {2: 5}, {2: 1}]),
        (SplitFuse(4), [{0: 4}, {0: 1, 1: 2, 2: 1}, {0: 1, 2: 3}, {2: 1}, {2: 1}]),
        (SplitFuse(8), [{0: 4, 1: 2}, {0: 1, 2: 5}, {0: 1, 2: 1}]),
        (SplitFuse(8, max_sequences=1), [{0: 4}, {0: 1}, {0: 1}, {1: 2}, {2: 5}, {2: 1}]),
        (VllmV1(4), [{0: 4}, {0: 1, 1: 2, 2: 1}, {0: 1, 2: 3}, {2: 1}, {2: 1}]),
        (
            VllmV1(4, long_prefill_token_threshold=2),
            [{0: 2, 1: 2}, {0: 2, 2: 2}, {0: 1, 2: 2}, {0: 1, 2: 1}, {2: 1}],
        ),
        (VllmV1(8, max_num_seqs=1), [{0: 4}, {0: 1}, {0: 1}, {1: 2}, {2: 5}, {2: 1}]),
    ],
    ids=repr,
)
def test_three_requests(policy, expected):
    schedule = simulate(THREE, policy, Ticks())
    assert iterations(schedule) == expected
    assert schedule.output_tokens.tolist() == [3, 1, 2]
    assert lost(schedule) == []


def test_the_rectangle_of_static_batching_is_padded():
    schedule = simulate(THREE, Static(2), Ticks())
    # prompts of 4 and 2; a row whose answer has ended; one prompt alone; a row never filled
    assert schedule.padding.tolist() == [2, 1, 1, 0, 1]


# What runs out: a block a token, and two requests that end with six tokens each.
TWO = trace_of((0, 2, 4), (0, 2, 4))
PREEMPTED = [{0: 2, 1: 2}, {0: 1, 1: 1}, {0: 1}, {0: 1}, {1: 4}, {1: 1}]


@pytest.mark.parametrize("policy", [VllmV0(), Sarathi(8), VllmV1(8)], ids=repr)
def test_the_latest_loses_its_blocks_and_is_computed_again(policy):
    schedule = simulate(TWO, policy, Ticks(), lambda: Blocks(6, block_size=1))
    assert iterations(schedule) == PREEMPTED
    assert lost(schedule) == [(2, 1)]
    assert schedule.blocks_used.tolist() == [4, 6, 4, 5, 4, 5]
    assert schedule.tokens(0).tolist() == [1, 2, 3, 4]
    assert schedule.tokens(1).tolist() == [1, 2, 5, 6]


def test_split_fuse_lets_a_decode_sit_out_and_begins_anew_when_all_do():
    schedule = simulate(TWO, SplitFuse(8), Ticks(), lambda: Blocks(7, block_size=1))
    # the seventh block is the first request's; then there is none for either
    assert iterations(schedule) == [{0: 2, 1: 2}, {0: 1, 1: 1}, {0: 1}, {0: 5}, {1: 4}, {1: 1}]
    assert lost(schedule) == [(3, 1), (3, 0)]


def test_split_fuse_lets_a_prompt_wait_that_has_begun_and_of_which_the_rest_does_not_fit():
    trace = trace_of((0, 4, 5), (0, 5, 1))
    schedule = simulate(trace, SplitFuse(2), Ticks(), lambda: Blocks(10, block_size=1))
    assert iterations(schedule) == [
        {0: 2}, {0: 2}, {0: 1, 1: 1}, {0: 1}, {0: 1}, {0: 1}, {1: 2}, {1: 2},
    ]  # fmt: skip


def test_split_fuse_takes_up_a_prompt_only_where_the_rest_of_it_fits():
    trace = trace_of((0, 3, 2), (0, 4, 1))
    schedule = simulate(trace, SplitFuse(4), Ticks(), lambda: Blocks(6, block_size=1))
    assert iterations(schedule) == [{0: 3}, {0: 1}, {1: 4}]
    schedule = simulate(trace, SplitFuse(4), Ticks(), lambda: Blocks(8, block_size=1))
    assert iterations(schedule) == [{0: 3, 1: 1}, {0: 1, 1: 3}]


def test_orca_reserves_what_the_longest_answer_may_need():
    # 4 + 3 and 2 + 3 tokens fit 12 blocks, and the third one's 5 + 3 only after the first
    schedule = simulate(THREE, Continuous(8), Ticks(), lambda: Blocks(12, block_size=1))
    assert iterations(schedule) == [{0: 4, 1: 2}, {0: 1}, {0: 1}, {2: 5}, {2: 1}]
    schedule = simulate(THREE, Continuous(8), Ticks(), lambda: Blocks(15, block_size=1))
    assert iterations(schedule) == [{0: 4, 1: 2}, {0: 1, 2: 5}, {0: 1, 2: 1}]


def test_static_batching_reserves_likewise():
    schedule = simulate(THREE, Static(2), Ticks(), lambda: Blocks(11, block_size=1))
    assert iterations(schedule) == [{0: 4}, {0: 1}, {0: 1}, {1: 2}, {2: 5}, {2: 1}]


def test_vllm_v0_leaves_a_watermark_to_those_that_run():
    trace = trace_of((0, 4, 2), (0.5, 4, 1))
    memory = partial(Blocks, 10, block_size=1)
    at_once = [{0: 4}, {1: 4}, {0: 1}]
    assert iterations(simulate(trace, VllmV0(watermark=0.2), Ticks(), memory)) == at_once
    # a share of 2.5 blocks is 2
    assert iterations(simulate(trace, VllmV0(watermark=0.25), Ticks(), memory)) == at_once
    # 10 - 4 - 4 blocks are fewer than 3
    later = [{0: 4}, {0: 1}, {1: 4}]
    assert iterations(simulate(trace, VllmV0(watermark=0.3), Ticks(), memory)) == later
    # where nobody runs it is nobody's
    assert iterations(simulate(trace, VllmV0(watermark=0.9), Ticks(), memory)) == later


def test_sarathi_begins_a_prompt_only_where_the_whole_fits_beside_what_is_promised():
    # 6 + 1 tokens of the first are promised though 4 are computed: 4 of 10 blocks are left
    trace = trace_of((0, 6, 1), (0, 5, 1))
    schedule = simulate(trace, Sarathi(4), Ticks(), lambda: Blocks(10, block_size=1))
    assert iterations(schedule) == [{0: 4}, {0: 2}, {1: 4}, {1: 1}]
    schedule = simulate(trace, Sarathi(4), Ticks(), lambda: Blocks(11, block_size=1))
    assert iterations(schedule) == [{0: 4}, {0: 2, 1: 2}, {1: 3}]


def test_sarathi_computes_all_decodes_even_beyond_the_chunk():
    trace = trace_of((0, 1, 9), (0, 1, 9), (0, 1, 9), (0, 1, 9))
    schedule = simulate(trace, Sarathi(2), Ticks())
    assert iterations(schedule)[:4] == [
        {0: 1, 1: 1},
        {0: 1, 1: 1},
        {0: 1, 1: 1},
        {0: 1, 1: 1},
    ]
    trace = trace_of((0, 1, 9), (0, 1, 9), (2.5, 3, 1))
    schedule = simulate(trace, Sarathi(3), Ticks())
    assert iterations(schedule)[3:6] == [{0: 1, 1: 1, 2: 1}] * 3


def test_vllm_v1_lets_nobody_begin_where_somebody_lost_blocks():
    # the third one would fit in the blocks that the second gives back, and comes after it
    trace = trace_of((0, 2, 4), (0, 2, 4), (1.5, 1, 1))
    schedule = simulate(trace, VllmV1(8), Ticks(), lambda: Blocks(6, block_size=1))
    assert iterations(schedule)[:5] == [
        {0: 2, 1: 2},
        {0: 1, 1: 1},
        {0: 1},
        {0: 1},
        {1: 4, 2: 1},
    ]
    assert lost(schedule) == [(2, 1)]


class Warm(Blocks):
    """A memory that has the first four tokens of every prompt, in blocks of its own of two."""

    def hit(self, request):
        return min(4, (request.known - 1) // 2 * 2)

    def needs(self, request, tokens):
        if request.id in self.tables:
            return -(-tokens // 2) - self.warm(request) - len(self.tables[request.id])
        return -(-tokens // 2) - self.hit(request) // 2

    def warm(self, request):
        return 2 if request.known > 4 else (request.prompt_tokens - 1) // 2

    def admit(self, request):
        super().admit(request)
        return self.hit(request)

    def grow(self, request, tokens):
        super().grow(request, tokens - 2 * self.warm(request))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Static(2), [{0: 5, 1: 2}, {0: 1}, {0: 1}]),
        (Continuous(2), [{0: 5, 1: 2}, {0: 1}, {0: 1}]),
        (VllmV0(max_num_batched_tokens=11), [{0: 5, 1: 2}, {0: 1}, {0: 1}]),
        (Sarathi(4), [{0: 4}, {0: 1, 1: 2}, {0: 1}, {0: 1}]),
        (SplitFuse(4), [{0: 4}, {0: 1, 1: 2}, {0: 1}, {0: 1}]),
        (VllmV1(4), [{0: 4}, {0: 1, 1: 2}, {0: 1}, {0: 1}]),
    ],
    ids=repr,
)
def test_what_the_memory_has_is_not_computed_again(policy, expected):
    trace = trace_of((0, 9, 3), (0, 6, 1))
    schedule = simulate(trace, policy, Ticks(), lambda: Warm(20, block_size=2))
    assert iterations(schedule) == expected
    if isinstance(policy, Static):
        assert schedule.padding.tolist() == [3, 1, 1]


@pytest.mark.parametrize(
    "policy", [Static(2), Continuous(2), VllmV0(), Sarathi(20), SplitFuse(20), VllmV1(20)], ids=repr
)
def test_blocks_are_needed_for_what_comes_after_a_hit(policy):
    # of five blocks two are hit and three taken, and as many are not left for the second
    trace = trace_of((0, 9, 1), (0, 9, 1))
    schedule = simulate(trace, policy, Ticks(), lambda: Warm(5, block_size=2))
    assert iterations(schedule) == [{0: 5}, {1: 5}]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Static(0), "batch_size must be at least 1, got 0"),
        (lambda: Continuous(0), "max_batch_size must be at least 1, got 0"),
        (lambda: VllmV0(max_num_seqs=0), "max_num_seqs must be at least 1, got 0"),
        (lambda: VllmV0(watermark=1.0), "watermark must be at least 0 and under 1, got 1.0"),
        (lambda: Sarathi(chunk_size=0), "chunk_size must be at least 1, got 0"),
        (lambda: SplitFuse(token_budget=-1), "token_budget must be at least 1, got -1"),
        (lambda: VllmV1(max_num_batched_tokens=0), "max_num_batched_tokens must be at least 1"),
        (
            lambda: VllmV1(long_prefill_token_threshold=-1),
            "long_prefill_token_threshold must be at least 1, or 0 for none, got -1",
        ),
    ],
)
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match=r"batch_size must be a whole number, got 1\.5"):
        Static(1.5)


def test_vllm_v0_composes_whole_prompts_within_its_budget():
    trace = trace_of((0, 4, 1), (0, 4, 1))
    for budget, expected in ((7, [{0: 4}, {1: 4}]), (8, [{0: 4, 1: 4}])):
        policy = VllmV0(max_num_batched_tokens=budget)
        assert iterations(simulate(trace, policy, Ticks())) == expected


def test_vllm_v0_refuses_who_may_once_have_more_to_compute_than_its_budget():
    """Of 60 tokens 59 are computed, all at once if it loses its blocks before the last."""
    message = (
        r"request 0 may have 59 tokens to compute at once, "
        r"and max_num_batched_tokens is 58: raise it"
    )
    trace = trace_of((0, 30, 30), (0, 30, 30))
    with pytest.raises(ValueError, match=message):
        simulate(trace, VllmV0(max_num_batched_tokens=58), Ticks(), lambda: Blocks(5, 16))
    schedule = simulate(trace, VllmV0(max_num_batched_tokens=59), Ticks(), lambda: Blocks(5, 16))
    assert schedule.preemptions.tolist() == [0, 1]
    assert schedule.output_tokens.tolist() == [30, 30]


class Says:
    """A policy that answers what it was told, call by call."""

    def __init__(self, *batches):
        self.batches = list(batches)

    def next_batch(self, state):
        return self.batches.pop(0)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([Batch({7: 1})], "iteration 0, request 7: it neither runs nor waits"),
        ([Batch({2: 1})], "iteration 0, request 2: it neither runs nor waits"),
        ([Batch({0: 5})], "iteration 0, request 0: a chunk of 5 tokens, and it has 4 left"),
        ([Batch({0: 0})], "iteration 0, request 0: a chunk of 0 tokens, and it has 4 left"),
        ([None], "iteration 0: next_batch must give a Batch, got None"),
        ([Batch({0: 4}), {0: 1}], r"iteration 1: next_batch must give a Batch, got \{0: 1\}"),
        ([Batch({0: 4}, padding=-1)], "iteration 0: padding must be at least 0, got -1"),
        ([Batch({0: 1.5})], r"iteration 0, request 0: a chunk must be a whole number, got 1\.5"),
        ([Batch({0: float("nan")})], "request 0: a chunk must be a whole number, got nan"),
        ([Batch({0: "3"})], "request 0: a chunk must be a whole number, got '3'"),
        ([Batch({0: 3}), Batch({0: 2})], "iteration 1, request 0: a chunk of 2 .* has 1 left"),
        ([Batch(preempted=[0])], "iteration 0, request 0: it is pre-empted, and does not run"),
        (
            [Batch({0: 4}), Batch({0: 1}, preempted=[0])],
            "iteration 1, request 0: it is pre-empted, and in the batch as well",
        ),
        (
            [Batch({0: 4, 1: 2}), Batch({2: 5})],
            "iteration 1, request 2: 3 more blocks are needed for 5 tokens, and 2 are free",
        ),
        (
            [Batch({0: 4, 1: 2}), Batch(), Batch()],
            "request 0: it has 1 tokens left to compute, the batch is empty, and nobody else",
        ),
        (
            [Batch(), Batch()],
            "request 0: it has 4 tokens left to compute, the batch is empty, and nobody else",
        ),
        (
            [Batch({0: 4}), *[Batch(preempted=[0]), Batch({0: 4})] * 1001],
            "request 0: it has lost its blocks 1,000 times",
        ),
    ],
)
def test_a_policy_that_breaks_a_rule_is_told(batches, message):
    with pytest.raises(PolicyError, match=message):
        simulate(THREE, Says(*batches), Ticks(), lambda: Blocks(4, block_size=2))


def test_an_empty_batch_waits_for_the_next_arrival():
    everything = [Batch({0: 4, 1: 2}), Batch({0: 1, 2: 5}), Batch({0: 1, 2: 1})]
    schedule = simulate(THREE, Says(Batch(), *everything), Ticks())
    assert schedule.start.tolist() == [0.5, 1.5, 2.5]


def test_a_request_that_never_fits_is_refused():
    with pytest.raises(ValueError, match="request 2 may have 8 tokens, and the memory holds 7"):
        simulate(THREE, VllmV1(), Ticks(), lambda: Blocks(7, block_size=1))


def test_a_policy_may_pass_over_the_head_of_the_queue():
    schedule = simulate(
        THREE,
        Says(Batch({1: 2}), Batch({2: 5, 0: 4}), Batch({2: 1, 0: 1}), Batch({0: 1})),
        Ticks(),
    )
    assert iterations(schedule) == [{1: 2}, {2: 5, 0: 4}, {2: 1, 0: 1}, {0: 1}]
    assert schedule.began.tolist() == [1, 0, 1]
