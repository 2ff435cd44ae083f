"""`Heads` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import math
import re

import pytest

from toolkit.models.attention import MODELS, AttentionShape, kv_bytes_per_token
from toolkit.viz import Heads, tokens
from toolkit.viz.heads import unshared
from toolkit.viz.text import GAP, significant, sized

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODULE = "const js = await import('../_static/toolkit/heads.js');"
DRAWN = ".tk-sharing > svg > rect"
CONTEXTS = [2**power for power in range(10, 21)]
LATENTS = [64, 128, 256, 512, 1024, 2048]


@pytest.fixture
def heads():
    return Heads(MODELS, "Llama-3-70B")


@pytest.fixture
def url(heads, publish):
    return publish(heads.html())


def slide(page, name, value):
    page.get_by_role("slider", name=name).fill(str(value))


def choose(page, name):
    page.get_by_role("combobox", name="model").select_option(label=name)


def kind(page):
    return page.locator(".tk-kinds input:checked").get_attribute("value")


def test_the_closed_forms_are_pythons(url, visit):
    shapes = [
        AttentionShape("any", layers, heads, kv, dim)
        for layers in (1, 30, 126)
        for heads in (2, 9, 64, 71)
        for kv in range(1, heads + 1)
        if heads % kv == 0
        for dim in (64, 80)
    ]
    shapes += [AttentionShape("any", 61, 128, 128, 128, c, r) for c in (1, 512) for r in (1, 64)]
    names = ("layers", "heads", "kv_heads", "head_dim", "latent", "rope_dim")
    found = visit(url).evaluate(
        f"""async (shapes) => {{ {MODULE}
            return [shapes.map(js.kvBytes), shapes.map(js.kindOf),
                    [1, 12, 71, 128].map(js.divisors),
                    [[1, 71], [3, 6, 8], [2, 8]].map((some) => js.nearest(some, 4))];
        }}""",
        [{name: getattr(shape, name) for name in names} for shape in shapes],
    )
    assert found[0] == [kv_bytes_per_token(shape) for shape in shapes]
    assert found[1] == [shape.kind for shape in shapes]
    every = [[n for n in range(1, of + 1) if of % n == 0] for of in (1, 12, 71, 128)]
    assert found[2:] == [every, [1, 3, 2]]


def test_it_replaces_the_picture_which_stands_in_without_scripts_and_in_print(
    url, replaced_picture
):
    name = replaced_picture(url)
    assert name == "How many heads does the cache pay for?"


def test_the_guess_comes_first_and_is_compared(url, alive, label, value):
    page = alive(url)
    asked = page.locator(".tk-ask").inner_text().replace(GAP, " ")
    assert asked == (
        "Llama-3-70B has 64 query heads. If each had keys and values of its own, 32,768 tokens "
        "would take 85.9 GB of cache. Instead it has 8 KV heads. How many times smaller is its "
        "cache?"
    )
    page.get_by_text("The same data as a table").click()
    assert not page.locator(".tk-scale").is_visible()
    for hidden in ("327,680", "10.7", "328"):
        assert hidden not in page.locator(".tk-widget").inner_text()
        assert hidden not in label(page)
    assert value(page, "a token") == "?"
    slider = page.get_by_role("slider", name="your guess")
    assert [slider.get_attribute(end) for end in ("min", "max")] == ["1", "64"]
    slide(page, "your guess", 4)
    page.get_by_role("button", name="Compare", exact=True).click()
    told = page.locator(".tk-remark").inner_text().replace(GAP, " ")
    assert told == "You guessed 4×; it is 8 times smaller, 10.7 GB instead of 85.9 GB."
    assert page.evaluate("document.activeElement.type") == "range"
    assert page.locator(".tk-scale").is_visible()
    slide(page, "tokens", 0)
    assert page.locator(".tk-remark").inner_text() == ""


def test_every_model_shows_what_python_says(url, opened, label, value):
    page = opened(url)
    for at, model in enumerate(MODELS):
        choose(page, model.name)
        slide(page, "tokens", at)
        widget = Heads(MODELS, model.name)
        widget.context = CONTEXTS[at]
        assert label(page) == widget.summary()
        assert value(page, "a token") == sized(kv_bytes_per_token(model))
        assert value(page, "a conversation") == sized(widget.bytes())
        assert value(page, f"fit in 80{GAP}GB") == f"{int(80e9) // widget.bytes():,}"
        factor = kv_bytes_per_token(unshared(model)) / kv_bytes_per_token(model)
        assert value(page, "smaller cache") == f"{significant(factor)}×"
        assert kind(page) == model.kind
        said = page.locator(".tk-hint").inner_text()
        assert said == f"As {model.name} was published. {model.source}"
        assert f"= {kv_bytes_per_token(model):,} bytes" in page.locator(".tk-caption").inner_text()
    page.get_by_role("status").get_by_text(widget.summary()).wait_for(state="attached")


def shown(page, boxes):
    """Query heads, KV heads and where each query head's line ends, by KV head."""
    lines = page.locator("line.tk-reads").evaluate_all("ls => ls.map((l) => +l.getAttribute('x2'))")
    kept = boxes(page, ".tk-sharing .tk-kept")
    middles = sorted({round((left + right) / 2, 1) for left, _, right, _ in kept})
    queries = [(left + right) / 2 for left, _, right, _ in boxes(page, ".tk-query")]
    each = len(queries) // len(middles)
    means = [sum(queries[at : at + each]) / each for at in range(0, len(queries), each)]
    assert middles == pytest.approx(means, abs=0.2)  # each stands under those that read it
    start = page.locator(".tk-sharing > svg").bounding_box()["x"]
    ends = [min(range(len(middles)), key=lambda g: abs(middles[g] - start - x)) for x in lines]
    return page.locator(".tk-query").count(), len(kept) // 2, ends


def test_whoever_shares_is_drawn_so(url, opened, label, boxes, heads):
    page = opened(url)
    assert shown(page, boxes) == (64, 8, [head // 8 for head in range(64)])
    slide(page, "KV heads", 4)
    heads.kv_heads = 16
    assert (kind(page), label(page)) == ("GQA", heads.summary())
    assert shown(page, boxes) == (64, 16, [head // 4 for head in range(64)])
    hint = "Not the Llama-3-70B that was published: 64 query heads share 8 KV heads, 8 to each"
    assert page.locator(".tk-hint").inner_text().startswith(hint)
    page.get_by_role("radio", name="MHA").check()
    assert shown(page, boxes) == (64, 64, list(range(64)))
    slide(page, "KV heads", 0)
    assert kind(page) == "MQA"
    assert shown(page, boxes) == (64, 1, [0] * 64)
    page.get_by_role("radio", name="GQA").check()
    assert shown(page, boxes)[:2] == (64, 16)  # those of before

    choices = heads.record["heads_choices"]
    slide(page, "query heads", choices.index(71))  # a prime: nothing between one and all
    assert (kind(page), shown(page, boxes)[:2]) == ("MQA", (71, 1))
    assert page.get_by_role("radio", name="GQA").is_disabled()
    slide(page, "query heads", choices.index(96))
    assert (kind(page), shown(page, boxes)[:2]) == ("GQA", (96, 16))
    slide(page, "query heads", choices.index(9))
    assert (kind(page), shown(page, boxes)[:2]) == ("GQA", (9, 3))
    page.get_by_role("radio", name="MHA").check()
    slide(page, "query heads", choices.index(12))
    assert (kind(page), shown(page, boxes)[:2]) == ("MHA", (12, 12))


def test_what_is_kept_is_to_scale(url, opened, boxes):
    page = opened(url, width=400)
    (left, _, right, _), *_ = boxes(page, ".tk-kept")
    one = right - left
    queries = boxes(page, ".tk-query")
    assert {round(b[2] - b[0], 2) for b in queries} == {round(one, 2)}
    unit = queries[1][0] - queries[0][0]
    page.get_by_role("radio", name="MLA").check()
    for at, latent in enumerate(LATENTS):
        slide(page, "latent width", at)
        (kept,), (rotated,) = boxes(page, ".tk-kept"), boxes(page, ".tk-rotated")
        assert rotated[0] - kept[0] == pytest.approx(latent / (2 * 128) * unit, abs=1.1)
        least = max(2, 64 / (2 * 128) * unit)
        assert rotated[2] - rotated[0] == pytest.approx(least, abs=1.1)
        ends = page.locator("line.tk-reads").evaluate_all(
            "ls => [...new Set(ls.map((line) => line.getAttribute('x2')))]"
        )
        assert len(ends) == 1
        assert f"latent {latent:,}" in page.locator(".tk-sharing text").all_text_contents()
        assert "K" not in page.locator(".tk-sharing text").all_text_contents()


def test_arrow_keys_share_more_and_less(url, opened, label, boxes, heads):
    page = opened(url)
    page.locator(".tk-sharing").focus()
    seen = []
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        seen.append((kind(page), shown(page, boxes)[1] if kind(page) != "MLA" else 0))
    assert seen == [("GQA", 4), ("GQA", 2), ("MQA", 1), ("MLA", 0), ("MLA", 0)]
    heads.latent = 512
    assert label(page) == heads.summary()
    assert page.evaluate("document.activeElement.className") == "tk-sharing"
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    assert (kind(page), shown(page, boxes)[1]) == ("MHA", 64)


def test_a_link_holds_the_choice_and_bends_what_can_not_be(heads, publish, alive, opened, label):
    url = publish(heads.html())
    page = opened(url)
    choose(page, "DeepSeek-V3")
    slide(page, "latent width", LATENTS.index(256))
    slide(page, "tokens", 0)
    address = f"**#{heads.id}.preset=8&heads=128&kv_heads=128&latent=256&context=1024"
    page.wait_for_url(address)
    again = alive(page.url)
    assert label(again) == label(page)
    assert "latent of 256 numbers" in label(again)
    assert again.get_by_role("combobox").input_value() == "8"

    wrong = alive(f"{url}#{heads.id}.preset=99&heads=70&kv_heads=-3&context=30000&x=1")
    assert "71 query heads share one KV head" in label(wrong)
    assert "32,768 tokens" in label(wrong)
    assert wrong.get_by_role("combobox").input_value() == "8"
    wrong.wait_for_url(f"**#{heads.id}.preset=8&heads=71&kv_heads=1")


def at_bytes(page):
    """Where marks stand on the scale, by row: the filled one and the open one."""
    return page.locator(".tk-model").evaluate_all(
        """rows => rows.map((row) => [...row.querySelectorAll(".tk-mark")].map((mark) =>
            mark.transform.baseVal[0].matrix.e).reverse())"""
    )


def test_models_stand_at_their_bytes_and_can_be_taken(url, opened, label):
    page = opened(url, reduced_motion="reduce")
    (choice, *marks) = at_bytes(page)
    at = [m[0] for m in marks]
    small, large = MODELS.index(min(MODELS, key=kv_bytes_per_token)), at.index(max(at))
    decades = math.log10(kv_bytes_per_token(MODELS[large]) / kv_bytes_per_token(MODELS[small]))
    decade = (at[large] - at[small]) / decades
    for model, (filled, opened_at) in zip(MODELS, marks, strict=True):
        for x, shape in ((filled, model), (opened_at, unshared(model))):
            away = math.log10(kv_bytes_per_token(shape) / kv_bytes_per_token(MODELS[small]))
            assert x - at[small] == pytest.approx(away * decade, abs=0.01)
    assert choice == marks[4]
    edge = page.locator(".tk-scale > svg").bounding_box()["width"]
    assert max(x for row in marks for x in row) == pytest.approx(edge - 12, abs=1)
    ticks = page.locator(".tk-scale .tk-tick").evaluate_all(
        "ticks => ticks.slice(0, -1).map((tick) => [tick.textContent, +tick.getAttribute('x')])"
    )
    assert [text for text, _ in ticks] == [sized(10**power) for power in (4, 5, 6)]
    for power, (_, x) in enumerate(ticks, start=4):
        away = power - math.log10(kv_bytes_per_token(MODELS[small]))
        assert x - at[small] == pytest.approx(away * decade, abs=0.01)

    row = page.locator(".tk-model").nth(1 + 8)
    row.hover()
    told = page.locator(".tk-caption").inner_text().replace(GAP, " ")
    assert told.startswith("DeepSeek-V3: 128 query heads share one latent of 512 numbers")
    assert told.endswith("70,272 bytes a token, 2.3 GB for 32,768 tokens.")
    row.click()
    assert label(page) == Heads(MODELS, "DeepSeek-V3").summary()
    assert page.get_by_role("combobox").input_value() == "8"

    choose(page, "Llama-3-70B")
    page.locator(".tk-query").nth(20).hover()
    assert page.locator(".tk-caption").inner_text() == "Query heads 17 to 24 read KV head 3 of 8."
    assert page.locator(".tk-over.tk-query").count() == page.locator("line.tk-over").count() == 8
    assert page.locator(".tk-over.tk-kept").count() == 2
    page.locator(".tk-title").hover()
    assert page.locator(".tk-over").count() == 0
    assert "327,680 bytes a token" in page.locator(".tk-caption").inner_text()


def test_the_table_gives_the_same_data(url, opened, table):
    page = opened(url)
    page.get_by_role("radio", name="MLA").check()
    cells = table(page)
    assert cells[0] == [
        "model", "kind", "layers", "query heads", "KV heads", "numbers a head",
        "latent + rotated key", "bytes a token", "at 32,768 tokens", f"fit in 80{GAP}GB",
    ]  # fmt: skip
    mine = AttentionShape("your choice", 80, 64, 64, 128, 512, 64)
    for row, shape in zip(cells[1:], (mine, *MODELS), strict=True):
        per_token = kv_bytes_per_token(shape)
        assert row == [
            shape.name, shape.kind, str(shape.layers), str(shape.heads),
            "–" if shape.latent else str(shape.kv_heads), str(shape.head_dim),
            f"{shape.latent} + {shape.rope_dim}" if shape.latent else "–",
            f"{per_token:,}", sized(per_token * 32_768), str(int(80e9) // (per_token * 32_768)),
        ]  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_and_accessibility(url, alive, rgb, serious_faults, shot, theme):
    page = alive(url, reduced_motion="reduce")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    assert serious_faults(page) == []
    page.get_by_role("button", name="Skip", exact=True).click()
    paint = "getComputedStyle(document.querySelector('.tk-kept')).fill"
    assert page.evaluate(paint) == rgb(tokens()["hit"][theme == "dark"])
    shot(page, f"heads-gqa-{theme}", full_page=True)
    page.get_by_role("radio", name="MLA").check()
    for fold in page.locator("summary").all():
        fold.click()
    page.locator("details tbody tr").first.wait_for()
    assert serious_faults(page) == []
    shot(page, f"heads-mla-{theme}", full_page=True)
    page.evaluate("delete document.documentElement.dataset.theme")
    for scheme, color in zip(("light", "dark"), tokens()["hit"], strict=True):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(paint) == rgb(color)


@pytest.mark.parametrize("width", [320, 400, 820, 1200])
def test_it_fits_every_width_and_no_words_overlap(url, opened, boxes, apart, shot, width):
    page = opened(url, width=width, reduced_motion="reduce")
    for name in ("SmolLM2-135M", "Llama-3-70B", "DeepSeek-V3"):
        choose(page, name)
        for sharing in ("MHA", "MLA"):
            page.get_by_role("radio", name=sharing).check()
            if sharing == "MLA":
                slide(page, "latent width", LATENTS.index(2048))
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            apart(boxes(page, ".tk-drawing svg text:not(:empty)"), width)
            for left, _, right, _ in boxes(page, ".tk-query, .tk-kept, .tk-rotated, .tk-mark"):
                assert 0 <= left < right <= width
    shot(page, f"heads-{width}", full_page=True)
    page.set_viewport_size({"width": 600, "height": 900})
    page.wait_for_function("document.querySelector('.tk-sharing > svg').clientWidth > 500")


def test_nothing_moves_for_readers_who_want_no_motion(url, opened, looks):
    act = "$('.tk-kinds input[value=MHA]').click()"
    look = "$('.tk-here').getAttribute('x1')"
    assert looks(opened(url, reduced_motion="reduce"), act, look) == 1
    assert looks(opened(url, reduced_motion="no-preference"), act, look) > 2


def test_words_of_another_language_need_no_code(heads, publish, visit):
    heads.words = {name: f"<{name}>" for name in heads.words} | {"per_token": "每个词元"}
    page = visit(publish(heads.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_text("每个词元", exact=True).wait_for()
    page.get_by_role("radio", name="MLA").check()
    for fold in page.locator("summary").all():
        fold.click()
    said = page.locator(".tk-widget").inner_text()
    known = re.compile(r"<\w+>|MHA|GQA|MQA|MLA|(Falcon|SmolLM2|Llama|Qwen2.5|DeepSeek)\S*")
    assert not re.search(r"[A-Za-z]{3,}", known.sub("", said)), said
