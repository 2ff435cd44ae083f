"""What `Segmentation` takes, refuses, says and draws."""

from __future__ import annotations

import base64
import json
import warnings
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st

from toolkit.viz import Segmentation, static_files, style
from toolkit.viz.segmentation import spelled
from toolkit.viz.widget import STATE_LIMIT

ENGLISH, CHINESE, SHORT = range(3)


def pieces_of(lattice):
    """The chosen pieces, as bytes."""
    return [
        lattice.text[lattice.starts[edge] : lattice.ends[edge]] for edge in lattice.best.tolist()
    ]


def test_the_record_holds_the_lattices_by_columns(segmentation, lattices):
    record = json.loads(json.dumps(segmentation.record))
    assert record["kinds"] == ["BPE", "Unigram", "BytePiece"]
    kinds = {"starts": "<i2", "ends": "<i2", "ids": "<i4", "scores": "<f8", "best": "<i4"}
    kinds["merges"] = "<i4"
    flat = [columns for row in record["sentences"] for columns in row]
    assert len(flat) == len(lattices) == 9
    for columns, lattice in zip(flat, lattices, strict=True):
        assert base64.b64decode(columns["text"]) == lattice.text
        for name, dtype in kinds.items():
            packed = np.frombuffer(base64.b64decode(columns[name]), dtype)
            np.testing.assert_array_equal(packed, getattr(lattice, name))


def test_tokens_are_counted_by_each_tokenizer(segmentation, lattices):
    for sentence in (ENGLISH, CHINESE, SHORT):
        segmentation.sentence = sentence
        row = lattices[3 * sentence : 3 * sentence + 3]
        assert segmentation.tokens() == {one.kind: len(one.best) for one in row}
        for tokenizer, lattice in enumerate(row):
            segmentation.tokenizer = tokenizer
            assert segmentation.lattice is lattice


def test_the_summary_says_the_pieces_and_the_other_counts(segmentation, lattices):
    segmentation.sentence, segmentation.tokenizer = CHINESE, 1
    lattice = segmentation.lattice
    said = " | ".join(map(spelled, pieces_of(lattice)))
    counts = [len(one.best) for one in lattices[3:6]]
    assert segmentation.summary() == (
        f"Unigram cuts {len(lattice.text)} bytes into {counts[1]} tokens, "
        f"{float(f'{len(lattice.text) / counts[1]:.3g}'):g} bytes a token: “{said}”. "
        f"BPE makes {counts[0]}. BytePiece makes {counts[2]}."
    )


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (b" to", "␣to"),
        ("天气".encode(), "天气"),
        ("天".encode()[:2], "<e5 a4>"),
        ("a天".encode()[:-1], "a<e5 a4>"),
        ("气a".encode()[1:], "<b0 94>a"),
        (b"\xff\xfe", "<ff fe>"),
        (b"a\tb\nc", "a⇥b↵c"),
        (b"\x00\x7f", "<00 7f>"),
        (b"<b>", "<b>"),
        ("😀".encode(), "😀"),
        (b"\xed\xa0\x80", "<ed a0 80>"),
        (b"", ""),
    ],
)
def test_bytes_that_are_no_character_are_spelled_as_hex(piece, said):
    assert spelled(piece) == said


@given(st.text(max_size=20).filter(str.isprintable))
def test_text_spells_itself_but_for_spaces(text):
    assert spelled(text.encode()) == text.replace(" ", "␣")


def test_steps_are_merges_or_bytes_and_pieces(segmentation, lattices):
    assert segmentation.steps == len(lattices[0].merges) > 0
    segmentation.tokenizer = 2
    assert segmentation.steps == len(lattices[2].text) + len(lattices[2].best)


def test_a_step_that_the_next_lattice_lacks_becomes_the_last(segmentation):
    segmentation.tokenizer = 1
    segmentation.step = segmentation.steps
    segmentation.sentence = SHORT
    assert segmentation.step == -1
    segmentation.step = segmentation.steps
    segmentation.sentence = ENGLISH
    assert segmentation.step > 0


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("sentence", 3, "sentence must be 0 to 2, got 3"),
        ("sentence", -1, "sentence must be 0 to 2, got -1"),
        ("tokenizer", 3, "tokenizer must be 0 to 2, got 3"),
        ("alpha", 101, "alpha must be -1 to 100, got 101"),
        ("alpha", -2, "alpha must be -1 to 100, got -2"),
        ("step", -2, "step must be -1 to"),
        ("step", 999, "step must be -1 to"),
    ],
)
def test_a_state_that_can_not_be_is_refused(segmentation, trait, value, sentence):
    before = getattr(segmentation, trait)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(segmentation, trait, value)
    assert getattr(segmentation, trait) == before


def test_lattices_that_do_not_fit_together_are_refused(lattices):
    with pytest.raises(ValueError, match="there are no lattices"):
        Segmentation([])
    with pytest.raises(ValueError, match=r"needs the lattices of BPE, Unigram, .* BPE, Unigram$"):
        Segmentation(lattices[:5])
    with pytest.raises(ValueError, match="one has Unigram, BPE, BytePiece"):
        Segmentation([*lattices[:3], lattices[4], lattices[3], lattices[5]])
    Segmentation(lattices[:6])


def test_best_edges_that_are_no_path_are_refused(lattices):
    whole = lattices[1]
    for best in (whole.best[:-1], whole.best[1:], np.delete(whole.best, 3), whole.best[:0]):
        with pytest.raises(ValueError, match=r"best edges of Unigram are no path through its 67"):
            Segmentation([replace(whole, best=best)])


def test_a_text_has_a_byte_and_not_too_many(lattice):
    vocabulary = {bytes([byte]): -1.0 for byte in range(256)}
    Segmentation([lattice("Unigram", b"x" * 400, vocabulary)])
    for size in (0, 401):
        text = b"x" * size
        with pytest.raises(ValueError, match=f"1 to 400 bytes, and this one {size}$"):
            Segmentation([lattice("Unigram", text, vocabulary)])


def test_six_sentences_by_three_tokenizers_stay_within_the_limit(lattice):
    rng = np.random.default_rng(3)
    lattices = []
    for _ in range(6):
        text = bytes(rng.integers(97, 123, 80).tolist())
        runs = {text[start : start + size] for start in range(80) for size in range(1, 7)}
        vocabulary = dict(zip(sorted(runs), rng.normal(-8, 2, len(runs)), strict=True))
        lattices += [lattice(kind, text, vocabulary) for kind in ("BPE", "Unigram", "BytePiece")]
    assert min(len(one.starts) for one in lattices) > 400
    assert len(Segmentation(lattices)._json()) < STATE_LIMIT


def test_what_is_typed_is_cut_and_added(lattices, cut):
    widget = Segmentation(lattices, cut)
    widget.step = 3
    widget.typed = "a token 天"
    assert widget.refused == ""
    assert (widget.sentence, widget.step) == (3, -1)
    assert widget.lattice.text == "a token 天".encode()
    assert len(widget.record["sentences"]) == 4
    widget.typed = "tokens"
    assert len(widget.record["sentences"]) == 4
    assert widget.tokens() == {one.kind: len(one.best) for one in cut("tokens")}
    widget.sentence = SHORT
    assert widget.lattice is lattices[6]


def test_what_can_not_be_cut_is_refused_in_a_sentence(lattices, cut):
    def picky(text):
        if "!" in text:
            raise ValueError("no exclamation marks, please")
        return cut(text)[:2] if "?" in text else cut(text)

    widget = Segmentation(lattices, picky)
    widget.typed = "天" * 134
    assert widget.refused == "a text has 1 to 400 bytes, and this one 402"
    widget.typed = "oh!"
    assert widget.refused == "no exclamation marks, please"
    widget.typed = "oh?"
    assert widget.refused.startswith("each sentence needs the lattices of BPE, Unigram, BytePiece")
    assert (widget.sentence, len(widget.record["sentences"])) == (0, 3)
    widget.typed = "天" * 133
    assert widget.refused == ""
    assert widget.sentence == 3


def test_only_with_python_can_one_type(lattices, cut):
    assert not Segmentation(lattices).live
    widget = Segmentation(lattices, cut)
    assert widget.live
    widget.typed = "oh"
    state = widget.state()
    assert (state["live"], state["typed"], state["refused"]) == (False, "", "")
    still = Segmentation(lattices)
    still.typed = "oh"
    assert (still.sentence, still.refused) == (0, "")


def test_with_one_tokenizer_there_is_nothing_to_guess(lattices):
    assert not Segmentation(lattices[:3]).revealed
    assert Segmentation(lattices[1::3]).revealed


@pytest.mark.parametrize("sentence", [ENGLISH, CHINESE, SHORT])
@pytest.mark.parametrize("tokenizer", [0, 1, 2])
def test_the_picture_has_the_chosen_pieces_and_every_byte(segmentation, sentence, tokenizer):
    segmentation.sentence, segmentation.tokenizer = sentence, tokenizer
    lattice = segmentation.lattice
    with matplotlib.rc_context(style()):
        figure = segmentation.picture()
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == segmentation.words["title"]
    written = [text.get_text() for text in axes.texts]
    labels = [
        piece.hex() if spelled(piece) == f"<{piece.hex(' ')}>" else spelled(piece)
        for piece in pieces_of(lattice)
    ]
    assert sorted(written) == sorted(labels + [f"{byte:02x}" for byte in lattice.text])
    bold = [bar for bar in axes.patches if bar.get_linewidth() == 2]
    thin = [bar for bar in axes.patches if bar.get_linewidth() < 2]
    assert len(bold) == len(lattice.best)
    longer = lattice.ends - lattice.starts > 1
    assert len(thin) >= longer.sum()
    widths = sorted(round(bar.get_width() + 0.16) for bar in bold)
    assert widths == sorted(len(piece) for piece in pieces_of(lattice))


def test_bars_of_the_picture_do_not_overlap(segmentation):
    with matplotlib.rc_context(style()):
        (axes,) = segmentation.picture().axes
    boxes = [bar.get_bbox() for bar in axes.patches]
    assert len(boxes) > 60
    for at, one in enumerate(boxes):
        for other in boxes[:at]:
            apart = one.x1 <= other.x0 or other.x1 <= one.x0
            assert apart or one.y1 <= other.y0 or other.y1 <= one.y0


def test_a_glyph_that_no_font_here_has_is_no_complaint(lattice):
    text = "\U00012000".encode()  # a cuneiform sign
    widget = Segmentation([lattice("Unigram", text, {text: -1.0})])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "\U00012000" in widget.html()


def test_scripts_stay_small():
    names = ("segmentation.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000
