"""`Bits` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import torch

from toolkit.kernels.quant_gemm.rounding import nf4, round_to_nearest, roundings
from toolkit.viz import Bits, tokens
from toolkit.viz.bits import LAYOUTS, METHODS, word
from toolkit.viz.text import percent, significant

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODULE = "const js = await import('../_static/toolkit/bits.js');"
DRAWN = ".tk-weights circle"
LABELS = ("nearest level, symmetric", "nearest level, asymmetric", "NF4")
SOURCE = "the rows 0 to 15 of a layer"


def toy_weight() -> torch.Tensor:
    weight = 0.05 * torch.randn(16, 128, generator=torch.Generator().manual_seed(5))
    weight[0, 16] = 0.31
    return weight


@pytest.fixture
def bits():
    return Bits(toy_weight(), roundings(toy_weight()), SOURCE)


@pytest.fixture
def url(bits, publish):
    return publish(bits.html())


def choose(page, method=None, depth=None, group=None, layout=None):
    if method is not None:
        page.get_by_role("combobox", name="method").select_option(label=LABELS[method])
    if depth is not None:
        page.get_by_role("slider", name="bits").fill(str(depth))
    if group is not None:
        page.get_by_role("radio", name=str(group), exact=True).check()
    if layout is not None:
        page.get_by_role("radio", name={"awq": "AWQ"}.get(layout, layout)).check()


def cells(page, selector):
    """Output and input of every marked code."""
    found = page.locator(selector).evaluate_all("nodes => nodes.map((n) => n.dataset.cell)")
    return [tuple(map(int, one.split())) for one in found]


def test_the_closed_forms_are_pythons(bits, url, visit):
    places = [(n, k) for n in (0, 3, 8, 15) for k in range(0, 128, 3)]
    layouts = (*LAYOUTS, "bitsandbytes")
    choices = [(0, 2, 32), (1, 4, 64), (2, 4, 128), (1, 8, 32)]
    levels, grids = [], []
    for bits.method, bits.bits, bits.group in choices:
        nf = bits.record["codebook"] if METHODS[bits.method] == "nf4" else None
        grids.append(bits.stored | {"codebook": nf, "bits": bits.bits})
        levels.append(bits.levels(0))
    found = visit(url).evaluate(
        f"""async ([layouts, places, grids]) => {{ {MODULE}
            return [layouts.map((one) => places.map(([n, k]) => js.word(one, n, k))),
                grids.map((grid) => Array.from({{ length: 2 ** grid.bits }}, (_, code) =>
                    js.level(grid, 0, code)))];
        }}""",
        [layouts, places, grids],
    )
    expected = [[[list(cell) for cell in word(one, *at)] for at in places] for one in layouts]
    assert found[0] == expected
    assert [[float(value) for value in row] for row in found[1]] == levels


def test_addresses_are_where_the_library_packs(url, visit):
    from toolkit.kernels.quant_gemm.packing import pack
    from toolkit.kernels.quant_gemm.record import QuantizedWeight

    places = [(0, 0), (5, 9), (8, 16), (15, 127), (2, 77)]
    found = visit(url).evaluate(
        f"""async ([layouts, places]) => {{ {MODULE}
            return layouts.map((one) => places.map(([n, k]) => js.address(one, n, k)));
        }}""",
        [LAYOUTS, places],
    )
    for layout, addresses in zip(LAYOUTS, found, strict=True):
        for (n, k), address in zip(places, addresses, strict=True):
            codes = torch.zeros(256, 128, dtype=torch.uint8)
            codes[n, k] = 1
            zeros = None if layout == "marlin" else torch.zeros(256, 1, dtype=torch.uint8)
            weight = QuantizedWeight(codes, torch.ones(256, 1), zeros, None, 128, None)
            packed = pack(weight, {"gptq": "gptq_v2"}.get(layout, layout)).qweight
            assert address == f"qweight{packed.nonzero()[0].tolist()}"


def test_it_replaces_the_picture_which_stands_in_without_scripts_and_in_print(
    url, alive, replaced_picture
):
    name = replaced_picture(url)
    assert name == "What is left of a weight in four bits?"
    assert alive(url).get_by_text(f"Weights: {SOURCE}.", exact=True).is_visible()


def test_the_guess_comes_first_and_is_compared(bits, url, alive, label, value):
    page = alive(url)
    coarse = bits.stored["error"]
    asked = page.locator(".tk-ask").inner_text()
    assert asked.startswith("The 128 weights below are stored in 4 bits with one scale for all")
    assert f"the error is {percent(coarse)} of the weights. If each 32 had" in asked
    assert value(page, "error") == percent(coarse)
    bits.group = 32
    fine = bits.stored["error"]
    assert percent(fine) not in page.locator(".tk-widget").inner_text()
    page.get_by_role("slider", name="your guess").fill("30")
    page.get_by_role("button", name="Compare", exact=True).click()
    assert page.locator(".tk-remark").inner_text() == (
        f"You guessed {percent(0.3)}; {percent(fine / coarse)} is left: an error of "
        f"{percent(fine)} instead of {percent(coarse)}, for 0.375 more bits a weight."
    )
    assert value(page, "error") == percent(fine)
    assert label(page).endswith(f" {bits.summary()}")
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    choose(page, depth=5)
    assert page.locator(".tk-remark").inner_text() == ""


def test_every_choice_shows_what_python_says(bits, url, opened, label, value):
    page = opened(url)
    for method, depth in ((0, 2), (0, 4), (1, 4), (1, 8), (2, 4)):
        for group in (32, 64, 128):
            bits.method, bits.bits, bits.group = method, depth, group
            choose(page, method, None if method == 2 else depth, group)
            stored = bits.stored
            assert label(page) == bits.summary()
            assert value(page, "bits a weight") == f"{stored['bits']:g}"
            assert value(page, "error") == percent(stored["error"])
            assert value(page, "smaller") == f"{significant(16 / stored['bits'])}×"
            assert float(value(page, "largest error")) == pytest.approx(stored["largest"], rel=5e-3)
            assert page.locator(".tk-memory > div:last-child").is_visible() == (depth == 4)
    assert page.get_by_role("slider", name="bits").is_disabled()
    page.get_by_role("status").get_by_text(bits.summary()).wait_for(state="attached")


def test_each_weight_is_joined_to_its_level_on_the_scale(url, opened, boxes):
    page = opened(url, reduced_motion="reduce")
    choose(page, group=64)
    ticks = page.locator(".tk-weights .tk-tick").evaluate_all(
        "ticks => ticks.map((t) => [t.textContent, +t.getAttribute('x'), +t.getAttribute('y') - 4])"
    )
    at = {text: y for text, x, y in ticks if x < 60}  # the others are the inputs'
    unit = (at["0"] - at["0.1"]) / 0.1
    dots = page.locator(".tk-weights > svg > circle").evaluate_all(
        "dots => dots.map((dot) => [+dot.getAttribute('cx'), +dot.getAttribute('cy')])"
    )
    lines = page.locator(".tk-weights > svg > .tk-error").evaluate_all(
        "lines => lines.map((line) => [+line.getAttribute('y1'), +line.getAttribute('y2')])"
    )
    weight = toy_weight()
    stands = round_to_nearest(weight, 64).dequantize()[0].tolist()
    for (_, y), (start, end), real, stored in zip(dots, lines, weight[0], stands, strict=True):
        assert y == start == pytest.approx(at["0"] - unit * float(real), abs=0.01)
        assert end == pytest.approx(at["0"] - unit * stored, abs=0.01)
    steps = {round(b - a, 4) for (a, _), (b, _) in pairwise(dots)}
    assert len(steps) == 1
    assert page.locator(".tk-weights path.tk-level").count() == 2
    assert page.locator(".tk-border").count() == 1

    heights = [bottom - top for _, top, _, bottom in boxes(page, ".tk-off")]
    off = [abs(float(real) - stored) for real, stored in zip(weight[0], stands, strict=True)]
    most = max(range(128), key=off.__getitem__)
    for height, error in zip(heights, off, strict=True):
        assert height == pytest.approx(heights[most] * error / off[most], abs=0.02)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_word_and_its_weights_light_up_together(url, opened, layout):
    page = opened(url, reduced_motion="reduce")
    choose(page, group=128, layout={"gptq": "GPTQ", "awq": "AWQ", "marlin": "Marlin"}[layout])
    codes = round_to_nearest(toy_weight(), 128).codes
    box = page.locator(".tk-weights > svg").bounding_box()
    step = (box["width"] - 66) / 128
    for k in (5, 77):
        page.mouse.move(box["x"] + 60 + (k + 0.5) * step, box["y"] + 150)
        held = word(layout, 0, k)
        assert cells(page, ".tk-nibble") == held
        assert set(cells(page, ".tk-held")) == set(held)
        assert set(cells(page, ".tk-over[data-cell]")) == {(0, k)}
        spoken = page.locator(".tk-place code").inner_text()
        digits = "".join(f"{codes[n, column]:X}" for n, column in reversed(held))
        assert spoken.endswith(f" = 0x{digits}")
        said = page.locator(".tk-caption").first.inner_text()
        assert said.startswith(f"k {k}: the weight ")
        assert f"stored as code {codes[0, k]}," in said
        own = [column for n, column in held if n == 0]
        assert page.locator(".tk-share").count() == len(own)

    page.locator(".tk-nibble").nth(3).hover()
    n, k = cells(page, ".tk-nibble")[3]
    assert cells(page, ".tk-nibble.tk-over") == [(n, k)]
    told = page.locator(".tk-caption").last.inner_text()
    assert told == f"n {n}, k {k}: code {codes[n, k]:X}, nibble 3, bits 12 to 15 of the word."
    page.locator('.tk-cell[data-cell="9 2"]').hover()
    assert cells(page, ".tk-nibble") == word(layout, 9, 2)
    assert "another output" in page.locator(".tk-caption").first.inner_text()
    page.locator(".tk-title").hover()
    assert cells(page, ".tk-nibble") == word(layout, 0, 16)


def test_a_click_keeps_a_weight(bits, url, opened):
    page = opened(url)
    page.locator('.tk-cell[data-cell="0 9"]').click()
    page.locator('.tk-cell[data-cell="4 20"]').click()  # another output's is not drawn
    page.locator(".tk-title").hover()
    assert cells(page, ".tk-cell.tk-over") == [(0, 9)]
    page.wait_for_url(f"**#{bits.id}.group=32&value=9")


def test_arrow_keys_choose_the_weight_and_the_bits(bits, url, alive, label):
    page = alive(url)
    page.locator(".tk-weights").focus()
    page.keyboard.press("ArrowUp")  # the guess comes first
    assert label(page) == bits.summary()
    page.get_by_role("button", name="Skip", exact=True).click()
    page.locator(".tk-weights").focus()
    seen = []
    for key in ["ArrowRight"] * 2 + ["ArrowLeft"] * 3:
        page.keyboard.press(key)
        seen.append(cells(page, ".tk-cell.tk-over")[0][1])
    assert seen == [17, 18, 17, 16, 15]
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    assert cells(page, ".tk-cell.tk-over") == [(0, 0)]
    for key, depth in (("ArrowUp", 5), ("ArrowUp", 6), ("ArrowDown", 5)):
        page.keyboard.press(key)
        bits.bits, bits.group = depth, 32
        assert label(page) == bits.summary()
    assert page.evaluate("document.activeElement.className") == "tk-weights"


def test_a_layout_that_a_choice_can_not_have_is_not_offered(url, opened):
    page = opened(url)
    choose(page, layout="Marlin")
    choose(page, method=1)
    assert page.get_by_role("radio", name="Marlin").is_disabled()
    assert page.get_by_role("radio", name="GPTQ").is_checked()
    assert "Marlin as published has no zero points" in page.locator(".tk-other").inner_text()
    choose(page, method=2)
    assert all(page.get_by_role("radio", name=one).is_disabled() for one in ("GPTQ", "AWQ"))
    assert cells(page, ".tk-nibble") == word("bitsandbytes", 0, 16)
    digits = "".join(f"{nf4(toy_weight(), 32).codes[0, k]:X}" for k in range(16, 24))
    stored = bytes.fromhex(digits)  # byte by byte, the first code high
    assert page.locator(".tk-place code").inner_text() == (
        f"weight[0, 8:12] = 0x{int.from_bytes(stored, 'little'):08X}"
    )
    choose(page, method=0)
    assert page.get_by_role("radio", name="Marlin").is_checked()


def test_a_link_holds_the_choice_and_bends_what_can_not_be(bits, publish, alive, opened, label):
    url = publish(bits.html())
    page = opened(url)
    choose(page, method=1, depth=4, group=64, layout="AWQ")
    page.wait_for_url(f"**#{bits.id}.method=1&group=64&packing=1")
    again = alive(page.url)
    assert label(again) == label(page)
    assert again.get_by_role("radio", name="AWQ").is_checked()
    wrong = alive(f"{url}#{bits.id}.method=-4&bits=99&group=100&packing=7&value=4000&strange=1")
    bits.bits, bits.group = 8, 64
    assert label(wrong) == bits.summary()
    wrong.wait_for_url(f"**#{bits.id}.bits=8&group=64&packing=2&value=127")


def test_the_table_gives_the_same_data(bits, url, opened, table):
    page = opened(url)
    choose(page, method=2, group=64)
    rows = table(page)
    assert rows[0] == ["k", "weight", "code", "stands for", "error"]
    bits.method, bits.group = 2, 64
    expected = nf4(toy_weight(), 64)
    stands = expected.dequantize()[0]
    assert len(rows) == 129
    for k, row in enumerate(rows[1:]):
        assert (row[0], row[2]) == (str(k), str(int(expected.codes[0, k])))
        real, stood, off = (float(row[at].replace("−", "-")) for at in (1, 3, 4))
        assert real == pytest.approx(float(toy_weight()[0, k]), rel=6e-3)
        assert stood == pytest.approx(float(stands[k]), rel=6e-3)
        assert off == pytest.approx(abs(float(stands[k] - toy_weight()[0, k])), rel=6e-3, abs=1e-6)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_and_accessibility(url, alive, rgb, serious_faults, shot, theme):
    page = alive(url, reduced_motion="reduce")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    assert serious_faults(page) == []
    shot(page, f"bits-ask-{theme}", full_page=True)
    page.get_by_role("button", name="Compare", exact=True).click()
    paint = "getComputedStyle(document.querySelector('.tk-off')).fill"
    assert page.evaluate(paint) == rgb(tokens()["missed"][theme == "dark"])
    choose(page, layout="Marlin")
    shot(page, f"bits-{theme}", full_page=True)
    choose(page, method=2)
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    assert serious_faults(page) == []
    shot(page, f"bits-nf4-{theme}", full_page=True)
    page.evaluate("delete document.documentElement.dataset.theme")
    for scheme, color in zip(("light", "dark"), tokens()["missed"], strict=True):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(paint) == rgb(color)


@pytest.mark.parametrize("width", [320, 360, 820, 1200])
def test_it_fits_every_width_and_no_words_overlap(url, opened, boxes, apart, shot, width):
    page = opened(url, width=width, reduced_motion="reduce")
    for method, depth, layout in ((0, 8, None), (0, 2, None), (0, 4, "AWQ"), (1, 4, "GPTQ")):
        choose(page, method, depth)
        if layout:
            choose(page, layout=layout)
        for group in (32, 128):
            choose(page, group=group)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            texts = boxes(page, ".tk-widget svg text:not(:empty)")
            apart([box for box in texts if box[0] < box[2]], width, down=3)  # the others are hidden
            for left, _, right, _ in boxes(page, ".tk-weights circle, .tk-cell rect, .tk-off"):
                assert 0 <= left <= right <= width
    shot(page, f"bits-{width}", full_page=True)
    page.set_viewport_size({"width": 600, "height": 900})
    page.wait_for_function("document.querySelector('.tk-weights > svg').clientWidth > 500")
    assert len(set(cells(page, ".tk-cell"))) == 16 * 32


def test_small_weights_have_room_for_their_digits(publish, opened, boxes):
    weight = toy_weight() * 0.0123
    small = Bits(weight, roundings(weight))
    page = opened(publish(small.html()), width=320, reduced_motion="reduce")
    texts = boxes(page, ".tk-weights text:not(:empty)")
    assert min(left for left, *_ in texts) >= 10  # the page's margin
    written = page.locator(".tk-weights .tk-tick").all_text_contents()
    assert "−0.000255" in written


def test_nothing_moves_for_readers_who_want_no_motion(url, opened, looks):
    act = "$('.tk-dials input[value=\"128\"]').click()"
    look = (
        "$('.tk-error[y1]:nth-of-type(9)')?.getAttribute('y2')"
        " + $('.tk-off').getAttribute('height')"
    )
    assert looks(opened(url, reduced_motion="reduce"), act, look) == 1
    assert looks(opened(url, reduced_motion="no-preference"), act, look) > 2


def test_words_of_another_language_need_no_code(bits, publish, visit):
    bits.words = {name: f"<{name}>" for name in bits.words} | {"each": "每个权重"}
    page = visit(publish(bits.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_text("每个权重", exact=True).wait_for()
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    said = page.locator(".tk-widget").inner_text()
    known = re.compile(r"<\w+>|qweight|0x[0-9A-F]{8}")
    assert not re.search(r"[A-Za-z]{3,}", known.sub("", said)), said
