"""``BlockPool`` against plain lists: sequences that fork and write, and the order of reuse."""

from __future__ import annotations

import re

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from toolkit.serving.kv_cache import BlockPool, Copy

SIZE = 2
"""Slots in a block."""


class Sequences(RuleBasedStateMachine):
    """Sequences keep tokens in a pool's blocks, as an engine would; each also in a list."""

    @initialize(blocks=st.integers(1, 8))
    def begin(self, blocks):
        self.pool = BlockPool(blocks)
        self.memory = [[None] * SIZE for _ in range(blocks)]
        self.tokens: dict[int, list[int]] = {}
        self.tables: dict[int, list[int]] = {}
        self.free = list(range(blocks))  # in the order in which they are to be taken
        self.keys: dict[int, tuple[int, ...]] = {}
        self.written = 0

    def take(self):
        taken = self.pool.take(1)
        assert taken == [self.free.pop(0)]
        self.keys.pop(taken[0], None)
        return taken[0]

    @rule(sequence=st.integers(0, 3))
    def append(self, sequence):
        """One more token, none like it; the last block is copied if others read it."""
        tokens = self.tokens.setdefault(sequence, [])
        table = self.tables.setdefault(sequence, [])
        begins = len(tokens) % SIZE == 0
        if begins:
            if not self.free:
                return
            table.append(self.take())
        else:
            shared = sum(table[-1] in other for other in self.tables.values()) > 1
            if shared and not self.free:
                with pytest.raises(ValueError, match="1 blocks are asked for, and 0 are free"):
                    self.pool.copy_on_write(table[-1])
                return
            copy = self.pool.copy_on_write(table[-1])
            assert (copy is not None) == shared
            if copy:
                assert copy == Copy(table[-1], self.free.pop(0))
                self.keys.pop(copy.target, None)
                self.memory[copy.target] = self.memory[copy.source].copy()
                table[-1] = copy.target
        self.memory[table[-1]][len(tokens) % SIZE] = self.written
        tokens.append(self.written)
        self.written += 1

    @rule(source=st.integers(0, 3), fork=st.integers(0, 3))
    def fork(self, source, fork):
        if source in self.tables and fork not in self.tables:
            self.pool.share(self.tables[source])
            self.tables[fork] = self.tables[source].copy()
            self.tokens[fork] = self.tokens[source].copy()

    @rule(sequence=st.integers(0, 3))
    def end(self, sequence):
        if sequence in self.tables:
            del self.tokens[sequence]
            table = self.tables.pop(sequence)
            self.pool.release(table)
            left = {block for other in self.tables.values() for block in other}
            self.free += [block for block in reversed(table) if block not in left]

    @rule(sequence=st.integers(0, 3))
    def name(self, sequence):
        """The full blocks get keys, all at once, where they have none yet."""
        table, tokens = self.tables.get(sequence, []), self.tokens.get(sequence, [])
        full = range(len(tokens) // SIZE)
        new = {table[i]: tuple(tokens[: SIZE * (i + 1)]) for i in full if table[i] not in self.keys}
        self.pool.name(list(new), list(new.values()))
        self.keys |= new

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), sequence=st.integers(0, 3))
    def revive(self, data, sequence):
        """A sequence begins with what is found of another, which may be long gone."""
        prefix = data.draw(st.sampled_from(sorted(self.keys.values())))
        keys = [prefix[:i] for i in range(SIZE, len(prefix) + 1, SIZE)]
        found = self.pool.find(keys)
        by_key = {key: block for block, key in self.keys.items()}
        expected = []
        for key in keys:
            if key not in by_key:
                break
            expected.append(by_key[key])
        assert found == expected
        if found and sequence not in self.tables:
            self.pool.share(found)
            self.free = [block for block in self.free if block not in found]
            self.tables[sequence] = found
            self.tokens[sequence] = list(keys[len(found) - 1])

    @invariant()
    def every_sequence_reads_its_own_tokens(self):
        for sequence, tokens in self.tokens.items():
            table = self.tables[sequence]
            assert [self.memory[table[i // SIZE]][i % SIZE] for i in range(len(tokens))] == tokens

    @invariant()
    def readers_are_counted(self):
        assert self.pool.free == len(self.free)
        assert len(self.pool.named) == len(self.keys)
        for block in range(self.pool.blocks):
            held = sum(block in table for table in self.tables.values())
            assert self.pool.readers(block) == held
            assert (held == 0) == (block in self.free)


TestSequences = Sequences.TestCase
TestSequences.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_freed_blocks_are_reused_oldest_first_and_the_tail_before_the_head():
    pool = BlockPool(6)
    a, b = pool.take(3), pool.take(3)
    assert (a, b) == ([0, 1, 2], [3, 4, 5])
    pool.release(b)
    pool.release(a)
    assert pool.take(6) == [5, 4, 3, 2, 1, 0]


def test_a_freed_block_is_found_until_it_is_taken():
    pool = BlockPool(2)
    blocks = pool.take(2)
    pool.name(blocks, ["head", "tail"])
    pool.release(blocks)
    assert pool.find(["head", "tail", "more"]) == blocks
    assert pool.take(1) == [1]
    assert pool.find(["head", "tail"]) == [0]
    assert pool.find(["tail"]) == []
    assert len(pool.named) == 1


def test_identical_blocks_are_not_merged():
    pool = BlockPool(3)
    blocks = pool.take(3)
    pool.name(blocks, ["same"] * 3)
    pool.release(blocks[:1])
    assert len(pool.named) == 3
    assert pool.take(1) == blocks[:1]
    assert pool.find(["same"]) == [1]
    pool.release([1])
    assert pool.take(1) == [1]
    assert pool.find(["same"]) == [2]
    assert pool.copy_on_write(2) is None
    assert pool.find(["same"]) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda pool: BlockPool(0), "blocks must be at least 1, got 0"),
        (lambda pool: pool.take(3), "3 blocks are asked for, and 2 are free"),
        (lambda pool: pool.take(-1), "-1 blocks are asked for, and 2 are free"),
        (lambda pool: pool.release([0, 2]), "block 2 is free already: it was released before"),
        (lambda pool: pool.release([0, 4]), "there is no block 4: the pool has 0 to 3"),
        (lambda pool: pool.release([-1]), "there is no block -1: the pool has 0 to 3"),
        (lambda pool: pool.release([0, 0]), "a block is there twice in [0, 0]"),
        (lambda pool: pool.share([1, 2]), "block 2 is free, and holds nothing known: take one"),
        (lambda pool: pool.share([9]), "there is no block 9"),
        (lambda pool: pool.copy_on_write(3), "block 3 is free: take it before"),
        (lambda pool: pool.name([1, 3], "ab"), "block 3 is free: only a block in use gets a key"),
        (lambda pool: pool.name([1], "ab"), "1 blocks need as many keys, got 2"),
        (lambda pool: pool.name([1, 0], "ab"), "block 0 has the key 'named' already"),
        (lambda pool: pool.readers(4), "there is no block 4"),
        (lambda pool: pool.name([1], [[1]]), "keys must be hashable, as those of block_keys are"),
    ],
)
def test_what_is_refused_changes_nothing(call, message):
    pool = BlockPool(4)
    pool.take(2)
    pool.name([0], ["named"])
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call(pool)
    assert [pool.readers(block) for block in range(4)] == [1, 1, 0, 0]
    assert (pool.free, len(pool.named), pool.find(["named"])) == (2, 1, [0])
    assert pool.take(2) == [2, 3]
