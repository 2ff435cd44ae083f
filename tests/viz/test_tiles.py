"""What `Tiles` takes, refuses, says and draws."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from toolkit.kernels.trace.record import Access, KernelTrace, Problem, TracedTensor
from toolkit.viz import COLORS, Tiles, static_files, style
from toolkit.viz.text import GAP
from toolkit.viz.tiles import MOST_EVENTS
from toolkit.viz.tiles_picture import leading, tile_name

KINDS = ("load", "store", "atomic", "dot")


def access(kind, tensor, tile, line=1, program=(0, 0, 0), step=0):
    """One in fp32; an empty tile is one with every lane masked off."""
    elements = 1 if tile else 0
    for start, stop in tile:
        elements *= stop - start
    size = 4 * elements * (2 if kind == "atomic" else 1)
    return Access(program, step, kind, tensor, tile, (16,), elements, size, 0, line)


def run(*accesses, shapes=None, programs=1, problems=()):
    """A trace of these accesses, of tensors of 64 elements if not said otherwise."""
    shapes = shapes or {"x": (64,), "y": (64,)}
    return KernelTrace(
        kernel="kernel",
        source="def kernel(x, y): ...\n",
        first_line=1,
        grid=(programs, 1, 1),
        tensors=tuple(TracedTensor(name, shape, "float32", 4) for name, shape in shapes.items()),
        accesses=accesses,
        problems=problems,
        vector_flops=64,
    )


def copied(programs=4):
    """Each program reads a part of x and writes the same of y."""
    parts = [((16 * at, 16 * at + 16),) for at in range(programs)]
    return run(
        *(
            access(kind, tensor, part, line, (at, 0, 0), step)
            for at, part in enumerate(parts)
            for step, (kind, tensor, line) in enumerate([("load", "x", 3), ("store", "y", 4)])
        ),
        programs=programs,
    )


def drawn(widget):
    with matplotlib.rc_context(style()):
        figure = widget.picture()
    return figure, figure.axes[:-1], figure.axes[-1]


def plain(text):
    return text.replace(GAP, " ")


def test_the_columns_hold_the_trace(flash):
    trace = flash(heads=2)
    record = json.loads(json.dumps(Tiles(trace).record))
    assert len(record["program"]) == len(trace.accesses)
    for at, one in enumerate(trace.accesses):
        box = record["boxes"][record["box"][at]]
        assert tuple(record["programs"][record["program"][at]]) == one.program
        assert KINDS[record["kind"][at]] == one.kind
        assert (record["bytes"][at], record["flops"][at], record["line"][at]) == (
            one.bytes, one.flops, one.line,
        )  # fmt: skip
        if one.kind == "dot":
            assert (tuple(box), record["tensor"][at]) == (one.shape, -1)
        else:
            assert record["names"][record["tensor"][at]] == one.tensor
            assert tuple(zip(box[::2], box[1::2], strict=True)) == one.tile
    assert sum(record["bytes"]) == trace.hbm_bytes
    assert record["shapes"] == [[2, 256, 64]] * 4 + [[2, 256]]
    assert record["leading"] == [1, 1, 1, 1, 0]
    assert len({tuple(box) for box in record["boxes"]}) == len(record["boxes"])


def test_what_is_read_most_is_guessed_and_the_answer_is_among_the_choices(flash, tiles):
    assert (tiles.tensor, tiles.record["guess"], tiles.revealed) == (1, 1, False)
    assert tiles.record["times"] == (1 + 2 + 3 + 4) / 4
    assert tiles.record["choices"] == [1, 2.5, 4, 5]
    longer = Tiles(flash(seq=512), first="V")
    assert (longer.tensor, longer.record["times"]) == (2, 4.5)
    assert longer.record["choices"] == [1, 4.5, 8, 9]
    assert Tiles(flash(), first="Q").revealed


def test_where_nothing_is_read_twice_there_is_nothing_to_guess():
    widget = Tiles(copied())
    assert widget.revealed
    assert widget.record["choices"] == []
    stores = Tiles(run(access("store", "y", ((0, 64),))))
    assert (stores.tensor, stores.revealed, stores.held()) == (0, True, [])


@pytest.mark.parametrize("readers", [2, 3, 4, 16])
def test_a_guess_has_distinct_answers(readers):
    whole = ((0, 64),)
    trace = run(*(access("load", "x", whole, 1, (at, 0, 0)) for at in range(readers)),
                programs=readers)  # fmt: skip
    choices = Tiles(trace).record["choices"]
    assert choices == sorted(set(choices))
    assert len(choices) >= 3
    assert {1, readers} <= set(choices)


def test_a_few_bytes_more_than_the_largest_tensor_is_no_reason_to_ask_about_it():
    big, small = ((0, 64),), ((0, 8),)
    loads = [access("load", "x", big), *[access("load", "y", small, 2)] * 3]
    widget = Tiles(run(*loads, shapes={"x": (64,), "y": (8,)}))
    assert (widget.tensor, widget.record["times"]) == (1, 3)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            0,
            "Program (0, 0, 0), step 1 of 7: loads Q[0:64, :], 16.4 kB. On chip: Q[0:64, :], "
            "16.4 kB. So far 16.4 kB of 460 kB moved between HBM and the chip, and 0 FLOP of "
            "10.5 MFLOP computed in dots.",
        ),
        (
            24,
            "Program (2, 0, 0), step 7 of 15: multiplies, M × N × K = 64 × 64 × 64, 524 kFLOP. "
            "On chip: Q[128:192, :], K[64:128, :], V[0:64, :], 49.2 kB. So far 230 kB of 460 kB "
            "moved between HBM and the chip, and 4.72 MFLOP of 10.5 MFLOP computed in dots.",
        ),
        (
            51,
            "Program (3, 0, 0), step 19 of 19: stores L[192:256], 256 B. On chip: "
            "Q[192:256, :], K[192:256, :], V[192:256, :], 49.2 kB. So far 460 kB of 460 kB moved "
            "between HBM and the chip, and 10.5 MFLOP of 10.5 MFLOP computed in dots.",
        ),
    ],
)
def test_the_summary_says_where_the_run_is(tiles, step, expected):
    tiles.step = step
    assert plain(tiles.summary()) == expected


def test_the_summary_counts_problems_and_says_what_is_masked_or_atomic(flash):
    assert Tiles(flash(faulty=True)).summary().endswith(" Problems found: 2.")
    widget = Tiles(run(access("load", "x", ()), access("atomic", "y", ((3, 4),), 2)))
    assert plain(widget.summary()) == (
        "Program (0, 0, 0), step 1 of 2: loads nothing of x (every lane is masked off), 0 B. On "
        "chip: nothing, 0 B. So far 0 B of 8 B moved between HBM and the chip, and 0 FLOP of "
        "0 FLOP computed in dots."
    )
    widget.step = 1
    assert "updates y[3] atomically, 8 B" in plain(widget.summary())


def test_a_line_holds_its_last_tile_until_it_loads_another():
    one, two, other = ((0, 16),), ((16, 32),), (1, 0, 0)
    widget = Tiles(
        run(
            access("load", "x", one, line=7),
            access("load", "y", one, line=5),
            access("load", "y", one, line=7),  # a function that two lines call
            access("load", "x", two, line=7),
            access("load", "x", (), line=7),
            access("load", "x", two, line=5, program=other),
            programs=2,
        )
    )
    seen = []
    for step in range(6):
        widget.step = step
        seen.append([(one.line, one.tensor, one.tile[0][0]) for one in widget.held()])
    assert seen == [
        [(7, "x", 0)],
        [(5, "y", 0), (7, "x", 0)],
        [(5, "y", 0), (7, "x", 0), (7, "y", 0)],
        [(5, "y", 0), (7, "x", 16), (7, "y", 0)],
        [(5, "y", 0), (7, "y", 0)],
        [(5, "x", 16)],
    ]


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
        lambda shape: st.tuples(
            st.just(shape),
            st.tuples(*(st.tuples(st.integers(0, n - 1), st.integers(1, n)) for n in shape)),
        )
    )
)
def test_a_tiles_name_is_the_index_that_gives_it(given_tile):
    shape, ends = given_tile
    tile = tuple((start, max(start + 1, stop)) for start, stop in ends)
    t = np.arange(shape[0] * shape[1]).reshape(shape)
    expected = t[tuple(slice(*side) for side in tile)]
    assert eval(tile_name("t", shape, tile)).size == expected.size
    assert np.array_equal(eval(tile_name("t", shape, tile)).ravel(), expected.ravel())


def test_leading_dimensions_are_those_a_tile_has_one_index_of():
    assert leading((), [()]) == leading((9,), []) == 0
    assert leading((2, 256), [((0, 1), (0, 64))]) == 0
    assert leading((2, 3, 256, 64), [((0, 1), (1, 2), (0, 64), (0, 64))]) == 2
    assert leading((2, 3, 256), [((0, 1), (1, 2), (0, 64))]) == 2
    assert leading((2, 3, 256), [((0, 1), (1, 2), (0, 64)), ((0, 1), (0, 3), (0, 64))]) == 1
    assert tile_name("scale", (), ()) == "scale"


def test_a_tensor_that_nothing_touches_is_only_named():
    loads = access("load", "y", ((0, 64),)), access("store", "z", ())
    widget = Tiles(run(*loads, shapes=dict.fromkeys("xyz", (64,))))
    assert (widget.record["names"], widget.record["untouched"]) == (["y", "z"], ["x"])
    assert [tensor.name for tensor in widget.trace.tensors] == ["x", "y", "z"]
    with pytest.raises(traitlets.TraitError, match="tensor must be 0 to 1, got 2"):
        widget.tensor = 2
    with pytest.raises(ValueError, match="first must be one of y, z, got 'x'"):
        Tiles(widget.trace, first="x")


def test_names_lose_the_suffix_of_a_pointer_unless_two_would_be_alike():
    load = access("load", "y_ptr", ((0, 16),))
    shapes = {"x_ptr": (64,), "y_ptr": (64,)}
    problem = Problem("out of bounds", "y_ptr", 1, (0, 0, 0), (64,), 1)
    widget = Tiles(run(load, shapes=shapes, problems=(problem,)), first="y_ptr")
    assert (widget.record["names"], widget.record["untouched"]) == (["y"], ["x"])
    assert (widget.record["tensor"], widget.record["problem_tensor"]) == ([0], [0])
    assert "loads y[0:16]" in widget.summary()
    assert (widget.access.tensor, widget.trace.tensors[0].name) == ("y_ptr", "x_ptr")
    alike = Tiles(run(load, shapes=shapes | {"y": (64,)}))
    assert alike.record["names"] == ["y_ptr"]


def test_a_problem_leads_to_the_access_that_it_is_of(flash):
    record = Tiles(flash(faulty=True)).record
    events = flash().accesses
    race, outside = (events[step] for step in record["problem_step"])
    assert (race.program, race.kind, race.tensor) == ((1, 0, 0), "store", "L")
    assert (outside.program, outside.kind, outside.tensor) == ((3, 0, 0), "load", "K")
    assert record["problem_tensor"] == [4, 1]
    assert "line 51: programs (0, 0, 0) and (1, 0, 0)" in record["problem_text"][0]

    loads = [access("load", "x", ((at, at + 16),), 3, step=at // 16) for at in (0, 16, 32)]
    near = Problem("race", "x", 3, (0, 0, 0), (20,), 1, 3, (0, 0, 0))
    lost = Problem("out of bounds", "", 9, (5, 0, 0), (), 1)
    widget = Tiles(run(*loads, problems=(near, lost)))
    assert widget.record["problem_step"] == [1, -1]
    assert widget.record["problem_tensor"] == [0, -1]


def test_traces_that_can_not_be_shown_are_refused(flash):
    with pytest.raises(ValueError, match="the trace of kernel has no accesses: trace a launch"):
        Tiles(run())
    many = run(*[access("load", "x", ((0, 1),))] * (MOST_EVENTS + 1))
    with pytest.raises(ValueError, match=r"has 4,001 accesses and 4,000 .*: trace a smaller"):
        Tiles(many)
    with pytest.raises(ValueError, match="first must be one of Q, K, V, O, L, got 'k'"):
        Tiles(flash(), first="k")


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("step", 52, "step must be 0 to 51, got 52"),
        ("step", -1, "step must be 0 to 51, got -1"),
        ("tensor", 5, "tensor must be 0 to 4, got 5"),
    ],
)
def test_a_state_that_can_not_be_is_refused(tiles, trait, value, sentence):
    before = getattr(tiles, trait)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(tiles, trait, value)
    assert getattr(tiles, trait) == before


def fills(axes):
    return Counter(to_hex(patch.get_facecolor()) for patch in axes.patches if patch.fill)


@pytest.mark.parametrize("heads", [1, 2])
def test_the_picture_has_what_was_touched_and_what_was_skipped(flash, heads):
    _, tensors, visits = drawn(Tiles(flash(heads=heads)))
    loaded, stored = COLORS["prefill"].lower(), COLORS["evicted"].lower()
    assert [fills(axes)[loaded] for axes in tensors] == [4, 4, 4, 0, 0]
    assert [fills(axes)[stored] for axes in tensors] == [0, 0, 0, 4, 4 * heads]
    cells = fills(visits)
    assert (cells[loaded], cells[COLORS["waiting"].lower()]) == (10, 1)
    behind, *touched = visits.patches
    assert behind.get_bbox().bounds == (-0.5, -0.5, 4, 4)
    assert behind.get_hatch()
    corners = {(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in touched}
    assert corners == {(key, query) for query in range(4) for key in range(query + 1)}
    titles = [plain(axes.get_title(loc="left")) for axes in tensors]
    assert titles[1].split("\n")[0] == ("K" if heads == 1 else "K[1]")
    assert f"{164 * heads} kB loaded,\n2.5 × its size" in titles[1]
    assert f"{'65.5' if heads == 1 else 131} kB stored" in titles[3]


def test_the_pictures_tiles_are_to_scale(flash):
    _, tensors, _ = drawn(Tiles(flash()))
    queries, strip = tensors[0].patches[2], tensors[4].patches[2]
    assert queries.get_bbox().bounds == (0, 64, 64, 64)
    assert strip.get_bbox().bounds[1::2] == (64, 64)  # it stands beside O, as tall as it is long
    assert {axes.get_xlim() for axes in tensors} == {tensors[0].get_xlim()}


@pytest.mark.parametrize("heads", [1, 2])
def test_nothing_of_the_picture_overlaps(flash, heads):
    figure, tensors, visits = drawn(Tiles(flash(heads=heads)))
    figure.draw_without_rendering()
    texts = [axes._left_title for axes in tensors]
    texts += [figure._suptitle, visits.xaxis.label, *visits.get_legend().get_texts()]
    for axis, (low, high) in ((visits.xaxis, visits.get_xlim()), (visits.yaxis, visits.get_ylim())):
        ticks = axis.get_major_ticks()
        texts += [tick.label1 for tick in ticks if min(low, high) < tick.get_loc() < max(low, high)]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    for at, one in enumerate(boxes):
        assert one.x0 >= 0
        assert one.x1 <= figure.bbox.x1
        assert not any(one.overlaps(other) for other in boxes[:at])


def test_a_picture_of_many_tensors_and_of_none():
    names = "abcdefg"
    shapes = dict.fromkeys(names, (8, 8)) | {"g": ()}
    loads = [access("load", name, ((0, 4), (0, 8))) for name in names[:6]]
    scalar = replace(access("load", "g", ()), elements=1, bytes=4)
    _, tensors, _ = drawn(Tiles(run(*loads, scalar, shapes=shapes)))
    assert [axes.get_title(loc="left")[:1] for axes in tensors] == [*names, "", "", ""]
    alone = replace(
        run(Access((0, 0, 0), 0, "dot", "", (), (16, 16, 16), 0, 0, 8192, 1)), tensors=()
    )
    widget = Tiles(alone)
    assert widget.picture().axes == []
    assert widget.revealed


def test_state_and_script_stay_small(tiles):
    assert len(tiles._json()) < 10_000
    boxes = [((at, at + 16),) for at in range(MOST_EVENTS)]
    most = run(
        *(access("load", "x", box, 1000, (at, 0, 0)) for at, box in enumerate(boxes)),
        shapes={"x": (MOST_EVENTS + 16,)}, programs=MOST_EVENTS,
    )  # fmt: skip
    assert len(Tiles(most)._json()) < 300_000
    names = ("tiles.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000
