"""The lattice of a text: every piece that stands in it, and the path that is taken."""

import random
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.data.tokenizers import BPE, GPT2, SMOLLM, BytePiece, Unigram, lattice
from toolkit.data.tokenizers.text import as_array, segments

# The first call of a loop compiles it, which no deadline should see.
unhurried = settings(deadline=None, max_examples=60)

RNG = random.Random(0)
WORDS = ["the", "cat", "ate", "rats", "in", "2024"]
TEXTS = [
    *(" ".join(RNG.choices(WORDS, k=30)) + "\n" for _ in range(9)),
    *("".join(RNG.choices("今天天气很好，12 ", k=30)) + "\n" for _ in range(9)),
]
telling = st.text(st.sampled_from("the cat 12½\n天气é😀'"), max_size=25)

TRAINED = {
    "BPE": lambda: BPE.train(TEXTS, 285),
    "BPE of single digits": lambda: BPE.train(TEXTS, 280, SMOLLM),
    "BPE without words": lambda: BPE.train(TEXTS, 300, None),
    "Unigram": lambda: Unigram.train(TEXTS, 320),
    "BytePiece": lambda: BytePiece.train(TEXTS, 400),
    "BytePiece of digits": lambda: BytePiece.train(
        TEXTS, 400, isolate_digits=True, normalize="NFC"
    ),
}


@cache
def trained(kind):
    return TRAINED[kind]()


def cuts_before(tokenizer, text, content):
    """Where the text is cut before any piece is asked for."""
    if isinstance(tokenizer, BPE):
        words = tokenizer.pattern.words(text) if tokenizer.pattern else [text]
        return np.cumsum([len(word.encode()) for word in words])
    return segments(as_array(content), tokenizer.isolate_digits)


@pytest.mark.parametrize("kind", TRAINED)
@given(text=telling)
@unhurried
def test_edges_are_all_pieces_that_cross_no_cut(kind, text):
    tokenizer = trained(kind)
    found = lattice(tokenizer, text)
    assert found.kind == tokenizer.kind
    content = found.text
    ids = {}
    for token in range(tokenizer.vocab_size):
        if tokenizer.piece(token):
            ids[tokenizer.piece(token)] = token
    cuts = set(cuts_before(tokenizer, text, content).tolist())
    wanted = [
        (start, end, ids[content[start:end]])
        for end in range(1, len(content) + 1)
        for start in range(end)
        if content[start:end] in ids and not cuts.intersection(range(start + 1, end))
    ]
    edges = zip(found.starts.tolist(), found.ends.tolist(), found.ids.tolist(), strict=True)
    assert [*edges] == wanted
    assert len(found.scores) == len(wanted)


@pytest.mark.parametrize("kind", TRAINED)
@given(text=telling)
@unhurried
def test_the_best_path_is_what_encode_gives(kind, text):
    tokenizer = trained(kind)
    found = lattice(tokenizer, text)
    assert found.ids[found.best].tolist() == tokenizer.encode(text)
    stops = [0, *found.ends[found.best].tolist()]
    assert found.starts[found.best].tolist() == stops[:-1]
    assert stops[-1] == len(found.text)
    pieces = [found.text[start:end] for start, end in pairwise(stops)]
    assert pieces == tokenizer.pieces(text)


@pytest.mark.parametrize("kind", ["Unigram", "BytePiece", "BytePiece of digits"])
@given(text=telling)
@unhurried
def test_scores_are_log_probabilities_and_nothing_is_merged(kind, text):
    tokenizer = trained(kind)
    found = lattice(tokenizer, text)
    assert found.scores.tolist() == [tokenizer.log_probs[token - 3] for token in found.ids]
    assert len(found.merges) == 0


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if kind.startswith("BPE")])
@given(text=telling)
@unhurried
def test_merges_lead_from_bytes_to_the_best_path(kind, text):
    tokenizer = trained(kind)
    found = lattice(tokenizer, text)
    spans = {(at, at + 1) for at in range(len(found.text))}
    for start, end in zip(found.starts[found.merges], found.ends[found.merges], strict=True):
        inside = sorted(span for span in spans if start <= span[0] and span[1] <= end)
        assert len(inside) == 2
        assert (inside[0][0], inside[1][1]) == (start, end)
        assert inside[0][1] == inside[1][0]
        spans = spans.difference(inside) | {(int(start), int(end))}
    best = zip(found.starts[found.best].tolist(), found.ends[found.best].tolist(), strict=True)
    assert sorted(spans) == [*best]


@given(telling)
@unhurried
def test_scores_of_bpe_are_places_of_merges(text):
    tokenizer = trained("BPE")
    found = lattice(tokenizer, text)
    place = {made: number for number, made in enumerate(range(256, 285), 1)}  # as they were learnt
    assert found.scores.tolist() == [-place.get(token, 0) for token in found.ids.tolist()]


def test_a_lattice_said_out():
    tokenizer = BPE([b"a", b"b", b" ", b"ab", b"aba"], [(0, 1), (3, 0)], pattern=GPT2)
    found = lattice(tokenizer, "aba b")
    assert [*zip(found.starts.tolist(), found.ends.tolist(), found.ids.tolist(), strict=True)] == [
        (0, 1, 0), (0, 2, 3), (1, 2, 1), (0, 3, 4), (2, 3, 0), (3, 4, 2), (4, 5, 1),
    ]  # fmt: skip
    assert found.scores.tolist() == [0, -1, 0, -2, 0, 0, 0]
    assert found.merges.tolist() == [1, 3]
    assert found.best.tolist() == [3, 5, 6]
    assert found.text == b"aba b"


def test_the_text_is_that_which_is_cut():
    assert lattice(trained("BytePiece of digits"), "e\u0301").text == "é".encode()
    for tokenizer in map(trained, TRAINED):
        nothing = lattice(tokenizer, "")
        assert nothing.text == b""
        assert [len(nothing.starts), len(nothing.best), len(nothing.merges)] == [0, 0, 0]
        with pytest.raises(ValueError, match="surrogate"):
            lattice(tokenizer, "\ud800")
    with pytest.raises(ValueError, match="no token for the byte 0x63"):
        lattice(BPE([b"a"], []), "ac")
