"""Every page in a real browser: alive, readable, and asking no other host for anything."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from freshness import cache_folder
from jupyter_cache import get_cache

from toolkit import course

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

PAGES = ["index", *course.chapters(), "reference", "search", "genindex"]
DESKTOP, PHONE = (1280, 800), (400, 800)


@contextmanager
def tab(
    browser: Browser, origin: str, size=DESKTOP, scheme="light"
) -> Iterator[tuple[Page, list[str]]]:
    """A fresh tab, and the list of all that went wrong in it: errors, and requests elsewhere."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on(
        "request",
        lambda r: None if r.url.startswith((origin, "data:", "blob:")) else wrong.append(r.url),
    )
    page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    yield page, wrong
    context.close()


def settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_in_peace_and_axe_finds_nothing_serious(chromium, origin, name, scheme):
    with tab(chromium, origin, scheme=scheme) as (page, wrong):
        page.goto(f"{origin}{name}.html")
        settle(page)
        assert page.locator("h1:visible").count() == 1
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        assert wrong == []  # before axe, which fetches style sheets of its own accord
        # a scheme changes nothing but colours
        rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else None
        found = Axe().run(page, options=rules).response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        told = [
            (v["id"], n["html"][:200], n["failureSummary"]) for v in serious for n in v["nodes"]
        ]
        assert told == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_hangs_over_the_edge(chromium, origin, name):
    with tab(chromium, origin) as (page, _):
        page.goto(f"{origin}{name}.html")
        settle(page)
        for width in (1280, 1000, 768, 400, 320):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def widget_outputs(name: str) -> int:
    """How many outputs of the executed page are widgets, whether or not they made it to HTML."""
    cache = get_cache(cache_folder(course.root()))
    source = str(course.root() / "book" / f"{name}.md")
    newest = max(record.pk for record in cache.list_cache_records() if record.uri == source)
    cells = cache.get_cache_bundle(newest).nb.cells
    bundles = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    live = "application/vnd.jupyter.widget-view+json"
    return sum(live in data or "tk-home" in data.get("text/html", "") for data in bundles)


def dead_widgets(page: Page, expected: int) -> list[str]:
    """What is wrong with the widgets of an open page: too few, or deaf to their inputs."""
    settle(page)
    homes = page.locator(".tk-home")
    told = [] if homes.count() == expected else [f"{homes.count()} widgets of {expected}"]
    for home in homes.all():
        for skip in home.get_by_role("button", name=re.compile("skip", re.IGNORECASE)).all():
            skip.click()
        ranges = home.locator("input[type=range]:visible")
        lists = home.locator("select:visible")
        before = home.inner_html()
        if ranges.count():
            first = ranges.first
            first.focus()
            first.press(
                "ArrowRight" if first.input_value() != first.get_attribute("max") else "ArrowLeft"
            )
        elif lists.count():
            lists.first.select_option(index=lists.first.locator("option").count() - 1)
        else:
            told.append("no input that a reader could change")
            continue
        page.wait_for_timeout(300)
        if home.inner_html() == before:
            told.append("nothing changed with its input")
    told += page.locator(".tk-widget svg[width]:visible").evaluate_all(
        "all => all.map(svg => [svg.getAttribute('width'), svg.getBoundingClientRect().width])"
        ".filter(([wide, seen]) => seen < 0.95 * wide)"
        ".map(([wide, seen]) => `${wide} px are drawn and ${seen} seen`)"
    )
    return told


@pytest.mark.parametrize("name", course.chapters())
def test_every_widget_is_alive(chromium, origin, name):
    with tab(chromium, origin) as (page, wrong):
        page.goto(f"{origin}{name}.html")
        assert dead_widgets(page, widget_outputs(name)) == []
        assert wrong == []


def test_dead_widgets_would_be_noticed(chromium, origin):
    (name, count), *_ = [(c, n) for c in course.chapters() if (n := widget_outputs(c))]
    with tab(chromium, origin) as (page, _):
        page.route("**/_static/toolkit/*.js", lambda route: route.abort())
        page.goto(f"{origin}{name}.html")
        assert len(dead_widgets(page, count)) == count
        assert dead_widgets(page, count + 1) != dead_widgets(page, count)


def test_the_landing_pages_figure_moves_only_when_asked(chromium, origin):
    with tab(chromium, origin) as (page, wrong):
        page.goto(f"{origin}index.html")
        settle(page)
        figure = page.locator("figure.banding")
        readout, scrub = figure.locator(".readout"), figure.locator("input")
        first = readout.inner_text()
        page.wait_for_timeout(1800)
        assert readout.inner_text() == first

        figure.get_by_role("button", name="Step forward").click()
        assert readout.inner_text().startswith("Band 1 of 6")
        scrub.focus()
        scrub.press("End")
        last = readout.inner_text()
        assert re.search(r"^\d+ of 21 pairs met in a bucket\.", last)
        figure.get_by_role("button", name="Play again").click()
        figure.get_by_role("button", name="Pause").click()
        assert readout.inner_text() == first
        assert figure.get_by_role("button", name="Play", exact=True).is_visible()
        assert wrong == []


def test_the_landing_pages_figure_tells_what_its_record_says(chromium, origin):
    with tab(chromium, origin) as (page, _):
        page.goto(f"{origin}index.html")
        settle(page)
        record = json.loads(page.locator("figure.banding script").text_content())
        bands, buckets = record["bands"], record["buckets"]
        for step in range(1, bands + 1):
            page.locator("figure.banding input").fill(str(step))
            shared = page.evaluate(
                "step => [...document.querySelectorAll('figure.banding .slot.shared')]"
                ".filter(slot => slot.style.opacity === '1').length",
                step,
            )
            column = [row[step - 1] for row in buckets]
            assert shared == len({value for value in column if column.count(value) > 1})
        page.locator("figure.banding input").fill(str(bands + 1))
        copies = [p for p in record["pairs"] if p["jaccard"] >= record["threshold"]]
        assert 0 < len(copies) < len(record["pairs"])
        assert page.locator("figure.banding .name.copy").count() == len({p["j"] for p in copies})
        said = page.locator("figure.banding .verdict").all_text_contents()
        assert sum(verdict.startswith("near-copy of ") for verdict in said) == len(copies)


def test_the_landing_page_says_how_to_start_and_to_test(chromium, origin):
    with tab(chromium, origin) as (page, _):
        page.goto(f"{origin}index.html")
        commands = page.locator("div.highlight-bash").first.inner_text().splitlines()
        assert [line.split("#")[0].strip() for line in commands if line.startswith("make")] == [
            "make lab",
            "make test",
        ]


@pytest.mark.parametrize("width", [375, 400, 575, 576, 1000, 1280])
def test_the_landing_pages_figure_is_legible_and_inside_at_every_width(chromium, origin, width):
    with tab(chromium, origin, (width, 800)) as (page, _):
        page.goto(f"{origin}index.html")
        settle(page)
        page.locator("figure.banding input").press("End")
        texts = page.locator("figure.banding svg text").evaluate_all(
            """(texts) => texts.map((text) => {
                const box = text.getBoundingClientRect();
                const size = parseFloat(getComputedStyle(text).fontSize);
                const svg = text.ownerSVGElement;
                const edge = svg.getBoundingClientRect();
                const scale = edge.width / svg.viewBox.baseVal.width;
                return [text.textContent, size * scale, edge.right - box.right];
            })"""
        )
        assert [text for text in texts if text[1] < 11] == []
        assert [text for text in texts if text[2] < -1] == []


def test_the_landing_pages_figure_keeps_its_step_when_the_screen_turns(chromium, origin):
    with tab(chromium, origin, PHONE) as (page, _):
        page.goto(f"{origin}index.html")
        settle(page)
        page.locator("figure.banding input").press("End")
        narrow = page.locator("figure.banding svg").get_attribute("viewBox")
        page.set_viewport_size({"width": 800, "height": 400})
        page.wait_for_function(
            "was => document.querySelector('figure.banding svg').getAttribute('viewBox') !== was",
            arg=narrow,
        )
        assert page.locator("figure.banding svg.checked").count() == 1


def test_search_finds_the_chapter(chromium, origin):
    with tab(chromium, origin) as (page, wrong):
        page.goto(f"{origin}search.html?q=MinHash")
        hit = page.locator("#search-results a[href*='data/dedup.html']").first
        hit.wait_for()
        assert wrong == []


def test_the_search_field_opens_from_the_keyboard_and_the_landing_page(chromium, origin):
    with tab(chromium, origin) as (page, _):
        page.goto(f"{origin}index.html")
        settle(page)
        page.get_by_role("button", name="Search", exact=True).first.click()
        page.keyboard.type("MinHash")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=MinHash*")


def test_the_theme_switch_is_obeyed_at_once_and_remembered(chromium, origin):
    with tab(chromium, origin) as (page, _):
        page.goto(f"{origin}{course.chapters()[0]}.html")
        settle(page)
        background = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(background)
        page.locator(".bd-header-article .theme-switch-button").click()
        page.locator(".theme-change-button[data-mode=dark]:visible").click()
        assert page.evaluate(background) != light
        page.reload()
        settle(page)
        assert page.evaluate(background) != light


@pytest.mark.parametrize("name", ["index", *course.chapters()])
def test_the_notebook_is_offered_and_downloads(chromium, origin, name):
    with tab(chromium, origin) as (page, _):
        page.goto(f"{origin}{name}.html")
        settle(page)
        page.locator(".dropdown-download-buttons > button").click()
        link = page.locator("a.btn-download-notebook-button")
        assert link.is_visible()
        answer = page.request.get(link.evaluate("a => a.href"))
        assert answer.json()["nbformat"] == 4


@pytest.mark.parametrize("look", ["light", "dark", "400px"])
@pytest.mark.parametrize("name", PAGES)
def test_screenshots_are_kept(chromium, origin, name, look):
    size = PHONE if look == "400px" else DESKTOP
    folder = Path(os.environ.get("TOOLKIT_SHOTS") or course.root() / "shots")
    with tab(chromium, origin, size, "dark" if look == "dark" else "light") as (page, _):
        page.goto(f"{origin}{name}.html")
        settle(page)
        target = folder / f"{name.replace('/', '-')}-{look}.png"
        page.screenshot(path=target, full_page=True)
        assert target.stat().st_size > 0
