"""What `RadixTree` takes, refuses, says and draws."""

from __future__ import annotations

import json
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st

from toolkit.serving.kv_cache import RadixTree as PrefixTree
from toolkit.serving.kv_cache.tree_history import TreeHistory, TreeRecorder
from toolkit.viz import RadixTree, static_files, style
from toolkit.viz.radix_tree import EVENTS, LONGEST, MOST_STEPS
from toolkit.viz.radix_tree_picture import layout
from toolkit.viz.text import GAP


def told(calls):
    """The history of what a function does to a tree and its recorder."""
    log = TreeRecorder()
    calls(PrefixTree(on_step=log), log)
    return log.history()


def plain(text):
    return text.replace(GAP, " ")


@st.composite
def trees(draw):
    """Node numbers, parents and orders of a tree, in any order."""
    count = draw(st.integers(1, 30))
    parents = [0] + [draw(st.integers(0, at - 1)) for at in range(1, count)]
    order = draw(st.permutations(range(count)))
    rows = draw(st.permutations(range(count)))
    return [[column[at] for at in rows] for column in (list(range(count)), parents, order)]


@given(trees())
def test_a_parent_is_in_the_middle_of_its_children_and_leaves_fill_rows(tree):
    nodes, parents, orders = tree
    placed = layout(nodes, parents, orders)
    assert sorted(at for at, _, _ in placed) == list(range(len(nodes)))
    where = {nodes[at]: (depth, row) for at, depth, row in placed}
    children = {node: [] for node in nodes}
    for node, parent, order in zip(nodes, parents, orders, strict=True):
        if node:
            children[parent].append((order, node))
    leaves = []
    for place, (at, depth, row) in enumerate(placed):
        node = nodes[at]
        below = [one for _, one in sorted(children[node])]
        assert depth == (where[parents[at]][0] + 1 if node else 0)
        if not below:
            leaves.append(row)
        else:
            assert row == (where[below[0]][1] + where[below[-1]][1]) / 2
            assert nodes[placed[place + 1][0]] == below[0]
        assert all(where[a][1] < where[b][1] for a, b in pairwise(below))
    assert leaves == list(range(len(leaves)))


def test_a_tree_as_deep_as_it_has_nodes_is_laid_out():
    depth = 5000
    placed = layout(list(range(depth)), [0, *range(depth - 1)], list(range(depth)))
    assert placed[-1] == (depth - 1, depth - 1, 0)


def test_the_columns_hold_the_history(tree_history):
    history, pieces = tree_history()
    record = json.loads(json.dumps(RadixTree(history, pieces).record))
    for at, (step, request) in enumerate(zip(history.steps, history.requests, strict=True)):
        assert EVENTS[record["event"][at]] == step.event
        assert record["event_node"][at] == step.node
        assert record["event_parent"][at] == step.parent
        assert record["event_tokens"][at] == step.pages
        assert record["event_request"][at] == request
    names = ("node", "start", "end", "evicted", "parent", "order", "tokens", "locks", "used")
    rows = sorted(zip(*(record[name] for name in names), strict=True))
    assert rows == sorted(
        (s.node, s.start, s.end, s.evicted, s.parent, s.order, s.pages, s.locks, s.used)
        for s in history.spans
    )
    labels = {
        (node, start): record["labels"][label]
        for node, start, label in zip(record["node"], record["start"], record["label"], strict=True)
    }
    for span in history.spans:
        assert labels[span.node, span.start] == "".join(pieces[token] for token in span.label)
    visits = [(visit.step, visit.node, visit.request) for visit in history.visits]
    columns = (record["visit_step"], record["visit_node"], record["visit_request"])
    assert list(zip(*columns, strict=True)) == visits


def test_runs_are_ids_without_pieces_and_long_ones_are_cut():
    history = told(lambda tree, _: tree.insert(list(range(10, 99)), range(89)))
    (label,) = {*RadixTree(history).record["labels"]} - {""}
    assert label.startswith("10 11 12 13")
    assert (len(label), label[-1]) == (LONGEST, "…")
    lines = RadixTree(history, dict.fromkeys(range(10, 99), "a\n"))
    assert f"{'a↵' * (LONGEST // 2 - 1)}a…" in lines.record["labels"]


def test_tokens_are_pages_times_their_size(tree_history):
    history, pieces = tree_history(page_size=16)
    one, many = RadixTree(tree_history()[0], pieces), RadixTree(history, pieces)
    assert [16 * tokens for tokens in one.record["tokens"]] == many.record["tokens"]
    assert [16 * tokens for tokens in one.record["event_tokens"]] == many.record["event_tokens"]
    many.step = 2
    assert "Put in: 128 tokens, as node 1" in many.event()


def test_it_begins_with_the_first_split(radix_tree, tree_history):
    assert tree_history()[0].steps[radix_tree.step].event == "split"
    assert radix_tree.record["event"][: radix_tree.step].count(EVENTS.index("split")) == 0
    assert not radix_tree.revealed
    flat = RadixTree(told(lambda tree, _: [tree.insert([at], [at]) for at in range(3)]))
    assert (flat.step, flat.revealed) == (2, True)


def test_each_event_is_said(radix_tree):
    first = {}
    for step in range(len(radix_tree.history.steps)):
        radix_tree.step = step
        event = radix_tree.history.steps[step].event
        key = event if radix_tree.history.steps[step].pages or event != "match" else "nothing"
        first.setdefault(key, radix_tree.event())
    assert first == {
        "nothing": "Request 0. Found in the tree: nothing.",
        "match": "Request 1. Found in the tree: 6 tokens, up to node 2.",
        "split": "Request 1. Split: node 1, after 6 tokens; these are node 2 from now on.",
        "insert": "Request 0. Put in: 8 tokens, as node 1 below node 0.",
        "evict": "Request 4. Evicted: leaf 3, 2 tokens.",
        "lock": "Request 0. Locked: the path to node 0, 0 tokens.",
        "unlock": "Request 0. Unlocked: the path to node 0, 0 tokens.",
    }
    one = RadixTree(told(lambda tree, _: tree.insert([5], [0])))
    assert one.event() == "Put in: 1 token, as node 1 below node 0."
    nobody = RadixTree(told(lambda tree, _: tree.insert([5, 6], [0, 1])))
    assert nobody.event() == "Put in: 2 tokens, as node 1 below node 0."


def test_the_summary_counts_what_the_tree_itself_has():
    said = []

    def serve(tree, log):
        widths = []
        for number, text in enumerate(([1, 2, 3, 4], [1, 2, 5], [7, 8], [1, 2, 3, 9])):
            log.request = number
            match = tree.match(text)
            tree.lock(match.node)
            tree.evict(tree.pages + len(text) - len(match.values) - 7)
            tree.insert(text, text)
            widths.append((len(match.values), len(text)))
            said.append(
                (
                    len(log.history().steps) - 1,
                    tree.pages,
                    tree.pages - tree.evictable,
                    sum(found for found, _ in widths),
                    sum(all_ for _, all_ in widths),
                )
            )

    widget = RadixTree(told(serve))
    for step, tokens, locked, found, everything in said:
        widget.step = step
        expected = f"with {tokens} tokens, {locked} of them locked. Found so far: {found} of "
        assert expected + f"{everything} tokens" in plain(widget.summary())


def test_the_summary_of_a_step_that_evicts_leaves_the_leaf_out(radix_tree):
    events = [step.event for step in radix_tree.history.steps]
    radix_tree.step = events.index("evict")
    before = radix_tree.summary()
    gone = [one for one in radix_tree.tree if one.evicted and one.end == radix_tree.step]
    assert len(gone) == 1
    assert f"has {len(radix_tree.tree) - 2} nodes" in before
    assert plain(before).startswith(
        f"Step {radix_tree.step + 1} of {len(events)}. Request 4. Evicted: leaf"
    )


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("step", -1, r"step must be 0 to \d+, got -1"),
        ("step", 900, r"step must be 0 to \d+, got 900"),
        ("node", -2, r"node must be -1 to \d+, got -2"),
        ("node", 99, r"node must be -1 to \d+, got 99"),
    ],
)
def test_a_state_that_can_not_be_is_refused(radix_tree, trait, value, sentence):
    before = getattr(radix_tree, trait)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(radix_tree, trait, value)
    assert getattr(radix_tree, trait) == before


def test_histories_that_can_not_be_shown_are_refused_with_a_way_out(tree_history):
    with pytest.raises(ValueError, match=r"no steps: give the tree its recorder"):
        RadixTree(TreeRecorder().history())
    long = told(lambda tree, _: [tree.match([]) for _ in range(MOST_STEPS + 1)])
    with pytest.raises(ValueError, match=r"2,001 steps and 2,000 is the most .* fewer requests"):
        RadixTree(long)
    wide = told(lambda tree, _: [tree.insert([at], [at]) for at in range(201)])
    with pytest.raises(ValueError, match=r"201 nodes at once and 200 is the most"):
        RadixTree(wide)
    history, pieces = tree_history()
    del pieces[103]
    with pytest.raises(ValueError, match=r"text of every token, and 103 has none"):
        RadixTree(history, pieces)


def drawn(widget):
    with matplotlib.rc_context(style()):
        figure = widget.picture()
    return figure, figure.axes[0]


def test_the_picture_has_a_box_for_each_node_and_its_run(radix_tree, tree_history):
    radix_tree.step = len(radix_tree.history.steps) - 1
    _, axes = drawn(radix_tree)
    nodes = [one for one in radix_tree.tree if one.node]
    assert len(axes.patches) == len(nodes)
    _, pieces = tree_history()
    assert sorted(text.get_text() for text in axes.texts) == sorted(
        f"{one.node} | {''.join(pieces[token] for token in one.label)}" for one in nodes
    )
    wide = [patch.get_linewidth() for patch in axes.patches]
    assert wide.count(1.6) == sum(one.locks > 0 for one in nodes)


def test_the_picture_marks_the_leaf_that_goes(radix_tree):
    events = [step.event for step in radix_tree.history.steps]
    radix_tree.step = events.index("evict")
    _, axes = drawn(radix_tree)
    assert [patch.get_linestyle() for patch in axes.patches].count("--") == 1


def test_boxes_of_the_picture_do_not_overlap_and_runs_stay_in_them(radix_tree):
    for step in range(0, len(radix_tree.history.steps), 5):
        radix_tree.step = step
        figure, axes = drawn(radix_tree)
        figure.draw_without_rendering()
        boxes = [patch.get_window_extent() for patch in axes.patches]
        assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[:at])
        for box, text in zip(boxes, axes.texts, strict=True):
            inside = text.get_window_extent()
            assert box.x0 <= inside.x0 < inside.x1 <= box.x1 + 3


def test_dollars_are_no_mathematics():
    history = told(lambda tree, _: tree.insert([1, 2], [0, 1]))
    _, axes = drawn(RadixTree(history, {1: "$x", 2: "$"}))
    assert axes.texts[0].get_text() == r"1 | \$x\$"


def test_state_and_script_stay_small(radix_tree):
    assert len(radix_tree._json()) < 40_000
    names = ("radix_tree.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000


def test_a_long_history_fits_the_page():
    rng = np.random.default_rng(3)

    def serve(tree, log):
        for number in range(180):
            log.request = number
            text = [int(rng.integers(2)) for _ in range(4)] + [number, number]
            match = tree.match(text)
            tree.lock(match.node)
            tree.evict(tree.pages - 200)
            tree.insert(text, range(6))
            tree.unlock(match.node)

    history = told(serve)
    assert isinstance(history, TreeHistory)
    assert 700 < len(history.steps) < MOST_STEPS
    assert len(RadixTree(history)._json()) < 200_000
