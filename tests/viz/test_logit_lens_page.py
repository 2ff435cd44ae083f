"""`LogitLens` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from toolkit.viz import LogitLens, tokens
from toolkit.viz.segmentation import spelled
from toolkit.viz.text import percent

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAWN = ".tk-grid .tk-cell"


@pytest.fixture
def url(logit_lens, publish):
    return publish(logit_lens.html())


def slide(page, depth, name="depth"):
    page.get_by_role("slider", name=name).fill(str(depth))


def cell(depth, token):
    return f".tk-cell[data-depth='{depth}'][data-token='{token}']"


def word(lens, index):
    return spelled(lens.vocabulary[index].encode())


def place(depth):
    return f"layer {depth}" if depth else "the embedding"


def state_of(page):
    """The picked token and depth, by the cell that the frame stands on."""
    return page.evaluate(
        """() => {
            const at = document.querySelector(".tk-grid .tk-picked").getBoundingClientRect();
            const on = [...document.querySelectorAll(".tk-grid .tk-cell")].find((cell) => {
                const box = cell.getBoundingClientRect();
                const [x, y] = [at.left + at.width / 2, at.top + at.height / 2];
                return box.left < x && x < box.right && box.top < y && y < box.bottom;
            });
            return [Number(on.dataset.token), Number(on.dataset.depth)];
        }"""
    )


def test_where_it_is_decided_is_found_as_python_finds_it(url, visit, lens):
    rng, given = np.random.default_rng(5), []
    for _ in range(200):
        ranks = rng.integers(0, 3, (rng.integers(2, 9), 1))
        ranks[-1] = 0
        given.append(ranks)
    found = visit(url).evaluate(
        """async (given) => {
            const js = await import('../_static/toolkit/logit_lens.js');
            return given.map((ranks) => [js.firstChoice(ranks), js.settled(ranks)]);
        }""",
        [ranks.ravel().tolist() for ranks in given],
    )
    widget = LogitLens(lens(("x",)))
    for ranks, pair in zip(given, found, strict=True):
        widget.lens = type(widget.lens)((), (), *[np.zeros(())] * 3, ranks)
        assert pair == [widget.first_choice, widget.settled]


def test_depths_below_the_last_wait_for_the_guess(url, alive, label, logit_lens):
    page, lens = alive(url), logit_lens.lens
    answer, share = word(lens, logit_lens.answer), percent(float(lens.said[6, 4]))
    assert page.locator(".tk-ask").inner_text() == (
        f"After “The␣cat↵␣天␣sat<b>” the model says “{answer}” with {share}. "
        "Which depth is the first to say so?"
    )
    assert page.locator(".tk-grid .tk-cell text").count() == 5
    assert page.locator(".tk-cell.tk-hidden").count() == 30
    assert page.locator(".tk-readout").inner_text() == ""
    assert not page.locator(".tk-curves").is_visible()
    page.locator(cell(2, 1)).click()
    page.locator(".tk-grid").focus()
    page.keyboard.press("ArrowDown")
    assert state_of(page) == [4, 6]
    assert "is hidden until you guess" in label(page)
    page.get_by_text("The same data as a table").click()
    page.locator("details tbody tr").first.wait_for()
    assert page.locator("details tbody tr").count() == 5

    slide(page, 1, "your guess")
    page.get_by_role("button", name="Compare").click()
    told = f"You guessed layer 1. The first depth to say “{answer}” is layer 3."
    assert page.locator(".tk-remark").inner_text() == told
    assert state_of(page) == [4, 1]
    assert page.locator("details tbody tr").count() == 35
    assert page.locator("input[type=text]").count() == 0
    assert page.evaluate("document.activeElement.type") == "range"

    page = alive(url)
    slide(page, 3, "your guess")
    page.get_by_role("button", name="Compare").click()
    told = f"Right: the first depth to say “{answer}” is layer 3."
    assert page.locator(".tk-remark").inner_text() == told


def test_each_cell_says_its_choice_filled_by_its_chance(url, opened, logit_lens):
    page, lens = opened(url, width=1200), logit_lens.lens
    drawn = page.locator(".tk-grid .tk-cell").evaluate_all(
        "cells => cells.map((cell) => [Number(cell.dataset.depth), Number(cell.dataset.token),"
        " cell.querySelector('text').textContent, Number(cell.firstChild.style.fillOpacity),"
        " cell.querySelector('.tk-same') !== null])"
    )
    assert len(drawn) == 35
    for depth, token, text, fill, outlined in drawn:
        said = word(lens, lens.top[depth, token, 0])
        assert text == said or (len(said) > 12 and said.startswith(text.removesuffix("…")))
        assert fill == pytest.approx(0.45 * lens.probabilities[depth, token, 0], abs=6e-4)
        assert outlined == (lens.ranks[depth, token] == 0)
    assert page.locator(".tk-given").all_text_contents() == ["The", "␣cat", "↵", "␣天", "␣sat<b>"]


def test_the_readout_follows_the_cell(url, opened, label, logit_lens, value):
    page, lens = opened(url), logit_lens.lens
    for token, depth in ((4, 0), (4, 4), (2, 1), (0, 6), (3, 3)):
        page.locator(cell(depth, token)).click()
        logit_lens.token, logit_lens.depth = token, depth
        assert label(page) == logit_lens.summary()
        rows = page.locator(".tk-top tr").all()
        assert len(rows) == 5
        for of, row in enumerate(rows):
            chance = float(lens.probabilities[depth, token, of])
            said = [word(lens, lens.top[depth, token, of]), percent(chance), ""]
            assert row.locator("td").all_inner_texts() == said
        assert f", {place(depth)} would say" in page.locator(".tk-next p").inner_text()
        assert value(page, "final answer") == word(lens, logit_lens.answer)
        assert value(page, "first choice at") == place(logit_lens.first_choice)
        assert value(page, "its probability here") == percent(float(lens.said[depth, token]))
        assert value(page, "its rank here") == str(1 + lens.ranks[depth, token])
        page.get_by_text("the text has “␣天”").wait_for(
            state="visible" if token == 2 else "detached"
        )
        of = page.locator(".tk-figures > div:nth-child(2) .tk-of").inner_text()
        expected = {0: "the last one", 4: "for good from layer 5"}
        assert of == expected.get(token, "and at every depth after")


def test_the_curves_follow_the_answer_by_depth(url, opened, logit_lens):
    page, lens = opened(url, width=1000), logit_lens.lens
    for token in (4, 1):
        page.locator(f".tk-given[data-token='{token}']").click()
        slide(page, 2)
        dots = page.locator(".tk-curves .tk-dot").evaluate_all(
            "dots => dots.map((dot) => [Number(dot.getAttribute('cx')),"
            " Number(dot.getAttribute('cy')), dot.classList.contains('tk-now')])"
        )
        at = np.array([[x, y] for x, y, _ in dots]).reshape(2, 7, 2)
        assert [here for *_, here in dots] == [depth == 2 for depth in range(7)] * 2
        rows = page.locator(".tk-cell[data-token='0'] .tk-share").evaluate_all(
            "rects => rects.map((rect) => Number(rect.getAttribute('y')) + 8.5)"
        )
        np.testing.assert_allclose(at[..., 1], [rows, rows])  # beside the grid's own rows
        for curve, values in zip(
            at[..., 0], (lens.said[:, token], -np.log(1.0 + lens.ranks[:, token])), strict=True
        ):
            line = np.polyfit(values, curve, 1)
            assert line[0] > 0
            np.testing.assert_allclose(np.polyval(line, values), curve, atol=0.15)
        logit_lens.token = token
        rings = page.locator(".tk-first").evaluate_all(
            "all => all.map((one) => one.cy.baseVal.value)"
        )
        assert rings == [rows[logit_lens.first_choice]] * 2


def test_the_keyboard_does_it_all(url, alive, logit_lens):
    page = alive(url)
    for key in ("Tab", "Tab", "Tab", "Enter"):  # guess, compare, skip
        page.keyboard.press(key)
    slider = page.get_by_role("slider", name="depth")
    page.keyboard.press("Home")
    assert state_of(page) == [4, 0]
    assert slider.get_attribute("aria-valuetext").startswith("the embedding: ")
    assert page.get_by_role("button", name="Back").is_disabled()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "tk-grid"
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert state_of(page) == [2, 2]
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert state_of(page) == [4, 2]  # and no further
    page.wait_for_url(f"**/page.html#{logit_lens.id}.depth=2")
    assert slider.input_value() == "2"
    page.get_by_role("button", name="Forward").press("Enter")
    assert page.locator(".tk-range output").inner_text() == "layer 3"


def test_play_goes_up_to_the_last_layer_and_can_be_paused(url, opened):
    page = opened(url)
    page.clock.install()
    slider = page.get_by_role("slider", name="depth")
    page.get_by_role("button", name="Play").click()
    assert slider.input_value() == "0"
    page.clock.run_for(900)  # two ticks of 400 ms
    assert slider.input_value() == "2"
    page.get_by_role("button", name="Pause").click()
    page.clock.run_for(2000)
    assert slider.input_value() == "2"
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(20_000)
    assert slider.input_value() == "6"
    assert page.get_by_role("button", name="Play").is_visible()


def test_pointing_at_a_cell_tells_of_it_and_shows_where_else_it_is_said(url, opened, logit_lens):
    page, lens = opened(url), logit_lens.lens
    caption = page.locator(".tk-caption")
    assert caption.inner_text() == ""
    page.locator(cell(4, 4)).hover()
    assert caption.inner_text() == (
        f"At layer 4, after “␣sat<b>”: “{word(lens, lens.top[4, 4, 0])}” with "
        f"{percent(float(lens.probabilities[4, 4, 0]))}. The final answer "
        f"“{word(lens, logit_lens.answer)}” has {percent(float(lens.said[4, 4]))}, "
        f"rank {1 + lens.ranks[4, 4]}."
    )
    page.locator(cell(6, 3)).hover()
    assert (
        page.locator(".tk-over:not(text)").count() == (lens.top[..., 0] == lens.top[6, 3, 0]).sum()
    )
    assert page.locator(".tk-depths .tk-over").text_content() == "6"
    page.mouse.move(2, 2)
    assert caption.inner_text() == ""
    assert page.locator(".tk-over").count() == 0


def test_a_link_carries_the_state_and_is_corrected_where_it_does_not_fit(url, alive, logit_lens):
    name = logit_lens.id
    page = alive(f"{url}#{name}.token=2&depth=1")
    page.get_by_role("slider", name="depth").wait_for()
    assert state_of(page) == [2, 1]
    slide(page, 4)
    page.wait_for_url(f"**/page.html#{name}.token=2&depth=4")
    page.evaluate(f"location.hash = '{name}.token=0&depth=3'")
    page.wait_for_function("document.querySelector('.tk-steps input').value === '3'")
    assert state_of(page) == [0, 3]
    page.evaluate(f"location.hash = '{name}.token=-3&depth=99'")
    page.wait_for_url(f"**/page.html#{name}.token=0")
    assert state_of(page) == [0, 6]
    page = alive(f"{url}#{name}.revealed=1&record=2")
    assert page.get_by_role("button", name="Skip", exact=True).is_visible()


def test_the_table_gives_the_same_data(url, opened, table, logit_lens):
    page, lens = opened(url), logit_lens.lens
    head, *cells = table(page)
    assert head == [
        "after", "depth", "says", "probability", "final answer", "its probability", "its rank",
    ]  # fmt: skip
    assert cells == [
        [
            spelled(lens.tokens[t].encode()), place(d), word(lens, lens.top[d, t, 0]),
            percent(float(lens.probabilities[d, t, 0])), word(lens, lens.top[6, t, 0]),
            percent(float(lens.said[d, t])), str(1 + lens.ranks[d, t]),
        ]
        for t in range(5) for d in range(7)
    ]  # fmt: skip


def test_the_theme_is_followed_and_nothing_is_serious_for_accessibility(
    url, alive, rgb, serious_faults
):
    stroke = "getComputedStyle(document.querySelector('.tk-same')).stroke"
    for theme, color in zip(("light", "dark"), tokens()["hit"], strict=True):
        page = alive(url, width=400, reduced_motion="reduce")
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        assert page.evaluate(stroke) == rgb(color)  # in the key
        assert serious_faults(page) == []
        page.get_by_role("button", name="Skip", exact=True).click()
        for fold in page.locator("summary").all():
            fold.click()
        page.locator("details tbody tr").first.wait_for()
        slide(page, 2)
        page.locator(cell(1, 4)).hover()
        assert page.evaluate(stroke.replace("('.tk-same')", "('.tk-grid .tk-same')")) == rgb(color)
        assert serious_faults(page) == []


@pytest.mark.parametrize("width", [320, 400, 820, 1200])
def test_it_fits_every_width_and_a_long_text_scrolls_within(lens, publish, opened, shot, width):
    widget = LogitLens(lens(tuple(f" to{at}" for at in range(40)), depths=31))
    page = opened(publish(widget.html()), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    grid = page.locator(".tk-grid").bounding_box()
    assert page.locator(".tk-grid > svg").bounding_box()["width"] > grid["width"]

    def seen(token):
        box = page.locator(f".tk-given[data-token='{token}']").bounding_box()
        return (
            grid["x"] <= box["x"] + 1 and box["x"] + box["width"] <= grid["x"] + grid["width"] + 1
        )

    assert seen(39)
    page.locator(".tk-grid").focus()
    for _ in range(25):
        page.keyboard.press("ArrowLeft")
    assert state_of(page)[0] == 14
    assert seen(14)
    assert not seen(39)
    texts = page.locator(".tk-grid .tk-cell").evaluate_all(
        "all => all.map((one) => [one.querySelector('text').getBoundingClientRect().width,"
        " one.firstChild.getBoundingClientRect().width])"
    )
    assert all(text <= box for text, box in texts)
    beside = page.locator(".tk-curves").bounding_box()
    assert (beside["y"] > grid["y"] + grid["height"] - 1) == (width < 560)
    assert beside["x"] + beside["width"] <= width
    shot(page, f"logit-lens-{width}", full_page=True)


def test_words_of_another_language_need_no_code(logit_lens, publish, alive):
    logit_lens.words = {name: f"<{name}>" for name in logit_lens.words}
    page = alive(publish(logit_lens.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_role("slider", name="<depth>").fill("3")
    page.get_by_text("<table>").click()
    english = re.compile(r"[A-Za-z]{2,}")
    known = re.compile(r"<\w+>|word\d+|internationalisation|The|cat|sat")
    assert not english.search(known.sub("", page.locator(".tk-widget").inner_text()))
