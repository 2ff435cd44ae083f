"""A pool's history says of every call who read which block after it, and what was lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.serving.batching import Blocks, LiveRequest, Request, VllmV1
from toolkit.serving.batching.scheduler import Scheduler
from toolkit.serving.kv_cache import PrefixBlocks, RadixMemory
from toolkit.serving.kv_cache.block_history import BlockRecorder

SIZE = 4
MEMORIES = {"plain": Blocks, "hashes": PrefixBlocks, "tree": RadixMemory}


def request(number, tokens, answer=3):
    return LiveRequest.of(Request(number, 0.0, len(tokens), answer, answer, tokens=tuple(tokens)))


def serve(memory, texts, answer=6):
    """Serve texts, as many at once as there is room for; each call's tables, as they were then."""
    recorder = BlockRecorder(memory)
    scheduler = Scheduler(VllmV1(max_num_batched_tokens=12), recorder)
    for number, text in enumerate(texts):
        scheduler.add(request(number, text, answer))
    tables = []
    while not scheduler.idle:
        batch = scheduler.plan(0.0)
        tables.append((len(recorder.history().events), copied(recorder)))
        for one in scheduler.finish(batch):
            ended = one.known == one.prompt_tokens + answer - 1
            one.tokens.append(900 + one.known)
            scheduler.wrote(one, ended=ended)
        tables.append((len(recorder.history().events), copied(recorder)))
    return recorder.history(), tables


def copied(recorder):
    return {number: list(table) for number, table in recorder.tables.items()}


def readers(tables):
    found = {}
    for number, table in tables.items():
        for block in table:
            found.setdefault(block, set()).add(number)
    return found


texts = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=14), min_size=1, max_size=6)


@pytest.mark.parametrize("kind", MEMORIES)
@settings(max_examples=40)
@given(texts, st.integers(6, 14))
def test_spans_are_who_read_which_block(kind, texts, blocks):
    history, tables = serve(MEMORIES[kind](blocks, SIZE), texts)
    assert (history.blocks, history.block_size) == (blocks, SIZE)
    for events, held in tables:
        if events:
            pool = history.pool(events - 1)
            said = {span.block: set(span.readers) for span in pool if span.readers}
            assert said == readers(held)
    for event in range(len(history.events)):
        seen = [span.block for span in history.pool(event)]
        assert len(set(seen)) == len(seen) <= blocks
    for span in history.spans:
        assert 0 <= span.start < span.end <= len(history.events)
        assert 0 <= span.tokens <= SIZE


@pytest.mark.parametrize("kind", MEMORIES)
@settings(max_examples=40)
@given(texts, st.integers(6, 14))
def test_what_is_found_was_there_and_what_is_evicted_is_gone(kind, texts, blocks):
    history, _ = serve(MEMORIES[kind](blocks, SIZE), texts)
    for at, event in enumerate(history.events):
        before = {s.block: s.readers for s in history.pool(at - 1)} if at else {}
        after = {s.block: s.readers for s in history.pool(at)}
        for block in event.evicted:
            assert before[block] == ()
            assert after.get(block) in (None, (event.request,))
        if event.kind == "begin":
            mine = [block for block, by in after.items() if event.request in by]
            assert (event.blocks, event.tokens) == (len(mine), SIZE * len(mine))
            assert set(mine) <= before.keys()
        if event.kind == "grow":
            mine = {block for block, by in after.items() if event.request in by}
            already = {block for block, by in before.items() if event.request in by}
            assert len(mine - already) == event.blocks > 0
        if event.kind == "release":
            assert all(event.request not in by for by in after.values())


@pytest.mark.parametrize("kind", ["hashes", "tree"])
def test_a_block_is_shared_then_kept_then_evicted(kind):
    text = list(range(8))
    memory = BlockRecorder(MEMORIES[kind](4, SIZE))
    first, second, other = request(0, [*text, 8]), request(1, [*text, 9]), request(2, [50] * 13)
    for one in (first, second):
        one.computed = memory.admit(one)
        memory.grow(one, 9)
        one.computed = 9
        memory.wrote(one)
    memory.release(first)
    memory.release(second)
    memory.admit(other)
    memory.grow(other, 13)
    history = memory.history()
    assert [(e.kind, e.request, e.blocks, e.tokens) for e in history.events] == [
        ("begin", 0, 0, 0), ("grow", 0, 3, 0), ("keep", 0, 2, 0),
        ("begin", 1, 2, 8), ("grow", 1, 1, 0),
        ("release", 0, 3, 0), ("release", 1, 3, 0),
        ("begin", 2, 0, 0), ("grow", 2, 4, 0),
    ]  # fmt: skip
    both = {span.block for span in history.pool(4) if span.readers == (0, 1)}
    assert len(both) == 2
    assert {span.block for span in history.pool(6) if not span.readers} == both
    assert set(history.events[-1].evicted) == both
    assert [len(event.evicted) for event in history.events[:-1]] == [0] * 8
    lengths = sorted(span.tokens for span in history.pool(4))
    assert lengths == [1, 1, 4, 4]


def test_without_a_cache_nothing_is_kept():
    history, _ = serve(Blocks(8, SIZE), [[1, 2, 3, 4, 5]] * 3)
    assert {event.kind for event in history.events} == {"begin", "grow", "release"}
    assert all(span.readers for span in history.spans)
    assert history.pool(len(history.events) - 1) == []


@pytest.mark.parametrize("kind", MEMORIES)
def test_the_memory_answers_as_it_would_alone(kind):
    plain, watched = MEMORIES[kind](6, SIZE), BlockRecorder(MEMORIES[kind](6, SIZE))
    for memory in (plain, watched):
        one = request(0, list(range(9)))
        memory.admit(one)
        memory.grow(one, 9)
        one.computed = 9
        memory.wrote(one)
    other = request(1, list(range(12)))
    for ask in (
        lambda memory: memory.free,
        lambda memory: memory.needs(other, 12),
        lambda memory: memory.hit(other),
        lambda memory: memory.tables,
        lambda memory: (memory.blocks, memory.block_size),
    ):
        assert ask(plain) == ask(watched)
