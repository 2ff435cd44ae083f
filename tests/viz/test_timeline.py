"""What `Timeline` takes, refuses, says and draws."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from toolkit.serving.batching import (
    Exponential,
    Sarathi,
    Static,
    Targets,
    Trace,
    meets,
    metrics,
    simulate,
)
from toolkit.viz import COLORS, Timeline, static_files, style
from toolkit.viz.text import GAP
from toolkit.viz.timeline import MOST_CHUNKS, MOST_LANES, VIEW
from toolkit.viz.timeline_picture import bars, merged
from toolkit.viz.timeline_record import lasting


def plain(text):
    return text.replace(GAP, " ")


def drawn(widget):
    with matplotlib.rc_context(style()):
        figure = widget.picture()
    *stacked, ttft, gap = figure.axes
    return figure, stacked, ttft, gap


def micro(seconds):
    return np.rint(1e6 * np.asarray(seconds)).astype(int).tolist()


@pytest.mark.parametrize("stages", [1, 2])
def test_the_columns_hold_the_schedule(served, stages):
    schedule = served("Sarathi-Serve", stages=stages, blocks=40)
    record = json.loads(json.dumps(Timeline(schedule).record))
    (one,) = record["schedules"]
    assert (record["origin"], record["span"]) == (0, *micro([schedule.end.max()]))
    assert (one["name"], one["blocks"], one["first"]) == ("schedule", 40 * stages, 0)
    assert one["start"] == micro(schedule.start)
    held = np.add(one["start"], one["held"])
    assert held.tolist() == micro(schedule.start + schedule.seconds)
    assert np.add(one["start"], one["span"]).tolist() == micro(schedule.end)
    for name, column in (
        ("prefill", schedule.prefill_tokens),
        ("decode", schedule.decode_tokens),
        ("padding", schedule.padding),
        ("blocks_used", schedule.blocks_used),
        ("chunk_request", schedule.chunk_request),
        ("chunk_tokens", schedule.chunk_tokens),
        ("preemptions", schedule.preemptions),
        ("tokens", schedule.output_tokens),
    ):
        assert one[name] == column.tolist()
    counts = np.bincount(one["chunk_iteration"], minlength=schedule.iterations)
    assert counts.tolist() == np.diff(schedule.chunk_offsets).tolist()
    assert one["ttft"] == micro(schedule.first_token - schedule.arrival)
    assert one["end_to_end"] == micro(schedule.last_token - schedule.arrival)
    assert one["gap"] == [micro(np.diff(schedule.tokens(id)).max()) for id in range(6)]
    sums = metrics(schedule)
    for p, of in ((50, "p50"), (99, "p99")):
        assert one["ttft_curve"][p] == pytest.approx(1e6 * getattr(sums.ttft, of), abs=1)
        assert one["gap_curve"][p] == pytest.approx(1e6 * getattr(sums.inter_token, of), abs=1)
    assert record["most_tokens"] == schedule.work.tokens.max()


def test_two_schedules_are_stepped_through_in_order_of_time(timeline, served):
    seen = []
    for step in range(len(timeline.record["step_schedule"])):
        timeline.step = step
        name, iteration = timeline.iteration
        seen.append((served(name).start[iteration], name, iteration))
    assert [time for time, _, _ in seen] == sorted(time for time, _, _ in seen)
    for name in timeline.schedules:
        iterations = [at for _, of, at in seen if of == name]
        assert iterations == list(range(served(name).iterations))


def test_a_window_has_the_iterations_and_requests_in_it(served):
    schedule = served("vLLM v0", times=3)
    widget = Timeline(schedule, window=(2.6, 3.1))
    record, (one,) = widget.record, widget.record["schedules"]
    first, last = schedule.between(2.6, 3.1)
    assert (one["first"], len(one["start"])) == (first, last - first)
    assert record["requests"] == [6, 7, 8, 9, 10]  # 11 arrives at 3.1 s
    assert (record["origin"], record["span"]) == (2_600_000, 500_000)
    assert one["start"] == (np.array(micro(schedule.start[first:last])) - 2_600_000).tolist()
    assert record["arrival"][0] == -100_000
    owners = [record["requests"][row] for row in one["chunk_request"]]
    chunks = [request for at in range(first, last) for request in schedule.chunks(at)]
    assert owners == chunks
    assert widget.iteration == ("schedule", first)


def test_the_worst_stall_is_asked_about_and_the_answer_is_among_the_choices(timeline, served):
    guess = timeline.record["guess"]
    stalls = [np.diff(served("vLLM v0").tokens(id)).max() for id in range(6)]
    assert timeline.request == guess["row"] == int(np.argmax(stalls)) == 0
    assert not timeline.revealed
    assert guess["gap"] == micro(np.diff(served("Sarathi-Serve").tokens(0)).max()) == 84_000
    assert guess["choices"] == [28_000, 84_000, 252_000, 428_000]
    assert micro(stalls[0]) == 428_000
    other = Timeline(timeline.schedules, first=4)
    assert (other.request, other.record["guess"]["row"]) == (4, 4)
    plain = Timeline(timeline.schedules, guess=False)
    assert plain.revealed
    assert plain.request == 0


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("name", ["vLLM v0", "Sarathi-Serve", "vLLM v1"])
def test_a_guess_has_answers_that_differ(served, name, first):
    guess = Timeline(served(name), first=first).record["guess"]
    assert guess["gap"] in guess["choices"]
    assert 3 <= len(guess["choices"]) <= 4
    choices = guess["choices"]
    assert all(other / one > 1.3 for one, other in pairwise(choices))


def test_where_there_is_no_wait_between_tokens_there_is_nothing_to_guess():
    trace = Trace(np.zeros(2), np.array([5, 9]), np.array([1, 1]), 1)

    class Second:
        stages = 1

        def seconds(self, work):
            return 1.0

    widget = Timeline(simulate(trace, Sarathi(chunk_size=4), Second()))
    assert widget.revealed
    (one,) = widget.record["schedules"]
    assert (one["gap"], one["gap_curve"]) == ([None, None], [])
    assert "TTFT 2 s, longest ITL –, end to end 2 s." in plain(widget.summary())
    assert len(drawn(widget)[3].lines) == 0


@pytest.mark.parametrize(
    ("step", "chosen", "expected"),
    [
        (
            0,
            0,
            "At 0.000 s. vLLM v0: Iteration 0: 40 prefill and 0 decode tokens in 100 ms; 3 of 18 "
            "blocks in use. Sarathi-Serve: Iteration 0: 32 prefill and 0 decode tokens in 84 ms; "
            "2 of 18 blocks in use. Request 0. vLLM v0: TTFT 100 ms, longest ITL 428 ms, end to "
            "end 1.34 s. Sarathi-Serve: TTFT 160 ms, longest ITL 84 ms, end to end 1.11 s.",
        ),
        (
            76,
            5,
            "At 1.894 s. vLLM v0: Nothing is computed. Sarathi-Serve: Iteration 39: 0 prefill and "
            "1 decode tokens in 22 ms; 3 of 18 blocks in use. Request 5. vLLM v0: TTFT 816 ms, "
            "longest ITL 26 ms, end to end 1.12 s. Sarathi-Serve: TTFT 1.01 s, longest ITL 26 ms, "
            "end to end 1.32 s.",
        ),
    ],
)
def test_the_summary_says_what_is_computed_and_how_a_request_fared(
    timeline, step, chosen, expected
):
    timeline.step, timeline.request = step, chosen
    assert plain(timeline.summary()) == expected


def padded():
    """Prompts of 16 tokens in a rectangle of 27, and decodes of those that have ended."""
    trace = Trace(np.zeros(3), np.array([5, 9, 2]), np.array([4, 2, 6]), 8)

    class Second:
        stages = 1

        def seconds(self, work):
            return 0.5

    return simulate(trace, Static(3), Second())


def test_padding_is_said_and_one_schedule_is_not_named():
    assert plain(Timeline(padded()).summary()) == (
        "At 0.000 s. Iteration 0: 16 prefill, 0 decode and 11 padding tokens in 500 ms; 3 of 4 "
        "blocks in use. Request 0. TTFT 500 ms, longest ITL 500 ms, end to end 2 s."
    )


def empties(widget):
    """The request of each empty row, and from when to when it is one, in microseconds."""
    (one,) = widget.record["schedules"]
    rows, *times = (one[f"empty_{name}"] for name in ("request", "start", "end"))
    return list(zip([widget.record["requests"][row] for row in rows], *times, strict=True))


def test_the_row_of_who_has_ended_is_empty_until_its_batch_has():
    assert empties(Timeline(padded())) == [(0, 2_000_000, 3_000_000), (1, 1_000_000, 3_000_000)]
    # request 1's last token is there when the window begins
    later = Timeline(padded(), window=(1.0, 2.5))
    assert empties(later) == [(0, 1_000_000, 2_000_000)]


class PaddedByTwo:
    """Sarathi, with two tokens for nothing in each batch: they are nobody's rows."""

    def next_batch(self, state):
        batch = Sarathi(chunk_size=64).next_batch(state)
        batch.padding = 2
        return batch


@pytest.mark.parametrize("stages", [1, 3])
def test_as_many_rows_are_empty_as_tokens_are_padding(stages):
    trace = Trace.synthetic(
        40, 20, prompts=Exponential(30, 60), outputs=Exponential(9, 30), seed=stages
    )

    class Hundredth:
        def __init__(self):
            self.stages = stages

        def seconds(self, work):
            return 0.01

    schedule = simulate(trace, Static(4), Hundredth())
    found = empties(Timeline(schedule))
    members = Counter(schedule.began.tolist())
    seen = 0
    for at in np.flatnonzero(schedule.prefill_tokens == 0):
        start, end = micro(schedule.start[at]), micro(schedule.end[at])
        began = {schedule.began[request] for request in schedule.chunks(at)}
        (batch,) = began
        here = [
            request for request, since, until in found
            if since <= start and end <= until and schedule.began[request] == batch
        ]  # fmt: skip
        assert len(here) == schedule.padding[at] - (4 - members[batch])
        seen += len(here)
    assert seen > 50
    assert empties(Timeline(simulate(trace, PaddedByTwo(), Hundredth()))) == []
    assert empties(Timeline(simulate(trace, Sarathi(chunk_size=64), Hundredth()))) == []


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (None, "–"),
        (0, "0 µs"),
        (1, "1 µs"),
        (999, "999 µs"),
        (1000, "1 ms"),
        (53_249, "53.2 ms"),
        (999_499, "999 ms"),
        (999_500, "1 s"),
        (61_000_000, "61 s"),
    ],
)
def test_a_duration_has_three_digits_and_the_unit_that_suits_it(time, said):
    assert plain(lasting(time)) == said


def test_targets_are_met_as_the_metrics_say(served):
    schedule = served("vLLM v0")
    targets = Targets(ttft=0.4, inter_token=0.3)
    record = Timeline(schedule, targets).record
    assert record["schedules"][0]["met"] == meets(schedule, targets).tolist()
    assert {*record["schedules"][0]["met"]} == {True, False}
    assert (record["target_ttft"], record["target_gap"]) == (400_000, 300_000)
    assert Timeline(schedule, Targets(tpot=1)).record["target_gap"] is None
    assert Timeline(schedule).record["schedules"][0]["met"] is None


def test_what_can_not_be_shown_is_refused(served):
    one = served("vLLM v0")
    with pytest.raises(ValueError, match="schedules must be one or two, got 3"):
        Timeline(dict.fromkeys("abc", one))
    with pytest.raises(ValueError, match="schedules must be one or two, got 0"):
        Timeline({})
    with pytest.raises(ValueError, match=r"the same requests.*simulate the same trace"):
        Timeline({"a": one, "b": served("vLLM v0", times=2)})
    with pytest.raises(ValueError, match="schedule has no iterations: simulate a trace"):
        Timeline(one.window(3, 3))
    for window in ((9.0, 10.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match=r"have an iteration of schedule.*0 to 1.72 s; got"):
            Timeline(one, window=window)
    with pytest.raises(ValueError, match=r"a request that is in the window, got 9: .* 0 to 5"):
        Timeline(one, first=9)
    with pytest.raises(ValueError, match="by the names a, b, got 'c'"):
        Timeline({"a": one, "b": one}, budget={"c": 3})
    with pytest.raises(ValueError, match="budget must be at least 1 token, got 0"):
        Timeline(one, budget=0)


class Quick:
    """A hundredth of a second a batch."""

    stages = 1

    def seconds(self, work):
        return 0.01


def many(count, rate):
    trace = Trace.synthetic(
        count, rate, prompts=Exponential(60, 300), outputs=Exponential(40, 200), seed=0
    )
    return simulate(trace, Sarathi(chunk_size=512), Quick())


@pytest.mark.parametrize(("count", "rate"), [(400, 40.0), (MOST_LANES + 50, 1000.0)])
def test_a_long_schedule_is_refused_with_a_window_that_fits(count, rate):
    schedule = many(count, rate)
    with pytest.raises(ValueError, match=r"the window has [\d,]+ chunks of [\d,]+ req") as refusal:
        Timeline(schedule)
    end = float(str(refusal.value).rpartition("window=(0, ")[2].partition(")")[0])
    widget = Timeline(schedule, window=(0, end))
    (one,) = widget.record["schedules"]
    assert len(one["chunk_tokens"]) <= MOST_CHUNKS
    assert len(widget.record["requests"]) <= MOST_LANES
    assert len(one["chunk_tokens"]) > MOST_CHUNKS / 2 or len(widget.record["requests"]) > 100


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("step", 77, "step must be 0 to 76, got 77"),
        ("step", -1, "step must be 0 to 76, got -1"),
        ("view_start", -1, "view_start must be 0 to 100000, got -1"),
        ("view_end", VIEW + 1, "view_end must be 0 to 100000, got 100001"),
        ("request", 6, "request must be one that is in the window, got 6"),
    ],
)
def test_a_state_that_can_not_be_is_refused(timeline, trait, value, sentence):
    before = getattr(timeline, trait)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(timeline, trait, value)
    assert getattr(timeline, trait) == before


spans = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 9)), max_size=20)


@given(spans)
def test_merged_bars_cover_what_they_did_and_no_two_touch(found):
    given_bars = [(row, start, start + length) for row, start, length in found]
    after = merged(given_bars)

    def covered(bars):
        return {(row, time) for row, start, end in bars for time in range(start, end)}

    assert covered(after) == covered(given_bars)
    for one, other in pairwise(after):
        assert one[0] < other[0] or one[2] < other[1]


def test_the_picture_has_each_bar_in_its_lane_and_colour(timeline):
    _, stacked, _, _ = drawn(timeline)
    record = timeline.record
    for axes, one in zip(stacked[::2], record["schedules"], strict=True):
        present, waits, prefills, decodes, empty = axes.collections
        assert not empty.get_paths()
        for row, ((start, at), (end, _)) in enumerate(present.get_segments()):
            assert (start, end) == (record["arrival"][row] / 1e6, one["last_token"][row] / 1e6)
            assert at == row
        boxes = Counter()
        for collection in (waits, prefills, decodes):
            boxes[to_hex(collection.get_facecolor()[0])] += len(collection.get_paths())
        expected = bars(one)
        assert boxes == {
            COLORS["waiting"].lower(): len(expected["waiting"]),
            COLORS["prefill"].lower(): len(expected["prefill"]),
            COLORS["decode"].lower(): len(expected["decode"]),
        }
        for path, (row, start, end) in zip(decodes.get_paths(), expected["decode"], strict=True):
            box = path.get_extents()
            assert (box.x0, box.x1) == pytest.approx((start / 1e6, end / 1e6))
            assert (box.y0 + box.y1) / 2 == pytest.approx(row)
        assert axes.lines[0].get_xdata().tolist() == [time / 1e6 for time in one["lost_time"]]
        keys = [text.get_text() for text in axes.get_legend().get_texts()]
        lost = ["pre-empted"] * bool(one["lost_request"])
        assert keys == ["waiting", "prefill", "decode", "standing still", *lost]
    assert record["schedules"][1]["lost_request"] == [3]


def test_the_pictures_empty_rows_are_hollow():
    (lanes, *_) = drawn(Timeline(padded()))[1]
    *_, empty = lanes.collections
    boxes = [path.get_extents() for path in empty.get_paths()]
    rows = [(round((box.y0 + box.y1) / 2), *micro([box.x0, box.x1])) for box in boxes]
    assert rows == empties(Timeline(padded()))
    assert to_hex(empty.get_facecolor()[0]) == COLORS["page"].lower()
    assert "padding" in [text.get_text() for text in lanes.get_legend().get_texts()]


def test_the_pictures_tokens_are_stacked_under_the_budget(timeline):
    _, stacked, _, _ = drawn(timeline)
    for axes, one in zip(stacked[1::2], timeline.record["schedules"], strict=True):
        prefill, decode = (patch.get_data() for patch in axes.patches)
        both = np.add(one["prefill"], one["decode"]).tolist()
        middles = np.add(one["start"], np.divide(one["held"], 2)) / 1e6
        for data, expected in ((prefill, one["prefill"]), (decode, both)):
            assert data.values[np.searchsorted(data.edges, middles) - 1].tolist() == expected
            assert (np.diff(data.edges) > 0).all()
        assert decode.baseline.tolist() == prefill.values.tolist()
    assert [len(axes.lines) for axes in stacked[1::2]] == [0, 1]
    assert stacked[3].lines[0].get_ydata()[0] == 32


def test_the_pictures_padding_is_hollow_and_on_top():
    _, stacked, _, _ = drawn(Timeline(padded()))
    prefill, decode, padding = stacked[1].patches
    assert (prefill.get_data().values[0], padding.get_data().values[0]) == (16, 27)
    assert padding.get_data().baseline.tolist() == decode.get_data().values.tolist()
    assert to_hex(padding.get_facecolor()) == COLORS["page"].lower()
    assert to_hex(padding.get_edgecolor()) == COLORS["missed"].lower()


def test_the_pictures_curves_are_of_both(timeline, served):
    _, _, ttft, gap = drawn(Timeline(timeline.schedules, Targets(ttft=0.5)))
    assert [line.get_label() for line in ttft.lines] == ["vLLM v0", "Sarathi-Serve", "target"]
    assert [line.get_label() for line in gap.lines] == ["vLLM v0", "Sarathi-Serve"]
    assert ttft.lines[2].get_xdata() == [0.5, 0.5]
    waited = served("Sarathi-Serve").first_token - np.array(served("Sarathi-Serve").arrival)
    assert ttft.lines[1].get_xdata()[[0, 100]] == pytest.approx([waited.min(), waited.max()])


@pytest.mark.parametrize("window", [None, (0.2, 0.9)])
def test_nothing_of_the_picture_overlaps(timeline, window):
    figure, stacked, ttft, gap = drawn(
        Timeline(timeline.schedules, Targets(ttft=0.5), window=window)
    )
    figure.draw_without_rendering()
    texts = [figure._suptitle, *[axes._left_title for axes in stacked]]
    for axes in (*stacked, ttft, gap):
        texts += [axes.xaxis.label, axes.yaxis.label]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            shown = [one for one in axis.get_major_ticks() if one.label1.get_visible()]
            low, high = sorted((low, high))
            texts += [one.label1 for one in shown if low <= one.get_loc() <= high]
    found = [one.get_window_extent() for one in texts if one.get_text() and one.get_visible()]
    found += [axes.get_legend().get_window_extent() for axes in stacked[::2]]
    for at, one in enumerate(found):
        assert one.x0 >= 0
        assert one.x1 <= figure.bbox.x1
        assert not any(one.overlaps(other) for other in found[:at])


def test_state_and_script_stay_small(timeline):
    assert len(timeline._json()) < 20_000
    schedule = many(400, 40.0)
    both = {"a": schedule, "b": replace(schedule, blocks=schedule.blocks + 1)}
    with pytest.raises(ValueError, match="fits") as refusal:
        Timeline(both)
    end = float(str(refusal.value).rpartition("window=(0, ")[2].partition(")")[0])
    widget = Timeline(both, window=(0, end))
    assert 100_000 < len(widget._json()) < 300_000
    names = ("timeline.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000
