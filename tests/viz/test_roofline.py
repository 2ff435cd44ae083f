"""What `Roofline` takes, refuses, says and draws."""

from __future__ import annotations

import json
from dataclasses import replace

import matplotlib
import pytest
import traitlets
from matplotlib.colors import to_hex

from toolkit.kernels.roofline import CARDS, Point
from toolkit.viz import COLORS, Roofline, static_files, style
from toolkit.viz.text import GAP

POINTS = (
    Point("naive attention", 62e12, 1e12),
    Point("FlashAttention", 500e12, 1e12, 1.0, "H200 SXM"),
    Point("decoding", 1e12, 1e12, 0.25, "H200 SXM"),
    Point("vector add", 1e9, 12e9, 1e-2, "T4"),
)


def multiplied(name: str, batch: int, weight_bits: int, seconds: float | None = None) -> Point:
    """x @ W of a 4096 x 4096 layer: the weight in few bits, activations in 16."""
    size = 4096
    moved = size * size * weight_bits / 8 + 2 * batch * 2 * size
    return Point(name, 2 * batch * size * size, moved, seconds, "T4" if seconds else "")


SWEEP = {
    batch: [multiplied("fp16", batch, 16), multiplied("W4A16", batch, 4, 1e-4 * batch)]
    for batch in (16, 1, 256)
}


@pytest.fixture
def roofline():
    return Roofline(POINTS)


def drawn(widget):
    """The figure and its axes."""
    with matplotlib.rc_context(style()):
        figure = widget.picture()
    return figure, figure.axes[0]


@pytest.mark.parametrize(
    ("card", "point", "expected"),
    [
        (
            0, 0,
            "On the H200 SXM, naive attention is memory-bound: at 62 FLOP a byte it can reach "
            "298 TFLOP/s at best, 30.1 % of the peak.",
        ),
        (
            0, 1,
            "On the H200 SXM, FlashAttention is compute-bound: at 500 FLOP a byte it can reach "
            "989 TFLOP/s at best, 100 % of the peak. Measured: 500 TFLOP/s, 50.5 % of that.",
        ),
        (
            0, 2,
            "On the H200 SXM, decoding is memory-bound: at 1 FLOP a byte it can reach 4.8 TFLOP/s "
            "at best, 0.485 % of the peak. Measured: 4 TFLOP/s, 83.3 % of that.",
        ),
        (
            1, 1,
            "On the H100 SXM, FlashAttention is compute-bound: at 500 FLOP a byte it can reach "
            "989 TFLOP/s at best, 100 % of the peak.",
        ),
        (
            4, 3,
            "On the T4, vector add is memory-bound: at 0.0833 FLOP a byte it can reach "
            "26.7 GFLOP/s at best, <\u202f0.1 % of the peak. Measured: 100 GFLOP/s, 375 % of that: "
            "a cache served bytes that were counted as moved.",
        ),
    ],
)  # fmt: skip
def test_the_summary_says_which_limit_is_met(roofline, card, point, expected):
    roofline.card, roofline.point = card, point
    assert roofline.summary().replace(GAP, " ") == expected.replace(GAP, " ")


def test_the_ridge_itself_is_no_longer_bound_by_memory():
    t4 = CARDS["T4"]
    at = Point("at the ridge", t4.peaks["16-bit"], t4.bandwidth)
    below = Point("below", t4.peaks["16-bit"], t4.bandwidth * 1.001)
    assert "compute-bound" in Roofline([at], first="T4").summary()
    assert "memory-bound" in Roofline([below], first="T4").summary()


def test_the_record_is_what_the_browser_needs(roofline):
    record = json.loads(json.dumps(roofline.record))
    assert record["points"] == [point.name for point in POINTS]
    assert record["measured"] == [-1, 0, 0, 4]
    assert record["seconds"] == [None, 1.0, 0.25, 0.01]
    assert record["cards"] == list(CARDS)
    assert record["peaks"][4] == 65e12
    assert (roofline.card, roofline.point, roofline.revealed) == (0, 0, False)


def test_some_cards_are_enough():
    widget = Roofline(POINTS[:1], [CARDS["T4"], CARDS["RTX 4090"]], "RTX 4090")
    assert (widget.card, widget.record["cards"]) == (1, ["T4", "RTX 4090"])


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("card", 5, "card must be from 0 to 4, got 5"),
        ("card", -1, "card must be from 0 to 4, got -1"),
        ("point", 4, "point must be from 0 to 3, got 4"),
    ],
)
def test_a_state_that_can_not_be_is_refused(roofline, trait, value, sentence):
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(roofline, trait, value)


def test_what_can_not_be_shown_is_refused():
    nine = [replace(POINTS[0], name=f"kernel {n}") for n in range(9)]
    assert Roofline(nine[:8]).summary()
    for points in ([], nine):
        with pytest.raises(ValueError, match=f"there are {len(points)} points: give from one to 8"):
            Roofline(points)
    with pytest.raises(ValueError, match="a name of its own: 'decoding' is twice"):
        Roofline([*POINTS, POINTS[2]])
    with pytest.raises(ValueError, match="a name of its own: 'T4' is twice"):
        Roofline(POINTS[:1], [CARDS["T4"], CARDS["T4"]], "T4")
    with pytest.raises(ValueError, match=r"first must be one of H200 SXM, .*, got 'A10'"):
        Roofline(POINTS, first="A10")
    with pytest.raises(ValueError, match="'vector add' was measured on 'T4', which is none of"):
        Roofline(POINTS, [CARDS["H200 SXM"]])


def test_a_sweep_moves_its_kernels_and_leaves_the_others():
    widget = Roofline(POINTS[:1], sweep=SWEEP)
    assert (widget.batch, widget.record["sweep"]["batches"]) == (1, [1, 16, 256])
    assert widget.record["points"] == ["naive attention", "fp16", "W4A16"]
    widget.point = 2
    assert (
        widget.summary()
        .replace(GAP, " ")
        .startswith("On the H200 SXM, W4A16 at batch 1 is memory-bound: at 3.99 FLOP a byte")
    )
    for batch, share in ((1, "memory-bound"), (16, "memory-bound"), (256, "compute-bound")):
        widget.batch = batch
        assert f"W4A16 at batch {batch} is {share}" in widget.summary()
        _, axes = drawn(widget)
        marks = {line.get_marker(): line for line in axes.lines}
        expected = [62, *(point.intensity for point in SWEEP[batch])]
        assert [marks[one].get_xdata()[0] for one in "osD"] == expected
        assert marks["D"].get_label() == f"W4A16 at batch {batch}, at best"
    widget.card, widget.batch = 4, 16
    assert "Measured: 336 GFLOP/s" in widget.summary().replace(GAP, " ")
    widget.point = 0
    assert "naive attention is" in widget.summary()


def test_a_sweep_is_enough_and_without_one_there_is_no_batch(roofline):
    assert Roofline([], sweep=SWEEP).summary().startswith("On the H200 SXM, fp16 at batch 1 is")
    assert "sweep" not in roofline.record
    with pytest.raises(traitlets.TraitError, match="batch must be one of 0, got 4"):
        roofline.batch = 4
    with pytest.raises(traitlets.TraitError, match="batch must be one of 1, 16, 256, got 4"):
        Roofline([], sweep=SWEEP).batch = 4


@pytest.mark.parametrize(
    ("points", "sweep", "sentence"),
    [
        ([], {0: SWEEP[1]}, "a batch of the sweep must be positive, got 0"),
        ([], {1: []}, "needs the same kernels in one order: batch 1 has .*, and 1 has"),
        (
            [], {1: SWEEP[1], 2: SWEEP[1][:1]},
            r"batch 1 has \['fp16', 'W4A16'\], and 2 has \['fp16'\]",
        ),
        ([SWEEP[1][0]], SWEEP, "a name of its own: 'fp16' is twice"),
        (
            [], {1: [POINTS[0]], 2: [Point("naive attention", 1, 1, 1, "A10")]},
            "measured on 'A10', which is none of the cards",
        ),
        ([], {}, "there are 0 points: give from one to 8"),
    ],
)  # fmt: skip
def test_a_sweep_that_can_not_be_shown_is_refused(points, sweep, sentence):
    with pytest.raises(ValueError, match=sentence):
        Roofline(points, sweep=sweep)


def test_the_picture_has_each_kernel_where_it_ran_or_could_be(roofline):
    _, axes = drawn(roofline)
    marks = {line.get_marker(): line for line in axes.lines if line.get_marker() in tuple("osD^")}
    at = [(m.get_xdata()[0], m.get_ydata()[0]) for m in (marks[name] for name in "osD^")]
    assert at == [(62, 62 * 4.8e12), (500, 500e12), (1, 4e12), (1 / 12, 0.4e12)]
    filled = [to_hex(marks[name].get_markerfacecolor()) for name in "osD^"]
    ours, page = COLORS["ours"].lower(), COLORS["page"].lower()
    assert filled == [page, ours, ours, page]
    labels = [marks[name].get_label() for name in "os"]
    assert labels == ["naive attention, at best", "FlashAttention, measured"]


def test_the_picture_has_the_chosen_roof_dashed(roofline):
    roofline.card = 2
    _, axes = drawn(roofline)
    (dashed,) = (line for line in axes.lines if line.get_linestyle() == "--")
    assert dashed.get_xdata()[1] == pytest.approx(312 / 2.039)
    assert max(dashed.get_ydata()) == 312e12
    roofs = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert len(roofs) == len(CARDS)
    assert {text.get_text().replace(GAP, " ") for text in axes.texts} == {
        "H200 SXM · H100 SXM", "A100 80GB SXM 312 TFLOP/s", "RTX 4090", "T4",
    }  # fmt: skip


@pytest.mark.parametrize("card", range(5))
def test_nothing_of_the_picture_overlaps(roofline, card):
    roofline.card = card
    figure, axes = drawn(roofline)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_texts()
    ticks = [
        label
        for axis, (least, most) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for place, label in zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
        if least <= place <= most
    ]
    boxes = [text.get_window_extent() for text in (*axes.texts, *legend, *ticks)]
    for at, one in enumerate(boxes):
        assert figure.bbox.x0 <= one.x0 < one.x1 <= figure.bbox.x1
        assert not any(one.overlaps(other) for other in boxes[:at])


def test_state_and_script_stay_small(roofline):
    assert len(roofline._json()) < 10_000
    names = ("roofline.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000
