"""`Timeline` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from pathlib import Path

import numpy as np
import pytest

from toolkit.serving.batching import Static, Targets, Trace, simulate
from toolkit.serving.batching.chrome_trace import chrome_trace
from toolkit.viz import Timeline, tokens
from toolkit.viz.text import GAP
from toolkit.viz.timeline import VIEW
from toolkit.viz.timeline_record import lasting

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODULE = "const js = await import('../_static/toolkit/timeline.js');"
DRAWN = ".tk-axis text"
LEFT, RIGHT, TOP, LANE = 44, 10, 17, 22  # of the picture, with six requests
BARS = 66


@pytest.fixture
def url(timeline, publish):
    return publish(timeline.html())


def settled(page):
    """What was set is drawn, in the frame after."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")
    return page


@pytest.fixture
def opened(opened):
    return lambda url, **options: settled(opened(url, **options))


def slide(page, name, value):
    page.get_by_role("slider", name=name).fill(str(value))
    settled(page)


def at(page):
    """Which iteration the page shows, from 0."""
    return int(page.get_by_role("slider", name="iteration").input_value())


def about(page):
    settled(page)
    return page.locator(".tk-about").inner_text().replace(GAP, " ")


def lanes(page, of=0):
    return page.locator(".tk-scroll canvas").nth(of)


def bars(page, of=0):
    return page.locator(".tk-panel > canvas").nth(of)


def pixels(canvas, points):
    """The colors of a canvas at some places in CSS pixels, as ``rgb(...)``; empty where bare."""
    return canvas.evaluate(
        """(canvas, points) => {
            const pen = canvas.getContext("2d"), at = (x) => Math.round(x * devicePixelRatio);
            return points.map(([x, y]) => {
                const [r, g, b, a] = pen.getImageData(at(x), at(y), 1, 1).data;
                return a ? `rgb(${r}, ${g}, ${b})` : "";
            });
        }""",
        [[float(x), float(y)] for x, y in points],
    )


def across(canvas, span, view=(0, VIEW)):
    """From microseconds to pixels."""
    wide = canvas.evaluate("canvas => canvas.clientWidth") - LEFT - RIGHT
    start, end = (span * part / VIEW for part in view)
    return lambda time: LEFT + wide * (time - start) / (end - start)


def middle(row):
    return TOP + (row + 0.5) * LANE


def test_the_closed_forms_are_pythons(served, url, visit):
    named = {name: served(name, stages=2, blocks=40) for name in ("vLLM v0", "Sarathi-Serve")}
    windows = [(0.0, 1.0), (0.213, 0.9), (0.5, 0.51)]
    widgets = [Timeline(named, window=window) for window in windows]
    short = {name: served(name) for name in named}
    widgets += [Timeline(short), Timeline(short["Sarathi-Serve"]), Timeline(short, window=(0.7, 1))]
    rng = np.random.default_rng(0)
    times = [0, 1, 999, 999_499, 999_500, 10**9, *(10 ** rng.uniform(0, 9, 300)).astype(int)]
    numbers = sorted(rng.integers(0, 40, 30).tolist())
    traces, said, places = visit(url).evaluate(
        f"""async ([records, times, numbers]) => {{ {MODULE}
            return [records.map(js.chromeTrace), times.map(js.lasting),
                    numbers.map((_, at) => js.lastAt(numbers, at))];
        }}""",
        [[widget.record for widget in widgets], [*map(int, times), None], numbers],
    )
    for widget, found in zip(widgets, traces, strict=True):
        assert found == chrome_trace(widget.schedules, widget.window)
    assert said == [lasting(int(time)) for time in times] + ["–"]
    assert places == [bisect_right(numbers, value) - 1 for value in range(30)]


def test_it_replaces_the_picture_which_stands_in_without_scripts_and_in_print(
    url, replaced_picture
):
    name = replaced_picture(url)
    assert name == "What does each request wait for?"


def test_the_guess_comes_first_and_is_compared(url, alive, label, rgb):
    page = alive(url)
    assert page.locator(".tk-ask").inner_text().replace(GAP, " ") == (
        "Under vLLM v0, the longest wait between two tokens of request 0 is 428 ms. How long is it "
        "under Sarathi-Serve?"
    )
    choices = [
        text.replace(GAP, " ") for text in page.locator(".tk-controls button").all_inner_texts()
    ]
    assert choices == ["28 ms", "84 ms", "252 ms", "428 ms", "Skip"]
    page.get_by_text("The same data as a table").click()
    for hidden in ("84", "1.11", "1.03"):
        assert hidden not in page.locator(".tk-drawing").inner_text()
        assert hidden not in page.locator(".tk-readout").inner_text()
        assert hidden not in label(page)
    assert page.locator("details tbody tr").count() == 0
    assert page.locator(".tk-curve.tk-of-last").count() == 0

    # what comes after the first token, at 160 ms, is hidden under the second schedule alone
    x = across(lanes(page), 1_916_000)
    points = [(x(130_000), middle(0) + 8), (x(202_000), middle(0) + 4), (x(900_000), middle(3) + 5)]
    surface, prefill = rgb(tokens()["surface"][0]), rgb(tokens()["prefill"][0])
    assert pixels(lanes(page, 1), points) == [prefill, surface, surface]
    assert pixels(lanes(page, 0), [(x(514_000), middle(0) + 4)]) == [rgb(tokens()["decode"][0])]
    box = lanes(page, 1).bounding_box()
    page.mouse.move(box["x"] + x(900_000), box["y"] + middle(3))
    assert about(page) == "Point at a bar for its numbers; click to choose the request."
    page.locator(".tk-scroll").first.focus()
    page.keyboard.press("ArrowRight")
    page.mouse.click(box["x"] + x(100_000), box["y"] + middle(3))
    assert page.locator(".tk-ask").is_visible()

    page.get_by_role("button", name=f"252{GAP}ms", exact=True).click()
    told = page.locator(".tk-remark").inner_text().replace(GAP, " ")
    assert told == "You guessed 252 ms; it is 84 ms."
    assert page.evaluate("document.activeElement.type") == "range"
    assert at(page) == 0
    assert page.get_by_role("slider", name="request").input_value() == "0"
    settled(page)
    assert pixels(lanes(page, 1), points[1:2]) == [rgb(tokens()["decode"][0])]
    page.get_by_role("button", name="Forward").click()
    assert page.locator(".tk-remark").inner_text() == ""

    again = alive(url)
    again.get_by_role("button", name=f"84{GAP}ms", exact=True).click()
    told = again.locator(".tk-remark").inner_text().replace(GAP, " ")
    assert told == "Right, it is 84 ms."


def test_every_step_and_request_shows_what_python_says(url, opened, label, timeline):
    page = opened(url)
    steps = len(timeline.record["step_schedule"])
    for step in range(0, steps, 5):
        slide(page, "iteration", step)
        timeline.step = step
        assert label(page) == timeline.summary()
    for row in range(6):
        slide(page, "request", row)
        timeline.request = row
        assert label(page) == timeline.summary()
        values = page.locator(".tk-figures .tk-value").all_inner_texts()
        both = timeline.record["schedules"]
        assert values == [
            lasting(one[name][row]) for name in ("ttft", "gap", "end_to_end") for one in both
        ]
    page.get_by_role("status").get_by_text(timeline.summary()).wait_for(state="attached")


@pytest.mark.parametrize(("theme", "stages", "blocks"), [("light", 1, 18), ("dark", 2, 40)])
def test_every_chunk_and_wait_is_drawn_where_and_when_it_was(
    served, publish, opened, rgb, theme, stages, blocks
):
    named = {name: served(name, stages, blocks) for name in ("vLLM v0", "Sarathi-Serve")}
    timeline = Timeline(named)
    page = opened(publish(timeline.html()), width=1400 * stages)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    slide(page, "request", 5)
    slide(page, "iteration", 0)
    color = {name: rgb(both[theme == "dark"]) for name, both in tokens().items()}
    x = across(lanes(page), timeline.record["span"])
    for of, one in enumerate(timeline.record["schedules"]):
        points, expected = [], []
        for i, row, decode in zip(
            one["chunk_iteration"], one["chunk_request"], one["chunk_decode"], strict=True
        ):
            time = x(one["start"][i] + one["span"][i] / 2)
            points += [(time, middle(row) + (4 if decode else -8)), (time, middle(row) + 8)]
            expected += ["decode", None] if decode else ["prefill", "prefill"]
        for row, start, end in zip(
            *(one[f"wait_{name}"] for name in ("request", "start", "end")), strict=True
        ):
            points += [
                (x((start + end) / 2), middle(row) + 2),
                (x((start + end) / 2), middle(row) + 6),
            ]
            expected += ["waiting", None]
        for row, time in zip(one["lost_request"], one["lost_time"], strict=True):
            points.append((x(time), middle(row)))
            expected.append("evicted")
        found = pixels(lanes(page, of), points)
        bright = {color[name] for name in ("prefill", "decode", "waiting", "evicted")}
        for pixel, name, point in zip(found, expected, points, strict=True):
            assert pixel == color[name] if name else pixel not in bright, point
    # request 0 stands still under vLLM v0 while another's prompt is computed
    one = timeline.record["schedules"][0]
    still = x(one["last_token"][0] - one["gap"][0] / 2 - 50_000)
    assert stages == 2 or pixels(lanes(page), [(still, middle(0) + 4)])[0] not in bright


@pytest.mark.parametrize("width", [400, 1200])
def test_narrow_decodes_keep_their_colour_and_wide_ones_are_boxed(
    timeline, publish, opened, rgb, width
):
    page = opened(publish(timeline.html()), width=width)
    slide(page, "request", 5)
    slide(page, "iteration", 0)
    orange = rgb(tokens()["decode"][0])
    x, seen = across(lanes(page), timeline.record["span"]), []
    for of, one in enumerate(timeline.record["schedules"]):
        for i, row, decode in zip(
            one["chunk_iteration"], one["chunk_request"], one["chunk_decode"], strict=True
        ):
            start, end = (x(one["start"][i] + part) for part in (0, one["span"][i]))
            if not decode or end - start < 2 or 7 < end - start < 10:
                continue
            inside = np.arange(np.ceil(start + 1.5), end - 2.5)
            assert pixels(lanes(page, of), [(at, middle(row) + 3) for at in inside]) == [
                orange
            ] * len(inside)
            # a side of it is grey where it is wide enough for a box
            side = pixels(lanes(page, of), [(start + dx, middle(row) + 3) for dx in (0, 0.5, 1)])
            boxed = any(max(map(int, re.findall(r"\d+", one))) < 200 for one in side)
            seen.append((end - start > 8, boxed))
    assert all(wide == boxed for wide, boxed in seen)
    assert (False in {wide for wide, _ in seen}) == (width < 700)


def test_who_stands_still_has_a_thin_line_that_the_key_explains(url, opened):
    page = opened(url)
    slide(page, "request", 5)
    key = page.locator(".tk-key > span").filter(has_text="standing still")
    color = key.locator(".tk-swatch").evaluate("node => getComputedStyle(node).backgroundColor")
    x = across(lanes(page), 1_916_000)
    line = [pixels(lanes(page), [(x(1_150_000), middle(0) + dy)])[0] for dy in (-3, 0, 1, 3)]
    assert line.count(color) == 1
    assert color in line[1:3]


def test_without_a_question_all_is_shown_at_once(timeline, publish, alive):
    page = alive(publish(Timeline(timeline.schedules, guess=False).html()))
    settled(page)
    assert page.locator(".tk-ask").count() == 0
    assert page.get_by_role("button", name="Forward").is_visible()
    assert page.locator(".tk-curve.tk-of-last").count() > 0


def stepper_of(page):
    return page.locator(".tk-steps .tk-range").inner_text().split("\n")


def test_the_counter_says_whose_iterations_it_counts(timeline, publish, opened):
    page = opened(publish(timeline.html()))
    assert stepper_of(page) == ["iterations of both", "1 of 77"]
    only = Timeline(timeline.schedules["vLLM v0"], window=(0.3, 1.0))
    iteration, last = only.iteration[1], len(only.record["step_iteration"]) - 1
    page = opened(publish(only.html(), "only"))
    counter = f"{iteration} of {iteration + last}"
    assert iteration > 0
    assert stepper_of(page) == ["iteration", counter]
    assert page.locator(".tk-now").inner_text().startswith(f"Iteration {iteration}:")


def test_a_pipelines_tokens_are_drawn_while_they_are_in_its_first_stage(
    served, publish, opened, rgb
):
    timeline = Timeline(served("vLLM v0", stages=2, blocks=40))
    page = opened(publish(timeline.html()), width=1200)
    (one,) = timeline.record["schedules"]
    x = across(bars(page), timeline.record["span"])
    blue, seen = rgb(tokens()["prefill"][0]), []
    for start, held, span, prefill in zip(
        *(one[name] for name in ("start", "held", "span", "prefill")), strict=True
    ):
        assert span == pytest.approx(2 * held, abs=1) or span > 2 * held
        after = start + held + (span - held) / 2
        stages = zip(one["start"], one["held"], strict=True)
        covered = any(begun <= after < begun + taken for begun, taken in stages)
        if prefill >= 30:
            low = (BARS - 3) - prefill / 2 / timeline.record["most_tokens"] * (BARS - TOP - 9)
            found = pixels(bars(page), [(x(time), low) for time in (start + held / 3, after)])
            assert found[0] == blue
            assert covered or found[1] != blue
            seen.append(covered)
    assert len(seen) > seen.count(True) > 0


def test_tokens_are_stacked_to_scale_under_the_budget(url, opened, timeline, rgb):
    page = opened(url, width=1150)
    slide(page, "iteration", 0)
    x = across(bars(page), timeline.record["span"])
    bottom, most = BARS - 3, timeline.record["most_tokens"]
    assert most == 150

    def y(tokens):
        return bottom - tokens / most * (bottom - TOP - 6)

    color = {name: rgb(both[0]) for name, both in tokens().items()}
    (first, second) = timeline.record["schedules"]
    at = first["prefill"].index(150)
    time = x(first["start"][at] + first["held"][at] / 3)
    found = pixels(bars(page, 0), [(time, y(140)), (time, y(5)), (time, y(150) - 2)])
    assert found[:2] == [color["prefill"]] * 2
    assert found[2] != color["prefill"]
    line = [pixels(bars(page, 1), [(LEFT + 1 + dx, y(32))])[0] for dx in (0.5, 2)]
    assert color["limit"] in line
    assert second["budget"] == 32


def test_pointing_tells_what_a_request_does(url, opened, boxes, timeline):
    page = opened(url)
    x = across(lanes(page), timeline.record["span"])

    def point(of, time, row):
        box = lanes(page, of).bounding_box()
        page.mouse.move(box["x"] + x(time), box["y"] + middle(row))
        return about(page)

    assert point(0, 1_100_000, 4) == (
        "vLLM v0: Request 4, iteration 20, 0.964 to 1.284 s: prefill of 150 tokens."
    )
    assert "Request 0, iteration 3, 0.500 to 0.528 s: decode, one token." in point(0, 510_000, 0)
    assert point(0, 800_000, 4) == "vLLM v0: Request 4 waits from 0.500 to 0.964 s: 464 ms."
    assert point(0, 1_100_000, 0) == (
        "vLLM v0: Request 0 stands still at 1.100 s: it holds its memory, and others are computed."
    ).replace("1.100", re.search(r"at (\S+) s", about(page))[1])
    assert "Request 5 is not there at" in point(0, 300_000, 5)
    assert "Request 1 stands still at" in point(0, 1_100_000, 1)
    assert "Request 2 is not there at" in point(0, 1_100_000, 2)
    (lost,) = timeline.record["schedules"][1]["lost_time"]
    assert point(1, lost + 3000, 3) == (
        "Sarathi-Serve: Request 3 loses its memory at 0.796 s; what it had is computed again."
    )
    # the curves follow: request 3's TTFT under vLLM v0 is 200 ms
    (left, _, right, _) = boxes(page, ".tk-curves > div:first-child > svg .tk-dot.tk-of-first")[0]
    slide(page, "request", 3)
    page.mouse.move(1, 1)
    settled(page)
    again = boxes(page, ".tk-curves > div:first-child > svg .tk-dot.tk-of-first")[0]
    assert (left, right) == pytest.approx((again[0], again[2]), abs=0.5)
    box = bars(page).bounding_box()
    page.mouse.move(box["x"] + x(1_100_000), box["y"] + 40)
    assert about(page) == (
        "vLLM v0: Iteration 20: 150 prefill and 0 decode tokens in 320 ms; 16 of 18 blocks in use."
    ).replace("16 of", re.search(r"(\d+ of)", about(page))[1])
    page.mouse.move(1, 1)
    assert about(page).startswith("Point at a bar")


def test_a_click_chooses_the_request_and_the_iteration(url, opened, timeline):
    page = opened(url)
    x = across(lanes(page), timeline.record["span"])
    box = lanes(page, 1).bounding_box()
    page.mouse.click(box["x"] + x(1_200_000), box["y"] + middle(4))
    assert page.get_by_role("slider", name="request").input_value() == "4"
    box = bars(page, 1).bounding_box()
    page.mouse.click(box["x"] + x(900_000), box["y"] + 40)
    timeline.step = at(page)
    name, iteration = timeline.iteration
    one = timeline.record["schedules"][1]
    assert name == "Sarathi-Serve"
    assert 0 <= 900_000 - one["start"][iteration] < one["span"][iteration]


def test_keys_step_choose_and_zoom(url, opened):
    page = opened(url)
    for of in range(2):
        slide(page, "iteration", 0)
        slide(page, "request", 0)
        page.locator(".tk-scroll").nth(of).focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown"):
            page.keyboard.press(key)
        assert at(page) == 2
        assert page.get_by_role("slider", name="request").input_value() == "1"
        for _ in range(9):
            page.keyboard.press("ArrowDown")
        assert page.get_by_role("slider", name="request").input_value() == "5"
        page.keyboard.press("ArrowUp")
        assert page.get_by_role("slider", name="request").input_value() == "4"
        assert page.evaluate("document.activeElement.className") == "tk-scroll"
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert page.locator(".tk-zoom output").inner_text() == f"479{GAP}ms"
        page.keyboard.press("-")
        assert page.locator(".tk-zoom output").inner_text() == f"958{GAP}ms"
        page.keyboard.press("0")
        assert page.locator(".tk-zoom output").inner_text() == f"1.92{GAP}s"
    slide(page, "iteration", 0)
    assert page.get_by_role("button", name="Back").is_disabled()
    page.get_by_role("button", name="Forward").click()
    assert at(page) == 1


def test_zooming_keeps_what_is_under_the_pointer_and_dragging_moves_it(url, opened, timeline):
    page = opened(url)
    slide(page, "iteration", 0)
    x = across(lanes(page), timeline.record["span"])
    box = lanes(page).bounding_box()
    place = box["x"] + x(1_100_000), box["y"] + middle(4)
    page.mouse.move(*place)
    was = about(page)
    assert "iteration 20" in was
    page.keyboard.down("Control")
    for _ in range(8):
        page.mouse.wheel(0, -100)
        settled(page)
    page.keyboard.up("Control")
    page.mouse.move(place[0] + 1, place[1])
    assert about(page) == was
    assert page.locator(".tk-zoom output").inner_text() == lasting(
        round(timeline.record["span"] * 0.8**8)
    ) or page.locator(".tk-zoom output").inner_text().startswith("32")
    page.mouse.down()
    page.mouse.move(place[0] - 60, place[1], steps=3)
    page.mouse.move(place[0] - 120, place[1], steps=3)
    page.mouse.up()
    assert page.get_by_role("slider", name="request").input_value() == "0"  # it was no click
    page.mouse.move(place[0] - 119, place[1])
    assert about(page) == was
    # the view follows the iteration
    slide(page, "iteration", 3)
    ticks = page.locator(".tk-axis .tk-tick").all_text_contents()[:-1]
    timeline.step = 3
    name, iteration = timeline.iteration
    time = timeline.schedules[name].start[iteration]
    assert min(map(float, ticks)) - 0.2 < time < max(map(float, ticks))
    page.get_by_role("button", name="All").click()
    assert page.get_by_role("button", name="Zoom out").is_disabled()
    for _ in range(20):
        page.get_by_role("button", name="Zoom in").click(force=True, no_wait_after=True)
        if page.get_by_role("button", name="Zoom in").is_disabled():
            break
    assert page.locator(".tk-zoom output").inner_text() == f"958{GAP}µs"


def test_it_plays_to_the_end_and_from_there_anew(url, opened, plays):
    page = opened(url)
    plays(page, at, last=76)


def test_a_link_holds_the_state_and_bends_what_can_not_be(timeline, publish, alive, opened, label):
    url = publish(timeline.html())
    page = opened(url)
    slide(page, "iteration", 12)
    slide(page, "request", 3)
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_url(f"**#{timeline.id}.step=12&request=3&view_start=*&view_end=*")
    again = alive(page.url)
    assert label(again) == label(page)
    assert again.locator(".tk-axis").inner_html() == page.locator(".tk-axis").inner_html()
    wrong = alive(f"{url}#{timeline.id}.step=999&request=-3&view_start=70000&view_end=20000&x=1")
    assert at(wrong) == 76
    wrong.wait_for_url(f"**#{timeline.id}.step=76")
    assert wrong.get_by_role("button", name="All").is_disabled()


def test_the_table_gives_the_same_data(url, opened, table, served):
    page = opened(url)
    head, *found = table(page)
    assert head == [
        "request", "schedule", "arrival (s)", "prompt tokens", "output tokens", "TTFT (s)",
        "longest ITL (s)", "end to end (s)", "pre-emptions",
    ]  # fmt: skip
    expected = []
    for request in range(6):
        for name in ("vLLM v0", "Sarathi-Serve"):
            one = served(name)
            times = one.tokens(request)
            since = [times[0] - one.arrival[request], np.diff(times).max(),
                     times[-1] - one.arrival[request]]  # fmt: skip
            expected.append([
                str(request), name, f"{one.arrival[request]:.6f}", str(one.prompt_tokens[request]),
                str(len(times)), *(f"{time:.6f}" for time in since), str(one.preemptions[request]),
            ])  # fmt: skip
    assert found == expected


def test_the_file_for_perfetto_is_the_one_that_python_writes(timeline, url, opened):
    page = opened(url)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save for Perfetto").click()
    assert download.value.suggested_filename == "timeline.json"
    found = json.loads(Path(download.value.path()).read_text())
    assert found == chrome_trace(timeline.schedules, timeline.window)


def test_the_curves_carry_the_targets_and_the_requests_marks(served, publish, alive):
    schedule = served("vLLM v0")
    widget = Timeline(schedule, Targets(ttft=0.4, inter_token=0.1))
    page = alive(publish(widget.html()))
    assert page.locator(".tk-ask").inner_text() == (
        "How long is the longest wait between two tokens of request 0? What comes after its first "
        "token is hidden."
    )
    assert page.locator(".tk-curve").count() == 0
    page.get_by_role("button", name="Skip", exact=True).click()
    settled(page)
    ttft, gap = (page.locator(".tk-curves > div").nth(at) for at in range(2))
    for panel, name, target in ((ttft, "ttft", 0.4), (gap, "gap", 0.1)):
        points = panel.locator("svg .tk-curve").first.get_attribute("d")[1:].split("L")
        xs, ys = np.array([[float(one) for one in point.split()] for point in points]).T
        curve = np.array(widget.record["schedules"][0][f"{name}_curve"]) / 1e6
        # the logarithm's slope and height, of the curve's own ends
        slope = (xs[100] - xs[0]) / np.log(curve[100] / curve[0])
        assert xs == pytest.approx(xs[0] + slope * np.log(curve / curve[0]), abs=0.1)
        assert ys == pytest.approx(ys[0] + (ys[100] - ys[0]) * np.arange(101) / 100, abs=0.1)
        line = panel.locator("svg .tk-limit").get_attribute("x1")
        assert float(line) == pytest.approx(xs[0] + slope * np.log(target / curve[0]), abs=0.1)
        mark = panel.locator("svg").first.locator(".tk-dot").get_attribute("transform")
        x, _ = map(float, re.findall(r"[\d.]+", mark))
        own = widget.record["schedules"][0][name][0] / 1e6
        assert x == pytest.approx(xs[0] + slope * np.log(own / curve[0]), abs=0.2)
    ends = page.locator(".tk-figures .tk-of").all_inner_texts()
    assert ends[-1] == "this schedule: ✕ target missed"
    slide(page, "request", 1)
    met = widget.record["schedules"][0]["met"]
    assert met[:3].count(True) < 3
    row = met.index(True)
    slide(page, "request", row)
    assert page.locator(".tk-figures .tk-of").last.inner_text() == "this schedule: targets met"


def reddish(pixel):
    """Whether a pixel is of the outline of what is wasted, be it blended with what is below."""
    red, green, blue = map(int, re.findall(r"\d+", pixel))
    return red > green + 60 > blue


def test_padding_is_hollow_and_named(publish, opened, rgb):
    trace = Trace(np.zeros(3), np.array([5, 90, 20]), np.array([4, 2, 6]), 8)

    class Second:
        stages = 1

        def seconds(self, work):
            return 0.5

    widget = Timeline(simulate(trace, Static(3), Second()))
    page = opened(publish(widget.html()))
    assert page.locator(".tk-key").inner_text().split("\n") == [
        "waiting", "prefill", "decode", "standing still", "padding",
    ]  # fmt: skip
    assert "padding tokens" in page.locator(".tk-now").inner_text()
    x = across(bars(page), widget.record["span"])
    bottom, most = BARS - 3, widget.record["most_tokens"]
    assert most == 3 * 90

    def y(tokens):
        return bottom - tokens / most * (bottom - TOP - 6)

    # 115 tokens of prompts in a rectangle of 270
    time, prefill = x(0.25e6), rgb(tokens()["prefill"][0])
    found = pixels(bars(page), [(time, y(60)), (time, y(190)), (x(0.6e6), y(190))])
    assert found[0] == prefill
    assert found[1] != prefill
    edge = [pixels(bars(page), [(time, y(270) + dy)])[0] for dy in (-1, -0.5, 0, 0.5)]
    assert len({*edge}) > 1

    # request 1 has ended at 1 s, and its row is computed until 3 s
    missed, decode = (rgb(tokens()[name][0]) for name in ("missed", "decode"))
    x = across(lanes(page), widget.record["span"])
    inside, after = (x(2.2e6), middle(1) + 3), (x(0.75e6), middle(1) + 3)
    assert pixels(lanes(page), [after]) == [decode]
    assert pixels(lanes(page), [inside])[0] not in (missed, decode)
    side = [(x(1e6) + dx, middle(1) + 3) for dx in (-1, -0.5, 0, 0.5)]
    ink = {pixel for pixel in pixels(lanes(page), side) if pixel}
    assert any(reddish(pixel) for pixel in ink), ink
    box = lanes(page).bounding_box()
    page.mouse.move(box["x"] + inside[0], box["y"] + inside[1])
    assert about(page) == (
        "Request 1 has ended; its row is computed for nothing from 1.000 to 3.000 s: 2 s."
    )


@pytest.fixture
def busy(served):
    """A schedule of 150 requests, most of them at once."""
    return served("vLLM v1", blocks=60, times=25)


def test_many_requests_scroll_and_the_chosen_one_is_in_sight(busy, publish, opened, label):
    widget = Timeline(busy)
    assert len(widget.record["requests"]) == 150
    page = opened(publish(widget.html()))
    scroll = page.locator(".tk-scroll")
    assert scroll.evaluate("node => node.scrollHeight > 2 * node.clientHeight")
    scroll.focus()
    slide(page, "request", 149)
    scroll.press("ArrowUp")
    top, tall = scroll.evaluate("node => [node.scrollTop, node.clientHeight]")
    assert top < TOP + 148 * 7 < top + tall
    assert label(page).find("Request 148.") > 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_and_accessibility(alive, publish, timeline, rgb, serious_faults, shot, theme):
    widget = Timeline(
        timeline.schedules, Targets(ttft=0.6, inter_token=0.2), budget={"Sarathi-Serve": 32}
    )
    page = alive(publish(widget.html()), reduced_motion="reduce")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    settled(page)
    assert serious_faults(page) == []
    shot(page, f"timeline-guess-{theme}", full_page=True)
    page.get_by_role("button", name="Skip", exact=True).click()
    slide(page, "iteration", 21)
    x = across(lanes(page), widget.record["span"])
    point = [(x(1_100_000), middle(4) + 8)]
    assert pixels(lanes(page), point) == [rgb(tokens()["prefill"][theme == "dark"])]
    assert serious_faults(page) == []
    shot(page, f"timeline-{theme}", full_page=True)
    page.get_by_role("button", name="Zoom in").click()
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    assert serious_faults(page) == []
    shot(page, f"timeline-zoomed-{theme}", full_page=True)
    page.get_by_role("button", name="All").click()
    page.evaluate("delete document.documentElement.dataset.theme")
    for scheme, color in zip(("light", "dark"), tokens()["prefill"], strict=True):
        page.emulate_media(color_scheme=scheme)
        settled(page)
        assert pixels(lanes(page), point) == [rgb(color)]


@pytest.mark.parametrize("width", [320, 360, 560, 820, 1200])
@pytest.mark.parametrize("many", [False, True])
def test_it_fits_every_width_and_no_words_overlap(
    publish, opened, boxes, apart, timeline, busy, shot, width, many
):
    widget = Timeline(busy, Targets(ttft=5)) if many else timeline
    page = opened(publish(widget.html()), width=width, reduced_motion="reduce")
    for zooms in (0, 3, 4):
        for _ in range(zooms):
            page.get_by_role("button", name="Zoom in").click()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        texts = boxes(page, ".tk-drawing svg text:not(:empty)")
        assert len(texts) > 8
        apart(texts, width)
    shot(page, f"timeline-{'many' if many else 'toy'}-{width}", full_page=True)
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function("document.querySelector('.tk-scroll canvas').clientWidth > 640")


def test_nothing_moves_by_itself(url, opened, looks):
    page = opened(url, reduced_motion="no-preference")
    forward = "$('.tk-steps button:nth-child(3)').click(); await new Promise(requestAnimationFrame)"
    assert looks(page, forward, "$('.tk-scroll canvas').toDataURL()") == 1


def test_words_of_another_language_need_no_code(publish, visit, timeline):
    named = dict(zip("AB", timeline.schedules.values(), strict=True))
    widget = Timeline(named, Targets(ttft=0.6), budget=200)
    widget.words = {name: f"<{name}>" for name in widget.words} | {"ttft": "首字"}
    page = visit(publish(widget.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_text("首字", exact=True).first.wait_for()
    for fold in page.locator("summary").all():
        fold.click()
    said = page.locator(".tk-widget").inner_text()
    assert not re.search(r"[A-Za-z]{3,}", re.sub(r"<\w+>", "", said)), said
