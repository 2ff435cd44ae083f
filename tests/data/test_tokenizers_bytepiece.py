"""BytePiece: what the package bytepiece learns and cuts, and what the settings promise."""

import hashlib
import json
import re
import unicodedata
from base64 import b64decode
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit import assets
from toolkit.data.tokenizers import BytePiece, counting, plain

# The first call of a loop compiles it, which no deadline should see.
unhurried = settings(deadline=None, max_examples=25)

EVERY_BYTE = {bytes([byte]): 1 for byte in range(256)}
PACKAGE = json.loads((Path(__file__).parent / "tokenizers_bytepiece.json").read_text())
IN_WORDS = ["as it comes", "digits isolated, pieces inside characters, cut to size"]
NAMES = {"max_vocab_size": "vocab_size", "order": "max_order", "max_piece_length": "max_length"}

sentences = st.text(st.sampled_from("aab c1٣½é中😀\n"), max_size=30)
corpora = st.lists(sentences, min_size=1, max_size=8).filter(any)


@pytest.fixture(scope="module")
def package_texts():
    """What the package was trained on, and the lines that it cut."""
    licences, reviews = (assets.texts(name).texts for name in ("license-texts", "chinese-reviews"))
    texts = [*licences[::600], *reviews[::700]]
    lines = [
        line
        for text in [*licences[300::4800], *reviews[350::1800]]
        for line in text.split("\n")
        if line.strip()
    ]
    return texts, lines[:60] + lines[-60:]


@pytest.fixture(params=PACKAGE["models"], ids=IN_WORDS)
def package_model(request):
    return request.param


def counts_of(model):
    return {b64decode(piece): count for piece, count in model["counts"].items()}


def saved_by_package(model):
    """A model's file, with the package's own words for it: ``Trainer.dump`` and ``save``."""
    pieces = sorted(counts_of(model).items(), key=lambda item: (len(item[0]), item[0]))
    keys = {b64decode(key): key for key in model["counts"]}
    rows = {
        keys[piece]: [i + 3, piece.decode(errors="ignore"), count]
        for i, (piece, count) in enumerate(pieces)
    }
    return json.dumps(rows, indent=4, ensure_ascii=False).encode()


def cut_lengths(tokenizer, lines):
    return [[len(piece) for piece in tokenizer.pieces(line)] for line in lines]


def test_learns_what_the_package_learns_and_cuts_as_it_cuts(package_texts, package_model):
    texts, lines = package_texts
    together = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    assert together == PACKAGE["texts_sha256"], "these are not the texts that the package had"
    asked = {NAMES.get(name, name): value for name, value in package_model["trainer"].items()}
    ours = BytePiece.train(texts, normalize="NFC", spell_rare=False, **asked)
    assert ours.counts == counts_of(package_model)
    assert ours.vocab_size <= asked["vocab_size"]
    ours.isolate_digits = False  # its Tokenizer never does, only its Trainer
    assert cut_lengths(ours, lines) == package_model["lengths"]


def test_files_of_the_package_are_read_and_written(package_texts, package_model, tmp_path):
    content = saved_by_package(package_model)
    assert hashlib.sha256(content).hexdigest() == package_model["saved_sha256"]
    (tmp_path / "theirs").write_bytes(content)
    ours = BytePiece.from_bytepiece(tmp_path / "theirs")
    assert ours.counts == counts_of(package_model)
    assert (ours.normalize, ours.isolate_digits) == ("NFC", False)
    assert cut_lengths(ours, package_texts[1]) == package_model["lengths"]
    rows = json.loads(content)
    for token, (key, (number, _, _)) in enumerate(rows.items(), 3):
        assert ours.piece(number) == b64decode(key)
        assert token == number
    ours.to_bytepiece(tmp_path / "ours")
    assert (tmp_path / "ours").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no JSON", "not JSON"),
        ("[1]", "not an object"),
        ('{"YQ==": [3, "a", 1]}', "lacks 255"),
        ('{"!": [3, "a", 1]}', "base64"),
        ('{"YQ==": []}', "model of bytepiece"),
        ('{"YQ==": 1}', "model of bytepiece"),
        ('{"YQ==": [3, "a", "x"]}', "model of bytepiece"),
        ('{"YQ==": [3, "a", 0]}', "at least once, got 0"),
    ],
)
def test_what_is_no_model_of_the_package_is_refused(tmp_path, content, message):
    path = tmp_path / "model"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as refused:
        BytePiece.from_bytepiece(path)
    assert str(path) in str(refused.value)


def train_plain(
    texts, size, *, isolate_digits, ensure_unicode, spell_rare, min_count, max_length, max_order
):
    """The same from ``plain``'s parts and the regular expressions."""
    rule = r"\d|[^\n\d]*\n+|[^\n\d]+" if isolate_digits else r".*\n+|.+"
    segments = [segment.encode() for text in texts for segment in re.findall(rule, text)]
    log_probs = plain.continuations(plain.count_ngrams(segments, max_order), min_count)
    counts = Counter(
        piece
        for segment in segments
        for piece in plain.cut_by_ngrams(segment, log_probs, max_order, ensure_unicode, spell_rare)
    )
    counts = EVERY_BYTE | counts
    kept = Counter(
        {
            piece: count
            for piece, count in counts.items()
            if len(piece) == 1 or (len(piece) <= max_length and count >= min_count)
        }
    )
    dropped = {piece: count for piece, count in counts.items() if piece not in kept}
    kept.update(plain.recount(dropped, plain.log_probabilities(kept)))
    first = plain.prune(kept, len(kept))
    return first if len(first) <= size else plain.prune(first, size)


@given(
    corpora,
    st.integers(256, 262),
    st.fixed_dictionaries(
        {
            "isolate_digits": st.booleans(),
            "ensure_unicode": st.booleans(),
            "spell_rare": st.booleans(),
            "min_count": st.integers(1, 3),
            "max_length": st.integers(1, 9),
            "max_order": st.integers(1, 7),
        }
    ),
)
@unhurried
def test_learns_what_the_plain_parts_learn(texts, size, asked):
    texts = [text * 3 for text in texts]
    ours = BytePiece.train(texts, size + 3, **asked)
    assert ours.counts == train_plain(texts, size, **asked)
    assert [*ours.counts] == sorted(ours.counts, key=lambda piece: (len(piece), piece))


@pytest.fixture(scope="module")
def some_texts():
    licences, reviews = (assets.texts(name).texts for name in ("license-texts", "chinese-reviews"))
    return [*licences[::900], *reviews[::300]]


@pytest.mark.parametrize("workers", [2, 5])
def test_the_vocabulary_is_the_same_for_any_number_of_workers(some_texts, workers, monkeypatch):
    monkeypatch.setattr(counting, "CHUNK", 2000)  # so that there is something to share
    alone = BytePiece.train(some_texts, 700)
    assert len(alone.counts) == 697
    together = BytePiece.train(some_texts, 700, workers=workers)
    assert [*together.counts.items()] == [*alone.counts.items()]


def test_normalisation_is_that_of_unicode(some_texts):
    apart = [unicodedata.normalize("NFD", "Äpfel für Zoë, naïveté\n") * 9, *some_texts[:5]]
    joined = [unicodedata.normalize("NFC", text) for text in apart]
    ours = BytePiece.train(apart, 400, normalize="NFC")
    assert ours.counts == BytePiece.train(joined, 400).counts
    assert ours.counts != BytePiece.train(apart, 400).counts
    assert ours.encode(apart[0]) == ours.encode(joined[0])
    assert ours.decode(ours.encode(apart[0])) == joined[0] != apart[0]
    assert ours.prepared("e\u0301") == "é".encode()


def test_no_piece_holds_a_digit_and_something_else(some_texts):
    texts = [*some_texts, "in 2024, ٣٤ of 1½ (2024)\n" * 50]
    mixed = {
        isolate: [
            piece
            for piece in BytePiece.train(texts, 900, isolate_digits=isolate).counts
            if len(piece.decode(errors="ignore")) > 1
            and re.search(r"\d", piece.decode("utf8", "ignore"))
        ]
        for isolate in (False, True)
    }
    assert mixed[False]
    assert not mixed[True]
    ours = BytePiece.train(texts, 900, isolate_digits=True)
    assert ours.pieces("2024") == [b"2", b"0", b"2", b"4"]
    assert "٣".encode() in ours.pieces("٣٤")


def test_pieces_start_where_characters_do(some_texts):
    inside = {
        ensure: [
            piece
            for piece in BytePiece.train(some_texts, 1500, ensure_unicode=ensure).counts
            if len(piece) > 1 and 0x80 <= piece[0] < 0xC0
        ]
        for ensure in (False, True)
    }
    assert inside[False]
    assert not inside[True]


@pytest.mark.parametrize(("max_length", "min_count"), [(1, 2), (5, 2), (36, 9)])
def test_no_piece_is_longer_or_rarer_than_asked(some_texts, max_length, min_count):
    ours = BytePiece.train(some_texts, 2000, max_length=max_length, min_count=min_count)
    assert max(map(len, ours.counts)) <= max_length
    assert max(map(len, ours.counts)) > max_length / 4
    texts = "\0".join(some_texts).encode()
    longer = [piece for piece in ours.counts if len(piece) > 1]
    assert all(texts.count(piece) >= min_count for piece in longer)


def test_a_vocabulary_is_never_larger_than_asked_and_keeps_every_byte(some_texts):
    for size in (259, 260, 300, 1000):
        ours = BytePiece.train(some_texts, size)
        assert 259 <= ours.vocab_size <= size
        assert ours.counts.keys() >= EVERY_BYTE.keys()
    few = BytePiece.train(["a"], 10_000)
    assert few.counts == EVERY_BYTE


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"vocab_size": 258}, ValueError, "at least 259, .* got 258"),
        ({"vocab_size": 300.5}, TypeError, "vocab_size must be a whole number, got 300.5"),
        ({"max_order": 0}, ValueError, "1 to 7, got 0"),
        ({"max_order": 8}, ValueError, "1 to 7, got 8"),
        ({"max_length": 0}, ValueError, "max_length must be at least 1, got 0"),
        ({"min_count": 0}, ValueError, "min_count must be at least 1, got 0"),
        ({"workers": 0}, ValueError, "workers must be at least 1, got 0"),
        ({"workers": "2"}, TypeError, "workers must be a whole number"),
        ({"normalize": "NFKC"}, ValueError, "None or 'NFC', got 'NFKC'"),
        ({"texts": "one text"}, TypeError, r"\[text\]"),
        ({"texts": iter(["a"])}, TypeError, "TextFiles"),
        ({"texts": []}, ValueError, "hold no text"),
        ({"texts": ["", ""]}, ValueError, "hold no text"),
        ({"texts": ["\udc00"]}, ValueError, "surrogate"),
        ({"texts": [b"bytes"]}, TypeError, "must be a string"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        BytePiece.train(**{"texts": ["abc"], "vocab_size": 300} | arguments)


def test_counts_that_can_not_be_are_refused():
    with pytest.raises(ValueError, match="at least once, got 0"):
        BytePiece(EVERY_BYTE | {b"ab": 0})
    with pytest.raises(ValueError, match=r"lacks 2 of the 256 single bytes, b'a'"):
        BytePiece({piece: 1 for piece in EVERY_BYTE if piece not in (b"a", b"b")})
    with pytest.raises(ValueError, match="empty piece"):
        BytePiece(EVERY_BYTE | {b"": 1})


def test_a_rare_character_costs_no_more_than_itself():
    """Unless it is spelt, which the package does not, all that follows it falls into bytes."""
    texts = ["没有价值的书" * 3, "没有价值的书囧没有价值的书"]
    segments = [text.encode() for text in texts]
    log_probs = plain.continuations(plain.count_ngrams(segments, 6), 2)
    rest = "囧没有价值的书".encode()
    fallen = plain.cut_by_ngrams(segments[1], log_probs, 6, spell_rare=False)
    assert [len(piece) for piece in fallen[-len(rest) :]] == [1] * len(rest)
    spelt = plain.cut_by_ngrams(segments[1], log_probs, 6)
    assert spelt.index(b"\xe5") == spelt.index(b"\x9b") - 1 == spelt.index(b"\xa7") - 2
    assert spelt[-1] == "没有价值的书".encode()


def test_no_piece_starts_or_ends_inside_a_character(some_texts):
    vocabulary = BytePiece.train(some_texts, 3000, spell_rare=True).counts
    for piece in vocabulary:
        assert len(piece) == 1 or piece.decode()


def test_a_model_whose_ids_go_by_another_order_is_refused(tmp_path):
    path = tmp_path / "model"
    BytePiece(dict.fromkeys([bytes([byte]) for byte in range(256)], 1)).to_bytepiece(path)
    path.write_text(path.read_text().replace("[\n        3,", "[\n        4,"))
    with pytest.raises(ValueError, match=r"the id of b'.x00' is 4, and not 3"):
        BytePiece.from_bytepiece(path)
