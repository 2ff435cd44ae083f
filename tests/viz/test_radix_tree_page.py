"""`RadixTree` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from toolkit.serving.kv_cache import RadixTree as PrefixTree
from toolkit.serving.kv_cache.tree_history import TreeRecorder
from toolkit.viz import RadixTree, tokens
from toolkit.viz.radix_tree_picture import layout
from toolkit.viz.text import GAP

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODULE = "const js = await import('../_static/toolkit/radix_tree.js');"
DRAWN = ".tk-scroll .tk-node"


@pytest.fixture
def url(radix_tree, publish):
    return publish(radix_tree.html())


def slide(page, step):
    page.get_by_role("slider", name="step").fill(str(step))


def at(page):
    """Which step the page shows, from 0."""
    return int(page.get_by_role("slider", name="step").input_value())


def now(page):
    return page.locator(".tk-now").inner_text().replace(GAP, " ")


def about(page):
    return page.locator(".tk-about").inner_text()


def nodes(page, name="node"):
    """The numbers of the nodes in a look."""
    found = page.locator(f".tk-scroll .tk-{name}[data-node]")
    return sorted(found.evaluate_all("nodes => nodes.map((node) => Number(node.dataset.node))"))


def first(widget, event, pages=1):
    """The first step of a kind."""
    steps = widget.history.steps
    return next(i for i, one in enumerate(steps) if one.event == event and one.pages >= pages)


def random_history(seed, requests=24):
    """Short texts of few tokens, of which many are evicted."""
    rng = np.random.default_rng(seed)
    log = TreeRecorder()
    tree = PrefixTree(on_step=log)
    for log.request in range(requests):
        text = rng.integers(0, 3, rng.integers(1, 8)).tolist()
        match = tree.match(text)
        tree.lock(match.node)
        tree.evict(tree.pages + len(text) - len(match.values) - 14)
        tree.insert(text, text)
        tree.unlock(match.node)
    return log.history()


def test_the_closed_forms_are_pythons(url, visit):
    widgets = [RadixTree(random_history(seed)) for seed in range(6)]
    records = [widget.record for widget in widgets]
    found = visit(url).evaluate(
        f"""async (records) => {{ {MODULE}
            return records.map((record) => record.event.map((_, step) => {{
                const rows = js.alive(record, step);
                return [rows, js.layout(record, rows)];
            }}));
        }}""",
        records,
    )
    for widget, steps in zip(widgets, found, strict=True):
        record = widget.record
        for step, (rows, placed) in enumerate(steps):
            widget.step = step
            there = {(one.node, one.start, one.locks, one.pages) for one in widget.tree}
            names = ("node", "start", "locks", "tokens")
            assert {tuple(record[name][row] for name in names) for row in rows} == there
            expected = layout(*([record[name][row] for row in rows]
                                for name in ("node", "parent", "order")))  # fmt: skip
            drawn = [(rows.index(one["at"]), one["depth"], one["row"]) for one in placed]
            assert drawn == expected


def test_columns_share_the_room_and_none_gets_more_than_it_wants(url, visit):
    cases = [
        ([30, 100, 50], 400),
        ([30, 100, 50], 120),
        ([90, 90], 100),
        ([200, 10, 60], 130),
        ([], 9),
    ]
    found = visit(url).evaluate(
        f"async (cases) => {{ {MODULE} return cases.map((one) => js.shared(...one)); }}", cases
    )
    assert found == [[30, 100, 50], [30, 45, 45], [50, 50], [60, 10, 60], []]


def test_it_replaces_the_picture_which_stands_in_without_scripts_and_in_print(
    url, replaced_picture
):
    name = replaced_picture(url)
    assert name == "What does a tree of prefixes share, and what does it forget?"


def test_the_guess_comes_first_and_is_compared(url, alive, label, radix_tree):
    steps = radix_tree.history.steps
    found, added = (sum(s.pages for s in steps if s.event == e) for e in ("match", "insert"))
    page = alive(url)
    assert page.locator(".tk-ask").inner_text() == (
        f"In {len(steps)} steps, texts bring {found + added} tokens to the tree: some are found "
        "there, the others are put in. What share is found?"
    )
    page.get_by_text("The same data as a table").click()
    assert page.locator("details tbody tr").count() == 0
    assert page.locator(".tk-value").all_text_contents()[2:] == ["?", "?"]
    assert label(page).endswith("is hidden until you guess.")
    page.locator(".tk-scroll").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".tk-node[data-node='2']").click()
    assert now(page) == radix_tree.event()
    page.get_by_role("slider", name="your guess").fill("40")
    page.get_by_role("button", name="Compare").click()
    told = page.locator(".tk-remark").inner_text().replace(GAP, " ")
    share = f"{100 * found / (found + added):.3g}"
    assert told == (f"You guessed 40 %; {share} % is found: {found} of {found + added} tokens.")
    assert page.evaluate("document.activeElement.type") == "range"
    page.get_by_role("button", name="Forward").click()
    assert page.locator(".tk-remark").inner_text() == ""


def test_every_step_shows_what_python_says(url, opened, label, value, radix_tree):
    page = opened(url)
    for step in range(len(radix_tree.history.steps)):
        slide(page, step)
        radix_tree.step = step
        assert label(page) == radix_tree.summary()
        assert now(page) == radix_tree.event()
        assert nodes(page) == sorted(one.node for one in radix_tree.tree)
        kept = [one for one in radix_tree.tree if not one.evicted or one.end > step]
        assert value(page, "tokens in the tree") == str(sum(one.pages for one in kept))
        assert value(page, "locked") == str(sum(one.pages for one in kept if one.locks))
        assert nodes(page, "is-locked") == sorted(o.node for o in kept if o.locks and o.node)
    page.get_by_role("status").get_by_text(radix_tree.summary()).wait_for(state="attached")


def test_a_history_that_nobody_asked_for_is_shown_too(publish, opened, label):
    widget = RadixTree(random_history(3))
    page = opened(publish(widget.html()))
    for step in range(0, len(widget.history.steps), 7):
        slide(page, step)
        widget.step = step
        assert label(page) == widget.summary()


def test_each_event_has_its_look(url, opened, radix_tree):
    page = opened(url)
    for event, looks in (
        ("split", {"split": [1, 2]}),
        ("match", {"found": [2]}),
        ("insert", {"new": [1]}),
        ("evict", {"gone": [3]}),
    ):
        slide(page, first(radix_tree, event))
        for name in ("split", "found", "new", "gone"):
            assert nodes(page, f"is-{name}") == looks.get(name, [])
    slide(page, first(radix_tree, "match", pages=7))  # a path of two nodes
    assert nodes(page, "is-found") == [2, 4]


def joints(page):
    """Where the lines between nodes begin and end."""
    path = page.locator(".tk-scroll .tk-edge").get_attribute("d")
    numbers = [re.findall(r"-?[\d.]+", part) for part in path.split("M")[1:]]
    return [tuple(float(one) for one in (n[0], n[1], n[-1])) for n in numbers]


@pytest.mark.parametrize("width", [320, 820])
def test_runs_begin_where_their_parents_end(url, opened, boxes, radix_tree, width):
    page = opened(url, width=width)
    step = len(radix_tree.history.steps) - 1
    slide(page, step)
    radix_tree.step = step
    shapes = boxes(page, ".tk-scroll [data-node] > rect:first-child")
    drawn = page.locator(".tk-scroll [data-node]").evaluate_all(
        "nodes => nodes.map((node) => Number(node.dataset.node))"
    )
    found = dict(zip(drawn, shapes, strict=True))
    for one in radix_tree.tree:
        if not one.node:
            continue
        (left, top, *_), (above, over, right, _) = found[one.node], found[one.parent]
        if width == 320:
            assert (left - above, top > over) == (pytest.approx(16), True)
        else:
            assert left > right
    tops = sorted(top for _, top, _, _ in found.values())
    assert len(joints(page)) == len(found) - 1
    if width == 320:  # one below another
        assert np.diff(tops) == pytest.approx(31, abs=0.1)


def test_runs_say_their_number_their_text_and_their_tokens(url, opened, radix_tree):
    page = opened(url)
    of_two = page.locator(".tk-node[data-node='2'] text")
    slide(page, 12)
    said = of_two.all_text_contents()
    assert said == ["×2", "2", "You are a helpful assistant . ", "6"]
    slide(page, len(radix_tree.history.steps) - 1)
    assert of_two.all_text_contents()[0] == ""  # one lock
    slide(page, 38)
    said = page.locator(".tk-node[data-node='6'] text").all_text_contents()
    assert said == ["6", "cat sat ", "2"]  # none


def test_a_node_says_who_goes_through_it(url, opened, radix_tree):
    page = opened(url)
    slide(page, 12)
    radix_tree.step = 12
    page.locator(".tk-node[data-node='2']").hover()
    used = next(one.used for one in radix_tree.tree if one.node == 2)
    assert about(page) == (
        f"Node 2, below node 0: 6 tokens, locked by 2, last used in step {used + 1}."
    )
    assert page.locator(".tk-chosen code").text_content() == "You are a helpful assistant . "
    assert nodes(page, "looked") == [2]
    page.locator(".tk-node[data-node='2']").click()
    page.locator(".tk-title").hover()
    assert nodes(page, "looked") == [2]
    chips = page.locator(".tk-through button")
    assert chips.all_text_contents() == ["0", "1", "2"]
    chips.nth(0).hover()
    assert nodes(page, "way") == [1, 2]
    chips.nth(1).hover()
    assert nodes(page, "way") == [2, 3, 4]
    page.locator(".tk-title").hover()
    assert nodes(page, "way") == []
    chips.nth(1).click()
    assert at(page) == radix_tree.history.requests.index(1)
    page.locator(".tk-node[data-node='2']").click()  # a second time: none is chosen
    page.locator(".tk-title").hover()
    assert nodes(page, "looked") == []
    page.locator(".tk-node[data-node='0']").hover()
    assert about(page) == "The root: every text begins here."


def test_arrow_keys_step_and_choose_the_node(url, opened):
    page = opened(url)
    slide(page, 12)
    page.locator(".tk-scroll").focus()
    for key, step in (("ArrowRight", 13), ("ArrowRight", 14), ("ArrowLeft", 13)):
        page.keyboard.press(key)
        assert at(page) == step
    seen = []
    for key in ["ArrowUp"] * 9 + ["ArrowDown"] * 2:
        page.keyboard.press(key)
        seen += nodes(page, "looked")
    assert seen[8:] == [0, 2, 1]  # the root, and down by the picture's order
    assert page.evaluate("document.activeElement.className") == "tk-scroll"
    page.keyboard.press("Control+ArrowRight")
    assert at(page) == 13
    slide(page, 0)
    assert page.get_by_role("button", name="Back").is_disabled()


def test_it_plays_to_the_end_and_from_there_anew(url, opened, plays, radix_tree):
    page = opened(url)
    last = len(radix_tree.history.steps) - 1
    plays(page, at, last=last, past=5)


def test_a_link_holds_the_step_and_bends_what_can_not_be(radix_tree, publish, alive, opened, label):
    url = publish(radix_tree.html())
    page = opened(url)
    slide(page, 12)
    page.locator(".tk-node[data-node='2']").click()
    page.wait_for_url(f"**#{radix_tree.id}.step=12&node=2")
    again = alive(page.url)
    assert label(again) == label(page)
    assert nodes(again, "looked") == [2]
    wrong = alive(f"{url}#{radix_tree.id}.step=999&node=-7&x=1")
    last = len(radix_tree.history.steps) - 1
    assert at(wrong) == last
    wrong.wait_for_url(f"**#{radix_tree.id}.step={last}")


def test_a_chosen_node_that_is_not_there_gives_way_to_the_steps_own(radix_tree, publish, alive):
    url = publish(radix_tree.html())
    page = alive(f"{url}#{radix_tree.id}.step=2&node=9")
    assert nodes(page, "looked") == []
    assert about(page).startswith("Node 1, below node 0: 8 tokens")


def test_the_table_gives_the_same_data(url, opened, table, radix_tree, tree_history):
    page = opened(url)
    slide(page, 20)
    radix_tree.step = 20
    found = table(page)
    assert found[0] == [
        "node",
        "below",
        "tokens",
        "locked by",
        "last used in step",
        "requests",
        "run",
    ]
    history, pieces = tree_history()
    through = {
        one.node: [v.request for v in history.visits if v.node == one.node and v.step <= 20]
        for one in radix_tree.tree
    }
    assert sorted(found[1:]) == sorted(
        [
            str(one.node), str(one.parent), str(one.pages), str(one.locks), str(one.used + 1),
            ", ".join(map(str, through[one.node])), "".join(pieces[token] for token in one.label),
        ]
        for one in radix_tree.tree if one.node
    )  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_and_accessibility(url, alive, radix_tree, rgb, serious_faults, shot, theme):
    page = alive(url, reduced_motion="reduce")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    assert serious_faults(page) == []
    shot(page, f"radix-tree-ask-{theme}", full_page=True)
    page.get_by_role("button", name="Skip", exact=True).click()
    slide(page, 12)
    paint = "getComputedStyle(document.querySelector('.tk-scroll .tk-is-locked > rect')).stroke"
    assert page.evaluate(paint) == rgb(tokens()["hit"][theme == "dark"])
    shot(page, f"radix-tree-found-{theme}", full_page=True)
    slide(page, first(radix_tree, "evict"))
    shot(page, f"radix-tree-evicted-{theme}", full_page=True)
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    assert serious_faults(page) == []
    page.evaluate("delete document.documentElement.dataset.theme")
    for scheme, color in zip(("light", "dark"), tokens()["hit"], strict=True):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(paint) == rgb(color)


@pytest.mark.parametrize("width", [320, 360, 560, 820, 1200])
@pytest.mark.parametrize("text", [True, False])
def test_it_fits_every_width_and_no_words_overlap(
    tree_history, publish, opened, boxes, apart, shot, width, text
):
    history, pieces = tree_history()
    widget = RadixTree(history, pieces) if text else RadixTree(random_history(1))
    page = opened(publish(widget.html()), width=width, reduced_motion="reduce")
    for step in range(3, len(widget.history.steps), 9):
        slide(page, step)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shapes = boxes(page, ".tk-scroll [data-node] > rect:first-child")
        apart(shapes, width, down=0)
        texts = boxes(page, ".tk-scroll text:not(:empty)")
        apart(texts, width, across=0.5)
        for left, top, right, bottom in texts:
            inside = [s for s in shapes if s[0] <= left and right <= s[2] + 0.5
                      and s[1] - 1 <= top and bottom <= s[3] + 1]  # fmt: skip
            assert inside
    shot(page, f"radix-tree-{'text' if text else 'ids'}-{width}", full_page=True)
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function("document.querySelector('.tk-scroll > svg').clientWidth > 600")


def test_a_large_tree_scrolls_to_what_happens(publish, opened, boxes):
    log = TreeRecorder(512)
    tree = PrefixTree(on_step=log)
    for log.request in range(120):
        tree.match([1, log.request + 5])
        tree.insert([1, log.request + 5], [0, 1])
    page = opened(publish(RadixTree(log.history()).html()))
    slide(page, len(log.history().steps) - 1)
    room = page.locator(".tk-scroll").bounding_box()
    (_, top, _, bottom), *_ = boxes(page, ".tk-scroll .tk-is-new > rect")
    assert room["y"] <= top < bottom <= room["y"] + room["height"]
    page.locator(".tk-scroll").focus()
    for _ in range(40):
        page.keyboard.press("ArrowUp")
    (_, top, _, bottom), *_ = boxes(page, ".tk-scroll .tk-looked > rect")
    assert room["y"] <= top < bottom <= room["y"] + room["height"]
    page.locator(".tk-scroll").evaluate("node => node.scrollTo(0, 1800)")
    page.locator(".tk-node[data-node='1']").first.click()
    assert page.locator(".tk-through button").count() <= 24


def test_nothing_moves_by_itself(url, opened, looks):
    page = opened(url, reduced_motion="no-preference")
    forward = "$('.tk-steps button:nth-child(3)').click()"
    assert looks(page, forward, "$('.tk-scroll > svg').innerHTML") == 1


def test_words_of_another_language_need_no_code(publish, visit):
    widget = RadixTree(random_history(2))
    widget.words = {name: f"<{name}>" for name in widget.words} | {"found": "命中"}
    page = visit(publish(widget.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_text("命中", exact=True).wait_for()
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    said = page.locator(".tk-widget").inner_text()
    assert not re.search(r"[A-Za-z]{3,}", re.sub(r"<\w+>", "", said)), said
