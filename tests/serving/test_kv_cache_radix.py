"""``RadixTree`` against a dict of all prefixes, and its eviction against sorting all leaves."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from toolkit.serving.kv_cache import RadixTree, Step

RANK = {
    "lru": lambda node: node.used,
    "lfu": lambda node: (node.uses, node.used),
    "fifo": lambda node: node.made,
}


def nodes_of(tree):
    """All nodes but the root, each with the text that it stands for, in pages."""
    found = []

    def visit(node, text):
        for child in node.children.values():
            longer = text + tuple(map(tuple, child.label.tolist()))
            found.append((child, longer))
            visit(child, longer)

    visit(tree.root, ())
    return found


def evicted_by_sorting(tree, rank, pages):
    """The values that evicting so many pages should free, without a heap."""
    alive = {node: len(node.children) for node, _ in nodes_of(tree)}
    freed = []
    while len(freed) < pages:
        leaves = [node for node, children in alive.items() if not children and not node.locks]
        if not leaves:
            break
        first = min(leaves, key=lambda node: (rank(node), node.id))
        freed += first.values.tolist()
        del alive[first]
        if first.parent in alive:
            alive[first.parent] -= 1
    return freed


def replayed(steps):
    """The tree that the steps tell of: id -> (parent, tokens, locks), the root included."""
    nodes = {0: (0, (), 0)}
    for step in steps:
        if step.event == "insert":
            nodes[step.node] = (step.parent, step.label, 0)
        elif step.event == "evict":
            assert nodes.pop(step.node) == (step.parent, step.label, 0)
        elif step.event == "split":
            cut = len(step.label)
            for other, (parent, label, locks) in nodes.items():
                if parent == step.parent and label and label[:cut] == step.label:
                    nodes[other] = (step.node, label[cut:], locks)
                    nodes[step.node] = (step.parent, step.label, locks)
                    break
        elif step.event in ("lock", "unlock"):
            node, by = step.node, 1 if step.event == "lock" else -1
            while True:
                parent, label, locks = nodes[node]
                nodes[node] = (parent, label, locks + by)
                if node == 0:
                    break
                node = parent
    return nodes


class Prefixes(RuleBasedStateMachine):
    """A tree, and a dict from each prefix that it should have to the value of its last page."""

    @initialize(width=st.integers(1, 2), policy=st.sampled_from(sorted(RANK)))
    def begin(self, width, policy):
        self.width, self.rank = width, RANK[policy]
        self.steps: list[Step] = []
        self.tree = RadixTree(policy, on_step=self.steps.append)
        self.values: dict[tuple, int] = {}
        self.used: dict[tuple, int] = {}
        self.uses: dict[tuple, int] = {}
        self.made: dict[tuple, int] = {}
        self.locked: list[tuple] = []  # (node, text)
        self.next_value = self.calls = 0

    def text(self, letters):
        """Letters 0 and 1 as pages: with two tokens a page the second alone tells them apart."""
        return tuple((letter,) if self.width == 1 else (7, letter) for letter in letters)

    def known(self, text):
        """By brute force: the longest prefix that was inserted and not evicted."""
        length = max((i for i in range(1, len(text) + 1) if text[:i] in self.values), default=0)
        return [text[:i] for i in range(1, length + 1)]

    def touch(self, prefixes):
        for prefix in prefixes:
            self.used[prefix] = self.calls
        self.calls += 1

    @rule(letters=st.lists(st.integers(0, 1), max_size=8))
    def match(self, letters):
        text = self.text(letters)
        prefixes = self.known(text)
        found = self.tree.match(text)
        assert found.values.tolist() == [self.values[prefix] for prefix in prefixes]
        texts = {id(node): text for node, text in nodes_of(self.tree)} | {id(self.tree.root): ()}
        assert texts[id(found.node)] == text[: len(prefixes)]
        self.touch(prefixes)
        for prefix in prefixes:
            self.uses[prefix] += 1
        assert self.steps[-1] == Step(
            "match",
            found.node.id,
            found.node.parent.id if found.node.parent else 0,
            len(prefixes),
        )

    @rule(letters=st.lists(st.integers(0, 1), max_size=8))
    def insert(self, letters):
        text = self.text(letters)
        prefixes = self.known(text)
        offered = list(range(self.next_value, self.next_value + len(text)))
        self.next_value += len(text)
        self.touch(prefixes)
        for i in range(len(prefixes), len(text)):
            prefix = text[: i + 1]
            self.values[prefix] = offered[i]
            self.made[prefix] = self.used[prefix] = self.calls - 1
            self.uses[prefix] = 1
        inserted = self.tree.insert(text, offered)
        expected = [self.values[text[: i + 1]] for i in range(len(text))]
        assert inserted.values.tolist() == expected
        self.last = (inserted.node, text)

    @rule(letters=st.lists(st.integers(0, 1), max_size=8))
    def peek(self, letters):
        """Looking finds the same, counts what is locked, and changes nothing."""
        text = self.text(letters)
        before = [(node.id, node.used, node.uses, text) for node, text in nodes_of(self.tree)]
        prefixes = self.known(text)
        locked = [p for p in prefixes if any(path[: len(p)] == p for _, path in self.locked)]
        assert self.tree.peek(text) == (len(prefixes), len(locked))
        after = [(node.id, node.used, node.uses, text) for node, text in nodes_of(self.tree)]
        assert before == after

    @rule(letters=st.lists(st.integers(0, 1), max_size=8))
    def lock(self, letters):
        """As a request does that begins: match, then lock what was found."""
        self.match(letters)
        text = self.text(letters)
        found = self.tree.match(text)
        self.touch(self.known(text))
        for prefix in self.known(text):
            self.uses[prefix] += 1
        self.tree.lock(found.node)
        self.locked.append((found.node, text[: len(found.values)]))

    @rule(which=st.integers(0, 100))
    def unlock(self, which):
        if self.locked:
            node, _ = self.locked.pop(which % len(self.locked))
            alone, evictable = self.tree.held_alone(node), self.tree.evictable
            self.tree.unlock(node)
            assert self.tree.evictable == evictable + alone

    @rule(pages=st.integers(0, 6))
    def evict(self, pages):
        expected = evicted_by_sorting(self.tree, self.rank, pages)
        freed = self.tree.evict(pages).tolist()
        assert freed == expected
        for prefix in [prefix for prefix, value in self.values.items() if value in set(freed)]:
            for record in (self.values, self.used, self.uses, self.made):
                del record[prefix]
            assert not any(path[: len(prefix)] == prefix for _, path in self.locked)

    @invariant()
    def the_tree_holds_these_prefixes(self):
        held = {}
        for node, text in nodes_of(self.tree):
            start = len(text) - len(node.values)
            assert len(node.label) == len(node.values) > 0
            for i, value in enumerate(node.values.tolist()):
                held[text[: start + i + 1]] = value
                assert node.used == self.used[text[: start + i + 1]]
                assert node.uses == self.uses[text[: start + i + 1]]
                assert node.made == self.made[text[: start + i + 1]]
        assert held == self.values

    @invariant()
    def locks_and_pages_are_counted(self):
        unlocked = 0
        for node, text in nodes_of(self.tree):
            assert node.locks == sum(path[: len(text)] == text for _, path in self.locked)
            unlocked += 0 if node.locks else len(node.values)
        assert self.tree.pages == len(self.values)
        assert self.tree.evictable == unlocked

    @invariant()
    def the_steps_tell_all_of_it(self):
        expected = {0: (0, (), len(self.locked))}
        for node, _ in nodes_of(self.tree):
            expected[node.id] = (node.parent.id, tuple(node.label.ravel().tolist()), node.locks)
        assert replayed(self.steps) == expected


TestPrefixes = Prefixes.TestCase
TestPrefixes.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_a_text_that_leaves_a_run_splits_it():
    """Worked out by hand: 1 2 3 4, then 1 2 5, then a look for 1 2 3 9."""
    steps: list[Step] = []
    tree = RadixTree(on_step=steps.append)
    tree.insert([1, 2, 3, 4], [10, 20, 30, 40])
    tree.insert([1, 2, 5], [11, 21, 50])
    assert tree.match([1, 2, 3, 9]).values.tolist() == [10, 20, 30]
    assert steps == [
        Step("insert", 1, 0, 4, (1, 2, 3, 4)),
        Step("split", 2, 0, 2, (1, 2)),
        Step("insert", 3, 2, 1, (5,)),
        Step("split", 4, 2, 1, (3,)),
        Step("match", 4, 2, 3),
    ]
    assert tree.pages == 5


@pytest.mark.parametrize(
    ("policy", "order"), [("lru", [1, 2, 0]), ("lfu", [2, 1, 0]), ("fifo", [0, 1, 2])]
)
def test_who_is_evicted_first(policy, order):
    """0 is used last, 1 most often but long ago, 2 once, in between."""
    tree = RadixTree(policy)
    for text in (0, 1, 2):
        tree.insert([text], [text])
    for text in (1, 0, 1, 2, 0, 0):
        tree.match([text])
    assert [tree.evict(1).item() for _ in range(3)] == order
    assert tree.pages == tree.evictable == 0
    assert tree.evict(1).size == 0


def test_of_two_used_as_often_the_one_used_longer_ago_goes():
    tree = RadixTree("lfu")
    tree.insert([0], [0])
    tree.insert([1], [1])
    for text in (1, 0):
        tree.match([text])
    assert tree.evict(1).tolist() == [1]


@pytest.mark.parametrize("policy", sorted(RANK))
def test_a_child_goes_before_its_parent(policy):
    """Though the parent is the older one, and was in line before it had a child."""
    tree = RadixTree(policy)
    tree.insert([0], [5])
    tree.insert([0, 1, 2], [5, 6, 7])
    assert [tree.evict(1).tolist() for _ in range(2)] == [[6, 7], [5]]


def test_a_parent_becomes_a_leaf_and_a_locked_path_stays():
    tree = RadixTree()
    tree.insert([1, 2, 3], [1, 2, 3])
    fork = tree.insert([1, 2, 4], [1, 2, 4])
    tree.lock(fork.node)
    assert tree.evict(9).tolist() == [3]
    assert tree.evictable == 0
    tree.unlock(fork.node)
    assert tree.evictable == 3
    assert tree.evict(2).tolist() == [4, 1, 2]


def test_no_half_of_a_split_keeps_the_memory_of_the_whole():
    tree = RadixTree()
    tree.insert(np.arange(10_000), np.arange(10_000))
    tree.match(np.arange(5))
    assert all(node.label.base is None and node.values.base is None for node, _ in nodes_of(tree))


def test_values_and_tokens_are_the_trees_own():
    tokens, values = np.array([1, 2]), np.array([3, 4])
    tree = RadixTree()
    tree.insert(tokens, values)
    tokens[:], values[:] = 0, 0
    assert tree.match([1, 2]).values.tolist() == [3, 4]


def test_tokens_of_any_width_match():
    tree = RadixTree()
    tree.insert(np.array([1, 2], np.uint16), [0, 1])
    assert len(tree.match([1, 2]).values) == 2
    assert len(tree.match(np.array([1, 2], np.int32)).values) == 2
    assert tree.match([]).values.size == 0
    assert tree.insert([], []).node is tree.root


def evicted(tree):
    node = tree.insert([2], [2]).node
    tree.match([1])
    tree.evict(1)
    return node


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda tree: RadixTree("mru"), ValueError, "policy must be one of lru, lfu, fifo, got"),
        (lambda tree: tree.insert([1, 2], [1]), ValueError, "2 pages need as many values, got 1"),
        (lambda tree: tree.match([0.5]), TypeError, "pages must be whole numbers below 2**63, or"),
        (lambda tree: tree.match([True]), TypeError, "pages must be whole numbers below 2**63"),
        (lambda tree: tree.match([[[1]]]), TypeError, "pages must be numbers or rows of them"),
        (
            lambda tree: tree.match([[1, 2], [3]]),
            TypeError,
            "rows of one length, got [[1, 2], [3]]",
        ),
        (
            lambda tree: tree.insert([2**64 - 1], [1]),
            TypeError,
            "pages must be whole numbers below",
        ),
        (lambda tree: tree.insert([2], [1.7]), TypeError, "values must be whole numbers"),
        (
            lambda tree: tree.lock(evicted(tree)),
            ValueError,
            "node 2 was evicted: match its text ag",
        ),
        (
            lambda tree: tree.unlock(tree.match([1]).node),
            ValueError,
            "node 1 is not locked: it was unlocked before",
        ),
    ],
)
def test_what_is_refused(call, error, message):
    tree = RadixTree()
    tree.insert([1], [1])
    with pytest.raises(error, match=re.escape(message)):
        call(tree)
    assert (tree.pages, tree.evictable) == (1, 1)
