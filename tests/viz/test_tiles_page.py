"""`Tiles` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from toolkit.kernels.trace.record import Access, KernelTrace, TracedTensor
from toolkit.viz import Tiles, tokens
from toolkit.viz.text import GAP, significant, sized
from toolkit.viz.tiles_picture import tile_name

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODULE = "const js = await import('../_static/toolkit/tiles.js');"
DRAWN = ".tk-hbm > svg .tk-frame"


@pytest.fixture
def url(tiles, publish):
    return publish(tiles.html())


def slide(page, name, value):
    page.get_by_role("slider", name=name).fill(str(value))


def at(page):
    """Which access the page shows, from 0."""
    return int(page.get_by_role("slider", name="step").input_value())


def now(page):
    return page.locator(".tk-now").inner_text().replace(GAP, " ").strip()


def random_trace(seed):
    """Loads, stores and dots of three programs by a few lines, of two tensors, some masked off."""
    rng = np.random.default_rng(seed)
    accesses = []
    for program in range(3):
        for step in range(int(rng.integers(1, 25))):
            kind = ("load", "load", "load", "store", "dot")[rng.integers(5)]
            tensor = "" if kind == "dot" else "ab"[rng.integers(2)]
            start = int(rng.integers(0, 48))
            tile = ((start, start + 16),) if kind != "dot" and rng.random() < 0.8 else ()
            size = 64 if tile else 0
            accesses.append(
                Access((0, program, 0), step, kind, tensor, tile, (16, 16, 16), len(tile) * 16,
                       size, 8192 if kind == "dot" else 0, int(rng.integers(1, 5)))
            )  # fmt: skip
    tensors = tuple(TracedTensor(name, (64,), "float32", 4) for name in "ab")
    return KernelTrace("kernel", "", 1, (1, 3, 1), tensors, tuple(accesses), (), 0)


def test_the_closed_forms_are_pythons(url, visit):
    widgets = [Tiles(random_trace(seed)) for seed in range(12)]
    columns = [
        {name: widget.record[name] for name in ("program", "kind", "tensor", "line", "box")}
        for widget in widgets
    ]
    names = [
        ["t", [4, 256, 64], [1, 2, 64, 128, 0, 64]],
        ["t", [9], [0, 8]],
        ["t", [9], [8, 9]],
        ["scale", [], []],
    ]
    held, named = visit(url).evaluate(
        f"""async ([columns, names]) => {{ {MODULE}
            return [columns.map((one) => one.kind.map((_, at) => js.held(one, at))),
                    names.map(([...all]) => js.tileName(...all))];
        }}""",
        [columns, names],
    )
    for widget, found in zip(widgets, held, strict=True):
        for step, events in enumerate(found):
            widget.step = step
            assert [widget.trace.accesses[event] for event in events] == widget.held()
    assert named == [
        tile_name(name, shape, tuple(zip(box[::2], box[1::2], strict=True)))
        for name, shape, box in names
    ]


def test_it_replaces_the_picture_which_stands_in_without_scripts_and_in_print(
    url, replaced_picture
):
    name = replaced_picture(url)
    assert name == "What does a kernel move, and what does it keep on chip?"


def test_the_guess_comes_first_and_is_compared(url, alive, label):
    page = alive(url)
    assert page.locator(".tk-ask").inner_text().replace(GAP, " ") == (
        "K has 65.5 kB, and the run has 4 programs. How many times over do they read K from HBM, "
        "all together?"
    )
    choices = page.locator(".tk-controls button").all_text_contents()
    assert choices == ["once", "2.5 times", "4 times", "5 times", "Skip"]
    page.get_by_text("The same data as a table").click()
    for hidden in ("164", "460", "10.5"):
        assert hidden not in page.locator(".tk-drawing").inner_text()
        assert hidden not in page.locator(".tk-readout").inner_text()
        assert hidden not in label(page)
    assert not page.locator(".tk-visits").is_visible()
    assert page.locator("details tbody tr").count() == 0
    page.locator(".tk-hbm").focus()
    page.keyboard.press("ArrowRight")
    assert "step 1 of 7" in now(page)
    page.get_by_role("button", name="4 times", exact=True).click()
    told = page.locator(".tk-remark").inner_text().replace(GAP, " ")
    assert told == "You guessed 4 times; K is read 2.5 times: 164 kB of loads for 65.5 kB."
    assert page.evaluate("document.activeElement.type") == "range"
    assert page.locator(".tk-visits").is_visible()
    page.get_by_role("button", name="Forward").click()
    assert page.locator(".tk-remark").inner_text() == ""

    again = alive(url)
    again.get_by_role("button", name="2.5 times", exact=True).click()
    told = again.locator(".tk-remark").inner_text().replace(GAP, " ")
    assert told == "Right, K is read 2.5 times: 164 kB of loads for 65.5 kB."


def test_every_step_shows_what_python_says(url, opened, label, value, tiles, flash):
    page = opened(url)
    trace = flash()
    lines = trace.source.splitlines()
    moved = computed = 0
    for step, access in enumerate(trace.accesses):
        slide(page, "step", step)
        tiles.step = step
        moved, computed = moved + access.bytes, computed + access.flops
        assert label(page) == tiles.summary()
        assert value(page, "program") == str(access.program)
        assert value(page, "bytes so far") == sized(moved)
        assert value(page, "FLOPs so far") == significant(computed)
        assert value(page, "arithmetic intensity") == significant(computed / moved)
        code = page.locator(".tk-line code").inner_text()
        assert code == lines[access.line - trace.first_line].strip()
        held = page.locator(".tk-slot:not(.tk-free) code").all_text_contents()
        assert held == [tiles._tile(one) for one in tiles.held()]
        dot = page.locator(".tk-dot").inner_text()
        assert ("64 × 64 × 64" in dot) == (access.kind == "dot")
    page.get_by_role("status").get_by_text(tiles.summary()).wait_for(state="attached")


def shown(page, tensor):
    """Per look, the rows of a tensor's tiles in eighths of its height."""
    return page.locator(f"[data-tensor='{tensor}']").evaluate(
        """group => {
            const all = group.querySelector(".tk-frame").height.baseVal.value;
            const of = (...sizes) => sizes.map((size) => Math.round((8 * size) / all));
            const rects = (name) => [...group.querySelectorAll(name)].map(
                (rect) => of(rect.y.baseVal.value, rect.height.baseVal.value));
            const path = (name) => [...(group.querySelector(name).getAttribute("d") ?? "")
                .matchAll(/M\\S+ (\\S+)h\\S+v(\\S+)h/g)].map((m) => of(+m[1], +m[2])).sort();
            return {now: rects(".tk-is-load, .tk-is-store"), held: rects(".tk-is-held"),
                    loaded: path(".tk-loaded"), stored: path(".tk-stored")};
        }"""
    )


def test_tiles_are_drawn_as_they_were_touched(url, opened, boxes):
    page = opened(url)
    slide(page, "step", 21)  # program 2 loads its second k
    assert "loads V[0:64, :]" in now(page)
    assert shown(page, 0) == {
        "now": [], "held": [[4, 2]], "loaded": [[0, 2], [2, 2], [4, 2]], "stored": [],
    }  # fmt: skip
    assert shown(page, 1)["held"] == [[0, 2]]
    assert shown(page, 2) == {
        "now": [[0, 2]], "held": [], "loaded": [[0, 2], [2, 2]], "stored": [],
    }  # fmt: skip
    assert shown(page, 3)["stored"] == shown(page, 4)["stored"] == [[0, 2], [2, 2]]
    slide(page, "step", 51)
    assert shown(page, 4)["now"] == [[6, 2]]
    assert page.locator(".tk-deed").all_text_contents() == ["store"]
    widths = [right - left for left, _, right, _ in boxes(page, ".tk-frame")]
    heights = [bottom - top for _, top, _, bottom in boxes(page, ".tk-frame")]
    assert widths[:4] == pytest.approx([heights[0] / 4] * 4, abs=1)
    assert heights == pytest.approx([heights[0]] * 5)


def test_dimensions_before_the_last_two_follow_the_program(flash, publish, opened):
    trace = flash(heads=2)
    page = opened(publish(Tiles(trace).html()))
    names = page.locator(".tk-name")
    assert names.all_text_contents() == ["Q[0]", "K[0]", "V[0]", "O[0]", "L"]
    slide(page, "program", 3)
    assert "Program (1, 1, 0)" in now(page)
    assert names.all_text_contents() == ["Q[1]", "K[1]", "V[1]", "O[1]", "L"]
    slide(page, "step", len(trace.accesses) - 1)
    assert shown(page, 1)["loaded"] == [[0, 2], [2, 2], [4, 2], [6, 2]]
    ticks = page.locator(".tk-scroll .tk-tick").all_text_contents()
    assert ticks[2:] == ["0, 1", "1, 1", "2, 1", "3, 1", "0", "64", "128", "192"]


def cells(page, name):
    """Column and row of the map's cells in a state."""
    return page.locator(f".tk-scroll path.tk-{name}").evaluate(
        """path => {
            const area = document.querySelector(".tk-scroll .tk-skipped");
            const [x, y] = [area.x.baseVal.value, area.y.baseVal.value];
            return [...path.getAttribute("d").matchAll(/M(\\S+) (\\S+)h(\\S+)v(\\S+)h/g)].map(
                (m) => [Math.round((m[1] - x) / m[3]), Math.round((m[2] - y) / m[4])]);
        }"""
    )


def test_the_map_shows_who_visits_and_what_is_skipped(url, opened, boxes):
    page = opened(url)
    assert (len(cells(page, "done")), len(cells(page, "ahead"))) == (0, 10)
    slide(page, "program", 2)
    done, ahead = cells(page, "done"), cells(page, "ahead")
    assert sorted(done) == [[0, 0], [0, 1], [1, 1]]
    assert sorted(done + ahead) == [[key, query] for key in range(4) for query in range(key, 4)]

    area = page.locator(".tk-scroll .tk-skipped").bounding_box()
    wide, tall = area["width"] / 4, area["height"] / 4
    middle = {"x": area["x"] + 1.5 * wide, "y": area["y"] + 2.5 * tall}
    page.mouse.move(middle["x"] + 2 * wide, middle["y"])
    about = page.locator(".tk-about")
    assert about.inner_text() == "Program (2, 0, 0) never touches K[192:256, :]."
    page.mouse.move(**middle)
    expected = f"Program (2, 0, 0), step 6: loads K[64:128, :], 16.4{GAP}kB."
    assert about.inner_text() == expected
    (tile,) = boxes(page, "[data-tensor='1'] .tk-over")
    (frame,) = boxes(page, "[data-tensor='1'] .tk-frame")
    quarter = (frame[3] - frame[1]) / 4
    assert tile[1::2] == pytest.approx([frame[1] + quarter, frame[1] + 2 * quarter], abs=2)
    page.mouse.click(**middle)
    assert "step 6 of 15: loads K[64:128, :]" in now(page)
    assert page.locator(".tk-scroll .tk-is-load").count() == 1
    page.mouse.click(middle["x"] + wide * 2, middle["y"] - 2 * tall)  # a skipped cell: the program
    assert now(page).startswith("Program (0, 0, 0), step 1 of 7")

    page.get_by_role("combobox", name="Who visits").select_option(label="Q")
    slide(page, "step", 51)
    assert sorted(cells(page, "done")) == [[row, row] for row in range(4)]
    page.locator("[data-tensor='3'] .tk-name").click()
    assert page.get_by_role("combobox").input_value() == "3"
    assert sorted(cells(page, "wrote")) == [[row, row] for row in range(4)]
    assert cells(page, "done") == []
    page.locator("[data-tensor='1'] .tk-name").hover()
    told = page.locator(".tk-about").inner_text().replace(GAP, " ")
    assert told == "K, 256 × 64, 65.5 kB: 164 kB read and 0 B written so far."


def test_arrow_keys_step_and_choose_the_program(url, opened):
    page = opened(url)
    for place in (".tk-hbm", ".tk-scroll"):
        slide(page, "step", 0)
        page.locator(place).focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        assert at(page) == 2
        page.keyboard.press("ArrowDown")
        assert (at(page), now(page)[:17]) == (7, "Program (1, 0, 0)")
        for _ in range(9):
            page.keyboard.press("ArrowDown")
        assert now(page).startswith("Program (3, 0, 0), step 1 of 19")
        page.keyboard.press("ArrowUp")
        assert now(page).startswith("Program (2, 0, 0), step 1 of 15")
        assert page.evaluate("document.activeElement.className") == place[1:]
    slide(page, "step", 0)
    assert page.get_by_role("button", name="Back").is_disabled()
    page.get_by_role("button", name="Forward").click()
    assert at(page) == 1


def test_it_plays_to_the_end_and_from_there_anew(publish, opened, plays, flash):
    page = opened(publish(Tiles(flash(seq=128)).html()))
    plays(page, at, last=17)


def test_a_link_holds_the_step_and_bends_what_can_not_be(tiles, publish, alive, opened, label):
    url = publish(tiles.html())
    page = opened(url)
    slide(page, "step", 12)
    page.get_by_role("combobox", name="Who visits").select_option(label="V")
    page.wait_for_url(f"**#{tiles.id}.step=12&tensor=2")
    again = alive(page.url)
    assert label(again) == label(page)
    assert again.get_by_role("combobox").input_value() == "2"
    wrong = alive(f"{url}#{tiles.id}.step=999&tensor=-3&x=1")
    assert at(wrong) == 51
    wrong.wait_for_url(f"**#{tiles.id}.step=51&tensor=0")


def test_problems_are_marked_and_lead_to_their_access(publish, alive, label, boxes, flash):
    page = alive(publish(Tiles(flash(faulty=True)).html()))
    leads = page.locator(".tk-problems button")
    told = leads.all_text_contents()
    assert told[0].startswith("✕ race line 51: programs (0, 0, 0) and (1, 0, 0) both access L[64]")
    assert told[1].startswith("✕ out of bounds line 45: 512 elements outside K")
    assert page.locator("[data-tensor] .tk-fault").all_text_contents() == [
        "✕ out of bounds", "✕ race",
    ]  # fmt: skip
    leads.nth(0).click()
    assert now(page).startswith("Program (1, 0, 0), step 11 of 11: stores L[64:128], 256 B.")
    assert page.locator(".tk-badge").inner_text() == "✕ race"
    assert leads.nth(0).get_attribute("aria-current") == "true"
    assert page.get_by_role("combobox").input_value() == "4"
    assert page.evaluate("document.activeElement.parentNode.tagName") == "LI"
    (left, top, right, bottom), *_ = boxes(page, "[data-tensor='4'] .tk-cross")
    frame = page.locator("[data-tensor='4'] .tk-frame").bounding_box()
    assert (left + right) / 2 == pytest.approx(frame["x"] + frame["width"] / 2, abs=1)
    assert (top + bottom) / 2 == pytest.approx(frame["y"] + frame["height"] / 4, abs=2)
    leads.nth(1).click()
    assert now(page).startswith("Program (3, 0, 0), step 2 of 19: loads K[0:64, :]")
    assert label(page).endswith("Problems found: 2.")


def test_the_table_gives_the_same_data(url, opened, table, flash):
    page = opened(url)
    found = table(page)
    assert found[0] == ["program", "step", "does", "tile, or M × N × K", "bytes", "FLOPs", "line"]
    trace = flash()
    shapes = {tensor.name: tensor.shape for tensor in trace.tensors}
    for row, one in zip(found[1:], trace.accesses, strict=True):
        dot = one.kind == "dot"
        tile = "64 × 64 × 64" if dot else tile_name(one.tensor, shapes[one.tensor], one.tile)
        assert row == [
            str(one.program), str(one.step + 1), one.kind, tile,
            f"{one.bytes:,}", f"{one.flops:,}", str(one.line),
        ]  # fmt: skip


def test_a_long_run_is_quick_and_its_table_says_where_it_stops(publish, opened, flash):
    trace = flash(seq=64 * 36, dim=16)
    assert 2500 < len(trace.accesses) < 4000
    page = opened(publish(Tiles(trace).html()))
    page.get_by_text("The same data as a table").click()
    last = page.locator("details tbody tr").last
    assert last.inner_text().strip() == f"the first 500 of {len(trace.accesses):,} accesses"
    slide(page, "step", len(trace.accesses) - 1)
    assert len(cells(page, "done")) == 36 * 37 / 2
    assert page.locator(".tk-drawing svg *").count() < 400


def test_a_kernel_without_dots_and_one_with_masked_loads(publish, opened, label, value):
    widget = Tiles(replace(random_trace(3), vector_flops=12_000))
    assert not widget.revealed
    page = opened(publish(widget.html()))
    for step, access in enumerate(widget.trace.accesses):
        slide(page, "step", step)
        widget.step = step
        assert label(page) == widget.summary()
        if access.kind != "dot" and not access.elements:
            assert "nothing of" in now(page)
    without = [one for one in widget.trace.accesses if one.kind != "dot"]
    plain = Tiles(replace(widget.trace, accesses=tuple(without)))
    page = opened(publish(plain.html(), "plain"))
    assert value(page, "FLOPs") == f"12{GAP}k"
    assert value(page, "arithmetic intensity") == significant(plain.trace.intensity)
    assert page.locator(".tk-dot").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_and_accessibility(alive, publish, flash, rgb, serious_faults, shot, theme):
    page = alive(publish(Tiles(flash(faulty=True)).html()), reduced_motion="reduce")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    assert serious_faults(page) == []
    shot(page, f"tiles-guess-{theme}", full_page=True)
    page.get_by_role("button", name="Skip", exact=True).click()
    paint = "getComputedStyle(document.querySelector('.tk-hbm .tk-is-load')).fill"
    assert page.evaluate(paint) == rgb(tokens()["prefill"][theme == "dark"])
    slide(page, "step", 21)
    shot(page, f"tiles-load-{theme}", full_page=True)
    slide(page, "step", 24)
    assert serious_faults(page) == []
    shot(page, f"tiles-dot-{theme}", full_page=True)
    page.locator(".tk-problems button").first.click()
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    assert serious_faults(page) == []
    shot(page, f"tiles-race-{theme}", full_page=True)
    slide(page, "step", 0)
    page.evaluate("delete document.documentElement.dataset.theme")
    for scheme, color in zip(("light", "dark"), tokens()["prefill"], strict=True):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(paint) == rgb(color)


@pytest.mark.parametrize("width", [320, 360, 560, 820, 1200])
@pytest.mark.parametrize("heads", [1, 2])
def test_it_fits_every_width_and_no_words_overlap(
    publish, opened, boxes, apart, flash, shot, width, heads
):
    widget = Tiles(flash(heads=heads, faulty=heads == 1))
    page = opened(publish(widget.html()), width=width, reduced_motion="reduce")
    for step in (0, 4, 5, 24, 51):
        slide(page, "step", step)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        apart(boxes(page, ".tk-run svg text:not(:empty)"), width)
        room = page.locator(".tk-hbm").bounding_box()
        for left, top, right, bottom in boxes(page, ".tk-frame"):
            assert room["x"] <= left < right <= room["x"] + room["width"]
            assert room["y"] <= top < bottom <= room["y"] + room["height"]
    shot(page, f"tiles-{heads}-{width}", full_page=True)
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function("document.querySelector('.tk-hbm > svg').clientWidth > 560")


def test_a_vector_and_a_matrix_are_drawn_to_scale(publish, alive, boxes):
    tensors = (
        TracedTensor("x", (4096,), "float32", 4),
        TracedTensor("w", (32, 1024), "float32", 4),
    )
    loads = (
        Access((0, 0, 0), 0, "load", "x", ((1024, 2048),), (1024,), 1024, 4096, 0, 1),
        Access((0, 0, 0), 1, "load", "w", ((0, 32), (512, 1024)), (), 1, 65536, 0, 2),
    )
    trace = KernelTrace("kernel", "", 1, (1, 1, 1), tensors, loads, (), 0)
    page = alive(publish(Tiles(trace).html()))
    (x0, top, x1, _), (w0, under, w1, _) = boxes(page, ".tk-frame")
    assert (x0, x1 - x0) == pytest.approx((w0, 4 * (w1 - w0)), abs=1)
    assert under > top
    (left, _, right, _), *_ = boxes(page, "[data-tensor='0'] .tk-is-load")
    assert (left - x0, right - x0) == pytest.approx(((x1 - x0) / 4, (x1 - x0) / 2), abs=2)


def test_nothing_moves_by_itself(url, opened, looks):
    page = opened(url, reduced_motion="no-preference")
    forward = "$('.tk-steps button:nth-child(3)').click()"
    assert looks(page, forward, "$('.tk-hbm > svg').innerHTML") == 1


def test_words_of_another_language_need_no_code(publish, visit, flash):
    widget = Tiles(flash(faulty=True))
    widget.words = {name: f"<{name}>" for name in widget.words} | {"bytes": "字节"}
    page = visit(publish(widget.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_text("字节", exact=True).wait_for()
    for fold in page.locator("summary").all():
        fold.click()
    for text in page.locator(".tk-problems button").all():
        text.evaluate("node => node.lastChild.remove()")  # the record's own sentence
    for text in page.locator(".tk-line code").all():
        text.evaluate("node => node.remove()")
    said = page.locator(".tk-widget").inner_text()
    known = re.compile(r"<\w+>|tl\.dot")
    assert not re.search(r"[A-Za-z]{3,}", known.sub("", said)), said
