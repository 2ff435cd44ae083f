"""What holds of every schedule, whatever comes: checked from its columns alone."""

from dataclasses import dataclass

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

BLOCK = 4


@dataclass(frozen=True)
class Linear:
    """A tenth of a second, and a hundredth a token."""

    stages: int = 1

    def seconds(self, work):
        return 0.1 + 0.01 * work.tokens


@st.composite
def traces(draw):
    count = draw(st.integers(1, 14))
    lengths = st.integers(1, 20)
    gaps = draw(st.lists(st.sampled_from([0.0, 0.05, 0.4, 3.0]), min_size=count, max_size=count))
    prompts = draw(st.lists(lengths, min_size=count, max_size=count))
    outputs = draw(st.lists(lengths, min_size=count, max_size=count))
    return Trace(np.cumsum(gaps), np.array(prompts), np.array(outputs), max(outputs))


@st.composite
def cases(draw):
    """A trace, a policy, and blocks for its longest request at least."""
    trace = draw(traces())
    few = st.integers(1, 6)
    policy = draw(
        st.one_of(
            st.builds(Static, few),
            st.builds(Continuous, few),
            st.builds(VllmV0, few, st.integers(40, 60), st.sampled_from([0.0, 0.1, 0.5])),
            st.builds(Sarathi, st.integers(1, 30), few),
            st.builds(SplitFuse, st.integers(1, 30), few),
            st.builds(VllmV1, st.integers(1, 30), few, st.integers(0, 9)),
        )
    )
    least = -(-int(trace.prompt_tokens.max() + trace.max_tokens) // BLOCK)
    return trace, policy, draw(st.integers(least, 3 * least))


def budget(policy):
    """Tokens in a batch, and requests in it."""
    match policy:
        case Static(batch_size=size) | Continuous(max_batch_size=size):
            return None, size
        case VllmV0() | VllmV1():
            return policy.max_num_batched_tokens, policy.max_num_seqs
        case Sarathi():
            # decodes are not counted
            return max(policy.chunk_size, policy.max_num_seqs), policy.max_num_seqs
        case SplitFuse():
            return policy.token_budget, policy.max_sequences


def replayed(schedule, trace):
    """Each iteration's state, from who computed what and who lost what."""
    computed, wrote = {}, dict.fromkeys(range(len(trace)), 0)
    losses = list(
        zip(schedule.preempted_iteration, schedule.preempted_request.tolist(), strict=True)
    )
    for i in range(schedule.iterations):
        for request in [who for when, who in losses if when == i]:
            del computed[request]
        before = dict(computed)
        chunks = schedule.chunks(i)
        for request, tokens in chunks.items():
            computed[request] = computed.get(request, 0) + tokens
        held = dict(computed)
        ended = []
        for request in chunks:
            known = trace.prompt_tokens[request] + wrote[request]
            assert computed[request] <= known, "no token is computed before it is known"
            if computed[request] == known:
                wrote[request] += 1
                if wrote[request] == trace.output_tokens[request]:
                    del computed[request]
                    ended.append(request)
        yield i, chunks, before, held, ended
    assert wrote == dict(enumerate(trace.output_tokens.tolist())), "everyone ends"
    assert computed == {}


@settings(deadline=None, max_examples=300)
@given(cases())
def test_whatever_comes(case):
    trace, policy, blocks = case
    schedule = simulate(trace, policy, Linear(), lambda: Blocks(blocks, BLOCK))
    tokens, sequences = budget(policy)
    times = {request: [] for request in range(len(trace))}
    in_system = set()
    end, arrived = 0.0, 0
    for i, chunks, before, held, ended in replayed(schedule, trace):
        start = schedule.start[i]
        # work conserving: an iteration begins when the last has ended, or else when someone comes
        assert start == (end if in_system else max(end, trace.arrival[arrived]))
        while arrived < len(trace) and trace.arrival[arrived] <= start:
            in_system.add(arrived)
            arrived += 1
        assert chunks.keys() <= in_system

        # the budget, and blocks for what is held and no more
        assert len(chunks) <= sequences
        assert len(held) <= sequences or isinstance(policy, SplitFuse)
        assert tokens is None or sum(chunks.values()) <= tokens
        assert schedule.blocks_used[i] == sum(-(-n // BLOCK) for n in held.values()) <= blocks
        assert schedule.prefill_tokens[i] + schedule.decode_tokens[i] == sum(chunks.values())

        # first come, first served: nobody holds blocks while an earlier one waits
        assert list(held) == sorted(held)
        waiting = in_system - held.keys()
        assert not waiting or not held or max(held) < min(waiting)

        check_promise(policy, trace, chunks, before)
        lost = i in schedule.preempted_iteration
        if waiting and not lost:
            known = {
                request: int(trace.prompt_tokens[request]) + len(times[request])
                for request in (*held, min(waiting))
            }
            assert not could_begin(policy, trace, blocks, chunks, before, held, known)
        end = schedule.end[i]
        for request in chunks:
            if held[request] == trace.prompt_tokens[request] + len(times[request]):
                times[request].append(end)
        in_system.difference_update(ended)

    assert {request: schedule.tokens(request).tolist() for request in times} == times
    recomputed = schedule.chunk_tokens.sum() - (trace.prompt_tokens + trace.output_tokens - 1).sum()
    assert recomputed >= 0
    assert (recomputed > 0) == (schedule.preemptions.sum() > 0)
    assert (schedule.began >= trace.arrival).all()


def check_promise(policy, trace, chunks, before):
    """What each policy is known for."""
    decoding = {request for request, n in before.items() if n >= trace.prompt_tokens[request]}
    match policy:
        case Static():
            assert not before or chunks.keys() == before.keys()
        case Continuous():
            assert before.keys() <= chunks.keys()
        case VllmV0():
            new = chunks.keys() - before.keys()
            assert not new or new == chunks.keys(), "prefills and decodes are never mixed"
        case Sarathi():
            assert decoding <= chunks.keys(), "no decode stalls"


def in_blocks(lengths):
    return sum(-(-n // BLOCK) for n in lengths)


def could_begin(policy, trace, blocks, chunks, before, held, known):
    """Whether the first to wait would find budget and blocks.

    Args:
        before, held: tokens computed of those that ran before the batch, and by it.
        known: tokens of those that run, and last of the first to wait.
    """
    left = list(known.values())[-1]
    tokens, sequences = budget(policy)
    match policy:
        case Static() | Continuous():
            longest = [trace.prompt_tokens[request] + trace.max_tokens for request in known]
            joins = isinstance(policy, Continuous) or not before
            return joins and len(held) < sequences and in_blocks(longest) <= blocks
        case VllmV0():
            new = chunks.keys() - before.keys()
            there = held if new else before  # answers go on only where nobody can begin
            tokens -= sum(chunks[request] for request in new)
            spare = int(policy.watermark * blocks) if before else 0
            needed = in_blocks([*there.values(), left]) + spare
            return len(there) < sequences and left <= tokens and needed <= blocks
        case Sarathi():
            has_room = sum(chunks.values()) < policy.chunk_size and len(held) < sequences
            return has_room and in_blocks(known.values()) <= blocks
        case SplitFuse():
            has_room = sum(chunks.values()) < tokens and len(chunks) < sequences
            all_run = held.keys() == chunks.keys()
            return has_room and all_run and in_blocks([*held.values(), left]) <= blocks
        case VllmV1():
            tokens -= sum(chunks.values())
            chunk = min(left, tokens, policy.long_prefill_token_threshold or left)
            has_room = tokens > 0 and len(held) < sequences
            return has_room and in_blocks([*held.values(), chunk]) <= blocks


@pytest.mark.parametrize("policy", [VllmV0(), Sarathi(9), SplitFuse(9), VllmV1(9)], ids=repr)
def test_who_loses_blocks_again_and_again_is_served(policy):
    rng = np.random.default_rng(0)
    trace = Trace(np.arange(60.0), rng.integers(1, 9, 60), rng.integers(1, 40, 60), 40)
    schedule = simulate(trace, policy, Linear(), lambda: Blocks(14, BLOCK))
    assert schedule.preemptions.max() > 2
    for _ in replayed(schedule, trace):
        pass


@pytest.mark.parametrize(
    "policy", [Static(3), Continuous(9), VllmV0(4), Sarathi(9), SplitFuse(9), VllmV1(9)], ids=repr
)
def test_nobody_starves_beneath_a_stream_of_short_requests(policy):
    """A long prompt among many short ones that come faster than they can be served."""
    count = 400
    prompts = np.full(count, 2)
    prompts[5] = 40
    trace = Trace(np.arange(count) * 0.01, prompts, np.full(count, 4), 4)
    schedule = simulate(trace, policy, Linear(), lambda: Blocks(20, BLOCK))
    assert schedule.first_token.argsort(kind="stable").tolist().index(5) < 20


@settings(deadline=None, max_examples=100)
@given(cases(), st.integers(2, 4))
def test_stages_in_turn(case, stages):
    """With a pipeline each of the batches on their way is a service of its own."""
    trace, policy, blocks = case
    schedule = simulate(trace, policy, Linear(stages), lambda: Blocks(blocks, BLOCK))
    assert schedule.output_tokens.tolist() == trace.output_tokens.tolist()
    assert schedule.blocks == blocks * stages
    # a batch is in one stage at a time, and a stage has one batch at a time
    seconds = schedule.seconds[:, None]
    slack = 1e-9
    assert (np.diff(schedule.entered, axis=1) >= seconds - slack).all()
    assert (np.diff(schedule.entered, axis=0) >= seconds[:-1] - slack).all()
    # two batches of the same requests' lane never overlap
    for lane in range(stages):
        mine = [
            i for i in range(schedule.iterations) if next(iter(schedule.chunks(i))) % stages == lane
        ]
        assert all(r % stages == lane for i in mine for r in schedule.chunks(i))
        assert (schedule.start[mine[1:]] >= schedule.end[mine[:-1]]).all()
    # nothing waits in front of a stage without a reason
    for i in range(1, schedule.iterations):
        for stage in range(1, stages):
            there = schedule.entered[i, stage - 1] + schedule.seconds[i]
            free = schedule.entered[i - 1, stage] + schedule.seconds[i - 1]
            assert schedule.entered[i, stage] == max(there, free)
    assert 0 <= schedule.bubbles < 1
