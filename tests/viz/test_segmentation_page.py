"""`Segmentation` on a static page, in a real browser, with no kernel behind it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from itertools import accumulate, pairwise

import numpy as np
import pytest

from toolkit.viz import Segmentation, tokens
from toolkit.viz.segmentation import spelled
from toolkit.viz.text import percent, significant

# One by one they are quick; all of them take minutes, and `make test` has five.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

ENGLISH, CHINESE, SHORT = range(3)
MODULE = "const js = await import('../_static/toolkit/segmentation.js');"
DRAWN = ".tk-lattice > svg > svg"


@pytest.fixture
def url(segmentation, publish):
    return publish(segmentation.html())


def choose(page, sentence=ENGLISH, tokenizer=0):
    page.get_by_role("combobox", name="sentence").select_option(str(sentence))
    page.get_by_role("radio").nth(tokenizer).check()
    return page


def slide(page, name, value):
    page.get_by_role("slider", name=name).fill(str(value))


def columns(lattice):
    """A lattice as the browser's functions take it."""
    names = ("starts", "ends", "scores", "merges")
    return {name: getattr(lattice, name).tolist() for name in names}


def ways(lattice, end):
    """Every path from the first node to one, by trying all edges: the oracle."""
    if end == 0:
        return [[]]
    found = np.flatnonzero(lattice.ends == end).tolist()
    return [[*way, edge] for edge in found for way in ways(lattice, int(lattice.starts[edge]))]


def pieces(lattice, path):
    return [spelled(lattice.text[lattice.starts[e] : lattice.ends[e]]) for e in path]


def mulberry32(seed):
    """The generator, from its description with whole numbers modulo 2^32."""
    mask = 2**32 - 1
    while True:
        seed = (seed + 0x6D2B79F5) & mask
        t = (seed ^ (seed >> 15)) * (1 | seed) & mask
        t = (t + ((t ^ (t >> 7)) * (61 | t) & mask)) & mask ^ t
        yield (t ^ (t >> 14)) / 2**32


@pytest.fixture(scope="module")
def small(lattice):
    """Lattices with few ways through them, one of them with pieces that lead nowhere."""
    vocabulary = {piece: -1.5 - at / 7 for at, piece in enumerate(b"a b t".split())}
    vocabulary |= {b"ab": -2.0, b"ba": -2.25, b"aba": -4.0, b"bab": -3.0, b"abab": -4.25}
    dead = lattice("Unigram", b"abxab", vocabulary | {b"xa": -1.0, b"abx": -9.0, b"bx": -0.5})
    return [lattice("Unigram", b"ababab", vocabulary), lattice("Unigram", b"a ab aba"), dead]


def test_viterbi_finds_the_best_of_all_ways_to_every_node(url, visit, small):
    page = visit(url)
    for lattice in small:
        n = len(lattice.text)
        found = page.evaluate(
            f"""async ([lattice, n]) => {{ {MODULE}
                const {{best, winner}} = js.viterbi(lattice, n);
                const paths = [...winner.keys()].map((e) => js.followed(lattice, winner, e));
                return [[...best].map((score) => Number.isFinite(score) ? score : null), paths];
            }}""",
            [columns(lattice), n],
        )
        for end, (score, path) in enumerate(zip(*found, strict=True)):
            totals = [math.fsum(lattice.scores[way]) for way in ways(lattice, end)]
            if not totals:
                assert (score, path) == (None, [])
                continue
            assert score == pytest.approx(max(totals), abs=1e-12)
            assert math.fsum(lattice.scores[path]) == pytest.approx(max(totals), abs=1e-12)
            assert path in ways(lattice, end)
        assert path == lattice.best.tolist()


def test_of_equally_good_ways_the_longest_last_piece_wins(url, visit, lattice):
    tie = lattice("Unigram", b"aaa", {b"a": -1.0, b"aa": -2.0, b"aaa": -3.0})
    path = visit(url).evaluate(
        f"""async (lattice) => {{ {MODULE}
            return js.followed(lattice, js.viterbi(lattice, 3).winner, 3);
        }}""",
        columns(tie),
    )
    assert pieces(tie, path) == ["aaa"]


@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_sums_over_all_ways_are_those_of_enumeration(url, visit, small, alpha):
    page = visit(url)
    for lattice in small:
        n = len(lattice.text)
        sums = page.evaluate(
            f"""async ([lattice, n, alpha]) => {{ {MODULE}
                return [...js.logSums(lattice, n, alpha)].map((z) => Math.exp(z));
            }}""",
            [columns(lattice), n, alpha],
        )
        expected = [
            math.fsum(math.exp(alpha * math.fsum(lattice.scores[way])) for way in ways(lattice, e))
            for e in range(n + 1)
        ]
        assert sums == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_each_way_is_drawn_as_often_as_its_probability_says(url, visit, small, alpha):
    page, draws = visit(url), 20_000
    for lattice in small:
        paths = page.evaluate(
            f"""async ([lattice, n, alpha, draws]) => {{ {MODULE}
                const z = js.logSums(lattice, n, alpha), random = js.mulberry32(7);
                return Array.from({{length: draws}},
                    () => js.drawn(lattice, z, alpha, random).join());
            }}""",
            [columns(lattice), len(lattice.text), alpha, draws],
        )
        counts = Counter(paths)
        every = {",".join(map(str, way)): way for way in ways(lattice, len(lattice.text))}
        weights = {
            name: math.exp(alpha * math.fsum(lattice.scores[way])) for name, way in every.items()
        }
        total = math.fsum(weights.values())
        assert set(counts) <= set(every)
        for name, weight in weights.items():
            expected = weight / total
            error = 6 * math.sqrt(expected * (1 - expected) / draws) + 1e-12
            assert counts[name] / draws == pytest.approx(expected, abs=error)


def test_random_numbers_are_mulberry32s(url, visit):
    drawn = visit(url).evaluate(
        f"""async () => {{ {MODULE}
            return [1, 2 ** 31, 4294967295].map((seed) => {{
                const random = js.mulberry32(seed);
                return Array.from({{length: 50}}, random);
            }});
        }}"""
    )
    for seed, numbers in zip([1, 2**31, 2**32 - 1], drawn, strict=True):
        generator = mulberry32(seed)
        assert numbers == [next(generator) for _ in range(50)]


def running(weigh):
    """Each key with the sum of all values up to its own."""
    return zip(weigh, accumulate(weigh.values()), strict=True)


def test_a_draw_takes_edges_from_the_end_by_their_shares(url, visit, small):
    lattice = small[1]
    alpha, n = 0.4, len(lattice.text)
    expected, random = [], mulberry32(5)
    for _ in range(40):
        path, end = [], n
        while end:
            left = next(random)
            weigh = {
                edge: math.fsum(
                    math.exp(alpha * math.fsum(lattice.scores[way]))
                    for way in ways(lattice, int(lattice.starts[edge]))
                )
                * math.exp(alpha * lattice.scores[edge])
                for edge in np.flatnonzero(lattice.ends == end).tolist()[::-1]
            }
            total = math.fsum(weigh.values())
            edge = next(e for e, most in running(weigh) if left < most / total)
            path, end = [edge, *path], int(lattice.starts[edge])
        expected.append(path)
    drawn = visit(url).evaluate(
        f"""async ([lattice, n, alpha]) => {{ {MODULE}
            const z = js.logSums(lattice, n, alpha), random = js.mulberry32(5);
            return Array.from({{length: 40}}, () => js.drawn(lattice, z, alpha, random));
        }}""",
        [columns(lattice), n, alpha],
    )
    assert drawn == expected


def pieces_after(lattice, step):
    """The pieces after the first merges, byte after byte."""
    cuts = set(range(len(lattice.text) + 1))
    for edge in lattice.merges[:step].tolist():
        cuts -= set(range(int(lattice.starts[edge]) + 1, int(lattice.ends[edge])))
    ordered = sorted(cuts)
    return [lattice.text[start:end] for start, end in pairwise(ordered)]


def test_merges_join_pieces_until_the_chosen_ones_are_left(url, visit, lattices):
    page = visit(url)
    for lattice in lattices[::3]:
        steps = list(range(len(lattice.merges) + 1))
        found = page.evaluate(
            f"""async ([lattice, steps]) => {{ {MODULE}
                return steps.map((step) => js.merged(lattice, step));
            }}""",
            [columns(lattice), steps],
        )
        for step, path in zip(steps, found, strict=True):
            spelt = [lattice.text[lattice.starts[e] : lattice.ends[e]] for e in path]
            assert spelt == pieces_after(lattice, step)
        assert path == lattice.best.tolist()


def test_the_browser_spells_pieces_as_python_does(url, visit):
    some = [
        b" to", "天气".encode(), "天".encode()[:2], "a天".encode()[:-1], "气a".encode()[1:],
        b"\xff\xfe", b"a\tb\nc", b"\x00\x7f", b"<b>", "😀".encode(), "😀".encode()[:3], b"",
        b"\xed\xa0\x80", b"\xc0\x80", b"\xef\xbb\xbfa", "é".encode(), b"\xf5\x80\x80\x80",
    ]  # fmt: skip
    rng = np.random.default_rng(2)
    some += [bytes(rng.choice([0x20, 0x61, 0xC3, 0xA9, 0xE5, 0xA4, 0xF0, 0x9F], 6).tolist())
             for _ in range(200)]  # fmt: skip
    said = visit(url).evaluate(
        f"""async (some) => {{ {MODULE}
            return some.map((piece) => js.spelled(new Uint8Array(piece)));
        }}""",
        [list(piece) for piece in some],
    )
    assert said == [spelled(piece) for piece in some]


def test_it_replaces_the_picture_which_stands_in_without_scripts_and_in_print(
    url, replaced_picture
):
    name = replaced_picture(url)
    assert name == "Where does a tokenizer cut, and why there?"


def row(page, look):
    """The labels of the thick row of bars that look so, or of the drawn ones."""
    heights = {"drawn": 17}
    return page.locator(f".tk-lattice .tk-{look}").evaluate_all(
        "(bars, height) => bars.filter((bar) =>"
        " Number(bar.firstChild.getAttribute('height')) === height).map((bar) => bar.textContent)",
        heights.get(look, 21),
    )


def bare(spelt):
    """A piece as it is written in its bar."""
    return [re.sub(r"^<([0-9a-f ]+)>$", r"\1", one).replace(" ", "") for one in spelt]


def test_at_first_sight_one_cut_is_shown_and_the_others_are_guessed(url, alive, label, lattices):
    page = alive(url)
    first, counts = lattices[0], [len(one.best) for one in lattices[:3]]
    asked = page.locator(".tk-ask").inner_text()
    assert asked.startswith(f"BPE cuts this sentence into {counts[0]} tokens.")
    assert row(page, "chosen") == pieces(first, first.best)
    assert page.locator(".tk-bars").count() == 0
    assert f"makes {counts[2]}" not in label(page)
    page.get_by_role("button", name="Unigram", exact=True).click()
    assert counts[2] < counts[1] < counts[0]
    told = f"You guessed Unigram. The fewest are {counts[2]} tokens, by BytePiece."
    assert page.locator(".tk-remark").inner_text() == told
    assert page.evaluate("document.activeElement.type") == "radio"
    shown = page.locator(".tk-bar .tk-count").all_inner_texts()
    for text, lattice, count in zip(shown, lattices, counts, strict=False):
        ratio = significant(len(lattice.text) / count)
        assert text.startswith(f"{count} tokens · {ratio} bytes a token")
        assert ("fewest" in text) == (count == min(counts))
    widths = page.locator(".tk-length > span").evaluate_all(
        "bars => bars.map((bar) => bar.getBoundingClientRect().width)"
    )
    assert [width / widths[0] for width in widths] == pytest.approx(
        [count / counts[0] for count in counts], abs=0.01
    )


def test_those_that_need_as_few_are_named_together(lattice, publish, alive):
    vocabulary = {bytes([byte]): -3.0 for byte in range(256)}
    same = [lattice(kind, b"abc", vocabulary) for kind in ("BPE", "Unigram", "BytePiece")]
    page = alive(publish(Segmentation(same).html()))
    page.get_by_role("button", name="BPE", exact=True).click()
    told = "You guessed BPE. The fewest are 3 tokens, by BPE & Unigram & BytePiece."
    assert page.locator(".tk-remark").inner_text() == told
    slider = page.get_by_role("slider", name="step")
    assert [slider.get_attribute(end) for end in ("min", "max")] == ["0", "0"]  # nothing merges


def test_with_one_tokenizer_nothing_is_asked(lattices, publish, alive):
    page = alive(publish(Segmentation(lattices[1::3]).html()))
    page.get_by_role("slider", name="step").wait_for()
    assert "fewest" not in page.locator(".tk-bars").inner_text()


@pytest.mark.parametrize("sentence", [ENGLISH, CHINESE, SHORT])
@pytest.mark.parametrize("tokenizer", [0, 1, 2])
def test_every_choice_shows_what_python_has(
    url, opened, label, value, lattices, segmentation, sentence, tokenizer
):
    page = choose(opened(url), sentence, tokenizer)
    lattice = lattices[3 * sentence + tokenizer]
    segmentation.sentence, segmentation.tokenizer = sentence, tokenizer
    assert row(page, "chosen") == bare(pieces(lattice, lattice.best))
    assert label(page) == segmentation.summary()
    page.get_by_role("status").get_by_text(segmentation.summary()).wait_for(state="attached")
    assert value(page, "tokens") == str(len(lattice.best))
    assert value(page, "bytes a token") == significant(len(lattice.text) / len(lattice.best))
    if tokenizer == 0:
        assert value(page, "merges") == str(len(lattice.merges))
    else:
        total = f"{math.fsum(lattice.scores[lattice.best]):.2f}"
        assert value(page, "log P") == total.replace("-", "−")
    hexes = page.locator(".tk-lattice .tk-byte").all_text_contents()
    assert hexes == [f"{byte:02x}" for byte in lattice.text]
    letters = page.locator(".tk-lattice .tk-letter").all_text_contents()
    assert letters == list(lattice.text.decode().replace(" ", "␣"))


def test_ways_are_counted(url, opened, value, lattices):
    page = choose(opened(url), SHORT, 1)
    every = len(ways(lattices[7], len(lattices[7].text)))
    assert value(page, "ways to cut it") == str(every)
    page.get_by_role("combobox", name="sentence").select_option(str(ENGLISH))
    count = [1] + [0] * len(lattices[1].text)
    for start, end in zip(lattices[1].starts, lattices[1].ends, strict=True):
        count[end] += count[start]
    digits, power = f"{count[-1]:.1e}".split("e+")
    raised = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(int(power)))
    assert value(page, "ways to cut it") == f"{digits} · 10{raised}"


@pytest.mark.parametrize(("sentence", "step"), [(SHORT, 5), (ENGLISH, 14), (CHINESE, 12)])
def test_a_step_of_viterbi_shows_what_ends_there_and_what_wins(
    url, opened, label, lattices, sentence, step
):
    page = choose(opened(url), sentence, 1)
    slide(page, "step", step)
    lattice = lattices[3 * sentence + 1]
    best = [0.0]
    for end in range(1, step + 1):
        found = np.flatnonzero(lattice.ends == end)
        best.append(max(best[lattice.starts[edge]] + lattice.scores[edge] for edge in found))
    found = np.flatnonzero(lattice.ends == step).tolist()
    total = {edge: best[lattice.starts[edge]] + lattice.scores[edge] for edge in found}
    ordered = sorted(found, key=lambda edge: -total[edge])
    cells = page.locator(".tk-ending tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [cell[0] for cell in cells] == pieces(lattice, ordered)
    for cell, edge in zip(cells, ordered, strict=True):
        numbers = (best[lattice.starts[edge]], lattice.scores[edge], total[edge])
        assert cell[1:4] == [f"{number:.2f}".replace("-", "−") for number in numbers]
    assert [cell[4] for cell in cells] == ["✓ wins"] + [""] * (len(cells) - 1)
    said = page.locator(".tk-now").inner_text()
    assert said.startswith(f"The best way to byte {step}:")
    assert f"“{pieces(lattice, ordered[:1])[0]}”" in said
    assert label(page) == said
    drawn = page.locator(".tk-candidate[data-edge], .tk-winner[data-edge]")
    shown = {int(edge) for edge in drawn.evaluate_all("ps => ps.map((p) => p.dataset.edge)")}
    assert shown == {edge for edge in found if step - lattice.starts[edge] > 1}
    assert page.locator(".tk-lattice .tk-node").count() == 1


def test_the_end_is_followed_back_piece_by_piece(url, opened, lattices):
    page = choose(opened(url), SHORT, 1)
    lattice = lattices[7]
    n, expected = len(lattice.text), pieces(lattice, lattice.best)
    for back in range(1, len(expected)):
        slide(page, "step", n + back)
        assert row(page, "chosen") == expected[-back:]
        assert row(page, "kept") == expected[:-back]
        said = page.locator(".tk-now").inner_text()
        end = int(lattice.ends[lattice.best[-back]])
        assert said == f"Followed back from the end: “{expected[-back]}”, which won at byte {end}."
    slide(page, "step", n + len(expected))
    assert row(page, "chosen") == expected
    assert page.locator(".tk-now").count() == 0


def test_a_step_of_bpe_is_a_merge(url, opened, lattices):
    page = choose(opened(url), SHORT, 0)
    lattice = lattices[6]
    steps = len(lattice.merges)
    slide(page, "step", 0)
    assert page.locator(".tk-now").inner_text().startswith("Before the first merge every byte")
    for step in range(1, steps):
        slide(page, "step", step)
        edge = int(lattice.merges[step - 1])
        start, end = int(lattice.starts[edge]), int(lattice.ends[edge])
        inside, at = [], 0
        for piece in pieces_after(lattice, step - 1):
            if start <= at < end:
                inside.append(spelled(piece))
            at += len(piece)
        said = page.locator(".tk-now").inner_text()
        assert said == (
            f"Merge {step} of {steps}: “{inside[0]}” and “{inside[1]}” become "
            f"“{''.join(inside)}”, at place {-lattice.scores[edge]:.0f} in the list of merges."
        )
        assert row(page, "joined") == ["".join(inside)]


def test_bpe_draws_nothing_and_says_why(url, opened):
    page = choose(opened(url), ENGLISH, 0)
    alpha = page.get_by_role("slider", name="α")
    assert alpha.is_disabled()
    assert alpha.get_attribute("aria-describedby")
    reason = page.locator(f"#{alpha.get_attribute('aria-describedby')}")
    assert reason.inner_text().startswith("BPE has no probabilities")
    for name in ("Draw one more", "100 more"):
        assert page.get_by_role("button", name=name).is_disabled()
    page.get_by_role("radio").nth(1).check()
    assert alpha.is_enabled()
    assert reason.inner_text() == ""


def drawn_by_python(lattice, alpha, draws):
    """The paths that the widget draws first, by the recurrence in Python."""
    n, random = len(lattice.text), mulberry32(1)
    z = [0.0] + [-math.inf] * n
    for start, end, score in zip(lattice.starts, lattice.ends, lattice.scores, strict=True):
        z[end] = float(np.logaddexp(z[end], z[start] + alpha * score))
    by_end = [np.flatnonzero(lattice.ends == end).tolist()[::-1] for end in range(n + 1)]
    paths = []
    for _ in range(draws):
        path, end = [], n
        while end:
            left = next(random)
            for edge in by_end[end]:
                left -= math.exp(z[lattice.starts[edge]] + alpha * lattice.scores[edge] - z[end])
                if left < 0:
                    break
            path, end = [edge, *path], int(lattice.starts[edge])
        paths.append(tuple(path))
    return paths, z[n]


@pytest.mark.parametrize(("sentence", "alpha"), [(SHORT, 60), (SHORT, 0), (ENGLISH, 40)])
def test_alpha_draws_cuts_and_tells_their_shares(
    url, opened, label, value, lattices, sentence, alpha
):
    page = choose(opened(url, reduced_motion="reduce"), sentence, 1)
    slide(page, "α", alpha)
    lattice = lattices[3 * sentence + 1]
    paths, log_sum = drawn_by_python(lattice, alpha / 100, 201)

    def check(draws):
        counts = Counter(paths[:draws])
        assert row(page, "drawn") == pieces(lattice, paths[draws - 1])
        assert value(page, "draws") == str(draws)
        assert value(page, "different cuts") == str(len(counts))
        best = tuple(lattice.best.tolist())
        assert value(page, "the best cut") == percent(counts[best] / draws)
        mean = sum(map(len, paths[:draws])) / draws
        assert value(page, "tokens, on average") == significant(mean)

        def log_p(path):
            return alpha / 100 * math.fsum(lattice.scores[list(path)]) - log_sum

        ordered = sorted(counts, key=lambda path: (-counts[path], -log_p(path)))
        listed = page.locator(".tk-tally li").all_inner_texts()
        assert len(listed) == min(4, len(counts))
        for text, path in zip(listed, ordered, strict=False):
            assert f"{counts[path]} of {draws} draws, {percent(counts[path] / draws)};" in text
            if alpha:  # else all are as likely, and any may come first
                assert " | ".join(pieces(lattice, path)) in text
            assert f"probability {percent(math.exp(log_p(path)))}" in text

    check(100)
    page.get_by_role("button", name="Draw one more").click()
    check(101)
    page.get_by_role("button", name="100 more").click()
    check(201)
    said = label(page)
    assert f"At α = {alpha / 100:g}, 201 draws gave" in said
    slide(page, "α", 101)
    assert page.locator(".tk-tally").count() == 0
    slide(page, "α", alpha)
    check(100)


def test_a_cut_of_the_tally_is_shown_when_it_is_chosen(url, opened):
    page = choose(opened(url, reduced_motion="reduce"), SHORT, 1)
    slide(page, "α", 30)
    for at in (2, 0):
        cut = page.locator(".tk-cut").nth(at)
        text = cut.inner_text()
        cut.click()
        assert row(page, "drawn") == text.split(" | ")
        assert page.locator(".tk-cut[aria-pressed=true]").all_inner_texts() == [text]
        assert page.evaluate("document.activeElement.innerText") == text


def test_bars_are_filled_by_their_share_of_the_draws(url, opened, lattices):
    page = choose(opened(url), SHORT, 1)
    slide(page, "α", 50)
    paths, _ = drawn_by_python(lattices[7], 0.5, 100)
    used = Counter(edge for path in paths for edge in path)
    shares = page.locator(".tk-lattice g:has(> .tk-share)").evaluate_all(
        "bars => bars.map((bar) => [Number(bar.dataset.edge),"
        " Number(bar.querySelector('.tk-share').style.opacity)])"
    )
    longer = {e for e in used if lattices[7].ends[e] - lattices[7].starts[e] > 1}
    assert {edge for edge, _ in shares} == longer
    for edge, opacity in shares:
        assert opacity == pytest.approx(0.1 + 0.32 * used[edge] / 100, abs=6e-4)


def test_draw_at_the_best_lowers_alpha_first(url, opened, value):
    page = choose(opened(url, reduced_motion="reduce"), SHORT, 2)
    assert page.locator(".tk-sampler output").inner_text() == "best"
    page.get_by_role("button", name="Draw one more").click()
    assert page.locator(".tk-sampler output").inner_text() == "0.2"
    assert value(page, "draws") == "100"


def test_a_step_ends_the_drawing_and_alpha_the_steps(url, opened):
    page = choose(opened(url), SHORT, 1)
    slide(page, "α", 30)
    slide(page, "step", 4)
    assert page.locator(".tk-drawn").count() == 0
    assert page.locator(".tk-sampler output").inner_text() == "best"
    slide(page, "α", 30)
    slider = page.get_by_role("slider", name="step")
    assert slider.input_value() == slider.get_attribute("max")
    assert page.locator(".tk-now").count() == 0


def test_the_keyboard_does_it_all(url, alive, lattices):
    page = alive(url)
    for key in ("Tab", "Tab", "Enter"):  # the second guess
        page.keyboard.press(key)
    assert page.locator(".tk-remark").inner_text().startswith("You guessed Unigram.")
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("radio", name="Unigram").is_checked()
    lattice = lattices[1]
    last = len(lattice.text) + len(lattice.best)
    slider = page.get_by_role("slider", name="step")
    for key in ("Tab", "Enter"):  # back
        page.keyboard.press(key)
    assert slider.input_value() == str(last - 1)
    page.locator(".tk-lattice").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == str(last - 2)
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator(".tk-now").inner_text().startswith("Before the first byte")
    assert slider.get_attribute("aria-valuetext") == page.locator(".tk-now").inner_text()
    page.keyboard.press("End")
    assert page.get_by_role("button", name="Forward").is_disabled()
    page.get_by_role("slider", name="α").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".tk-sampler output").inner_text() == "1"


def test_arrow_keys_wait_for_the_guess(url, alive):
    page = alive(url)
    page.locator(".tk-lattice").focus()
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("button", name="Skip", exact=True).is_visible()
    assert page.locator(".tk-now").count() == 0


def test_play_goes_to_the_end_and_can_be_paused(url, opened, lattices):
    page = opened(url)
    page.clock.install()
    page.get_by_role("combobox", name="sentence").select_option(str(SHORT))
    slider = page.get_by_role("slider", name="step")
    page.get_by_role("button", name="Play").click()
    assert slider.input_value() == "0"
    page.clock.run_for(1500)  # two ticks of 700 ms
    assert slider.input_value() == "2"
    page.get_by_role("button", name="Pause").click()
    page.clock.run_for(3000)
    assert slider.input_value() == "2"
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(60_000)
    assert slider.input_value() == str(len(lattices[6].merges))
    assert page.get_by_role("button", name="Play").is_visible()


def test_pointing_at_a_bar_tells_of_its_piece(url, opened, lattices):
    page = choose(opened(url), ENGLISH, 1)
    lattice = lattices[1]
    edge = int(lattice.best[np.argmax(lattice.ends[lattice.best] - lattice.starts[lattice.best])])
    caption = page.locator(".tk-caption")
    assert caption.inner_text() == ""
    page.locator(f".tk-piece[data-edge='{edge}']").first.hover()
    score = f"{lattice.scores[edge]:.2f}".replace("-", "−")
    expected = (
        f"“{pieces(lattice, [edge])[0]}”: bytes {lattice.starts[edge]} to {lattice.ends[edge]}, "
        f"token {lattice.ids[edge]}, log p = {score}."
    )
    assert caption.inner_text() == expected
    assert page.locator(".tk-piece.tk-over").count() == 2  # in the stack, and in the row
    page.mouse.move(2, 2)
    assert caption.inner_text() == ""
    slide(page, "α", 40)
    paths, _ = drawn_by_python(lattice, 0.4, 100)
    page.locator(f".tk-piece[data-edge='{edge}']").first.hover()
    share = percent(sum(edge in path for path in paths) / 100)
    assert caption.inner_text() == f"{expected} In {share} of the draws."


def test_a_link_carries_the_state(url, alive, label, segmentation):
    page = alive(f"{url}#{segmentation.id}.sentence=2&tokenizer=1&step=5")
    slider = page.get_by_role("slider", name="step")
    slider.wait_for()
    assert slider.input_value() == "5"
    assert page.get_by_role("combobox", name="sentence").input_value() == "2"
    assert page.get_by_role("radio", name="Unigram").is_checked()
    slide(page, "step", 6)
    page.wait_for_url(f"**/page.html#{segmentation.id}.sentence=2&tokenizer=1&step=6")
    slide(page, "α", 25)
    page.wait_for_url(f"**/page.html#{segmentation.id}.sentence=2&tokenizer=1&alpha=25")
    page.evaluate(f"location.hash = '{segmentation.id}.sentence=0&tokenizer=2&step=9'")
    page.wait_for_function("document.querySelector('.tk-steps input').value === '9'")
    assert label(page).startswith("The best way to byte 9:")


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("sentence=99&tokenizer=77", "sentence=2&tokenizer=2"),
        ("sentence=2&step=99999", "sentence=2"),
        ("tokenizer=1&alpha=999", "tokenizer=1&alpha=100"),
        ("tokenizer=1&step=-7&alpha=-9&sentence=1", "sentence=1&tokenizer=1"),
        ("tokenizer=1&step=5&alpha=30", "tokenizer=1&step=5"),
    ],
)
def test_a_link_that_does_not_fit_is_corrected_in_the_address(
    url, alive, segmentation, asked, given
):
    page = alive(f"{url}#{segmentation.id}.{asked}")
    page.wait_for_url(f"**/page.html#{segmentation.id}.{given}")
    page.get_by_role("slider", name="step").wait_for()


@pytest.mark.parametrize("state", ["step=x&nonsense=1", "revealed=1", "="])
def test_a_link_carries_nothing_but_what_is_meant_to_be_linked(url, alive, segmentation, state):
    page = alive(f"{url}#{segmentation.id}.{state}")
    assert page.get_by_role("button", name="Skip", exact=True).is_visible()


def test_a_page_says_that_one_can_type_elsewhere(lattices, cut, publish, opened):
    page = opened(publish(Segmentation(lattices, cut).html()))
    assert page.get_by_text("In JupyterLab you can type any text.").is_visible()
    assert page.locator("input[type=text]").count() == 0
    options = page.locator("select option").all_inner_texts()
    assert options == [lattice.text.decode() for lattice in lattices[::3]]


def test_two_widgets_on_a_page_keep_apart(lattices, publish, visit):
    pair = [Segmentation(lattices), Segmentation(lattices)]
    page = visit(publish("".join(widget.html() for widget in pair)))
    page.locator(".tk-alive .tk-lattice > svg > svg").nth(1).wait_for()
    for widget in pair:
        page.locator(f"#{widget.id}").get_by_role("button", name="Skip", exact=True).click()
    second = page.locator(f"#{pair[1].id}")
    second.get_by_role("radio").nth(1).check()
    second.get_by_role("slider", name="α").fill("20")
    page.wait_for_url(f"**#{pair[1].id}.tokenizer=1&alpha=20")
    assert page.locator(f"#{pair[0].id}").get_by_role("radio").nth(0).is_checked()


def test_the_table_gives_the_same_data(url, opened, lattices):
    page = choose(opened(url), SHORT, 1)
    page.get_by_text("The same data as a table").click()
    table = page.locator("details table")
    assert table.locator("th").all_inner_texts() == [
        "from byte", "to byte", "piece", "token", "log p", "chosen",
    ]  # fmt: skip

    def cells():
        return table.locator("tbody tr").evaluate_all(
            "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
        )

    def expected(lattice, score):
        return [
            [
                str(lattice.starts[e]), str(lattice.ends[e]), pieces(lattice, [e])[0],
                str(lattice.ids[e]), score(lattice, e), "yes" if e in lattice.best else "",
            ]
            for e in range(len(lattice.starts))
        ]  # fmt: skip

    assert cells() == expected(
        lattices[7], lambda lattice, e: f"{lattice.scores[e]:.2f}".replace("-", "−")
    )
    page.get_by_role("radio").nth(0).check()
    assert cells() == expected(
        lattices[6],
        lambda lattice, e: (
            f"{-lattice.scores[e]:.0f}" if lattice.ends[e] - lattice.starts[e] > 1 else ""
        ),
    )


def test_the_theme_is_followed_at_once(url, opened, rgb, shot):
    page = choose(opened(url, reduced_motion="reduce"), CHINESE, 1)
    slide(page, "α", 40)
    light, dark = tokens()["hit"]
    stroke = "getComputedStyle(document.querySelector('.tk-lattice .tk-chosen rect')).stroke"
    assert page.evaluate(stroke) == rgb(light)
    shot(page, "segmentation-light", full_page=True)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(stroke) == rgb(dark)
    shot(page, "segmentation-dark", full_page=True)
    page.evaluate("delete document.documentElement.dataset.theme")
    for scheme, color in zip(("light", "dark"), (light, dark), strict=True):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(stroke) == rgb(color)


def counted_while_drawing(page):
    """The numbers of draws that are shown on the way to 100 more."""
    return page.evaluate(
        """async () => {
            document.querySelector(".tk-sampler button:last-of-type").click();
            const seen = new Set();
            for (let at = 0; at < 200 && !seen.has("200"); at++) {
                await new Promise(requestAnimationFrame);
                seen.add(document.querySelector(".tk-value").innerText);
            }
            return [...seen];
        }"""
    )


def test_nothing_moves_for_readers_who_want_no_motion(url, opened):
    for motion in ("reduce", "no-preference"):
        page = choose(opened(url, reduced_motion=motion), SHORT, 1)
        slide(page, "α", 40)
        seen = counted_while_drawing(page)
        assert seen[-1] == "200"
        assert (len(seen) == 1) == (motion == "reduce")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", ["asked", "bpe", "step", "drawn"])
def test_nothing_serious_for_accessibility(url, alive, serious_faults, theme, state):
    page = alive(url)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    if state != "asked":
        page.get_by_role("button", name="Skip", exact=True).click()
        page.get_by_role("radio").nth(0 if state == "bpe" else 1).check()
        for fold in page.locator("summary").all():
            fold.click()
        page.locator("details tbody tr").first.wait_for()
    if state == "step":
        slide(page, "step", 12)
    if state == "drawn":
        slide(page, "α", 40)
    faults = serious_faults(page)
    assert faults == []


@pytest.mark.parametrize("width", [320, 400, 820, 1200])
@pytest.mark.parametrize("sentence", [ENGLISH, CHINESE])
def test_it_fits_every_width(url, opened, shot, width, sentence):
    page = choose(opened(url, width=width, reduced_motion="reduce"), sentence, 1)
    slide(page, "α", 30)
    for fold in page.locator("summary").all():
        fold.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".tk-lattice > svg").bounding_box()["width"] <= width - 20
    bytes_at = page.locator(".tk-byte").evaluate_all(
        "cells => cells.map((cell) => { const {left, right, top} = cell.getBoundingClientRect();"
        " return [left, right, top]; })"
    )
    for (left, right, top), (following, _, below) in pairwise(bytes_at):
        assert 0 <= left < right <= width
        assert right <= following + 0.5 if top == below else below > top
    for text, box in page.locator(".tk-piece").evaluate_all(
        "parts => parts.filter((part) => part.textContent).map((part) => ["
        " part.querySelector('text').getBoundingClientRect().width,"
        " part.firstChild.getBoundingClientRect().width])"
    ):
        assert text <= box + 0.5
    page.set_viewport_size({"width": 600, "height": 900})
    page.wait_for_function("document.querySelector('.tk-lattice > svg').clientWidth > 500")
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_function(
        f"Math.abs(document.querySelector('.tk-lattice').clientWidth - {width} + 24) < 12"
    )
    for fold in page.locator("summary").all():
        fold.click()
    shot(page, f"segmentation-{width}-{sentence}", full_page=True)


@pytest.mark.parametrize("width", [320, 1200])
def test_lines_break_between_characters_and_each_piece_is_there(url, opened, lattices, width):
    page = choose(opened(url, width=width), CHINESE, 1)
    lines = page.locator(".tk-lattice > svg > svg").evaluate_all(
        "lines => lines.map((line) => [...line.querySelectorAll('.tk-byte')]"
        ".map((cell) => parseInt(cell.textContent, 16)))"
    )
    assert b"".join(map(bytes, lines)) == lattices[4].text
    assert (len(lines) > 1) == (width < 800)
    for line in lines:
        bytes(line).decode()  # raises inside a character
    shown = page.locator(".tk-lattice :is(.tk-other, .tk-chosen)").evaluate_all(
        "ps => ps.map((p) => p.dataset.edge)"
    )
    longer = np.flatnonzero(lattices[4].ends - lattices[4].starts > 1).tolist()
    assert {int(edge) for edge in shown} >= set(longer)


def test_words_of_another_language_need_no_code(segmentation, publish, visit):
    state = segmentation.state()
    state["words"] = {name: f"<{name}>" for name in state["words"]} | {"tokens_label": "词元数"}
    segmentation.words = state["words"]
    page = visit(publish(segmentation.html()))
    page.get_by_role("button", name="<skip>", exact=True).click()
    page.get_by_text("词元数", exact=True).wait_for()
    page.get_by_role("radio").nth(1).check()
    page.get_by_role("slider", name="<alpha>").fill("30")
    page.get_by_role("slider", name="<step>").fill("3")
    english = re.compile(r"[A-Za-z]{3,}")
    said = page.locator(".tk-widget").inner_text()
    known = re.compile(r"<\w+>|BPE|Unigram|BytePiece|the tokenizer takes.*|a ab aba")
    left = page.locator(".tk-controls, .tk-key, .tk-now").all_inner_texts()
    assert not english.search(known.sub("", "\n".join(left))), said
    assert json.dumps(state["words"])  # the page took them from the state alone
