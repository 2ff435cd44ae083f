"""`Rotations` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from toolkit.models.positions import outside
from toolkit.viz import Rotations, tokens
from toolkit.viz.text import percent, significant

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

METHODS = ["as trained", "interpolation", "NTK-aware", "YaRN"]
FIRST = {"position": 16_384, "method": 0, "factor": 1}
MODULE = "const js = await import('../_static/toolkit/rotations.js');"
DRAWN = ".tk-dial"


@pytest.fixture
def url(rotations, publish):
    return publish(rotations.html())


def link(page, widget, **state):
    """Ask for a state by the address, and wait until it is shown."""
    asked = "&".join(f"{name}={value}" for name, value in state.items())
    page.evaluate("hash => { location.hash = hash }", f"{widget.id}.{asked}")
    shown = f"{state.get('position', 16_384):,} = "
    page.locator(".tk-steps output", has_text=re.compile(f"^{shown}")).wait_for()


def cells(page, selector="details tbody tr"):
    return page.locator(selector).evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )


def clockwise(page):
    """Where each hand of the picture points, in degrees."""
    return page.locator(".tk-dial > g").evaluate_all(
        "hands => hands.map((hand) => Number(/rotate\\(([-\\d.]+)\\)/"
        ".exec(hand.getAttribute('transform'))[1]))"
    )


def past(page):
    """Which dials are flagged."""
    return page.locator(".tk-dial").evaluate_all(
        "dials => dials.map((dial) => dial.classList.contains('tk-past'))"
    )


def test_the_browser_has_pythons_closed_forms(url, visit, rotations, dials):
    positions = [0, 1, 8191, 8192, 8193, 12_345, 16_384, 24_576, 32_768, 65_535, 65_536]
    found = visit(url).evaluate(
        f"""async ([positions, frequencies, reference]) => {{ {MODULE}
            const arcs = reference.map((frequency) => js.arc(8192, frequency));
            return positions.map((m) => frequencies.map((of) => of.map((pairs) => pairs.map(
                (frequency, at) => [js.angle(m, frequency), arcs[at],
                    js.outside(m * frequency, arcs[at])]))));
        }}""",
        [positions, dials.frequencies.tolist(), dials.frequencies[0, 0].tolist()],
    )
    for position, by_method in zip(positions, found, strict=True):
        rotations.position = position
        for method in range(4):
            for factor in range(4):
                rotations.method, rotations.factor = method, factor
                angles, arcs, out = map(list, zip(*by_method[method][factor], strict=True))
                assert angles == rotations.angles().tolist()  # the same doubles, the same rounding
                assert arcs == rotations.arcs().tolist()
                assert out == rotations.outside().tolist()
                if position:
                    assert out == outside(dials, position)[method, factor].tolist()


def test_the_sliders_stops_rise_to_the_longest_by_way_of_every_multiple(url, visit):
    found = visit(url).evaluate(
        f"""async () => {{ {MODULE}
            return [js.stops({{trained: 8192, longest: 65536, factors: [1, 2, 4, 8]}}),
                js.stops({{trained: 1000, longest: 3000, factors: [1, 1.5, 3]}}),
                js.stops({{trained: 1, longest: 2, factors: [1]}})];
        }}"""
    )
    for stops, multiples in zip(
        found, [(8192, 16_384, 32_768, 65_536), (1000, 1500, 3000), (1, 2)], strict=True
    ):
        assert stops == sorted(set(stops))
        assert set(stops) >= {0, 1, 2, *multiples}
        assert stops[-1] == multiples[-1]
    assert len(found[0]) < 140


def test_the_first_reveal_waits_for_a_guess(url, alive, label, value, rotations):
    page = alive(url)
    assert not page.locator(".tk-picture").is_visible()
    asked = page.locator(".tk-ask").inner_text()
    assert "up to 8,192 positions" in asked
    assert "In a context of 16,384, twice as long, how many of the 32 dials" in asked
    assert value(page, "dials outside") == "?"
    assert not any(past(page))
    assert "12" not in label(page)
    rotations.position = 8192
    assert clockwise(page) == pytest.approx(np.degrees(rotations.angles()).tolist(), abs=1e-3)
    page.locator(".tk-dials").focus()
    page.keyboard.press("ArrowRight")  # waits too
    assert value(page, "dials outside") == "?"
    page.get_by_role("slider", name="your guess").fill("9")
    page.get_by_role("button", name="Compare").click()
    told = "You guessed 9. By position 16,384, 12 of 32 have left what training showed them."
    assert page.locator(".tk-remark").inner_text() == told
    assert value(page, "dials outside") == "12 of 32"
    assert page.evaluate("document.activeElement.type") == "range"
    page.get_by_role("status").get_by_text(told).wait_for(state="attached")


def test_every_choice_shows_what_python_has(url, opened, label, value, rotations, dials):
    page = opened(url, reduced_motion="reduce")
    for state in (
        FIRST,
        {"position": 8192, "method": 0, "factor": 0},
        {"position": 12_000, "method": 2, "factor": 1},
        {"position": 32_768, "method": 1, "factor": 2},
        {"position": 50_000, "method": 3, "factor": 3},
        {"position": 65_536, "method": 2, "factor": 3},
        {"position": 0, "method": 3, "factor": 1},
    ):
        link(page, rotations, **state)
        for name, to in state.items():
            setattr(rotations, name, to)
        out, angles, arcs = rotations.outside(), rotations.angles(), rotations.arcs()
        assert label(page) == rotations.summary()
        assert value(page, "dials outside") == f"{out.sum()} of 32"
        assert past(page) == out.tolist()
        assert clockwise(page) == pytest.approx(np.degrees(angles).tolist(), abs=1e-3)
        stray = page.locator(".tk-dial > g > .tk-outside").count()
        assert stray == np.count_nonzero(angles > arcs * (1 + 1e-9))
        assert page.locator(".tk-dial > .tk-new").count() == out.sum()
        labels = page.locator(".tk-dial > text").all_text_contents()
        assert labels == [significant(2 * math.pi / each) for each in rotations.frequencies()]
        fastest = rotations.frequencies()[0]
        assert value(page, "step of the fastest dial") == f"{significant(math.degrees(fastest))}°"
        assert value(page, "slowest hand") == f"{significant(math.degrees(angles[-1]))}°"
        by_factor = outside(dials, max(1, state["position"]))[:, state["factor"]]
        expected = [f"{count} outside" for count in by_factor.sum(1).tolist()]
        assert page.locator(".tk-count").all_inner_texts() == expected
        steps = dials.frequencies[:, state["factor"], 0] / dials.frequencies[0, 0, 0]
        expected = [f"fast step {percent(share)}" for share in steps.tolist()]
        assert page.locator(".tk-fine").all_inner_texts() == expected
        ratios = rotations.frequencies()[:-1] / rotations.frequencies()[1:]
        bases = dict.fromkeys(significant(float(ratio)) for ratio in (ratios.min(), ratios.max()))
        assert value(page, "base β") == "–".join(bases)


def test_arcs_are_drawn_as_far_as_training_went_and_what_is_new_after_them(url, opened, rotations):
    page = opened(url, reduced_motion="reduce")
    covers = """(path, points) => {
        const r = path.ownerSVGElement.querySelector(".tk-rim").r.baseVal.value / 2;
        return points.map((at) =>
            path.isPointInFill(new DOMPoint(r * Math.sin(at), -r * Math.cos(at))));
    }"""
    points = np.linspace(0.013, 2 * math.pi - 0.013, 240)
    for dial in (19, 20, 22, 25, 31):
        arc, turned = rotations.arcs()[dial], rotations.turned()[dial]
        place = page.locator(f"[data-dial='{dial}']")
        seen = place.locator("> .tk-arc").evaluate(covers, points.tolist())
        assert seen == (points < arc).tolist()
        if dial == 19:
            assert place.locator("> .tk-new").count() == 0
            continue
        new = place.locator("> .tk-new").evaluate(covers, points.tolist())
        assert new == ((points > arc) & (points < turned)).tolist()


def test_the_controls_move_it(url, opened, value):
    page = opened(url, reduced_motion="reduce")
    slider = page.get_by_role("slider", name="position")
    slider.fill(slider.get_attribute("max"))
    assert page.locator(".tk-steps output").inner_text() == "65,536 = 8 × trained"
    assert page.get_by_role("button", name="Forward").is_disabled()
    page.get_by_role("radio", name="× 8").check()
    for method, count in zip(METHODS, (12, 0, 11, 0), strict=True):
        page.get_by_role("radio", name=method).check()
        assert value(page, "dials outside") == f"{count} of 32"
    page.get_by_role("radio", name="× 4").check()
    assert value(page, "dials outside") == "12 of 32"
    page.get_by_role("button", name="Back").click()
    assert page.locator(".tk-steps output").inner_text() == "65,535 = 8 × trained"
    page.get_by_role("button", name="Forward").click()
    assert slider.get_attribute("aria-valuetext") == "65,536 = 8 × trained"
    slider.fill("0")
    assert page.get_by_role("button", name="Back").is_disabled()
    assert set(clockwise(page)) == {0}


def test_the_keyboard_does_it_all(url, alive):
    page = alive(url)
    for key in ("Tab", "ArrowRight", "Tab", "Enter"):
        page.keyboard.press(key)
    assert page.locator(".tk-remark").inner_text().startswith("You guessed 17.")
    page.keyboard.press("Home")
    output = page.locator(".tk-steps output")
    assert output.inner_text() == "0 = 0 × trained"
    page.locator(".tk-dials").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert output.inner_text().startswith("2 = ")
    caption = page.locator(".tk-caption")
    for key in ("ArrowUp", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    assert caption.inner_text().startswith("Dial 2 turns once in")
    page.get_by_role("status").get_by_text("Dial 2 turns").wait_for(state="attached")
    page.get_by_role("radio", name="as trained").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("radio", name="interpolation").is_checked()


def test_play_goes_to_the_end_and_can_be_paused(url, opened):
    page = opened(url, reduced_motion="reduce")
    page.clock.install()
    slider = page.get_by_role("slider", name="position")
    last = int(slider.get_attribute("max"))
    slider.fill(str(last - 4))
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(250)  # two ticks of a little over 100 ms
    page.get_by_role("button", name="Pause").click()
    page.clock.run_for(3000)
    assert slider.input_value() == str(last - 2)
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(3000)
    assert slider.input_value() == str(last)
    page.get_by_role("button", name="Play").click()  # from the start again
    assert slider.input_value() == "0"


def test_a_dial_tells_of_itself(url, opened, rotations):
    page = opened(url, reduced_motion="reduce")
    caption = page.locator(".tk-caption")
    assert caption.inner_text() == "Point at a dial for its numbers."
    page.locator("[data-dial='24']").hover()
    theta = rotations.frequencies()[24]
    assert caption.inner_text() == (
        f"Dial 24 turns once in {significant(2 * math.pi / theta)} tokens, "
        f"{significant(math.degrees(theta))}° a token. In training it made "
        f"{significant(8192 * theta / 2 / math.pi)} turns: 0° to "
        f"{significant(math.degrees(8192 * theta))}° seen. At 16,384 its hand is at "
        f"{significant(math.degrees(16_384 * theta))}°, outside of that arc."
    )
    page.locator("[data-dial='20']").click()
    page.mouse.move(2, 2)
    assert caption.inner_text().endswith("back in that arc, after it left it.")
    assert page.locator(".tk-over").get_attribute("data-dial") == "20"
    page.wait_for_url(f"**#{rotations.id}.dial=20")
    page.locator("[data-dial='3']").hover()
    assert "turns: the whole circle seen." in caption.inner_text()
    assert caption.inner_text().endswith("in that arc.")
    page.locator("[data-dial='20']").click()
    page.mouse.move(2, 2)
    assert caption.inner_text() == "Point at a dial for its numbers."


def test_a_link_carries_the_state(url, alive, rotations):
    page = alive(f"{url}#{rotations.id}.position=20000&method=3&factor=2&dial=31")
    page.locator(".tk-steps output").get_by_text("20,000 = 2.44 × trained").wait_for()
    assert page.get_by_role("radio", name="YaRN").is_checked()
    assert page.get_by_role("radio", name="× 4").is_checked()
    assert page.locator(".tk-over").get_attribute("data-dial") == "31"
    page.get_by_role("button", name="Forward").click()
    page.wait_for_url(f"**#{rotations.id}.position=20001&method=3&factor=2&dial=31")
    page.evaluate(f"location.hash = '{rotations.id}.position=99999999&method=9&factor=9&dial=99'")
    page.wait_for_url(f"**#{rotations.id}.position=65536&method=3&factor=3&dial=31")
    page = alive(f"{url}#{rotations.id}.revealed=1&position=x")
    assert page.get_by_role("button", name="Skip", exact=True).is_visible()


def test_the_table_gives_the_same_data(url, opened, rotations, dials):
    page = opened(url, reduced_motion="reduce")
    page.get_by_text("The same data as a table").click()
    page.locator("details tbody tr").first.wait_for()
    link(page, rotations, position=14_000, method=2, factor=1)
    rotations.position, rotations.method = 14_000, 2
    (head,) = cells(page, "details thead tr")
    assert head == [
        "dial", "tokens in a turn", "turns in training", "seen", "angle now", "stayed in its arc",
    ]  # fmt: skip
    trained = 8192 * dials.frequencies[0, 0]
    expected = [
        [
            str(dial), significant(2 * math.pi / frequency), significant(swept / 2 / math.pi),
            f"0° to {significant(math.degrees(arc))}°" if arc < 2 * math.pi else "the whole circle",
            f"{significant(math.degrees(angle))}°", "no" if out else "yes",
        ]
        for dial, (frequency, swept, arc, angle, out) in enumerate(
            zip(rotations.frequencies(), trained, rotations.arcs(), rotations.angles(),
                rotations.outside(), strict=True)
        )
    ]  # fmt: skip
    assert cells(page) == expected
    assert {row[-1] for row in expected} == {"yes", "no"}


def test_hands_swing_only_for_readers_who_want_motion(url, alive):
    for motion in ("reduce", "no-preference"):
        page = alive(url, reduced_motion=motion)
        page.get_by_role("button", name="Skip", exact=True).click()
        page.wait_for_timeout(1200)
        seen = page.evaluate(
            """async () => {
                document.querySelectorAll(".tk-method input")[1].click();
                const last = "[data-dial='31'] > g";
                const hand = () => document.querySelector(last).getAttribute("transform");
                const seen = new Set([hand()]);
                for (let at = 0; at < 60; at++) {
                    await new Promise(requestAnimationFrame);
                    seen.add(hand());
                }
                return [...seen];
            }"""
        )
        assert (len(seen) == 1) == (motion == "reduce")
        assert clockwise(page)[31] == pytest.approx(
            math.degrees(8192 * 100_000 ** (-31 / 32)), abs=1e-3
        )


def test_the_theme_is_followed_at_once_and_nothing_serious_for_accessibility(
    url, alive, rgb, shot, serious_faults
):
    page = alive(url, reduced_motion="reduce")
    assert serious_faults(page) == []
    page.get_by_role("button", name="Skip", exact=True).click()
    page.locator("[data-dial='21']").click()
    stroke = "getComputedStyle(document.querySelector('.tk-past .tk-rim')).stroke"
    light, dark = tokens()["missed"]
    for theme, color in (("light", light), ("dark", dark)):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        assert page.evaluate(stroke) == rgb(color)
        shot(page, f"rotations-{theme}", full_page=True)
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        assert serious_faults(page) == []
    page.evaluate("delete document.documentElement.dataset.theme")
    for scheme, color in (("light", light), ("dark", dark)):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(stroke) == rgb(color)
    page.emulate_media(media="print")
    assert page.locator(".tk-picture svg").is_visible()


def test_it_fits_every_width(url, opened, shot):
    page = opened(url, reduced_motion="reduce")
    for fold in page.locator("summary").all():
        fold.click()
    for width in (1200, 820, 400, 320):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_function(
            f"Math.abs(document.querySelector('.tk-dials > svg').clientWidth - {width} + 24) < 12"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = page.locator(".tk-dial .tk-target").evaluate_all(
            "all => all.map((one) => one.getBoundingClientRect().toJSON())"
        )
        assert min(box["width"] for box in boxes) >= 44
        assert min(box["left"] for box in boxes) >= 0
        assert max(box["right"] for box in boxes) <= width
        texts = page.locator(".tk-dial > text").evaluate_all(
            "all => all.map((one) => one.getBoundingClientRect().width)"
        )
        assert max(texts) <= boxes[0]["width"]
        shot(page, f"rotations-{width}", full_page=True)


def test_words_of_another_language_need_no_code(rotations, publish, visit):
    rotations.words = {name: f"<{name}>" for name in rotations.words} | {"outside": "越界"}
    page = visit(publish(rotations.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_text("越界", exact=True).wait_for()
    page.locator("[data-dial='5']").hover()
    said = page.locator(".tk-widget").inner_text()
    for method in METHODS:
        said = said.replace(method, "")
    assert not re.search(r"[A-Za-z]{3,}", re.sub(r"<\w+>", "", said))


def test_two_widgets_on_a_page_keep_apart(dials, publish, alive):
    pair = [Rotations(dials), Rotations(dials)]
    page = alive(publish("".join(widget.html() for widget in pair)))
    for widget in pair:
        page.locator(f"#{widget.id}").get_by_role("button", name="Skip", exact=True).click()
    page.locator(f"#{pair[1].id}").get_by_role("radio", name="YaRN").check()
    page.wait_for_url(f"**#{pair[1].id}.method=3")
    assert page.locator(f"#{pair[0].id}").get_by_role("radio", name="as trained").is_checked()
