"""Repeated passages against loops that compare everything with everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit import assets
from toolkit.data.dedup import all_pairs_jaccard, deduplicate, jaccard, shingles, substrings, words
from toolkit.data.dedup.substrings import (
    remove_passages,
    repeated_passages,
    repeated_passages_plain,
)

# The first call of a loop compiles it, which no deadline should see.
unhurried = settings(deadline=None)

# Few words make many repeats. The gaps between them are of no account, so any gap will do.
plain_texts = st.lists(
    st.lists(st.sampled_from("ab"), max_size=14).map(" ".join)
    | st.lists(st.sampled_from("abcdef"), max_size=30).map(" ".join),
    max_size=5,
)
TRICKY = ["a", "A", "İ", "ß", "ŉ", "ﬃ", "\u0301", "\u0345", "中", "文", "か\u3099", "हि", "9_"]
GAPS = ["", " ", "\n\n", ". ", " (", "\ud800", "😀"]
tricky_texts = st.lists(
    st.lists(st.sampled_from(TRICKY * 2 + GAPS), max_size=20).map("".join), max_size=4
)
any_texts = plain_texts | tricky_texts


def columns(passages):
    names = ("document", "start", "stop", "first_document", "first_start")
    return list(zip(*(getattr(passages, name).tolist() for name in names), strict=True))


def brute_force(documents, length):
    """Maximal passages by comparing every place with every earlier one, word for word."""
    places = [(d, i) for d, document in enumerate(documents) for i in range(len(document))]
    found, end = [], (-1, 0)
    for n, (d, i) in enumerate(places):
        longest, first = 0, None
        for e, j in places[:n]:
            k = 0
            while documents[d][i + k : i + k + 1] == documents[e][j + k : j + k + 1] != []:
                k += 1
            if k > longest:
                longest, first = k, (e, j)
        if longest >= length and (d, i + longest) > end:
            end = d, i + longest
            found.append((d, i, i + longest, *first))
    return found


def copied_words(documents, length):
    """For each document, which of its words lie in a window seen before."""
    seen, copied = set(), []
    for document in documents:
        marks = [False] * len(document)
        for i in range(len(document) - length + 1):
            window = tuple(document[i : i + length])
            if window in seen:
                marks[i : i + length] = [True] * length
            seen.add(window)
        copied.append(marks)
    return copied


def until_none_is_left(texts, length):
    while len(passages := repeated_passages(texts, length)):
        texts = remove_passages(texts, passages)
    return texts


# Finding


@pytest.mark.parametrize(
    ("texts", "length", "expected"),
    [
        ([], 1, []),
        ([""], 1, []),
        (["", "...", ""], 1, []),
        (["a"], 1, []),
        (["a", "a"], 1, [(1, 0, 1, 0, 0)]),
        (["a", "a"], 2, []),
        (["a b c d", "x b c y"], 2, [(1, 1, 3, 0, 1)]),
        (["a b c d", "x b c y"], 3, []),
        (["a b", "a b"], 3, []),
        # Not across documents, though the words follow on each other.
        (["a b", "c d", "a b c d"], 4, []),
        (["a b", "c d", "a b c d"], 2, [(2, 0, 2, 0, 0), (2, 2, 4, 1, 0)]),
        # Within one document, and overlapping its own first occurrence.
        (["a b c a b c"], 3, [(0, 3, 6, 0, 0)]),
        (["a a a a a"], 2, [(0, 1, 5, 0, 0)]),
        (["a b a b a"], 2, [(0, 2, 5, 0, 0)]),
        # Two passages that overlap: their union occurs nowhere.
        (["a b c", "b c d", "a b c d"], 3, [(2, 0, 3, 0, 0), (2, 1, 4, 1, 0)]),
        # The first place is the earliest, though a later one goes on for longer elsewhere.
        (["a b c x", "a b c d", "a b c y"], 2, [(1, 0, 3, 0, 0), (2, 0, 3, 0, 0)]),
        # Case is folded; punctuation doesn't count; characters without spaces are words.
        (["Straße, İ!", "STRASSE i̇"], 2, [(1, 0, 2, 0, 0)]),
        (["中文字", "x中文"], 2, [(1, 1, 3, 0, 0)]),
        (["\ud800a\ud800b", "a b"], 2, [(1, 0, 2, 0, 0)]),
    ],
)
def test_passages(texts, length, expected):
    found = columns(repeated_passages(texts, length))
    assert found == repeated_passages_plain(texts, length)
    assert found == brute_force([words(text) for text in texts], length)
    assert found == expected


@unhurried
@given(any_texts, st.integers(1, 6))
def test_passages_are_those_of_two_loops_and_of_the_plain_version(texts, length):
    passages = repeated_passages(texts, length)
    truth = brute_force([words(text) for text in texts], length)
    assert columns(passages) == truth
    assert repeated_passages_plain(texts, length) == truth
    assert passages.length == length
    assert passages.tokens.tolist() == [len(words(text)) for text in texts]
    assert len(passages) == len(truth)


@unhurried
@given(plain_texts, st.integers(1, 6))
def test_the_words_covered_are_those_in_a_window_seen_before(texts, length):
    documents = [text.split() for text in texts]
    passages = repeated_passages(texts, length)
    covered = [[False] * len(document) for document in documents]
    for document, start, stop, *_ in columns(passages):
        covered[document][start:stop] = [True] * (stop - start)
    assert covered == copied_words(documents, length)
    assert passages.covered == sum(map(sum, covered))


@unhurried
@given(any_texts, st.integers(1, 4))
def test_characters_slice_the_passage_out_of_the_original_text(texts, length):
    passages = repeated_passages(texts, length)
    for k, (document, start, stop, first_document, first_start) in enumerate(columns(passages)):
        text, its_words = texts[document], words(texts[document])
        before, passage, after = np.split(
            np.array([*text], dtype=object), [passages.char_start[k], passages.char_stop[k]]
        )
        passage = "".join(passage)
        assert words(passage) == its_words[start:stop]
        assert passage == text[passages.char_start[k] : passages.char_stop[k]]
        # It begins and ends with a word, and leaves no part of one behind.
        assert words(passage[0])
        assert words(passage[-1])
        assert len(words("".join(before))) == start
        assert len(words("".join(after))) == len(its_words) - stop
        first = words(texts[first_document])[first_start : first_start + stop - start]
        assert first == its_words[start:stop]
        assert (first_document, first_start) < (document, start)


def test_one_character_that_folds_to_two_moves_no_later_passage():
    for character in map(chr, range(0x110000)):
        if len(character.casefold()) > 1:
            text = f"{character}x{character} b,c {character}d"
            passages = repeated_passages(["b c", text], 2)
            assert text[passages.char_start[0] : passages.char_stop[0]] == "b,c"


@pytest.mark.parametrize("distinct", [3, 255, 256, 300, 65_535, 65_536, 70_000])
def test_words_numbered_in_one_two_or_four_bytes(distinct):
    text = " ".join(f"w{k}" for k in range(distinct))
    assert columns(repeated_passages([text, f"x {text} y {text}"], 3)) == [
        (1, 1, distinct + 1, 0, 0),
        (1, distinct + 2, 2 * distinct + 2, 0, 0),
    ]


def test_one_word_twenty_thousand_times():
    passages = repeated_passages(["na " * 20_000])
    assert columns(passages) == [(0, 1, 20_000, 0, 0)]
    assert remove_passages(["na " * 20_000], passages) == ["na "]


def test_of_five_thousand_copies_each_points_to_the_first():
    text = " ".join(f"w{k}" for k in range(60))
    passages = repeated_passages([text] * 5000)
    assert passages.document.tolist() == list(range(1, 5000))
    assert not passages.first_document.any()
    assert passages.covered == 60 * 4999


def test_neither_blocks_nor_another_run_change_the_answer(monkeypatch):
    texts = [" ".join(f"w{k * k % 7}" for k in range(n)) for n in range(3, 60)]
    once, twice = repeated_passages(texts, 4), repeated_passages(texts, 4)
    monkeypatch.setattr(substrings, "blocks", lambda texts: ([text] for text in texts))
    assert columns(once) == columns(twice) == columns(repeated_passages(texts, 4))
    assert len(once) > 50


def test_the_record_holds_plain_arrays_of_one_length():
    passages = repeated_passages(np.array(["a b", "a b"]), np.int64(2))
    for name in ("document", "start", "stop", "first_document", "first_start"):
        assert getattr(passages, name).dtype == np.int64
        assert getattr(passages, name).shape == (1,)
    assert (passages.char_start.tolist(), passages.char_stop.tolist()) == ([0], [3])
    assert isinstance(passages.length, int)


# Removing


@pytest.mark.parametrize(
    ("texts", "length", "expected"),
    [
        ([], 2, []),
        (["a b", "x"], 2, ["a b", "x"]),
        (["a b", "x (a b), y."], 2, ["a b", "x (y."]),
        (["a b", "x. a b."], 2, ["a b", "x. "]),
        (["a b", "* a b\n\nx"], 2, ["a b", "x"]),
        (["a b", "(a, b)\n"], 2, ["a b", ""]),
        (["a b", "- a b, A B; x a b"], 2, ["a b", "x "]),
        # Passages that overlap, and that touch.
        (["a b c", "b c d", "x a b c d y"], 3, ["a b c", "b c d", "x y"]),
        (["a b", "c d", "x a b c d y"], 2, ["a b", "c d", "x y"]),
        # A space only where two words would become one.
        (["中 文", "a中文b"], 2, ["中 文", "a b"]),
        (["中 文", "字中文字"], 2, ["中 文", "字字"]),
        (["中 文", "a中文字"], 2, ["中 文", "a字"]),
        (["中 文", "字中文 \u0301a"], 2, ["中 文", "字 \u0301a"]),
        (["中 文", "ß中文ß"], 2, ["中 文", "ß ß"]),
    ],
)
def test_removing(texts, length, expected):
    assert remove_passages(texts, repeated_passages(texts, length)) == expected


@unhurried
@given(any_texts, st.integers(1, 4))
def test_what_is_left_is_the_words_not_covered(texts, length):
    passages = repeated_passages(texts, length)
    left = remove_passages(texts, passages)
    documents = [words(text) for text in texts]
    for text, before, its_words, copied in zip(
        left, texts, documents, copied_words(documents, length), strict=True
    ):
        assert words(text) == [w for w, gone in zip(its_words, copied, strict=True) if not gone]
        if not any(copied):
            assert text == before
        elif all(copied):
            assert text == ""
    # Every word that went has gone from a copy: the corpus still knows all its words.
    assert {w for text in left for w in words(text)} == {w for d in documents for w in d}


@unhurried
@given(any_texts, st.integers(1, 4))
def test_rounds_come_to_an_end_with_nothing_left_to_find(texts, length):
    clean = until_none_is_left(texts, length)
    assert brute_force([words(text) for text in clean], length) == []
    assert remove_passages(clean, repeated_passages(clean, length)) == clean


def test_a_removal_makes_a_passage_that_was_not_there():
    texts = ["a b c d", "e f a b c d g h", "e f g h"]
    first = repeated_passages(texts, 4)
    assert columns(first) == [(1, 2, 6, 0, 0)]
    texts = remove_passages(texts, first)
    assert texts == ["a b c d", "e f g h", "e f g h"]
    second = repeated_passages(texts, 4)
    assert columns(second) == [(2, 0, 4, 1, 0)]
    assert remove_passages(texts, second) == ["a b c d", "e f g h", ""]


# Bad input


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: repeated_passages("a b"), TypeError, "got one str: wrap it as [text]"),
        (lambda: repeated_passages(["a", b"b"]), TypeError, "document 1 must be a str, got bytes"),
        (lambda: repeated_passages(iter(["a"])), TypeError, "wrap it in list(...)"),
        (lambda: repeated_passages(["a"], 0), ValueError, "length must be at least 1 word, got 0"),
        (lambda: repeated_passages(["a"], -1), ValueError, "at least 1 word, got -1"),
        (
            lambda: repeated_passages(["a"], 2.5),
            TypeError,
            "length must be a whole number, got 2.5",
        ),
        (
            lambda: remove_passages("a b", repeated_passages(["a b"])),
            TypeError,
            "got one str: wrap it as [text]",
        ),
        (
            lambda: remove_passages(["a"], repeated_passages(["a", "a"], 1)),
            ValueError,
            "passages found in 2 documents can't be removed from 1: pass the texts they were",
        ),
        (
            lambda: remove_passages(["a", "a b"], repeated_passages(["a", "a"], 1)),
            ValueError,
            "document 1 had 1 words when passages were found in it and now has 2: pass the texts",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, error, sentence):
    with pytest.raises(error) as refused:
        call()
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_more_words_than_positions_are_refused(monkeypatch):
    monkeypatch.setattr(substrings, "MOST_POSITIONS", 8)
    texts = ["a b c", "a b"]  # 5 words and 3 boundaries
    assert len(repeated_passages(texts, 2)) == 1
    with pytest.raises(ValueError, match="2 documents can have 5 words together, got 6: search"):
        repeated_passages(["a b c", "a b c"])


# Licence texts


@pytest.fixture(scope="module")
def licenses():
    """The licence texts of 20 words or more, as white space parts them."""
    return [text for text in assets.texts("license-texts").texts if len(text.split()) >= 20]


def test_a_slice_of_the_corpus(licenses):
    texts = licenses[::50]
    documents = [words(text) for text in texts]
    passages = repeated_passages(texts)
    copied = copied_words(documents, 50)
    assert passages.covered == sum(map(sum, copied)) > 10_000
    left = remove_passages(texts, passages)
    assert [len(words(text)) for text in left] == [marks.count(False) for marks in copied]


def test_a_licence_that_holds_another_whole_and_is_unlike_it(licenses):
    apache, plural = licenses[103], licenses[1712]
    assert apache.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert plural.split()[:2] == ["Plural", "Licensing"]
    passages = repeated_passages([apache, plural])
    assert columns(passages) == [(1, 365, 1973, 0, 0)]
    assert passages.tokens.tolist() == [1608, 7569]
    assert jaccard(shingles(apache), shingles(plural)) == pytest.approx(0.209, abs=0.0005)
    assert len(deduplicate([apache, plural]).pairs) == 0


@pytest.mark.slow
def test_the_whole_corpus_in_two_rounds(licenses):
    passages = repeated_passages(licenses)
    assert (passages.tokens.sum(), len(passages), passages.covered) == (
        5_721_788,
        18_058,
        3_812_072,
    )
    k = np.flatnonzero((passages.document == 1712) & (passages.first_document == 103))
    assert (passages.start[k].tolist(), passages.stop[k].tolist()) == ([365], [1973])

    once = remove_passages(licenses, passages)
    assert once.count("") == 3037
    again = repeated_passages(once)
    assert (again.tokens.sum(), len(again), again.covered) == (5_721_788 - 3_812_072, 4, 219)
    # A Debian notice lost its paragraph on warranty, and reads like a shorter one now.
    assert (6391, 0, 54, 6347, 1) in columns(again)
    assert len(repeated_passages(remove_passages(once, again))) == 0


@pytest.mark.slow
def test_what_minhash_cannot_find(licenses):
    kept = [licenses[i] for i in deduplicate(licenses).kept]
    passages = repeated_passages(kept)
    assert round(passages.covered / passages.tokens.sum(), 2) == 0.33

    sizes = repeated_passages(licenses).tokens
    long = np.flatnonzero(sizes >= 50)
    share = all_pairs_jaccard([licenses[i] for i in long], 1e-9, ngram=50)
    alike = all_pairs_jaccard(licenses, 0.8)
    share = set(zip(long[share["i"]].tolist(), long[share["j"]].tolist(), strict=True))
    alike = set(zip(alike["i"].tolist(), alike["j"].tolist(), strict=True))
    assert len(share) == 2_707_717
    assert len(share - alike) == 2_618_487
