"""What `LogitLens` takes, refuses, says and draws."""

from __future__ import annotations

import base64
import json
import warnings
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import traitlets

from toolkit.viz import LogitLens, static_files, style
from toolkit.viz.logit_lens import PRINTED, STRONGEST
from toolkit.viz.segmentation import spelled
from toolkit.viz.text import percent
from toolkit.viz.widget import STATE_LIMIT


def test_the_record_holds_the_lens_by_columns(logit_lens, lens):
    record, given = json.loads(json.dumps(logit_lens.record)), lens()
    assert record["tokens"] == ["The", "␣cat", "↵", "␣天", "␣sat<b>"]
    assert record["vocabulary"][-4:] == ["␣word56", "↵", "天气", "␣internationalisation"]
    assert (record["depths"], record["k"]) == (7, 5)
    kinds = {"top": "<i4", "probabilities": "<f4", "said": "<f4", "ranks": "<i4"}
    for name, dtype in kinds.items():
        packed = np.frombuffer(base64.b64decode(record[name]), dtype)
        np.testing.assert_array_equal(packed, getattr(given, name).ravel())


def test_what_stands_before_is_the_last_six_tokens(lens):
    record = LogitLens(lens(tuple(f" {at}" for at in range(9)))).record
    assert record["before"][0] == "␣0"
    assert record["before"][5] == "␣0␣1␣2␣3␣4␣5"
    assert record["before"][6] == "…␣1␣2␣3␣4␣5␣6"
    assert record["before"][8] == "…␣3␣4␣5␣6␣7␣8"


def test_at_first_the_last_token_is_picked_at_the_last_depth(logit_lens):
    assert (logit_lens.token, logit_lens.depth) == (4, 6)
    assert not logit_lens.revealed


@pytest.mark.parametrize(("token", "first"), [(0, 6), (1, 4), (2, 2), (3, 0), (4, 3)])
def test_the_first_depth_to_say_the_answer_and_the_one_that_settles_it(logit_lens, token, first):
    logit_lens.token = token
    assert logit_lens.answer == logit_lens.lens.top[-1, token, 0]
    assert logit_lens.first_choice == first
    assert logit_lens.settled == (5 if token == 4 else first)


def test_the_summary_says_the_answer_and_where_it_is_decided(logit_lens):
    lens = logit_lens.lens
    answer = spelled(lens.vocabulary[lens.top[6, 4, 0]].encode())
    decided = (
        f"After “The␣cat↵␣天␣sat<b>” the model says “{answer}” with "
        f"{percent(float(lens.said[6, 4]))}. The first depth to say so is layer 3. "
        "Every depth says so from layer 5 on."
    )
    assert logit_lens.summary() == decided
    logit_lens.depth = 4
    says = spelled(lens.vocabulary[lens.top[4, 4, 0]].encode())
    assert says != answer
    assert logit_lens.summary() == (
        f"{decided} At layer 4 it would say “{says}” with "
        f"{percent(float(lens.probabilities[4, 4, 0]))}, and the final answer has rank "
        f"{1 + lens.ranks[4, 4]}."
    )
    logit_lens.token, logit_lens.depth = 3, 6
    assert logit_lens.summary().endswith("%. The first depth to say so is the embedding.")


@pytest.mark.parametrize(
    ("trait", "value", "most"), [("token", 5, 4), ("token", -1, 4), ("depth", 7, 6)]
)
def test_the_reader_can_not_be_given_a_cell_outside_the_grid(logit_lens, trait, value, most):
    with pytest.raises(traitlets.TraitError, match=f"{trait} must be 0 to {most}, got {value}$"):
        setattr(logit_lens, trait, value)


def test_arrays_that_do_not_fit_together_are_refused(lens):
    given = lens()
    late = given.ranks.copy()
    late[-1, 2] = 3
    for change, told in (
        (
            {"said": given.said[:, 1:]},
            r"said must be \(depths of 2 or more, 5 tokens\), got \(7, 4",
        ),
        ({"said": given.said[:1]}, r"said must be \(depths of 2 or more, 5 tokens\), got \(1, 5"),
        ({"ranks": given.ranks[1:]}, r"ranks must fit said, which is \(7, 5\), and is \(6, 5\)"),
        ({"top": given.top[:, :, 0]}, r"top must fit said, which is \(7, 5\), and is \(7, 5\)"),
        ({"top": given.top[:, :, :3]}, r"top is \(7, 5, 3\) and probabilities are \(7, 5, 5\)"),
        ({"top": given.top + 1}, r"top names tokens \d+ to 60, and the vocabulary has 60"),
        ({"top": given.top - 60}, "top names tokens -60 to"),
        ({"ranks": late}, r"ranks its own answers \[0, 0, 3, 0, 0\]: each must be 0"),
    ):
        with pytest.raises(ValueError, match=told):
            LogitLens(replace(given, **change))


def test_a_text_has_a_token_and_not_too_many(lens):
    LogitLens(lens(("x",) * 64))
    for size in (0, 65):
        some = lens(("x",) * max(1, size))
        tokens = ("x",) * size
        with pytest.raises(ValueError, match=f"1 to 64 tokens, and this one {size}$"):
            LogitLens(replace(some, tokens=tokens))


def test_the_longest_text_through_thirty_layers_stays_within_the_limit(lens):
    rng = np.random.default_rng(3)
    given = lens(tuple(f" token{at}" for at in range(64)), depths=31)
    letters = rng.integers(97, 123, (given.top.size, 7), dtype=np.uint8)
    given = replace(
        given,
        vocabulary=tuple(" " + bytes(row).decode() for row in letters),  # no token twice
        top=np.arange(given.top.size, dtype=np.int32).reshape(given.top.shape),
    )
    assert len(LogitLens(given)._json().encode()) < STATE_LIMIT


def test_what_is_typed_is_looked_at_and_shown(lens):
    def look(text):
        return lens(tuple(text.split()), depths=9)

    widget = LogitLens(lens(), look)
    widget.token, widget.depth = 1, 2
    widget.typed = "three short words"
    assert widget.refused == ""
    assert widget.lens.tokens == ("three", "short", "words")
    assert (widget.token, widget.depth) == (2, 8)
    assert widget.record["tokens"] == ["three", "short", "words"]


def test_the_first_text_typed_again_is_news_to_the_browser(lens):
    widget = LogitLens(lens(), lambda _: lens())
    heard = []
    widget.observe(heard.append, "record")
    widget.typed = "The cat"
    assert len(heard) == 1


def test_what_can_not_be_looked_at_is_refused_in_a_sentence(lens):
    def picky(text):
        if "!" in text:
            raise ValueError("no exclamation marks, please")
        return lens(tuple(text))

    widget = LogitLens(lens(), picky)
    widget.typed = "oh!"
    assert widget.refused == "no exclamation marks, please"
    widget.typed = "x" * 65
    assert widget.refused == "a text has 1 to 64 tokens, and this one 65"
    assert (widget.lens.tokens[0], widget.token) == ("The", 4)
    widget.typed = "x" * 64
    assert (widget.refused, widget.token) == ("", 63)


def test_only_with_python_can_one_type(lens):
    still = LogitLens(lens())
    still.typed = "oh"
    assert (still.live, still.lens.tokens[0], still.refused) == (False, "The", "")
    widget = LogitLens(lens(), lambda text: lens(tuple(text)))
    widget.typed = "oh"
    assert widget.live
    state = widget.state()
    assert (state["live"], state["typed"], state["refused"]) == (False, "", "")


def test_the_picture_has_each_choice_its_chance_and_the_curves(logit_lens):
    lens = logit_lens.lens
    with matplotlib.rc_context(style()):
        figure = logit_lens.picture()
    assert figure.get_suptitle() == logit_lens.words["title"]
    grid, share, rank = figure.axes
    written = {text.get_position(): text.get_text() for text in grid.texts}
    assert len(written) == 35
    for (token, depth), text in written.items():
        said = spelled(lens.vocabulary[lens.top[depth, token, 0]].encode())
        assert text == (said if len(said) <= 8 else said[:7] + "…")
    (fills,) = grid.images
    np.testing.assert_allclose(fills.get_array()[..., 3] / STRONGEST, lens.probabilities[..., 0])
    outlined = {(round(box.get_x() + 0.46), round(box.get_y() + 0.42)) for box in grid.patches}
    assert outlined == {(t, d) for d, t in np.argwhere(lens.ranks == 0).tolist()}
    for axes, values in ((share, lens.said[:, 4]), (rank, lens.ranks[:, 4] + 1)):
        curve, decided = axes.lines
        np.testing.assert_array_equal(curve.get_xydata(), np.stack([values, range(7)], axis=1))
        assert set(decided.get_ydata()) == {3}
    assert rank.get_xlim()[0] > rank.get_xlim()[1]  # better to the right, as in the other


def test_the_picture_shows_the_tokens_up_to_the_picked_one_that_fit(lens):
    widget = LogitLens(lens(tuple(f"t{at}" for at in range(30))))
    widget.token = 20
    with matplotlib.rc_context(style()):
        grid = widget.picture().axes[0]
    names = [label.get_text() for label in grid.get_xticklabels()]
    assert names == [f"t{at}" for at in range(21 - PRINTED, 21)]
    widget.token = 1
    with matplotlib.rc_context(style()):
        grid = widget.picture().axes[0]
    assert [label.get_text() for label in grid.get_xticklabels()] == ["t0", "t1"]


def test_a_glyph_that_no_font_here_has_is_no_complaint(lens):
    widget = LogitLens(lens(("\U00012000",)))  # a cuneiform sign
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "\U00012000" in widget.html()


def test_scripts_stay_small():
    names = ("logit_lens.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000
