"""A tree's history says of every step what the tree itself had after it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.serving.kv_cache import RadixTree
from toolkit.serving.kv_cache.tree_history import TreeRecorder


def shape(tree):
    """Of each node of a tree its parent, its tokens, its pages and its locks."""
    found, stack = {}, [tree.root]
    while stack:
        node = stack.pop()
        parent = 0 if node.parent is None else node.parent.id
        found[node.id] = (parent, tuple(node.label.ravel().tolist()), len(node.values), node.locks)
        stack += node.children.values()
    return found


def said(history, step):
    return {
        span.node: (span.parent, span.label, span.pages, span.locks)
        for span in history.tree(step)
        if not (span.evicted and span.end == step)
    }


texts = st.lists(st.integers(0, 2), min_size=1, max_size=7)
calls = st.lists(
    st.one_of(
        st.tuples(st.just("serve"), texts),
        st.tuples(st.just("lock"), texts),
        st.tuples(st.just("unlock"), st.integers(0, 5)),
        st.tuples(st.just("evict"), st.integers(1, 6)),
    ),
    max_size=25,
)


@given(calls, st.sampled_from([1, 2]))
def test_the_nodes_follow_from_the_steps(calls, width):
    log = TreeRecorder(page_size=16)
    tree = RadixTree(on_step=log)
    locked, after, through = [], {}, {}
    for request, (what, argument) in enumerate(calls):
        log.request = request
        if what == "serve":
            pages = [[token] * width for token in argument]
            tree.match(pages)
            match = tree.insert(pages, list(range(len(pages))))
            through[request] = argument
            assert len(match.values) == len(pages)
        elif what == "lock":
            match = tree.match([[token] * width for token in argument])
            tree.lock(match.node)
            locked.append(match.node)
        elif what == "unlock" and argument < len(locked):
            tree.unlock(locked.pop(argument))
        elif what == "evict":
            tree.evict(argument)
        steps = len(log.history().steps)
        if steps:
            after[steps - 1] = shape(tree)
    history = log.history()
    for step, expected in after.items():
        assert said(history, step) == expected
    for step in range(len(history.steps)):
        nodes = history.tree(step)
        assert len({span.node for span in nodes}) == len(nodes)
        for span in nodes:
            assert -1 <= span.used <= step
        last = history.steps[step]
        gone = [span.node for span in nodes if span.evicted and span.end == step]
        assert gone == ([last.node] if last.event == "evict" else [])


def test_a_split_keeps_the_place_the_locks_and_the_visitors():
    log = TreeRecorder()
    tree = RadixTree(on_step=log)
    log.request = 7
    match = tree.insert([1, 2, 3, 4], [0, 1, 2, 3])
    tree.lock(match.node)
    log.request = -1
    tree.insert([9], [4])
    log.request = 8
    tree.match([1, 2, 5])
    history = log.history()
    assert [step.event for step in history.steps] == ["insert", "lock", "insert", "split", "match"]
    assert history.requests == (7, 7, -1, 8, 8)
    upper, lower = (
        next(span for span in history.tree(4) if span.label == label) for label in [(1, 2), (3, 4)]
    )
    assert (upper.parent, upper.order, upper.locks, upper.used) == (0, 1, 1, 4)
    assert (lower.parent, lower.node, lower.locks, lower.used) == (upper.node, 1, 1, 1)
    seen = [(visit.step, visit.node, visit.request) for visit in history.visits]
    assert seen == [(0, 1, 7), (3, upper.node, 7), (4, upper.node, 8)]
    assert max(span.order for span in history.tree(3)) == 2


def test_an_evicted_leaf_is_there_in_the_step_that_evicts_it_and_not_after():
    log = TreeRecorder()
    tree = RadixTree(on_step=log)
    tree.insert([1, 2], [0, 1])
    tree.insert([3], [2])
    tree.evict(1)
    tree.match([3])
    history = log.history()
    assert [step.event for step in history.steps] == ["insert", "insert", "evict", "match"]
    there = {span.node: span.evicted and span.end == 2 for span in history.tree(2)}
    assert there == {0: False, 1: True, 2: False}
    assert {span.node for span in history.tree(3)} == {0, 2}
    assert history.visits == ()


def test_nothing_noted_is_an_empty_history():
    history = TreeRecorder().history()
    assert (history.steps, history.visits, len(history.spans)) == ((), (), 1)


def test_a_page_of_nothing_is_refused():
    with pytest.raises(ValueError, match="page_size must be at least 1, got 0"):
        TreeRecorder(0)
