"""What `Blocks` takes, refuses, says and draws."""

from __future__ import annotations

import json

import matplotlib
import pytest
import traitlets
from matplotlib.colors import to_hex

from toolkit.serving.batching import Blocks as PlainBlocks
from toolkit.serving.kv_cache import RadixMemory
from toolkit.serving.kv_cache.block_history import BlockEvent, BlockHistory, BlockSpan
from toolkit.viz import COLORS, Blocks, static_files, style
from toolkit.viz.blocks import KINDS, MOST_EVENTS
from toolkit.viz.blocks_picture import LOOKS, look_of


def spans(*rows, blocks=4):
    """A history of four events with blocks as (block, start, end, readers)."""
    events = [
        BlockEvent("begin", 0, 0, 0, ()), BlockEvent("grow", 0, 2, 0, ()),
        BlockEvent("begin", 1, 2, 8, ()), BlockEvent("release", 0, 2, 0, ()),
    ]  # fmt: skip
    held = (BlockSpan(*row, 4) for row in rows)
    return BlockHistory(blocks, 4, tuple(events), tuple(held))


def test_the_columns_hold_the_history(block_history):
    history = block_history()
    record = json.loads(json.dumps(Blocks(history).record))
    assert (record["blocks"], record["block_size"]) == (20, 4)
    lost = list(zip(record["lost_event"], record["lost_block"], strict=True))
    for at, event in enumerate(history.events):
        assert KINDS[record["kind"][at]] == event.kind
        assert (record["request"][at], record["changed"][at], record["found"][at]) == (
            event.request, event.blocks, event.tokens,
        )  # fmt: skip
        assert tuple(block for of, block in lost if of == at) == event.evicted
    assert len(lost) == sum(len(event.evicted) for event in history.events) > 0
    names = ("block", "start", "end", "readers", "tokens")
    rows = zip(*(record[name] for name in names), strict=True)
    assert sorted((b, s, e, tuple(r), t) for b, s, e, r, t in rows) == sorted(
        (one.block, one.start, one.end, one.readers, one.tokens) for one in history.spans
    )


def test_it_begins_where_sharing_saves_most(block_map):
    saved = []
    for event in range(len(block_map.history.events)):
        pool = block_map.history.pool(event)
        saved.append(sum(max(0, len(one.readers) - 1) for one in pool))
    assert saved[block_map.step] == max(saved)
    assert block_map.record["guess"] == block_map.step
    assert not block_map.revealed


def test_the_guess_has_the_right_answer_among_distinct_ones(block_map):
    pool = block_map.pool
    used = len({one.block for one in pool if one.readers})
    pairs = {(one.block, reader) for one in pool for reader in one.readers}
    record = block_map.record
    assert record["needed"] == len(pairs) > used
    assert record["choices"] == sorted(set(record["choices"]))
    assert {used, len(pairs)} < set(record["choices"])
    small = Blocks(spans((0, 1, 2, (0,)), (0, 2, 4, (0, 1))))
    assert small.record["choices"] == [1, 2, 3, 4]


def test_where_nothing_is_shared_there_is_nothing_to_guess(block_history):
    plain = Blocks(block_history(PlainBlocks(30, 4)))
    assert (plain.revealed, plain.record["choices"]) == (True, [])
    used = [len(plain.history.pool(event)) for event in range(len(plain.history.events))]
    assert used[plain.step] == max(used)


def test_each_event_is_said(block_map):
    first = {}
    for step, event in enumerate(block_map.history.events):
        block_map.step = step
        first.setdefault((event.kind, bool(event.evicted)), block_map.event())
    assert first == {
        ("begin", False): "Request 0 begins. Blocks found: 0, 0 tokens.",
        ("grow", False): "Request 0 grows. Blocks taken: 6.",
        ("keep", False): "Request 0 has written. Blocks that can be found from now on: 5.",
        ("release", False): "Request 0 leaves. Blocks given back: 7.",
        ("grow", True): "Request 4 grows. Blocks taken: 5. Blocks evicted: 2.",
    }


def test_the_summary_counts_the_pool():
    widget = Blocks(spans((0, 1, 2, (0,)), (0, 2, 3, (0, 1)), (0, 3, 4, (1,)), (2, 1, 3, (0,)),
                          (2, 3, 4, ())))  # fmt: skip
    said = []
    for widget.step in range(4):
        said.append(widget.summary().split("Of 4 blocks, ")[1])
    assert said == [
        "in use: 0 (shared: 0), cached: 0, empty: 4. Tokens found so far: 0.",
        "in use: 2 (shared: 0), cached: 0, empty: 2. Tokens found so far: 0.",
        "in use: 2 (shared: 1), cached: 0, empty: 2. Tokens found so far: 8.",
        "in use: 1 (shared: 0), cached: 1, empty: 2. Tokens found so far: 8.",
    ]
    assert widget.summary().startswith("Event 4 of 4. Request 0 leaves. Blocks given back: 2. Of")


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("step", -1, r"step must be 0 to \d+, got -1"),
        ("step", 5000, r"step must be 0 to \d+, got 5000"),
        ("block", -2, "block must be -1 to 19, got -2"),
        ("block", 20, "block must be -1 to 19, got 20"),
    ],
)
def test_a_state_that_can_not_be_is_refused(block_map, trait, value, sentence):
    before = getattr(block_map, trait)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(block_map, trait, value)
    assert getattr(block_map, trait) == before


def test_histories_that_can_not_be_shown_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"no events: serve requests"):
        Blocks(BlockHistory(4, 4, (), ()))
    event = BlockEvent("begin", 0, 0, 0, ())
    with pytest.raises(ValueError, match=r"4,001 events and 4,000 is the most .* fewer requests"):
        Blocks(BlockHistory(4, 4, (event,) * (MOST_EVENTS + 1), ()))
    with pytest.raises(ValueError, match=r"257 blocks and 256 is the most"):
        Blocks(BlockHistory(257, 4, (event,), ()))


def test_six_requests_in_a_row_can_be_told_apart():
    looks = [look_of(order) for order in range(2 * LOOKS)]
    assert len(set(looks[:LOOKS])) == LOOKS == 6
    assert looks[:LOOKS] == looks[LOOKS:]


def drawn(widget):
    with matplotlib.rc_context(style()):
        figure = widget.picture()
    return figure, figure.axes[0]


def test_the_picture_has_a_bar_for_each_span_in_its_look(block_map):
    _, axes = drawn(block_map)
    seen = {}
    for bars in axes.collections:
        look = to_hex(bars.get_facecolor()[0]), bars.get_hatch()
        for path in bars.get_paths():
            (left, top), (right, _), *_ = path.vertices
            seen[round(top), round(left), round(right)] = look
    history, order = block_map.history, []
    for event in history.events:
        order += [event.request] if event.request not in order else []
    for one in history.spans:
        if not one.readers:
            look = (COLORS["page"], "xxxx")
        elif len(one.readers) > 1:
            look = (COLORS["hit"], None)
        else:
            tint, striped = look_of(order.index(one.readers[0]))
            look = (COLORS[tint], "////" if striped else None)
        color, hatch = seen[one.block, one.start, one.end]
        assert (color, hatch or None) == (look[0].lower(), look[1])
    assert len(seen) == len(history.spans)


def test_the_picture_marks_what_is_evicted(block_map):
    _, axes = drawn(block_map)
    (marks,) = axes.lines
    record = block_map.record
    assert list(marks.get_xdata()) == [event + 0.5 for event in record["lost_event"]]
    assert list(marks.get_ydata()) == [block + 0.5 for block in record["lost_block"]]
    bottom, top = axes.get_ylim()
    assert (bottom, top) == (20, 0)


def test_a_trees_pages_are_shown_too(block_history):
    widget = Blocks(block_history(RadixMemory(20, 4)))
    assert any(len(one.readers) > 1 for one in widget.history.spans)
    assert any(not one.readers for one in widget.history.spans)


def test_state_and_script_stay_small(block_map):
    assert len(block_map._json()) < 40_000
    names = ("blocks.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000
