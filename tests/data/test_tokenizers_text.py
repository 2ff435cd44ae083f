"""Text before any vocabulary: bytes, segments as the package bytepiece cuts them, GPT-2's words."""

import gzip
import json
import random
import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from toolkit.data.dedup.inputs import InputError
from toolkit.data.tokenizers import GPT2, SMOLLM, TextFiles
from toolkit.data.tokenizers.gguf_vocabulary import byte_signs
from toolkit.data.tokenizers.splitting import split
from toolkit.data.tokenizers.text import (
    DIGIT,
    LETTER,
    NUMBER,
    SPACE,
    as_array,
    character_classes,
    code_point,
    segments,
    several,
    several_times,
    utf8,
)

# The first call of a loop compiles it, which no deadline should see.
unhurried = settings(deadline=None)

TELLING = "aZ1٣½²Ⅷ\n\r\t \xa0\u2028é中😀\u0301\u200d'’sstdmrevlL!·_"
telling = st.text(st.sampled_from(TELLING), max_size=40)
# What is unassigned in Python's Unicode may be a digit in that of the package regex.
assigned = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=20)


def between(content, ends):
    return [content[start:end] for start, end in pairwise([0, *ends.tolist()])]


def segments_by_regex(text, isolate_digits, most=None):
    """Those of bytepiece 0.6.3, which joins them into segments with its own regular expressions."""
    if most is None:
        rule = r"\d|[^\n\d]*\n+|[^\n\d]+" if isolate_digits else r".*\n+|.+"
    elif isolate_digits:
        rule = rf"\d|[^\n\d]{{,{most}}}\n{{1,100}}|[^\n\d]{{1,{most}}}"
    else:
        rule = rf".{{,{most}}}\n{{1,100}}|.{{1,{most}}}"
    return [segment.encode() for segment in re.findall(rule, text)]


# Bytes


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@unhurried
def test_code_points_are_those_of_the_text(text):
    content, at, found = as_array(utf8(text)), 0, []
    while at < len(content):
        point, size = code_point(content, at)
        found.append(chr(point))
        assert size == len(found[-1].encode())
        at += size
    assert "".join(found) == text


@pytest.mark.parametrize("point", [0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xFFFF, 0x10000, 0x10FFFF])
def test_code_points_at_the_edges_of_utf8(point):
    content = chr(point).encode()
    assert code_point(as_array(b"x" + content + b"x"), 1) == (point, len(content))


def test_classes_are_those_of_unicode():
    classes = character_classes()
    for character, wanted in {
        "a": LETTER, "中": LETTER, "ª": LETTER, "ʰ": LETTER,
        "7": NUMBER | DIGIT, "٣": NUMBER | DIGIT, "½": NUMBER, "Ⅷ": NUMBER, "²": NUMBER,
        " ": SPACE, "\n": SPACE, "\x85": SPACE, "\xa0": SPACE, "\u3000": SPACE,
        "!": 0, "\u0301": 0, "\u200d": 0, "\u200b": 0, "😀": 0, "_": 0, "\0": 0,
    }.items():  # fmt: skip
        assert classes[ord(character)] == wanted, character
    assert not classes[0xD800:0xE000].any()
    assert len(classes) == 0x110000


def test_half_a_surrogate_pair_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"character 1,200 .*'\\ud83d'.*errors='replace'"):
        utf8("a" * 1200 + "\ud83d")
    with pytest.raises(TypeError, match="must be a string, got bytes"):
        utf8(b"a")


# Segments


@given(telling | assigned, st.booleans(), st.none() | st.integers(1, 8))
@unhurried
def test_segments_are_those_of_the_regular_expressions(text, isolate_digits, most):
    content = text.encode()
    most_characters = {} if most is None else {"most": most}
    found = between(content, segments(as_array(content), isolate_digits, **most_characters))
    assert found == segments_by_regex(text, isolate_digits, most)


@pytest.mark.parametrize("isolate_digits", [False, True])
@pytest.mark.parametrize("most", [None, 5, 10_000])
@pytest.mark.parametrize(
    "text",
    [
        "\n" * 99,
        "\n" * 100,
        "\n" * 101,
        "\n" * 250,
        "ab\n" + "\n" * 100 + "c",
        "中" * 10_001 + "\n1",
    ],
)
def test_long_runs_of_newlines_and_long_lines(text, most, isolate_digits):
    limit = {} if most is None else {"most": most}
    found = between(text.encode(), segments(as_array(text.encode()), isolate_digits, **limit))
    assert found == segments_by_regex(text, isolate_digits, most)


@given(st.lists(telling.filter(bool), min_size=1, max_size=5), st.booleans())
@unhurried
def test_segments_of_several_texts_never_run_on(texts, isolate_digits):
    content = "".join(texts).encode()
    bounds = np.cumsum([len(text.encode()) for text in texts])
    found = between(content, segments(as_array(content), isolate_digits, 7, bounds))
    assert found == [s for text in texts for s in segments_by_regex(text, isolate_digits, 7)]


def test_many_segments_and_none():
    text = "a\n" * 1000
    assert segments(as_array(text.encode())).tolist() == list(range(2, 2001, 2))
    assert len(segments(as_array(b""))) == 0


# Words


@given(telling | st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@unhurried
def test_words_are_those_of_the_regular_expression(text):
    content = text.encode()
    for pattern in (GPT2, SMOLLM):
        found = between(content, split(as_array(content), pattern))
        assert found == [word.encode() for word in pattern.words(text)]


@pytest.mark.parametrize(
    "ending", ["s", "t", "re", "ve", "m", "ll", "d", "S", "r", "v", "lr", "rv", ""]
)
@pytest.mark.parametrize("after", ["", "x", " x", "1", "\n"])
def test_english_endings(ending, after):
    for before in ("", "a", " ", "1", "!"):
        text = f"{before}'{ending}{after}"
        for pattern in (GPT2, SMOLLM):
            found = between(text.encode(), split(as_array(text.encode()), pattern))
            assert found == [word.encode() for word in pattern.words(text)], text


def test_words_said_out():
    assert list(GPT2.words("I'll  go\n\n 12½ a's!")) == [
        "I", "'ll", " ", " go", "\n\n", " 12½", " a", "'s", "!",
    ]  # fmt: skip
    assert list(SMOLLM.words("go 12½x")) == ["go", " ", "1", "2", "½", "x"]


@given(st.lists(telling.filter(bool), max_size=5))
@unhurried
def test_words_of_several_texts_never_run_on(texts):
    content = "".join(texts).encode()
    bounds = np.cumsum([len(text.encode()) for text in texts], dtype=np.int64)
    for pattern in (GPT2, SMOLLM):
        wanted = [word.encode() for text in texts for word in pattern.words(text)]
        assert between(content, split(as_array(content), pattern, bounds)) == wanted
    assert split(as_array(content), None, bounds).tolist() == bounds.tolist()


def test_no_text_has_no_words():
    for pattern in (GPT2, SMOLLM, None):
        assert len(split(as_array(b""), pattern)) == 0


BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
HF = {
    GPT2: BYTE_LEVEL,
    SMOLLM: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTE_LEVEL]),
}


def words_of_hf(pattern, text):
    byte = {sign: number for number, sign in enumerate(byte_signs())}
    return [bytes(byte[s] for s in word) for word, _ in HF[pattern].pre_tokenize_str(text)]


def around(character):
    return f"a{character}a 1{character}1 !{character}! {character}{character} \n{character}"


@pytest.mark.parametrize("pattern", [GPT2, SMOLLM], ids=lambda pattern: pattern.name)
def test_words_are_those_of_tokenizers(pattern):
    rng = random.Random(0)
    characters = TELLING + "\x00\x1c\x85\u180e\u200b\ufeff\ufffd\U000e0001字かك"
    for _ in range(500):
        text = "".join(rng.choices(characters, k=rng.randrange(30)))
        assert between(text.encode(), split(as_array(text.encode()), pattern)) == words_of_hf(
            pattern, text
        )


@pytest.mark.slow
@pytest.mark.parametrize("pattern", [GPT2, SMOLLM], ids=lambda pattern: pattern.name)
def test_every_assigned_character_splits_as_in_tokenizers(pattern):
    """But for those so new that its Unicode lacks them, and which it takes for other signs."""

    def differ(text):
        ours = between(text.encode(), split(as_array(text.encode()), pattern))
        return ours != words_of_hf(pattern, text)

    every = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cs", "Cn")]
    differing = []
    for at in range(0, len(every), 64):
        some = every[at : at + 64]
        if differ("".join(map(around, some))):
            differing += [character for character in some if differ(around(character))]
    assert len(every) > 280_000
    for character in differing:
        assert unicodedata.ucd_3_2_0.category(character) == "Cn", character
        assert words_of_hf(pattern, f"!{character}!") == [f"!{character}!".encode()], character


# Texts


def test_a_text_alone_and_an_iterator_are_refused():
    for alone in ("text", b"text"):
        for once_or_more in (several, several_times):
            with pytest.raises(TypeError, match=r"\[text\]"):
                once_or_more(alone)
    for texts, message in [
        (iter(["a"]), "TextFiles"),
        ((text for text in "ab"), "only lasts for one pass"),
    ]:
        with pytest.raises(TypeError, match=message):
            several_times(texts)
    for texts in (["a"], ("a",), [], {"a": 1}):
        assert several_times(texts) is several(texts) is texts
    iterator = iter(["a"])
    assert several(iterator) is iterator


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_files_are_their_lines_as_often_as_asked(tmp_path, name, packed):
    texts = ["one", "", " zwei 中 ", "\x1c \u2028 'x'", "last"]
    lines = texts if name == "a.txt" else [json.dumps({"id": 1, "text": text}) for text in texts]
    data = "".join(f"{line}\n" for line in lines).encode()
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packed]
    paths = [tmp_path / f"{number}{name}{packed}" for number in range(2)]
    for path in paths:
        path.write_bytes(pack(data))
    files = TextFiles(paths[0], str(paths[1]))
    assert list(files) == texts + texts == list(files)
    assert several_times(files) is files


def test_files_of_another_field(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "x", "text": "y"}\n')
    assert list(TextFiles(path, field="body")) == ["x"]


def test_files_that_can_not_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file .*missing"):
        TextFiles(tmp_path / "missing")
    with pytest.raises(InputError, match="name a file"):
        TextFiles()
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n{"text": 1}\n')
    with pytest.raises(InputError, match=r"line 2 of .*a\.jsonl"):
        list(TextFiles(path))
