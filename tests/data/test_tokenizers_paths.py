"""Tries and paths through lattices against all segmentations of short texts."""

import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from toolkit.data.tokenizers import plain
from toolkit.data.tokenizers.paths import best_tokens, edges, random_tokens
from toolkit.data.tokenizers.trie import PARENT, ROOT, TOKEN, build, build_sorted

# The first call of a loop compiles it, which no deadline should see.
unhurried = settings(deadline=None)
FALSE_ALARM = 1e-7
DRAWS = 30_000

# Sums of quarters are exact, so that many segmentations are exactly as good as each other.
quarters = st.integers(-16, -1).map(lambda n: n / 4)


@st.composite
def vocabularies(draw, scores=quarters):
    """Pieces of the bytes 0, a and 255, every single one among them."""
    some = st.lists(st.sampled_from([0, 97, 255]), min_size=2, max_size=4).map(bytes)
    pieces = [b"\0", b"a", b"\xff", *draw(st.lists(some, unique=True, max_size=12))]
    return {piece: draw(scores) for piece in draw(st.permutations(pieces))}


short = st.lists(st.sampled_from([0, 97, 255]), max_size=9).map(bytes)


def array(content):
    return np.frombuffer(content, dtype=np.uint8)


def arguments(texts, vocabulary):
    """What both loops take, and the pieces by their tokens."""
    pieces = [*vocabulary]
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int32)
    scores = np.array([*vocabulary.values()], dtype=np.float64)
    return (array(b"".join(texts)), ends, build(pieces), scores, lengths), pieces


def all_segmentations(text, pieces):
    if not text:
        yield ()
    for piece in pieces:
        if text.startswith(piece):
            for rest in all_segmentations(text[len(piece) :], pieces):
                yield (piece, *rest)


# The trie


def followed(trie, piece):
    """The token of a piece, by the trie alone; None where it goes nowhere."""
    node = 0
    for byte in piece:
        child = int(trie[node, 0]) ^ byte
        if trie[child, PARENT] != node:
            return None
        node = child
    return int(trie[node, TOKEN])


def check_trie(trie, token_of, step=5):
    beginnings = {piece[:n] for piece in token_of for n in range(1, len(piece))}
    for piece, token in token_of.items():
        assert followed(trie, piece) == token
        for byte in range(0, 256, step):
            longer = piece + bytes([byte])
            if longer not in token_of:
                assert followed(trie, longer) == (-1 if longer in beginnings else None)
    for beginning in beginnings - token_of.keys():
        assert followed(trie, beginning) == -1


@given(st.lists(st.binary(min_size=1, max_size=5), unique=True, max_size=30))
@unhurried
def test_a_trie_leads_to_its_pieces_and_nowhere_else(pieces):
    token_of = {piece: 7 * number for number, piece in enumerate(pieces)}
    check_trie(build(pieces, [*token_of.values()]), token_of)
    check_trie(build(pieces), {piece: number for number, piece in enumerate(pieces)})
    every = b"".join(sorted(pieces))
    offsets = np.cumsum([0, *(len(piece) for piece in sorted(pieces))], dtype=np.int64)
    in_order = build_sorted(array(every), offsets)
    check_trie(in_order, {piece: number for number, piece in enumerate(sorted(pieces))})


@pytest.mark.parametrize("alphabet", [2, 11, 256])
def test_a_trie_of_many_pieces_and_every_byte(alphabet):
    rng = random.Random(alphabet)
    pieces = {bytes([byte]) for byte in range(256)}
    while len(pieces) < 6000:
        pieces.add(bytes(rng.randrange(alphabet) for _ in range(rng.randrange(1, 20))))
    trie = build(sorted(pieces))
    check_trie(trie, {piece: number for number, piece in enumerate(sorted(pieces))}, 31)
    assert trie[0, PARENT] == ROOT
    assert (np.sort(trie[:, TOKEN])[-6000:] == np.arange(6000)).all()


def test_nodes_with_every_byte_below_them():
    pieces = [bytes([a, b]) for a in range(0, 256, 15) for b in range(256)]
    check_trie(build(pieces), {piece: number for number, piece in enumerate(pieces)}, 51)


def test_a_trie_of_nothing_leads_nowhere():
    trie = build([])
    assert all(followed(trie, bytes([byte])) is None for byte in range(256))


def test_a_piece_deeper_than_any_recursion():
    piece = bytes(range(256)) * 100
    assert followed(build([piece]), piece) == 0
    assert followed(build([piece]), piece[:-1]) == -1


@given(short, vocabularies())
@unhurried
def test_edges_are_all_pieces_that_stand_in_the_text(text, vocabulary):
    del vocabulary[b"a"]  # the root lacks a byte
    pieces = [*vocabulary]
    wanted = [
        (s, e, pieces.index(text[s:e]))
        for s in range(len(text))
        for e in range(s + 1, len(text) + 1)
        if text[s:e] in vocabulary
    ]
    assert [tuple(edge) for edge in edges(array(text), build(pieces)).tolist()] == wanted


def test_more_edges_than_there_is_room_for_at_first():
    assert len(edges(array(b"a" * 500), build([b"a", b"aa"]))) == 999


# The best path


@given(st.lists(short, min_size=1, max_size=3), vocabularies())
@unhurried
def test_the_best_path_is_the_best_of_all_segmentations(texts, vocabulary):
    given_to, pieces = arguments(texts, vocabulary)
    found = [pieces[token] for token in best_tokens(*given_to)]
    wanted = []
    for text in texts:
        every = [*all_segmentations(text, pieces)]
        best = max(plain.segmentation_score(some, vocabulary) for some in every)
        as_good = [s for s in every if plain.segmentation_score(s, vocabulary) == best]
        # of equally good ones, the longest last piece, then the longest before it, ...
        chosen = max(as_good, key=lambda s: [len(piece) for piece in reversed(s)])
        assert plain.viterbi(text, vocabulary) == [*chosen]
        wanted += chosen
    assert found == wanted


def test_a_long_text_after_a_short_one():
    rng = random.Random(0)
    vocabulary = {b"a": -1.0, b"b": -2.0, b"ab": -2.5, b"bba": -3.25, b"abab": -4.0}
    texts = [bytes(rng.choices(b"ab", k=size)) for size in (1, 0, 300, 2, 700, 5)]
    given_to, pieces = arguments(texts, vocabulary)
    wanted = [piece for text in texts for piece in plain.viterbi(text, vocabulary)]
    assert [pieces[token] for token in best_tokens(*given_to)] == wanted


def test_a_text_that_no_pieces_make_is_refused_by_the_plain_version():
    with pytest.raises(ValueError, match=r"no pieces .* make b'xa'.*every single byte"):
        plain.viterbi(b"xa", {b"a": -1.0})
    with pytest.raises(ValueError, match="no pieces"):
        plain.sample_segmentation(b"xa", {b"a": -1.0}, 1.0, np.random.default_rng(0))
    assert plain.segmentation_score([b"x"], {b"a": -1.0}) == -math.inf
    assert plain.viterbi(b"", {}) == []


# Random paths


def drawn(text, vocabulary, alpha, seed=0):
    """How often each segmentation of a text is drawn, of ``DRAWS``."""
    scaled = {piece: alpha * score for piece, score in vocabulary.items()}
    given_to, pieces = arguments([text] * DRAWS, scaled)
    tokens = random_tokens(*given_to, np.uint64(seed))
    ends = np.cumsum(given_to[-1][tokens])
    stops = np.searchsorted(ends, given_to[1]) + 1
    return Counter(
        tuple(pieces[token] for token in tokens[start:stop])
        for start, stop in pairwise([0, *stops.tolist()])
    )


def check_frequencies(found, vocabulary, alpha, text):
    """Chi-square against P(segmentation)^alpha over all segmentations."""
    weight = {
        some: math.exp(alpha * plain.segmentation_score(some, vocabulary))
        for some in all_segmentations(text, [*vocabulary])
    }
    assert found.keys() <= weight.keys()
    total, draws = sum(weight.values()), sum(found.values())
    expected = {some: draws * w / total for some, w in weight.items()}
    rare = {some for some in expected if expected[some] < 10}
    cells = [(found[some], expected[some]) for some in expected.keys() - rare]
    if rare:
        cells.append((sum(found[s] for s in rare), sum(expected[s] for s in rare)))
    statistic = sum((have - want) ** 2 / want for have, want in cells)
    assert statistic <= chi2.isf(FALSE_ALARM, max(len(cells) - 1, 1)), (cells, statistic)


THREE_WAYS = {b"a": -1.0, b"b": -1.0, b"c": -1.0, b"ab": -2.0, b"bc": -2.0}


def test_three_equal_paths_are_drawn_alike():
    """Pairwise choices, as bytepiece made before 0.5, gave a quarter, a quarter and a half."""
    found = drawn(b"abc", THREE_WAYS, 1.0)
    assert len(found) == 3
    check_frequencies(found, THREE_WAYS, 1.0, b"abc")


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_segmentations_are_drawn_in_proportion_to_their_probability(alpha, seed):
    vocabulary = {b"a": -1.2, b"b": -2.1, b"ab": -2.5, b"ba": -3.3, b"aba": -2.9, b"bab": -4.0}
    text = b"ababbab"
    found = drawn(text, vocabulary, alpha, seed)
    check_frequencies(found, vocabulary, alpha, text)
    if alpha == 0:
        assert len(found) == len([*all_segmentations(text, [*vocabulary])])


def test_seeds_that_follow_each_other_draw_independently():
    given_to, pieces = arguments([b"abc"], THREE_WAYS)
    found = [
        tuple(pieces[token] for token in random_tokens(*given_to, np.uint64(seed)))
        for seed in range(3000)
    ]
    check_frequencies(Counter(found), THREE_WAYS, 1.0, b"abc")
    pairs = Counter(pairwise(found[::2])) + Counter(pairwise(found[1::2]))
    assert len(pairs) == 9
    expected = sum(pairs.values()) / 9
    statistic = sum((have - expected) ** 2 / expected for have in pairs.values())
    assert statistic <= chi2.isf(FALSE_ALARM, 8)


def test_the_plain_version_draws_from_the_same_distribution():
    rng = np.random.default_rng(0)
    vocabulary = {b"a": -1.2, b"b": -2.1, b"ab": -2.5, b"ba": -3.3, b"aba": -2.9}
    found = Counter(
        tuple(plain.sample_segmentation(b"ababa", vocabulary, 0.7, rng)) for _ in range(3000)
    )
    check_frequencies(found, vocabulary, 0.7, b"ababa")


def test_the_same_seed_draws_the_same():
    text = [b"abcabcabcabc"]
    given_to, _ = arguments(text, THREE_WAYS)
    first = random_tokens(*given_to, np.uint64(5)).tolist()
    assert random_tokens(*given_to, np.uint64(5)).tolist() == first
    assert any(random_tokens(*given_to, np.uint64(s)).tolist() != first for s in range(6, 9))


@given(st.lists(short, min_size=1, max_size=3), vocabularies(), st.integers(0, 2**64 - 1))
@unhurried
def test_a_random_path_spells_its_text_and_a_very_peaked_one_is_the_best(texts, vocabulary, seed):
    given_to, pieces = arguments(texts, vocabulary)
    found = [pieces[token] for token in random_tokens(*given_to, np.uint64(seed))]
    assert b"".join(found) == b"".join(texts)
    peaked, _ = arguments(texts, {piece: 1e6 * score for piece, score in vocabulary.items()})
    best = [pieces[token] for token in random_tokens(*peaked, np.uint64(seed))]
    score = plain.segmentation_score(best, vocabulary)
    wanted = sum(
        plain.segmentation_score(plain.viterbi(text, vocabulary), vocabulary) for text in texts
    )
    assert score == wanted
