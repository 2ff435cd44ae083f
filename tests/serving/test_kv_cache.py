"""``PrefixBlocks`` and ``RadixMemory``: no request ever reads what isn't its own text.

What an engine would keep is played here by its meaning: the keys and values of a token depend on
it and all before it, so a slot holds the whole prefix, and a reader must find its own there.
"""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from toolkit.serving.batching import Blocks, LiveRequest, Request, Scheduler, VllmV1
from toolkit.serving.kv_cache import PrefixBlocks, RadixMemory

SHARING = {
    "prefix": PrefixBlocks,
    "radix_lru": RadixMemory,
    "radix_lfu": lambda blocks, size: RadixMemory(blocks, size, "lfu"),
    "radix_fifo": lambda blocks, size: RadixMemory(blocks, size, "fifo"),
}


class Hashes:
    """A number for each prefix, as a trace has them."""

    def __init__(self):
        self._of: dict[tuple[int, ...], int] = {}

    def blocks(self, tokens, size):
        ends = range(size, len(tokens) + size, size)  # the last block may not be full
        return tuple(self._of.setdefault(tuple(tokens[:end]), len(self._of)) for end in ends)


def request(number, tokens, blocks=None, max_tokens=8):
    """One that waits, which a memory knows by its tokens or by hashes of its blocks."""
    return LiveRequest(
        number,
        arrival=0.0,
        prompt_tokens=len(tokens),
        max_tokens=max_tokens,
        known=len(tokens),
        tokens=None if blocks else list(tokens),
        blocks=blocks,
    )


class Requests(RuleBasedStateMachine):
    """Requests begin, compute, write, lose their blocks and leave, in any order."""

    @initialize(
        kind=st.sampled_from(sorted(SHARING)),
        blocks=st.integers(4, 24) | st.just(1000),
        size=st.integers(1, 3),
        by_hash=st.booleans(),
    )
    def begin(self, kind, blocks, size, by_hash):
        self.memory, self.size, self.by_hash = SHARING[kind](blocks, size), size, by_hash
        self.ample, self.tree = blocks == 1000, kind != "prefix"
        self.hashes = Hashes()
        self.slots: dict[tuple[int, int], tuple[int, ...]] = {}
        self.text: dict[int, list[int]] = {}
        self.waiting: list[LiveRequest] = []
        self.running: list[LiveRequest] = []
        self.kept: set[tuple[int, ...]] = set()  # texts of full blocks that may be found
        self.count = 0

    @rule(tokens=st.lists(st.integers(0, 1), min_size=1, max_size=9))
    def arrive(self, tokens):
        blocks = self.hashes.blocks(tokens, self.size) if self.by_hash else None
        self.waiting.append(request(self.count, tokens, blocks))
        self.text[self.count] = tokens
        self.count += 1

    @rule(which=st.integers(0, 20), tokens=st.integers(1, 9))
    def start(self, which, tokens):
        """Admit one that waits, and give it memory for its first chunk, if that is free."""
        if not self.waiting:
            return
        live = self.waiting[which % len(self.waiting)]
        memory, text = self.memory, self.text[live.id]
        hit = memory.hit(live)
        assert hit == memory.hit(live)
        assert hit % self.size == 0
        assert hit < live.known
        possible = len(text) if not self.by_hash else live.prompt_tokens
        ends = range(self.size, min(live.known - 1, possible) + 1, self.size)
        found = [tuple(text[:end]) in self.kept for end in ends]
        longest = self.size * [*found, False].index(False)
        assert hit == longest if self.ample else hit <= longest
        total = min(hit + tokens, live.known)
        needs, free = memory.needs(live, total), memory.free
        if needs > free:
            return
        self.waiting.remove(live)
        live.computed = memory.admit(live)
        assert live.computed == hit
        memory.grow(live, total)
        self.running.append(live)
        assert memory.free == free - needs
        self.compute(live, total)

    @rule(which=st.integers(0, 20), tokens=st.integers(1, 9))
    def go_on(self, which, tokens):
        if not self.running:
            return
        live = self.running[which % len(self.running)]
        total = min(live.computed + tokens, live.known)
        needs, free = self.memory.needs(live, total), self.memory.free
        if needs > free:
            return
        self.memory.grow(live, total)
        assert self.memory.free == free - needs
        self.compute(live, total)

    def compute(self, live, total):
        table, text = self.memory.tables[live.id], self.text[live.id]
        for i in range(live.computed, total):
            self.slots[table[i // self.size], i % self.size] = tuple(text[: i + 1])
        live.computed = total
        self.memory.wrote(live)
        sure = total if not self.tree else min(total, live.prompt_tokens)
        self.keep(live, sure)

    def keep(self, live, total):
        known = live.prompt_tokens if self.by_hash else total
        for end in range(self.size, min(total, known) + 1, self.size):
            self.kept.add(tuple(self.text[live.id][:end]))

    @rule(which=st.integers(0, 20), token=st.integers(0, 1))
    def write(self, which, token):
        done = [live for live in self.running if live.computed == live.known]
        if done:
            live = done[which % len(done)]
            if live.known < live.longest:
                self.text[live.id].append(token)
                live.known += 1
                if live.tokens is not None:
                    live.tokens.append(token)

    @rule(which=st.integers(0, 20), again=st.booleans())
    def leave(self, which, again):
        """For good, or back to the queue with what it has written."""
        if not self.running:
            return
        live = self.running.pop(which % len(self.running))
        needs, free = self.memory.needs(live, 0), self.memory.free
        self.memory.release(live)
        assert self.memory.free == free - needs
        self.keep(live, live.computed)
        if again:
            live.computed = 0
            live.preemptions += 1
            self.waiting.append(live)

    @invariant()
    def everyone_reads_its_own_text(self):
        for live in self.running:
            table, text = self.memory.tables[live.id], self.text[live.id]
            for i in range(live.computed):
                assert self.slots[table[i // self.size], i % self.size] == tuple(text[: i + 1])

    @invariant()
    def no_block_is_lost_or_two_things(self):
        tables = self.memory.tables
        assert set(tables) == {live.id for live in self.running}
        for table in tables.values():
            assert len(set(table)) == len(table)
        held = {block for table in tables.values() for block in table}
        assert self.memory.free + len(held) == self.memory.blocks
        for live in self.running:  # a block that is not full yet is nobody else's
            for block in tables[live.id][live.computed // self.size :]:
                assert sum(block in table for table in tables.values()) == 1


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("kind", sorted(SHARING))
def test_what_is_not_shared_counts_as_in_blocks(kind):
    """Texts that begin differently: memory is free, needed and held as without sharing."""
    rng = random.Random(1)
    shared, plain = SHARING[kind](40, 4), Blocks(40, 4)
    running: list[LiveRequest] = []
    for number in range(300):
        live = request(number, [number] + [0] * rng.randrange(30))
        total = rng.randrange(1, live.known + 1)
        assert (shared.hit(live), plain.hit(live)) == (0, 0)
        assert shared.needs(live, total) == plain.needs(live, total)
        while running and plain.needs(live, total) > plain.free:
            gone = running.pop(rng.randrange(len(running)))
            shared.release(gone)
            plain.release(gone)
        for memory in (shared, plain):
            memory.admit(live)
            memory.grow(live, total)
        live.computed = total
        shared.wrote(live)
        running.append(live)
        assert shared.free == plain.free
        assert len(shared.tables[number]) == len(plain.tables[number])


@pytest.mark.parametrize("kind", sorted(SHARING))
def test_the_same_prefix_is_the_same_blocks(kind):
    memory = SHARING[kind](8, 4)
    first, second = request(1, range(10)), request(2, [*range(9), 99, 98])
    assert memory.admit(first) == 0
    memory.grow(first, 10)
    assert memory.hit(second) == 0  # nothing is computed yet
    first.computed = 10
    memory.wrote(first)
    assert memory.hit(second) == 8
    assert memory.needs(second, 11) == 1  # the two it shares are in use
    assert memory.admit(second) == 8
    memory.grow(second, 11)
    assert memory.tables[1][:2] == memory.tables[2][:2]
    assert memory.tables[1][2] != memory.tables[2][2]
    assert memory.free == 4


@pytest.mark.parametrize("kind", sorted(SHARING))
def test_the_last_token_is_computed_anew(kind):
    """All of the second's 8 tokens are kept; its second block is not taken, for its last token."""
    memory = SHARING[kind](8, 4)
    first, second, longer = request(1, range(8)), request(2, range(8)), request(3, range(9))
    memory.admit(first)
    memory.grow(first, 8)
    first.computed = 8
    memory.wrote(first)
    memory.release(first)
    assert (memory.free, memory.hit(second), memory.hit(longer)) == (8, 4, 8)
    assert memory.needs(second, 8) == 2  # nobody has the one it shares, so it is free as well
    assert memory.needs(longer, 8) == 2
    assert memory.hit(request(4, [0])) == 0


@pytest.mark.parametrize("kind", sorted(SHARING))
def test_what_was_written_is_found_too(kind):
    """The next turn of a conversation begins with the answer; a pre-empted one finds itself."""
    memory = SHARING[kind](8, 2)
    first = request(1, [5, 6, 7])
    memory.admit(first)
    memory.grow(first, 3)
    for token in (8, 9, 10):
        first.computed = first.known
        memory.wrote(first)
        first.tokens.append(token)
        first.known += 1
        memory.grow(first, first.known)
    memory.release(first)  # computed are 5 6 7 8 9, of which two blocks are full
    first.computed = 0
    assert memory.hit(first) == 4
    assert memory.hit(request(2, [5, 6, 7, 8, 9, 10, 11])) == 4


def test_identical_blocks_are_merged_in_the_tree_and_only_there():
    frees = {}
    for kind, memory in (("prefix", PrefixBlocks(8, 2)), ("radix", RadixMemory(8, 2))):
        pair = [request(number, [1, 2, 3, 4, 5]) for number in (1, 2)]
        for live in pair:
            memory.admit(live)
            memory.grow(live, 5)
        for live in pair:
            live.computed = 5
            memory.wrote(live)
        frees[kind] = memory.free
        assert (memory.tables[1][:2] == memory.tables[2][:2]) == (kind == "radix")
    assert frees == {"prefix": 2, "radix": 4}


@pytest.mark.parametrize("kind", sorted(SHARING))
def test_waiting_ones_that_were_looked_at_are_not_kept_for_ever(kind):
    """Looking at more requests than are remembered changes no answer."""
    memory = SHARING[kind](8, 2)
    live = [request(number, [1, 2, number]) for number in range(300)]
    memory.admit(live[0])
    memory.grow(live[0], 3)
    live[0].computed = 3
    memory.wrote(live[0])
    for _ in range(2):
        assert {memory.hit(waiting) for waiting in live[1:]} == {2}


@pytest.mark.parametrize("kind", sorted(SHARING))
def test_a_number_is_not_who_it_was(kind):
    """Another request with the number of one that waited, and went, is looked at for itself."""
    memory = SHARING[kind](8, 2)
    first = request(1, [1, 2, 3])
    memory.admit(first)
    memory.grow(first, 3)
    first.computed = 3
    memory.wrote(first)
    memory.release(first)
    assert memory.hit(request(2, [1, 2, 3])) == 2
    assert memory.hit(request(2, [3, 2, 1])) == 0


@pytest.mark.parametrize("kind", [*sorted(SHARING), "blocks"])
@pytest.mark.parametrize("by_hash", [False, True])
def test_a_scheduler_serves_all_with_it(kind, by_hash):
    """Short of memory, with pre-emption: everyone gets all its tokens, and nothing is left over."""
    rng, hashes = random.Random(2), Hashes()
    memory = (SHARING | {"blocks": Blocks})[kind](24, 4)
    scheduler = Scheduler(VllmV1(max_num_batched_tokens=30, long_prefill_token_threshold=7), memory)
    outputs, computed = {}, 0
    for number in range(60):
        tokens = ([1, 2, 3] * 9)[: rng.randrange(4, 28)] + [rng.randrange(3) for _ in range(5)]
        blocks = hashes.blocks(tokens, 4) if by_hash else None
        outputs[number] = rng.randrange(1, 30)
        scheduler.add(LiveRequest.of(Request(
            number, 0.0, len(tokens), outputs[number], 40,
            tokens=None if by_hash else tuple(tokens), blocks=blocks,
        )))  # fmt: skip
    prompts = {live.id: live.prompt_tokens for live in scheduler.waiting}
    written = dict.fromkeys(outputs, 0)
    preempted = 0
    while not scheduler.idle:
        batch = scheduler.plan(0.0)
        assert batch.chunks or batch.preempted
        computed += sum(batch.chunks.values())
        preempted += len(batch.preempted)
        for live in scheduler.finish(batch):
            if live.tokens is not None:
                live.tokens.append(rng.randrange(3))
            written[live.id] += 1
            scheduler.wrote(live, ended=written[live.id] == outputs[live.id])
    assert written == outputs
    assert preempted > 0
    assert memory.free == memory.blocks
    assert memory.tables == {}
    once = sum(prompts.values()) + sum(outputs.values()) - len(outputs)
    if kind == "blocks":
        assert computed > once  # what was pre-empted is computed again
    else:
        assert computed < once  # even so, since prompts begin as others do


@pytest.mark.parametrize("kind", [PrefixBlocks, RadixMemory])
@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((1, 2, 3), "request 5 has 3 hashes for 20 tokens, which is not one for each 4"),
        ((1, 2, 3, 4, 4), "request 5 has a hash twice: each must stand for a block and all before"),
    ],
)
def test_a_trace_with_other_blocks_is_refused(kind, blocks, message):
    live = request(5, range(20), blocks=blocks)
    with pytest.raises(ValueError, match=re.escape(message)):
        kind(8, 4).hit(live)


@pytest.mark.parametrize("kind", [PrefixBlocks, RadixMemory])
def test_without_tokens_or_hashes_nothing_is_shared(kind):
    memory = kind(8, 4)
    live = [LiveRequest(i, 0.0, prompt_tokens=9, max_tokens=4, known=9) for i in range(2)]
    for one in live:
        assert memory.hit(one) == 0
        memory.admit(one)
        memory.grow(one, 9)
        one.computed = 9
        memory.wrote(one)
    assert memory.free == 2
    memory.release(live[0])
    assert (memory.free, memory.hit(live[0])) == (5, 0)


@pytest.mark.parametrize("kind", [PrefixBlocks, RadixMemory])
def test_sizes_below_1_are_refused(kind):
    with pytest.raises(ValueError, match="blocks must be at least 1, got 0"):
        kind(0, 4)
    with pytest.raises(ValueError, match="block_size must be at least 1, got 0"):
        kind(4, 0)
    with pytest.raises(TypeError, match=r"block_size must be a whole number, got 4\.0"):
        kind(4, 4.0)
