"""`Roofline` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import math
import re

import pytest

from toolkit.kernels.roofline import CARDS, Point, attainable, ridge
from toolkit.viz import Roofline, tokens
from toolkit.viz.text import GAP, percent, significant, sized

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODULE = "const js = await import('../_static/toolkit/roofline.js');"
DRAWN = ".tk-plot .tk-tick"
NAMES = list(CARDS)
POINTS = (
    Point("naive attention", 62e12, 1e12),
    Point("FlashAttention", 124e12, 1e12, 0.275, "H200 SXM"),
    Point("decoding, 1 query", 1e12, 1e12, 0.25, "H200 SXM"),
    Point("vector add", 1e9, 6e9, 1e-2, "T4"),
    Point("matmul, 8192", 2730e9, 1e9, 0.0035, "H200 SXM"),
)
SWEEP = {
    batch: [
        Point("fp16", 2 * batch * 4096**2, 2 * 4096**2 + 16384 * batch),
        Point("W4A16", 2 * batch * 4096**2, 4096**2 / 2 + 16384 * batch, 1e-4, "T4"),
    ]
    for batch in (1, 4, 16, 64, 256)
}
BY_INTENSITY = sorted(POINTS, key=lambda point: point.intensity)


@pytest.fixture
def roofline():
    return Roofline(POINTS)


@pytest.fixture
def url(roofline, publish):
    return publish(roofline.html())


def choose(page, card, point):
    page.get_by_role("combobox", name="card").select_option(label=card)
    page.get_by_role("radio", name=point).check()


def test_the_closed_forms_are_pythons(url, visit):
    cases = [(card, 10 ** (power / 4)) for card in CARDS.values() for power in range(-8, 16)]
    found = visit(url).evaluate(
        f"""async (cases) => {{ {MODULE}
            return cases.map((one) => js.attainable(...one));
        }}""",
        [(c.peaks["16-bit"], c.bandwidth, intensity) for c, intensity in cases],
    )
    assert found == [attainable(card, intensity) for card, intensity in cases]


def test_it_replaces_the_picture_which_stands_in_without_scripts_and_in_print(
    url, replaced_picture
):
    name = replaced_picture(url)
    assert name == "What holds a kernel back: memory or compute?"


def test_the_guess_comes_first_and_is_compared(url, alive, label, value):
    page = alive(url)
    asked = page.locator(".tk-ask").inner_text().replace(GAP, " ")
    assert asked == (
        "For each byte that it moves, naive attention does 62 FLOP. What share of the H200 SXM's "
        "peak, 989 TFLOP/s, can it reach at best?"
    )
    page.get_by_text("The same data as a table").click()
    for hidden in ("298", "30.1", "memory-bound: at best"):
        assert hidden not in page.locator(".tk-widget").inner_text()
        assert hidden not in label(page)
    assert page.locator(".tk-plot .tk-mark").count() == 0
    assert value(page, "at best") == "?"
    page.get_by_role("button", name=f"5 to 20{GAP}%", exact=True).click()
    told = page.locator(".tk-remark").inner_text().replace(GAP, " ")
    assert told == "You guessed 5 to 20 %; it is 30.1 %, 298 TFLOP/s of 989 TFLOP/s."
    assert page.evaluate("document.activeElement.type") == "radio"
    assert page.locator(".tk-plot .tk-point").count() == len(POINTS)
    page.keyboard.press("ArrowRight")
    assert page.locator(".tk-remark").inner_text() == ""
    assert "FlashAttention" in label(page)


def test_every_kernel_on_every_card_is_what_python_says(url, opened, label, value, roofline):
    page = opened(url)
    for at, card in enumerate(CARDS.values()):
        for number, point in enumerate(POINTS):
            choose(page, card.name, point.name)
            roofline.card, roofline.point = at, number
            best = attainable(card, point.intensity)
            assert label(page) == roofline.summary()
            assert value(page, "intensity") == significant(point.intensity)
            assert value(page, "at best") == sized(best, "FLOP/s")
            ran = sized(point.achieved, "FLOP/s") if point.card == card.name else "–"
            assert value(page, "measured") == ran
            heading = page.locator(".tk-heading").inner_text()
            bound = "memory" if point.intensity < ridge(card) else "compute"
            assert heading.startswith(f"On the {card.name}, {point.name} is {bound}-bound")
        assert card.source in page.locator(".tk-caption").inner_text()
    page.get_by_role("status").get_by_text(roofline.summary()).wait_for(state="attached")


def middle(box):
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


def scale(page):
    """Pixels of a factor of ten, along and up, and where 1 FLOP a byte and 1 TFLOP/s are."""
    ticks = page.locator(".tk-plot .tk-tick").evaluate_all(
        """ticks => ticks.map((tick) => { const b = tick.getBoundingClientRect();
            return [tick.textContent, (b.left + b.right) / 2, (b.top + b.bottom) / 2]; })"""
    )
    at = {text.replace(GAP, " "): (x, y) for text, x, y in ticks}
    along, up = at["100"][0] - at["10"][0], at["10 T"][1] - at["100 T"][1]
    return along, up, at["1"][0], at["1 T"][1]


def test_kernels_stand_where_they_ran_or_could_be(url, opened, boxes):
    page = opened(url, reduced_motion="reduce")
    for card in ("H200 SXM", "T4"):
        choose(page, card, "vector add")
        along, up, one, tera = scale(page)
        for number, point in enumerate(POINTS):
            x, y = middle(boxes(page, f'[data-point="{number}"] .tk-target')[0])
            speed = point.achieved
            if point.card != card:
                speed = attainable(CARDS[card], point.intensity)
            assert x == pytest.approx(one + along * math.log10(point.intensity), abs=1)
            assert y == pytest.approx(tera - up * math.log10(speed / 1e12), abs=1.5)
            is_open = page.locator(f'[data-point="{number}"] .tk-mark').last.get_attribute("class")
            assert ("tk-open" in is_open) == (point.card != card)
        bend = page.locator(".tk-ridge").bounding_box()["x"]
        assert bend == pytest.approx(one + along * math.log10(ridge(CARDS[card])), abs=1.5)
    assert page.locator(".tk-card").count() == len(CARDS) - 1


def test_arrow_keys_choose_the_kernel_and_the_card(url, opened, label, roofline):
    page = opened(url)
    page.locator(".tk-plot").focus()
    seen = []
    for key in ["ArrowRight"] * 3 + ["ArrowLeft"] * 5:
        page.keyboard.press(key)
        seen.append(page.locator(".tk-kernels label:has(:checked)").inner_text())
    names = [point.name for point in BY_INTENSITY]
    assert seen == [names[at] for at in (3, 4, 4, 3, 2, 1, 0, 0)]
    for _ in range(6):
        page.keyboard.press("ArrowDown")
    roofline.card, roofline.point = 4, 3
    assert label(page) == roofline.summary()
    page.keyboard.press("ArrowUp")
    assert page.get_by_role("combobox").input_value() == "3"
    assert page.evaluate("document.activeElement.className") == "tk-plot"


def test_a_link_holds_the_choice_and_bends_what_can_not_be(roofline, publish, alive, opened, label):
    url = publish(roofline.html())
    page = opened(url)
    choose(page, "A100 80GB SXM", "decoding, 1 query")
    page.wait_for_url(f"**#{roofline.id}.card=2&point=2")
    again = alive(page.url)
    assert label(again) == label(page)
    assert again.get_by_role("combobox").input_value() == "2"
    wrong = alive(f"{url}#{roofline.id}.card=99&point=-3")
    assert "On the T4, naive attention" in label(wrong)
    wrong.wait_for_url(f"**#{roofline.id}.card=4")


def test_hover_says_the_exact_values_and_a_click_chooses(url, opened, label, boxes, roofline):
    page = opened(url, reduced_motion="reduce")
    page.locator('[data-point="1"] .tk-mark').last.hover()
    told = page.locator(".tk-caption").inner_text().replace(GAP, " ")
    assert told == (
        "FlashAttention: 124 TFLOP for 1 TB moved, 124 FLOP a byte. Memory-bound. At best "
        "595 TFLOP/s, 60.2 % of the peak. Measured: 451 TFLOP/s, 75.8 % of that."
    )
    assert page.locator(".tk-over").count() == 1
    page.locator('[data-point="1"] .tk-mark').last.click()
    roofline.point = 1
    assert label(page) == roofline.summary()

    edge = page.locator(".tk-plot > svg").bounding_box()
    roof = boxes(page, '[data-card="4"] .tk-thin')[0]
    page.mouse.move(edge["x"] + edge["width"] - 20, roof[1])
    told = page.locator(".tk-caption").inner_text().replace(GAP, " ")
    assert told.startswith("T4: 65 TFLOP/s and 320 GB/s, so the ridge is at 203 FLOP a byte.")
    page.mouse.click(edge["x"] + edge["width"] - 20, roof[1])
    assert page.get_by_role("combobox").input_value() == "4"
    page.locator(".tk-title").hover()
    assert page.locator(".tk-over").count() == 0


def test_the_table_gives_the_same_data(url, opened, table):
    page = opened(url)
    cells = table(page)
    assert cells[0] == [
        "kernel", "FLOP", "moved", "FLOP a byte", "limit", "at best", "of the peak", "measured",
    ]  # fmt: skip
    card = CARDS["H200 SXM"]
    for row, point in zip(cells[1:], BY_INTENSITY, strict=True):
        best = attainable(card, point.intensity)
        assert row == [
            point.name, sized(point.flops, "FLOP"), sized(point.bytes, "B"),
            significant(point.intensity),
            "memory-bound" if point.intensity < ridge(card) else "compute-bound",
            sized(best, "FLOP/s"), percent(best / card.peaks["16-bit"]),
            sized(point.achieved, "FLOP/s") if point.card == card.name else "–",
        ]  # fmt: skip


def test_a_slider_moves_the_kernels_of_a_sweep(publish, alive, opened, label, boxes, value, shot):
    widget = Roofline(POINTS[:1], sweep=SWEEP)
    url = publish(widget.html())
    page = opened(url, reduced_motion="reduce")
    ticks = page.locator(".tk-plot .tk-tick").all_text_contents()
    assert page.locator(".tk-plot .tk-swept").count() == 2 * len(SWEEP)
    for at, (batch, points) in enumerate(SWEEP.items()):
        page.get_by_role("slider", name="batch").fill(str(at))
        assert page.locator(".tk-range output").inner_text() == str(batch)
        for number, point in enumerate(points, start=1):
            choose(page, "T4", point.name)
            widget.card, widget.batch, widget.point = 4, batch, number
            assert label(page) == widget.summary()
            assert f"{point.name} at batch {batch} is" in page.locator(".tk-heading").inner_text()
            assert value(page, "intensity") == significant(point.intensity)
            along, up, one, tera = scale(page)
            x, y = middle(boxes(page, f'[data-point="{number}"] .tk-target')[0])
            speed = point.achieved or attainable(CARDS["T4"], point.intensity)
            assert x == pytest.approx(one + along * math.log10(point.intensity), abs=1)
            assert y == pytest.approx(tera - up * math.log10(speed / 1e12), abs=1.5)
        assert page.locator(".tk-plot .tk-tick").all_text_contents() == ticks
        shot(page, f"roofline-batch-{batch}", full_page=True)
    page.wait_for_url("**card=4&point=2&batch=256")
    assert label(alive(page.url)) == label(page)
    wrong = alive(f"{url}#{widget.id}.batch=20&point=1")
    assert "fp16 at batch 16 is" in label(wrong)
    wrong.wait_for_url(f"**#{widget.id}.point=1&batch=16")


def test_without_a_sweep_there_is_no_slider(url, opened):
    page = opened(url)
    assert not page.get_by_text("at other batches").count()
    assert page.get_by_role("slider").count() == page.locator(".tk-swept").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_and_accessibility(url, alive, rgb, serious_faults, shot, theme):
    page = alive(url, reduced_motion="reduce")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    assert serious_faults(page) == []
    shot(page, f"roofline-ask-{theme}", full_page=True)
    page.get_by_role("button", name="all of it", exact=True).click()
    paint = "getComputedStyle(document.querySelector('.tk-roof')).stroke"
    assert page.evaluate(paint) == rgb(tokens()["limit"][theme == "dark"])
    shot(page, f"roofline-{theme}", full_page=True)
    choose(page, "RTX 4090", "FlashAttention")
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    assert serious_faults(page) == []
    shot(page, f"roofline-4090-{theme}", full_page=True)
    page.evaluate("delete document.documentElement.dataset.theme")
    for scheme, color in zip(("light", "dark"), tokens()["limit"], strict=True):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(paint) == rgb(color)


@pytest.mark.parametrize("width", [320, 360, 820, 1200])
def test_it_fits_every_width_and_no_words_overlap(url, opened, boxes, apart, shot, width):
    page = opened(url, width=width, reduced_motion="reduce")
    for card in NAMES:
        for point in POINTS:
            choose(page, card, point.name)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            apart(boxes(page, ".tk-drawing svg text:not(:empty)"), width, down=3)
            for left, _, right, _ in boxes(page, ".tk-mark"):
                assert 0 <= left < right <= width
            written = page.locator(".tk-now .tk-name").all_text_contents()
            assert written == [point.name]
            assert page.locator(".tk-own").count() == 1
    shot(page, f"roofline-{width}", full_page=True)
    page.set_viewport_size({"width": 600, "height": 900})
    page.wait_for_function("document.querySelector('.tk-plot > svg').clientWidth > 500")


def test_nothing_moves_for_readers_who_want_no_motion(url, opened, looks):
    act = "$('select').value = 4; $('select').dispatchEvent(new Event('change'))"
    look = "$('.tk-plot .tk-roof').getAttribute('d')"
    assert looks(opened(url, reduced_motion="reduce"), act, look) == 1
    assert looks(opened(url, reduced_motion="no-preference"), act, look) > 2


def test_words_of_another_language_need_no_code(roofline, publish, visit):
    roofline.words = {name: f"<{name}>" for name in roofline.words} | {"best": "最多"}
    page = visit(publish(roofline.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_text("最多", exact=True).wait_for()
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    said = page.locator(".tk-widget").inner_text()
    known = re.compile(
        r"<\w+>|[GTP]?FLOP(/s)?|SXM|RTX|"
        + "|".join(re.escape(one) for one in [*NAMES, *(point.name for point in POINTS)])
    )
    assert not re.search(r"[A-Za-z]{3,}", known.sub("", said)), said
