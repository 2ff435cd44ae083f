"""`Buckets` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import json
import re

import pytest

from toolkit.data.dedup import Bands, Radius
from toolkit.viz import Buckets, tokens
from toolkit.viz.text import percent, significant, sized

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAWN = ".tk-drawing canvas"

NBSP = "\N{NO-BREAK SPACE}"


@pytest.fixture
def url(buckets, publish):
    return publish(buckets.html())


@pytest.fixture
def near_url(near, publish):
    """A page with the widget over a sample by SimHash."""
    return publish(near.html(), "near")


@pytest.fixture(params=["minhash", "simhash"])
def either(request):
    """The address of the widget over either method's sample, one after the other."""
    return request.getfixturevalue({"minhash": "url", "simhash": "near_url"}[request.param])


def slide(page, name, value):
    page.get_by_role("slider", name=name).fill(str(value))


def spoken(page, text):
    page.get_by_role("status").get_by_text(text).wait_for(state="attached")


def test_it_replaces_the_picture_which_stands_in_without_scripts_and_in_print(
    either, replaced_picture
):
    name = replaced_picture(either)
    assert name.startswith(("How should", "How many bits"))


def test_the_browser_finds_the_same_collisions_as_python(url, visit, sample):
    page = visit(url)
    cuts = [(1, 1), (128, 1), (1, 128), (14, 8), (9, 13), (25, 5), (5, 25), (31, 4), (18, 7)]
    found = page.evaluate(
        """async ([cuts, stride, agree]) => {
            const {sharedBands, chance} = await import("../_static/toolkit/buckets.js");
            const pairs = agree.length / stride;
            return cuts.map(([b, r]) => [
                Array.from({length: pairs}, (_, p) => sharedBands(agree, stride, p, b, r).length)
                    .map((bands) => bands > 0),
                [0, 0.3, 0.8, 1].map((s) => chance(s, b, r)),
            ]);
        }""",
        [cuts, sample.agree.shape[1], sample.agree.ravel().tolist()],
    )
    for (b, r), (met, chances) in zip(cuts, found, strict=True):
        widget = Buckets(sample, Bands(b, r))
        assert met == widget.met().tolist()
        assert chances == pytest.approx(
            [Bands(b, r).probability(s) for s in (0, 0.3, 0.8, 1)], abs=1e-12
        )


def test_the_browser_finds_the_same_pairs_within_a_radius_as_python(near_url, visit, prints):
    page = visit(near_url)
    radii = [0, 1, 10, 31, 32]
    similarities = [0, 0.001, 0.3, 0.8, 0.999, 1]
    apart, chances = page.evaluate(
        """async ([radii, similarities, stride, agree]) => {
            const {differing, chanceWithin} = await import("../_static/toolkit/buckets.js");
            const pairs = agree.length / stride;
            return [
                Array.from({length: pairs}, (_, p) => differing(agree, stride, p, 64)),
                radii.map((k) => similarities.map((s) => chanceWithin(s, k, 64))),
            ];
        }""",
        [radii, similarities, prints.agree.shape[1], prints.agree.ravel().tolist()],
    )
    for pair, packed in zip(apart, prints.agree, strict=True):
        bits = "".join(f"{byte:08b}" for byte in packed)
        assert pair == [at for at, bit in enumerate(bits) if bit == "0"]
    for k, found in zip(radii, chances, strict=True):
        assert [len(pair) <= k for pair in apart] == Buckets(prints, radius=k).met().tolist()
        expected = [Radius(k, 64).probability(s) for s in similarities]
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_the_browser_writes_numbers_as_python_does(url, visit):
    numbers = [0, 0.0123, 0.5, 0.8, 7, 92.5, 999.6, 1234, 99_960, 11_599_336, 2.5e9]
    numbers += [999.4e9, 999.6e9, 989.4e12, 999.6e12, 12.3e15]
    shares = [0, 1e-9, 0.001, 0.224, 0.5, 0.98765, 0.9991, 1]
    written = visit(url).evaluate(
        """async ([numbers, shares]) => {
            const shared = await import("../_static/toolkit/widget.js");
            return [numbers.map(shared.significant), [...shares, NaN].map(shared.percent),
                    numbers.map((number) => shared.sized(number)),
                    numbers.map((number) => shared.sized(number, "FLOP/s"))];
        }""",
        [numbers, shares],
    )
    assert written[0] == [significant(number) for number in numbers]
    assert written[1] == [percent(share) for share in [*shares, float("nan")]]
    assert written[2] == [sized(number) for number in numbers]
    assert written[3] == [sized(number, "FLOP/s") for number in numbers]


@pytest.mark.parametrize(("of", "asked"), [("buckets", "14 bands of 8 rows"), ("near", "10 of 64")])
def test_the_reader_guesses_before_anything_is_told(publish, alive, value, request, of, asked):
    buckets = request.getfixturevalue(of)
    page = alive(publish(buckets.html()))
    assert asked in page.locator(".tk-ask").inner_text()
    assert [value(page, name) for name in ("recall", "precision", "candidates")] == ["?"] * 3
    assert page.locator(".tk-controls input").count() == 1
    assert page.locator(".tk-whole, .tk-signature .tk-limit").count() == 0
    assert "compared:" not in page.locator(".tk-caption").inner_text()
    slide(page, "your guess", 90)
    page.get_by_role("button", name="Compare", exact=True).click()
    precision = percent(buckets.outcome()["precision"])
    guessed = percent(0.9)
    told = f"You guessed that {guessed} of the candidates are duplicates; {precision} are."
    assert page.locator(".tk-remark").inner_text() == told
    assert value(page, "precision") == precision
    assert page.evaluate("document.activeElement.type") == "range"


@pytest.mark.parametrize(("b", "r"), [(9, 13), (25, 5), (1, 20)])
def test_sliders_change_the_readout_to_what_python_counts(url, opened, value, sample, b, r):
    page = opened(url)
    slide(page, "bands b", 1)
    slide(page, "rows r", r)
    slide(page, "bands b", b)
    widget = Buckets(sample, Bands(b, r))
    totals = widget.outcome()
    assert value(page, "recall") == percent(totals["recall"])
    assert value(page, "precision") == percent(totals["precision"])
    assert value(page, "candidates") == significant(round(totals["candidates"]))
    assert value(page, "chance to meet at 0.8") == percent(Bands(b, r).probability(0.8))
    spoken(page, widget.summary())
    assert page.locator(".tk-drawing svg[role=img]").get_attribute("aria-label") == widget.summary()


@pytest.mark.parametrize("k", [0, 3, 17, 32])
def test_the_radius_changes_the_readout_to_what_python_counts(near_url, opened, value, prints, k):
    page = opened(near_url)
    slide(page, "radius k", k)
    widget = Buckets(prints, radius=k)
    totals = widget.outcome()
    assert value(page, "recall") == percent(totals["recall"])
    assert value(page, "precision") == percent(totals["precision"])
    assert value(page, "candidates") == significant(round(totals["candidates"]))
    assert value(page, "compared at 0.8") == percent(Radius(k).probability(0.8))
    assert page.get_by_text(f"P(d ≤ {k}), p = 0.151", exact=True).is_visible()
    spoken(page, widget.summary())
    assert page.locator(".tk-drawing svg[role=img]").get_attribute("aria-label") == widget.summary()
    assert page.locator(".tk-remark").inner_text() == ""


def test_the_radius_reaches_half_the_bits(draw, publish, opened):
    short = Buckets(draw(60, positions=32, method="simhash"), radius=5)
    page = opened(publish(short.html()))
    slider = page.get_by_role("slider", name="radius k")
    assert [slider.get_attribute(end) for end in ("min", "max")] == ["0", "16"]


def test_a_cut_that_does_not_fit_makes_the_other_slider_give_way(url, opened):
    page = opened(url)
    slide(page, "bands b", 30)
    assert page.get_by_role("slider", name="rows r").input_value() == "4"
    remark = "A signature has 128 numbers, enough for 30 bands of 4 rows"
    assert page.locator(".tk-remark").inner_text().startswith(remark)
    spoken(page, remark)
    slide(page, "rows r", 32)
    assert page.get_by_role("slider", name="bands b").input_value() == "4"
    slide(page, "rows r", 4)
    assert page.locator(".tk-remark").inner_text() == ""


@pytest.mark.parametrize(
    ("moved", "end", "back", "other", "least", "wished"),
    [("bands b", 128, 16, "rows r", 1, 8), ("rows r", 32, 9, "bands b", 4, 14)],
)
def test_what_gave_way_comes_back_when_it_fits(url, opened, moved, end, back, other, least, wished):
    page = opened(url)
    slide(page, moved, end)
    assert page.get_by_role("slider", name=other).input_value() == str(least)
    slide(page, moved, back)
    assert page.get_by_role("slider", name=other).input_value() == str(wished)
    assert page.locator(".tk-remark").inner_text() == ""


def test_one_band_and_one_row_are_singular(url, opened):
    page = opened(url)
    slide(page, "bands b", 128)
    assert "enough for 128 bands of 1 row:" in page.locator(".tk-remark").inner_text()
    slide(page, "bands b", 1)
    spoken(page, "Cut into 1 band of 8 rows, signatures find")


def test_rows_never_outnumber_a_short_signature(small, publish, opened):
    page = opened(publish(Buckets(small, Bands(3, 8)).html()))
    assert page.get_by_role("slider", name="rows r").get_attribute("max") == "24"


def test_the_keyboard_does_it_all(url, alive, sample):
    page = alive(url)
    page.keyboard.press("Tab")  # the guess
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("slider", name="your guess").input_value() == "51"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # compare, and on to the first slider
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("slider", name="bands b").input_value() == "13"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("slider", name="rows r").input_value() == "9"
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    first = sample.documents[0]
    pair = page.get_by_role("slider", name="pair", exact=True)
    said = pair.get_attribute("aria-valuetext")
    assert said.startswith(f"Documents {first[0]} and {first[1]}, Jaccard")
    assert page.locator(".tk-caption").inner_text() == said


def test_the_keyboard_moves_the_radius(near_url, alive):
    page = alive(near_url)
    for key in ("Tab", "Tab", "Enter", "ArrowRight"):  # the guess, compare, and on to the radius
        page.keyboard.press(key)
    assert page.get_by_role("slider", name="radius k").input_value() == "11"
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    pair = page.get_by_role("slider", name="pair", exact=True)
    assert pair.get_attribute("aria-valuetext").endswith("Stands for about 1 in the corpus.")
    assert f"d{NBSP}={NBSP}0 of 64 bits differ (tall). They are compared" in pair.get_attribute(
        "aria-valuetext"
    )


def mark(page, pair):
    """Where a pair's mark stands on the page, found as a reader finds it: by its ring."""
    page.get_by_role("slider", name="pair", exact=True).fill(str(pair))
    return page.locator("canvas.tk-marks").evaluate(
        """(canvas) => {
            const ring = [17, 24, 39], {width, height} = canvas;
            const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            const xs = [], ys = [];
            for (let at = 0; at < pixels.length; at += 4) {
                if (pixels[at + 3] === 255 && ring.every((v, k) => pixels[at + k] === v)) {
                    xs.push((at / 4) % width); ys.push(Math.floor(at / 4 / width));
                }
            }
            const middle = (of) => (Math.min(...of) + Math.max(...of)) / 2 / devicePixelRatio;
            return {x: middle(xs), y: middle(ys)};
        }"""
    )


def test_pointing_at_a_mark_tells_of_its_pair_and_a_click_keeps_it(url, opened, sample):
    page = opened(url, reduced_motion="reduce")
    pair = 520
    place = mark(page, pair)
    mark(page, 0)
    canvas = page.locator("canvas.tk-marks")
    i, j = sample.documents[pair]
    expected = f"Documents {i} and {j}, Jaccard {sample.jaccard[pair]:.3f}"
    canvas.hover(position=place)
    assert page.locator(".tk-caption").inner_text().startswith(expected)
    page.mouse.move(5, 5)
    assert not page.locator(".tk-caption").inner_text().startswith(expected)
    canvas.click(position=place)
    page.mouse.move(5, 5)
    assert page.locator(".tk-caption").inner_text().startswith(expected)
    assert page.get_by_role("slider", name="pair", exact=True).input_value() == str(pair)


def test_a_pairs_signature_shows_the_bands_in_which_it_meets(url, opened, sample):
    page = opened(url)
    for pair in (100, 450, 599):
        page.get_by_role("slider", name="pair", exact=True).fill(str(pair))
        bits = "".join(f"{byte:08b}" for byte in sample.agree[pair])
        whole = [band for band in range(14) if bits[band * 8 : band * 8 + 8] == "1" * 8]
        caption = page.locator(".tk-caption").inner_text()
        assert f"{bits.count('1')} of 128 numbers agree" in caption
        assert ("They never meet" in caption) == (not whole)
        assert page.locator(".tk-whole").count() == len(whole)
        if 0 < len(whole) <= 6:
            assert f"in band {', '.join(str(band + 1) for band in whole)}." in caption


def boxes(page, kind):
    """The cells of one kind in the picture of a pair, as [x, y]."""
    path = page.locator(f".tk-signature .tk-{kind}").evaluate_all(
        "paths => paths.map((path) => path.getAttribute('d')).join('')"
    )
    return [[float(number) for number in box.split()] for box in re.findall(r"M([\d. ]+)h", path)]


@pytest.mark.parametrize("width", [320, 820])
def test_a_pairs_fingerprint_counts_the_bits_that_differ_against_the_radius(
    near_url, opened, prints, width
):
    page = opened(near_url, width=width)
    for pair in (0, 420, 599):
        page.get_by_role("slider", name="pair", exact=True).fill(str(pair))
        bits = "".join(f"{byte:08b}" for byte in prints.agree[pair])
        apart = bits.count("0")
        caption = page.locator(".tk-caption").inner_text()
        assert f"d{NBSP}={NBSP}{apart} of 64 bits differ" in caption
        assert ("They are compared: at most" in caption) == (apart <= 10)
        assert ("They are not compared: at most" in caption) == (apart > 10)
        dark = boxes(page, "apart")
        row = sorted(boxes(page, "agree") + dark[:apart])
        assert [box in dark for box in row] == [bit == "0" for bit in bits]
        counted = dark[apart:]
        assert len(counted) == apart
        assert len(boxes(page, "differ")) == max(0, 10 - apart)
        line = float(page.locator(".tk-signature .tk-limit").get_attribute("x1"))
        assert sum(x < line for x, _ in counted) == min(10, apart)
        drawn = page.locator(".tk-signature").evaluate(
            "node => Math.max(...[...node.children].map((part) => {"
            "  const {x, width} = part.getBBox(); return x + width; }))"
        )
        assert drawn <= page.locator(".tk-signature").bounding_box()["width"]


def test_a_link_carries_the_radius(near_url, alive, near):
    page = alive(f"{near_url}#{near.id}.k=3&selected=30")
    radius = page.get_by_role("slider", name="radius k")
    assert radius.input_value() == "3"
    assert page.get_by_role("slider", name="pair", exact=True).input_value() == "30"
    slide(page, "radius k", 12)
    page.wait_for_url(f"**/near.html#{near.id}.k=12&selected=30")
    page.evaluate(f"location.hash = '{near.id}.k=99'")
    page.wait_for_url(f"**/near.html#{near.id}.k=32&selected=30")
    page.evaluate(f"location.hash = '{near.id}.k=-4'")
    page.wait_for_url(f"**/near.html#{near.id}.k=0&selected=30")
    assert radius.input_value() == "0"


def test_a_link_carries_the_state(url, alive, buckets):
    page = alive(f"{url}#{buckets.id}.b=9&r=13&selected=30")
    assert page.get_by_role("slider", name="bands b").input_value() == "9"
    assert page.get_by_role("slider", name="rows r").input_value() == "13"
    assert page.get_by_role("slider", name="pair", exact=True).input_value() == "30"
    slide(page, "rows r", 12)
    page.wait_for_url(f"**/page.html#{buckets.id}.b=9&r=12&selected=30")
    page.evaluate(f"location.hash = '{buckets.id}.b=7'")
    page.wait_for_function("document.querySelector('.tk-controls input').value === '7'")


@pytest.mark.parametrize(
    "state", ["b=9999&r=99", "b=0&r=-3", "b=x&nonsense=1", "k=9999", "selected=9999", "="]
)
@pytest.mark.parametrize("of", ["buckets", "near"])
def test_a_link_with_nonsense_is_harmless(publish, alive, request, of, state):
    widget = request.getfixturevalue(of)
    page = alive(f"{publish(widget.html())}#{widget.id}.{state}")
    page.locator(".tk-caption").get_by_text("Documents").wait_for()


@pytest.mark.parametrize(
    ("asked", "given"),
    [("b=500&r=-3", "b=128&r=1"), ("b=0&r=30", "b=1&r=30"), ("r=20&b=5", "r=20&b=5")],
)
def test_a_link_that_does_not_fit_is_corrected_in_the_address(url, alive, buckets, asked, given):
    page = alive(f"{url}#{buckets.id}.{asked}")
    page.wait_for_url(f"**/page.html#{buckets.id}.{given}")
    sliders = {"b": "bands b", "r": "rows r"}
    for name, number in (part.split("=") for part in given.split("&")):
        assert page.get_by_role("slider", name=sliders[name]).input_value() == number
    page.evaluate(f"location.hash = '{buckets.id}.b=9&r=200'")
    page.wait_for_url(f"**/page.html#{buckets.id}.b=9&r=14")


def test_a_link_carries_nothing_but_what_is_meant_to_be_linked(url, alive, buckets):
    page = alive(f"{url}#{buckets.id}.revealed=1&selected=30")
    page.wait_for_function("document.querySelector('.tk-drawing input').value === '30'")
    assert page.get_by_role("button", name="Skip", exact=True).is_visible()


def test_two_widgets_on_a_page_keep_apart(sample, publish, visit):
    pair = [Buckets(sample, Bands(14, 8)), Buckets(sample, Bands(9, 13))]
    page = visit(publish("".join(widget.html() for widget in pair)))
    page.locator(".tk-alive canvas").nth(1).wait_for()
    second = page.locator(f"#{pair[1].id}")
    second.get_by_role("button", name="Skip", exact=True).click()
    second.get_by_role("slider", name="rows r").fill("10")
    page.wait_for_url(f"**#{pair[1].id}.r=10")
    assert (
        page.locator(f"#{pair[0].id}").get_by_role("button", name="Skip", exact=True).is_visible()
    )


def wait_for_hits(page):
    """Wait until over 500 pixels of the canvas have the present colour of `hit`."""
    page.wait_for_function(
        """() => {
            const canvas = document.querySelector("canvas.tk-marks");
            const probe = document.querySelector(".tk-mark-found");
            const want = getComputedStyle(probe).fill.match(/\\d+/g).slice(0, 3).map(Number);
            const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let at = 0; at < data.length; at += 4) {
                if (want.every((value, k) => data[at + k] === value)) count++;
            }
            return count > 500;
        }"""
    )


def test_the_theme_is_followed_at_once(either, opened, rgb, shot, request):
    of = request.node.callspec.id
    page = opened(either, reduced_motion="reduce")
    light, dark = tokens()["hit"]
    fill = "getComputedStyle(document.querySelector('.tk-mark-found')).fill"
    assert page.evaluate(fill) == rgb(light)
    wait_for_hits(page)
    shot(page, f"buckets-{of}-light")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(fill) == rgb(dark)
    wait_for_hits(page)
    shot(page, f"buckets-{of}-dark")


def test_where_no_one_says_the_systems_theme_is_followed(buckets, publish, opened, rgb):
    page = opened(publish(buckets.html()), reduced_motion="reduce")
    page.evaluate("delete document.documentElement.dataset.theme")
    for scheme, color in zip(("light", "dark"), tokens()["hit"], strict=True):
        page.emulate_media(color_scheme=scheme)
        fill = "getComputedStyle(document.querySelector('.tk-mark-found')).fill"
        assert page.evaluate(fill) == rgb(color)
        wait_for_hits(page)


def frames(page):
    """How many pictures the canvas shows after a slider moves, until it rests."""
    return page.evaluate(
        """async () => {
            const canvas = document.querySelector("canvas.tk-marks");
            const slider = document.querySelector(".tk-controls input");
            slider.value = 4;
            slider.dispatchEvent(new Event("input"));
            const seen = new Set([canvas.toDataURL()]);
            for (let at = 0; at < 60; at++) {
                await new Promise(requestAnimationFrame);
                seen.add(canvas.toDataURL());
            }
            return seen.size;
        }"""
    )


def test_nothing_moves_for_readers_who_want_no_motion(either, opened):
    assert frames(opened(either, reduced_motion="reduce")) == 1
    page = opened(either, reduced_motion="no-preference")
    page.wait_for_timeout(600)
    assert frames(page) > 2


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("revealed", [False, True])
def test_nothing_serious_for_accessibility(either, alive, serious_faults, theme, revealed):
    page = alive(either)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    if revealed:
        page.get_by_role("button", name="Skip", exact=True).click()
        for fold in page.locator("summary").all():
            fold.click()
        page.locator("tbody tr").first.wait_for()
    faults = serious_faults(page)
    assert faults == []


@pytest.mark.parametrize("width", [320, 400, 820, 1200])
def test_it_fits_every_width(either, opened, shot, width, request):
    page = opened(either, width=width, height=1150, reduced_motion="reduce")
    for fold in page.locator("summary").all():
        fold.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    canvas = page.locator("canvas.tk-marks").bounding_box()
    assert canvas["width"] == pytest.approx(width - 20, abs=8)
    page.set_viewport_size({"width": 500, "height": 900})
    page.wait_for_function("document.querySelector('canvas.tk-marks').clientWidth > 450")
    page.set_viewport_size({"width": width, "height": 1150})
    page.wait_for_function(f"document.querySelector('canvas.tk-marks').clientWidth <= {width}")
    for fold in page.locator("summary").all():
        fold.click()
    shot(page, f"buckets-{request.node.callspec.id}")


def test_the_threshold_crosses_no_count_on_a_phone(either, opened):
    page = opened(either, width=400)
    limit = page.locator("line.tk-limit").first.evaluate(
        "line => line.getBoundingClientRect().toJSON()"
    )
    counts = page.locator(".tk-count text").evaluate_all(
        "texts => texts.map((text) => text.getBoundingClientRect().toJSON())"
    )
    assert any(count["left"] < limit["left"] < count["right"] for count in counts)
    assert all(
        count["bottom"] <= limit["top"] or count["top"] >= limit["bottom"] for count in counts
    )


@pytest.mark.parametrize("k", [3, 10, 24, 32])
def test_no_dot_lies_on_the_words_that_explain_it(near_url, opened, k):
    page = opened(near_url, reduced_motion="reduce")
    slide(page, "radius k", k)
    overlaps = page.evaluate(
        """() => {
            const box = (node) => node.getBoundingClientRect();
            const words = /^(Share of|formula|threshold|measured)/;
            const key = [...document.querySelectorAll(".tk-plot text")]
                .filter((text) => words.test(text.textContent)).map(box);
            const dots = [...document.querySelectorAll(".tk-plot .tk-dot")].map(box);
            const meet = (a, b) => a.left < b.right && b.left < a.right
                && a.top < b.bottom && b.top < a.bottom;
            return [key.length, dots.filter((dot) => key.some((text) => meet(dot, text))).length];
        }"""
    )
    assert overlaps == [4, 0]


def test_the_table_gives_the_same_numbers(url, opened, sample, buckets):
    page = opened(url)
    page.get_by_text("The same data as a table").click()
    rows = page.locator("tbody tr")
    rows.first.wait_for()
    cells = rows.nth(16).locator("td").all_inner_texts()
    inside = (sample.jaccard >= 0.8) & (sample.jaccard < 0.85)
    weight = sample.stands_for[inside]
    expected = Bands(14, 8).probability(sample.jaccard[inside])
    assert cells == [
        "0.80–0.85",
        significant(round(weight.sum())),
        percent((weight * expected).sum() / weight.sum()),
        percent((weight * buckets.met()[inside]).sum() / weight.sum()),
    ]
    slide(page, "bands b", 2)
    page.wait_for_function(
        "was => document.querySelectorAll('tbody tr')[16].cells[3].innerText !== was", arg=cells[3]
    )


def test_the_table_gives_the_same_numbers_for_a_radius(near_url, opened, prints, near):
    page = opened(near_url)
    page.get_by_text("The same data as a table").click()
    page.locator("tbody tr").first.wait_for()
    heads = page.locator("th").all_inner_texts()
    assert heads == ["Jaccard", "pairs in the corpus", "should be compared", "compared"]
    cells = page.locator("tbody tr").nth(15).locator("td").all_inner_texts()
    inside = (prints.jaccard >= 0.75) & (prints.jaccard < 0.8)
    weight = prints.stands_for[inside]
    expected = Radius(10).probability(prints.jaccard[inside])
    assert cells == [
        "0.75–0.80",
        significant(round(weight.sum())),
        percent((weight * expected).sum() / weight.sum()),
        percent((weight * near.met()[inside]).sum() / weight.sum()),
    ]


@pytest.mark.parametrize("of", ["buckets", "near"])
def test_words_of_another_language_need_no_code(publish, visit, request, of):
    buckets = request.getfixturevalue(of)
    state = buckets.state()
    state["words"] = {name: f"<{name}>" for name in state["words"]} | {"recall": "召回率"}
    buckets.words = state["words"]
    page = visit(publish(buckets.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_text("召回率", exact=True).wait_for()
    assert json.dumps(state["words"])  # the page took them from the state alone
