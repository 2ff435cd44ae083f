"""BPE, Unigram and BytePiece alike: there and back for any text, files, what is refused."""

import json
import os
import random
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit import assets
from toolkit.data.tokenizers import BPE, SMOLLM, BytePiece, Unigram, files, load, plain

# The first call of a loop compiles it, which no deadline should see.
unhurried = settings(deadline=None, max_examples=60)

BYTES = [bytes([byte]) for byte in range(256)]
RNG = random.Random(0)
ENGLISH = ["the", "cat", "sat", "on", "a", "mat", "and", "ate", "rats", "in", "2024,", "or 1999"]
WORDS = [*ENGLISH, "naïve", "café", "😀😀", "\u0301", "they'll", "'s", "½", "\t"]
CHARACTERS = "今天天气很好，我们去看中文。12"
TEXTS = [
    *(" ".join(RNG.choices(WORDS, k=40)) + "\n" for _ in range(30)),
    *("".join(RNG.choices(CHARACTERS, k=60)) + "\r\n\n" for _ in range(30)),
]
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
telling = st.text(
    st.sampled_from("the cat 12½\n\0\x1b\r中天气é😀\u0301\u200d\ufffd▁<>pad"), max_size=40
)


TRAINED = {
    "BPE": lambda: BPE.train(TEXTS, 300),
    "BPE without words": lambda: BPE.train(TEXTS, 300, None),
    "Unigram": lambda: Unigram.train(TEXTS, 380),
    "BytePiece": lambda: BytePiece.train(TEXTS, 400),
    "BytePiece of digits": lambda: BytePiece.train(TEXTS, 400, isolate_digits=True),
}


@cache
def trained(kind):
    return TRAINED[kind]()


@pytest.fixture(params=TRAINED)
def tokenizer(request):
    return trained(request.param)


@pytest.fixture(params=[kind for kind in TRAINED if "BPE" not in kind])
def scored(request):
    """Those with probabilities."""
    return trained(request.param)


# There and back


@pytest.mark.parametrize("kind", TRAINED)
@given(text=any_text | telling)
@unhurried
def test_any_text_comes_back(kind, text):
    tokenizer = trained(kind)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(type(token) is int for token in ids)
    assert tokenizer.pieces(text) == [tokenizer.piece(token) for token in ids]
    assert b"".join(tokenizer.pieces(text)) == text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "\0" * 300,
        "".join(map(chr, range(0x500))),
        "\u200d😀"[:1],
        "<pad><bos></s>",
        "▁ ▁",
    ],
)
def test_odd_texts_come_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_one_line_of_a_megabyte_comes_back(tokenizer):
    line = ("".join(TEXTS).replace("\n", " ") * 2000)[: 1 << 20]
    ids = tokenizer.encode(line)
    assert tokenizer.decode(ids) == line
    assert 1.5 < len(line.encode()) / len(ids) < 20


def test_tokens_are_fewer_than_bytes_and_a_text_alone_is_seen_as_such(tokenizer):
    for text in TEXTS:
        assert len(tokenizer.encode(text)) < len(text.encode())
    with pytest.raises(TypeError, match="must be a string, got bytes"):
        tokenizer.encode(b"bytes")
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        tokenizer.encode("ab\ud800")


def test_what_is_cut_inside_a_character_is_decoded_with_a_sign_for_it(tokenizer):
    ids = [token for token in range(tokenizer.vocab_size) if tokenizer.piece(token) == b"\xe4"]
    assert tokenizer.decode(ids) == "\ufffd"
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode(np.array(tokenizer.encode("the 中"))) == "the 中"


@pytest.mark.parametrize("wrong", [-1, "size"])
def test_ids_that_there_are_not_are_refused(tokenizer, wrong):
    token = tokenizer.vocab_size if wrong == "size" else wrong
    tokenizer.piece(tokenizer.vocab_size - 1)
    message = rf"token {token} is not in the vocabulary: ids are 0 to {tokenizer.vocab_size - 1}"
    with pytest.raises(ValueError, match=message):
        tokenizer.decode([5, token])
    with pytest.raises(ValueError, match=message):
        tokenizer.piece(token)


def test_a_tokenizer_says_what_it_is(tokenizer):
    assert repr(tokenizer) == f"{tokenizer.kind}({tokenizer.vocab_size} tokens)"


# Those with probabilities


def test_the_best_segmentation_is_plain_viterbi_of_each_segment(scored):
    log_probs = dict(zip(scored.vocabulary, scored.log_probs.tolist(), strict=True))
    segment = r"\d|[^\n\d]*\n+|[^\n\d]+" if scored.isolate_digits else r".*\n+|.+"
    text = "\nthe cat\n\n2024, ate\n今天天气\r\né😀 zzz"
    wanted = [
        piece
        for part in re.findall(segment, text)
        for piece in plain.viterbi(part.encode(), log_probs)
    ]
    assert scored.pieces(text) == wanted


def test_no_piece_crosses_the_end_of_a_segment():
    likely = dict.fromkeys(BYTES, -9.0) | dict.fromkeys([b"\na", b"a\n", b"a1", b"12"], -1.0)
    assert Unigram(likely).pieces("a1\na\n12") == [b"a1", b"\n", b"a\n", b"12"]
    isolated = Unigram(likely, isolate_digits=True)
    for alpha in (None, 5.0):
        assert isolated.pieces("a1\na\n12", alpha) == [b"a", b"1", b"\n", b"a\n", b"1", b"2"]


def test_special_tokens_are_first_and_decode_to_nothing(scored):
    assert scored.decode([0, 1, *scored.encode("the"), 2]) == "the"
    assert min(token for text in TEXTS for token in scored.encode(text)) >= 3
    assert scored.piece(3) == scored.vocabulary[0]
    assert scored.vocab_size == len(scored.vocabulary) + 3


def test_random_segmentations_are_of_the_text_and_of_the_seed(scored):
    text = "".join(TEXTS[::10])
    best = scored.encode(text)
    drawn = [scored.encode(text, alpha=0.5, seed=seed) for seed in range(5)]
    assert drawn == [scored.encode(text, alpha=0.5, seed=seed) for seed in range(5)]
    assert len({tuple(ids) for ids in drawn}) == 5
    assert {scored.decode(ids) for ids in drawn} == {text}
    assert scored.encode(text, alpha=0.5) == drawn[0]
    assert b"".join(scored.pieces(text, 0.5, 1)) == text.encode()
    assert [scored.piece(token) for token in drawn[1]] == scored.pieces(text, 0.5, 1)
    spelt = [len(scored.encode(text, alpha=alpha)) for alpha in (0, 0.2, 1)]
    assert spelt[0] > spelt[1] > spelt[2] >= len(best)
    log_probs = scored.log_probs

    def score(ids):
        return sum(log_probs[token - 3] for token in ids)

    assert score(scored.encode(text, alpha=1e6, seed=2**64 - 1)) == pytest.approx(score(best))


def test_random_segmentations_have_the_model_s_probabilities():
    tokenizer = Unigram(dict.fromkeys(BYTES, -9.0) | {b"a": -1.0, b"b": -1.5, b"ab": -2.0})
    found = Counter(tuple(tokenizer.pieces("ab", 0.5, seed)) for seed in range(4000))
    share = found[(b"ab",)] / 4000
    wanted = np.exp(-1) / (np.exp(-1) + np.exp(-1.25))
    assert abs(share - wanted) < 5.4 * np.sqrt(wanted * (1 - wanted) / 4000)  # a false alarm in 1e7


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf"), 1e7, 1e308])
def test_alpha_outside_its_range_is_refused(scored, alpha):
    with pytest.raises(ValueError, match=r"alpha must be 0 to 1e\+06, got"):
        scored.encode("the", alpha=alpha)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_outside_its_range_is_refused(scored, seed):
    with pytest.raises(ValueError, match=rf"seed must be 0 to 2\*\*64 - 1, got {seed}"):
        scored.encode("the", alpha=1.0, seed=seed)


def test_a_vocabulary_that_can_not_be_is_refused():
    every = dict.fromkeys(BYTES, -5.0)
    with pytest.raises(ValueError, match=r"lacks 1 of the 256 single bytes, b'a'"):
        Unigram({piece: -5.0 for piece in BYTES if piece != b"a"})
    for wrong in (-np.inf, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"log-probability of b'ab' is"):
            Unigram(every | {b"ab": wrong})
    with pytest.raises(ValueError, match="empty piece"):
        Unigram(every | {b"": -1.0})
    with pytest.raises(ValueError, match="None or 'NFC', got 'nfc'"):
        Unigram(every, normalize="nfc")


# Files


ATTRIBUTES = [
    *("tokens", "merges", "pattern", "special"),
    *("vocabulary", "counts", "normalize", "isolate_digits"),
]


def state(tokenizer):
    """All that a file has to hold."""
    held = {name: getattr(tokenizer, name, None) for name in ATTRIBUTES}
    return held | {"log_probs": getattr(tokenizer, "log_probs", np.zeros(0)).tolist()}


def test_what_is_saved_is_loaded(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "a")
    again = load(str(tmp_path / "a"))
    assert type(again) is type(tokenizer)
    assert state(again) == state(tokenizer)
    for text in [*TEXTS, "zzz\0"]:
        assert again.encode(text) == tokenizer.encode(text)
    again.save(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_settings_are_saved(tmp_path):
    every = dict.fromkeys(BYTES, 2)
    for one in (
        BPE([*BYTES, b"ab", b"<end>"], [(97, 98)], pattern=SMOLLM, special={"<end>": 257}),
        BytePiece(every, normalize="NFC", isolate_digits=True),
        Unigram(every, normalize="NFC", isolate_digits=True),
    ):
        one.save(tmp_path / "a")
        assert state(load(tmp_path / "a")) == state(one)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "says no format"),
        (b'{"format": "other"}', "says no format"),
    ],
)
def test_what_is_no_tokenizer_is_refused(tmp_path, content, message):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        load(path)
    assert str(path) in str(refused.value)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing")


def test_a_file_of_another_version_or_kind_is_refused(tokenizer, tmp_path):
    path = tmp_path / "a"
    tokenizer.save(path)
    held = json.loads(path.read_text())
    for changed, message in [
        ({"version": 2}, "of version 2, and 1 is read here"),
        ({"kind": "WordPiece"}, "'WordPiece'; there are: BPE, Unigram, BytePiece"),
        ({"kind": None}, "there are: BPE, Unigram, BytePiece"),
        ({"kind": []}, "there are: BPE, Unigram, BytePiece"),
    ]:
        path.write_text(json.dumps(held | changed))
        with pytest.raises(ValueError, match=message):
            load(path)


def test_a_damaged_file_is_refused(tokenizer, tmp_path):
    path = tmp_path / "a"
    tokenizer.save(path)
    content = path.read_text()
    held = json.loads(content)
    fields = held.keys() - {"format", "version", "kind"}
    damaged = [held | {name: wrong} for name in fields for wrong in (7, "x", ["x"], [["x"]])]
    damaged += [{name: value for name, value in held.items() if name != gone} for gone in fields]
    for wrong in damaged:
        path.write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match="is damaged") as refused:
            load(path)
        assert str(path) in str(refused.value)
    path.write_text(content[: len(content) // 2])
    with pytest.raises(ValueError, match="not JSON"):
        load(path)


@pytest.mark.parametrize(
    ("kind", "writes"),
    [
        *((kind, "save") for kind in TRAINED),
        ("BytePiece", "to_bytepiece"),
        ("Unigram", "to_sentencepiece"),
        ("BytePiece", "to_sentencepiece"),
    ],
)
def test_a_file_is_there_in_full_or_not_at_all(kind, writes, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("what was there")

    def full(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="disk is full"):
        getattr(trained(kind), writes)(path)
    assert path.read_text() == "what was there"
    assert os.listdir(tmp_path) == ["a"]


# SentencePiece


def pieces_of(processor, line):
    """What SentencePiece cuts, as bytes."""
    found = []
    for token in processor.encode(line):
        piece = processor.id_to_piece(token)
        if processor.is_byte(token):
            found.append(bytes([int(piece[3:5], 16)]))
        else:
            found.append(piece.replace("▁", " ").encode())
    return found


@pytest.mark.parametrize(("kind", "exactly"), [("Unigram", 0.95), ("BytePiece", 0.995)])
def test_sentencepiece_cuts_as_we_do(kind, exactly, tmp_path):
    """Its sums have single precision, which breaks ties: between orders of a long run of spaces."""
    training, held_out = [], []
    for name in ("license-texts", "chinese-reviews"):
        texts = list(assets.texts(name).texts)
        random.Random(0).shuffle(texts)
        training += texts[: 60 if name == "license-texts" else 1500]
        held_out += [
            line
            for text in texts[20_000 : 20_100 if name == "license-texts" else 20_900]
            for line in text.split("\n")
            if line.strip() and "▁" not in line
        ]
    ours = {"Unigram": Unigram, "BytePiece": BytePiece}[kind].train(training, 5000)
    ours.to_sentencepiece(tmp_path / "model")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "model"))
    both = [(pieces_of(processor, line), ours.pieces(line)) for line in held_out]
    assert len(both) > 1000
    assert np.mean([theirs == own for theirs, own in both]) >= exactly
    assert np.mean([sorted(theirs) == sorted(own) for theirs, own in both]) >= 0.998
    assert processor.decode(processor.encode(" ein  Text\tund\0 中")) == " ein  Text\tund\0 中"


@pytest.mark.parametrize("score", [-1e308, 1e308, np.nan, -np.inf])
def test_scores_whose_sums_overflow_are_refused(score):
    with pytest.raises(ValueError, match="at most 1e\\+100"):
        Unigram({bytes([byte]): score for byte in range(256)})


def test_scores_are_one_for_each_piece():
    with pytest.raises(ValueError, match="the shape"):
        Unigram({bytes([byte]): [1.0] for byte in range(256)})


def test_a_piece_with_sentencepieces_sign_for_a_space_is_no_second_one(tmp_path):
    import sentencepiece

    pieces = {bytes([byte]): -9.0 for byte in range(256)} | {b" a": -2.0, "▁a".encode(): -3.0}
    Unigram(pieces).to_sentencepiece(tmp_path / "model")
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "model"))
    assert theirs.encode(" a", out_type=str) == ["▁a"]
