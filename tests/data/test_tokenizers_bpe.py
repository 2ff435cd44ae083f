"""BPE: merges learnt one by one, and the ids of tokenizers and tiktoken."""

import random
import string
from itertools import pairwise

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from toolkit import assets
from toolkit.data.tokenizers import BPE, GPT2, SMOLLM, counting, load
from toolkit.data.tokenizers.bpe_training import learn, learn_plain
from toolkit.data.tokenizers.counting import Pieces
from toolkit.data.tokenizers.gguf_vocabulary import byte_signs
from toolkit.data.tokenizers.merging import SHORT, merge_long, merge_short
from toolkit.data.tokenizers.splitting import GPT2_REGEX

# The first call of a loop compiles it, which no deadline should see.
unhurried = settings(deadline=None, max_examples=60)

BYTES = [bytes([byte]) for byte in range(256)]
words = st.dictionaries(
    st.lists(st.sampled_from(b"ab"), min_size=1, max_size=9).map(bytes)
    | st.sampled_from([b"aaaa", b"aaaaa", b"abab", b"\0\0\xff", b""]),
    st.integers(1, 5),
    max_size=8,
)
mixed = st.text(st.sampled_from("aab 'st1½\n中é😀"), max_size=30)


def vocabulary_of(merges):
    tokens = [*BYTES]
    for a, b in merges:
        tokens.append(tokens[a] + tokens[b])
    return tokens


# Learning


@given(words, st.integers(0, 12))
@unhurried
def test_learns_the_merges_of_the_plain_version(counts, merges):
    assert learn(Pieces.of(counts), merges) == learn_plain(counts, merges)


@pytest.mark.parametrize("letters", ["a", "ab", "abc", string.ascii_lowercase])
def test_learns_the_merges_of_many_words_until_none_are_left(letters):
    rng = random.Random(len(letters))
    counts = {}
    while len(counts) < 30:
        word = "".join(rng.choices(letters, k=rng.randrange(1, 40 if letters == "a" else 9)))
        counts[word.encode()] = rng.randrange(1, 9)
    found = learn(Pieces.of(counts), 10_000)
    assert found == learn_plain(counts, 10_000)
    assert 4 < len(found) < 1000


def test_more_pairs_and_merges_than_there_is_room_for_at_first():
    """Tables, places and the heap outgrow what they start with, over several thousand merges."""
    rng = random.Random(0)
    counts = {rng.randbytes(20): 1 for _ in range(3000)}
    found = learn(Pieces.of(counts), 2500)
    tokens = vocabulary_of(found)
    assert len(found) == 2500
    # each merge's pair stands as often as any other pair does
    parts = [list(word) for word in counts]
    for made, pair in enumerate(found[:3], 256):
        often = {}
        for part in parts:
            for two in pairwise(part):
                often[two] = often.get(two, 0) + 1
        assert pair == min(often, key=lambda two: (-often[two], two))
        parts = [merged_in(part, pair, made) for part in parts]
    assert len(set(tokens)) > 2700


def merged_in(tokens, pair, made):
    merged = []
    for token in tokens:
        if merged and (merged[-1], token) == pair:
            merged[-1] = made
        else:
            merged.append(token)
    return merged


def test_merges_said_out():
    """aaab: "aa" stands twice, overlapping, but only one of the two merges."""
    assert learn_plain({b"aaab": 2, b"cd": 3}, 4) == [(97, 97), (99, 100), (97, 98), (256, 258)]
    ours = BPE.train(["aaab cd aaab cd cd"], 259)
    assert ours.tokens[256:] == (b"aa", b" c", b" cd")


def test_texts_are_counted_in_chunks(monkeypatch):
    texts = ["low lower lowest", "", "new newer newest 12", "wide wider"] * 5
    wanted = BPE.train(texts, 270).merges
    monkeypatch.setattr(counting, "CHUNK", 10)
    assert BPE.train(texts, 270).merges == wanted
    with_words = {}
    for text in texts:
        for word in GPT2.words(text):
            with_words[word.encode()] = with_words.get(word.encode(), 0) + 1
    assert [*wanted] == learn_plain(with_words, 14)


def test_texts_are_read_once():
    texts = ["low lower lowest"] * 5
    assert BPE.train(iter(texts), 262).merges == BPE.train(texts, 262).merges


def test_patterns_decide_what_may_merge():
    texts = ["a 12 a 12 a 12"]
    assert b" 12" in BPE.train(texts, 259, GPT2).tokens
    assert not any(len(t) > 1 and b"1" in t for t in BPE.train(texts, 257, SMOLLM).tokens)
    assert b"a 12" in BPE.train(texts, 260, None).tokens


# Encoding


def by_plain_merges(ours, text):
    """A text's tokens: the bytes, with every merge that ``merged`` says in their place."""
    content = text.encode()
    parts = {i: (i + 1, ours.tokens.index(content[i : i + 1])) for i in range(len(content))}
    for start, end, token in ours.merged(text):
        at = parts[start][0]
        while at < end:
            at = parts.pop(at)[0]
        assert at == end
        parts[start] = (end, token)
    return [token for _, (_, token) in sorted(parts.items())]


@given(words.filter(any), st.integers(0, 12), mixed, st.sampled_from([GPT2, SMOLLM, None]))
@unhurried
def test_encodes_by_the_merges_of_the_plain_version(counts, merges, text, pattern):
    learnt = learn_plain(counts, merges)
    ours = BPE(vocabulary_of(learnt), learnt, pattern=pattern)
    for some in (text, "aab" * 20 + text, "a" * (SHORT + 1)):
        assert ours.encode(some) == by_plain_merges(ours, some)
        assert b"".join(ours.pieces(some)) == some.encode()


@pytest.fixture(scope="module")
def learnt():
    texts = [
        *assets.texts("license-texts").texts[::900],
        *assets.texts("chinese-reviews").texts[::900],
    ]
    return BPE.train(texts, 1500)


def one_by_one(tokens, ranks):
    """Merge the earliest learnt pair, the leftmost of equals, until there is none."""
    tokens = list(tokens)
    while True:
        pairs = [ranks.get(pair, 1 << 40) for pair in pairwise(tokens)]
        if not pairs or min(pairs) == 1 << 40:
            return tokens
        at = pairs.index(min(pairs))
        tokens[at : at + 2] = [256 + pairs[at]]


@pytest.mark.parametrize("size", [0, 1, 2, 3, SHORT - 1, SHORT])
def test_short_and_long_words_merge_alike(learnt, size):
    rng = random.Random(size)
    ranks = {pair: rank for rank, pair in enumerate(learnt.merges)}
    for letters in (b"a", b"eth ", bytes(range(97, 123)) + b" "):
        for _ in range(30):
            word = np.array(rng.choices(letters, k=size), dtype=np.int32)
            short, long = word.copy(), word.copy()
            room = np.empty(SHORT, np.int64), np.empty(SHORT, np.int32)
            short = short[: merge_short(short, learnt._pairs, *room)].tolist()
            long = long[: merge_long(long, learnt._pairs)].tolist()
            assert short == long == one_by_one(word.tolist(), ranks)


@pytest.mark.parametrize("size", [SHORT, SHORT + 1, 400])
def test_words_of_any_length_and_texts_without_words(learnt, size):
    ranks = {pair: rank for rank, pair in enumerate(learnt.merges)}
    whole = BPE(learnt.tokens, learnt.merges, pattern=None)
    rng = random.Random(size)
    word = "".join(rng.choices("ethrsaio", k=size))
    assert learnt.encode(word) == whole.encode(word) == one_by_one(word.encode(), ranks)
    text = " of the licence" * (size // 10)
    assert whole.encode(text) == one_by_one(text.encode(), ranks)


def test_a_token_that_no_merges_make_is_never_used():
    for more in ([b"ab", b"aab"], [b"aab", b"ab"]):
        tokens = [*BYTES, *more]
        ours = BPE(tokens, [(97, 98)], pattern=None)
        assert ours.pieces("aab") == [b"a", b"ab"]
    # though bytes before them are no tokens
    ours = BPE([b"a", b"b", b"cd", b"xyzxyz", b"ab", b"aab"], [(0, 1)], pattern=None)
    assert ours.encode("aab") == [0, 4]


def test_a_byte_that_is_no_token_is_refused_with_its_place():
    ours = BPE([b"a", b"b", b"ab"], [(0, 1)])
    assert ours.encode("abba") == [2, 1, 0]
    with pytest.raises(ValueError, match=r"no token for the byte 0x63, which is byte 1,200 of"):
        ours.encode("ab" * 600 + "c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"merges": [(97, 98)]}, r"merge 0 makes b'ab', which is no token"),
        ({"merges": [(97, 400)]}, r"merge 0 is of 97 and 400: ids are 0 to 255"),
        ({"merges": [(-1, 97)]}, r"merge 0 is of -1 and 97"),
        ({"tokens": [*BYTES, b""]}, r"token 256 has no bytes"),
        ({"special": {"<x>": 256}}, r"special token '<x>' is 256: ids are 0 to 255"),
    ],
)
def test_a_vocabulary_that_can_not_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BPE(**{"tokens": BYTES, "merges": []} | arguments)


@pytest.mark.parametrize(
    ("texts", "vocab_size", "error", "message"),
    [
        (["abc"], 255, ValueError, "at least 256, .* got 255"),
        (["abc"], 300.0, TypeError, "vocab_size must be a whole number"),
        (["abc"], 300, ValueError, r"300, and the texts only have pairs for 258 tokens"),
        ([], 257, ValueError, r"only have pairs for 256"),
        ("abc", 256, TypeError, r"\[text\]"),
        (["\ud800"], 256, ValueError, "surrogate"),
        ([b"abc"], 256, TypeError, "must be a string"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(texts, vocab_size, error, message):
    with pytest.raises(error, match=message):
        BPE.train(texts, vocab_size)


def test_special_tokens_are_decoded_but_never_encoded():
    ours = BPE([*BYTES, b"ab", b"<end>"], [(97, 98)], special={"<end>": 257})
    assert 257 not in ours.encode("ab<end>")
    assert ours.decode([256, 257]) == "ab<end>"
    assert ours.decode(ours.encode("ab<end>")) == "ab<end>"


# The industry's


SIGNS = byte_signs()


def as_hf(ours):
    """The same vocabulary in tokenizers, which writes bytes as signs."""
    names = {piece: "".join(SIGNS[byte] for byte in piece) for piece in ours.tokens}
    special = set(ours.special.values())
    vocab = {names[piece]: i for i, piece in enumerate(ours.tokens) if i not in special}
    merges = [(names[ours.tokens[a]], names[ours.tokens[b]]) for a, b in ours.merges]
    theirs = tokenizers.Tokenizer(models.BPE(vocab, merges))
    steps = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if ours.pattern is SMOLLM:
        steps = [pre_tokenizers.Digits(individual_digits=True), *steps]
    if ours.pattern:
        theirs.pre_tokenizer = pre_tokenizers.Sequence(steps)
    else:
        theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return theirs


def as_tiktoken(ranks):
    return tiktoken.Encoding("ours", pat_str=GPT2_REGEX, mergeable_ranks=ranks, special_tokens={})


def varied_texts(count):
    """Lines of two languages, and made-up ones of words, signs and characters of all kinds."""
    rng = random.Random(0)
    licences, reviews = (assets.texts(name).texts for name in ("license-texts", "chinese-reviews"))
    lines = [line for text in licences[7::40] for line in text.split("\n")]
    lines = rng.sample(lines, count // 3) + rng.sample(list(reviews), count // 3)
    parts = [
        *"aäß 中文字\n\t½٣7'’!?=—😀\u0301\u200d\xa0",
        "'ll",
        "'s",
        "  ",
        "\r\n",
        "the",
        "ing",
        "https://",
    ]
    while len(lines) < count:
        made = rng.choices(parts, k=rng.randrange(60))
        lines.append("".join(made) * rng.choice([1, 1, 1, 9]))
    return lines


def check_same_ids(ours, theirs, texts):
    for text, wanted in zip(texts, theirs, strict=True):
        assert ours.encode(text) == wanted, text


@pytest.mark.parametrize("pattern", [GPT2, SMOLLM, None], ids=["gpt-2", "smollm", "none"])
def test_ids_are_those_of_tokenizers(learnt, pattern):
    ours = BPE(learnt.tokens, learnt.merges, pattern=pattern)
    texts = varied_texts(900)
    check_same_ids(ours, [e.ids for e in as_hf(ours).encode_batch(texts)], texts)


def test_ids_are_those_of_tiktoken(learnt):
    ranks = {piece: rank for rank, piece in enumerate(learnt.tokens)}
    texts = varied_texts(900)
    check_same_ids(BPE.from_ranks(ranks), as_tiktoken(ranks).encode_ordinary_batch(texts), texts)


def test_ids_of_ranks_that_merge_in_several_ways_are_those_of_tiktoken():
    """Random tokens of "a" and "b", each of which several pairs make."""
    for seed in range(40):
        rng = random.Random(seed)
        pool, tokens = [b"a", b"b"], [*BYTES]
        while len(tokens) < 256 + 14:
            made = rng.choice(pool) + rng.choice(pool)
            if made not in tokens and len(made) < 9:
                tokens.append(made)
                pool.append(made)
        ranks = {piece: rank for rank, piece in enumerate(tokens)}
        texts = ["".join(rng.choices("ab", k=rng.randrange(9, 40))) for _ in range(20)]
        check_same_ids(
            BPE.from_ranks(ranks), as_tiktoken(ranks).encode_ordinary_batch(texts), texts
        )


def test_ranks_that_leave_numbers_out_are_refused():
    ranks = {piece: rank for rank, piece in enumerate(BYTES)}
    with pytest.raises(ValueError, match="0 to 256, each once"):
        BPE.from_ranks(ranks | {b"ab": 300})
    with pytest.raises(ValueError, match="0 to 256, each once"):
        BPE.from_ranks(ranks | {b"ab": 7})


def test_signs_of_bytes_are_those_of_tokenizers():
    assert sorted(SIGNS) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert len(set(SIGNS)) == 256
    assert (SIGNS[0x20], SIGNS[0x0A], SIGNS[0x41], SIGNS[0xAD]) == ("Ġ", "Ċ", "A", "Ń")


@pytest.fixture(scope="module")
def smollm():
    return BPE.from_gguf(assets.get("smollm2-135m-instruct"))


def known(ours, texts):
    """Those texts that have a token for each byte."""
    bytes_known = {piece[0] for piece in ours.tokens if len(piece) == 1}
    return [text for text in texts if bytes_known.issuperset(text.encode())]


def test_a_model_s_own_tokenizer(smollm):
    assert (smollm.vocab_size, len(smollm.merges), smollm.pattern) == (49_152, 48_900, SMOLLM)
    assert smollm.decode([1]) == "<|im_start|>"
    assert 1 not in smollm.encode("<|im_start|>")
    assert smollm.pieces("The year 2024's") == [
        b"The",
        b" year",
        b" ",
        b"2",
        b"0",
        b"2",
        b"4",
        b"'s",
    ]
    texts = known(smollm, varied_texts(600))
    assert len(texts) > 500
    check_same_ids(smollm, [e.ids for e in as_hf(smollm).encode_batch(texts)], texts)
    for text in texts[:150]:
        assert smollm.encode(text) == by_plain_merges(smollm, text)


@pytest.mark.slow
def test_a_model_s_own_tokenizer_on_ten_thousand_texts(smollm):
    texts = known(smollm, varied_texts(10_000))
    assert len(texts) > 9000
    check_same_ids(smollm, [e.ids for e in as_hf(smollm).encode_batch(texts)], texts)
    special = set(smollm.special.values())
    ranks = {}
    for token, piece in enumerate(smollm.tokens):
        if token not in special:
            ranks[piece] = len(ranks)
    ours = BPE.from_ranks(ranks)
    check_same_ids(ours, as_tiktoken(ranks).encode_ordinary_batch(texts), texts)


@pytest.mark.slow
def test_a_long_text_has_the_ids_of_tokenizers_every_time(smollm):
    text = "\n".join(known(smollm, varied_texts(30_000)))
    wanted = as_hf(smollm).encode(text).ids
    for _ in range(5):
        assert smollm.encode(text) == wanted


def test_what_is_no_gguf_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*missing"):
        BPE.from_gguf(tmp_path / "missing")
    for content in (b"", b"GGUF", b"no gguf at all, but long enough to be read as a header"):
        (tmp_path / "a.gguf").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.gguf is not a GGUF file, or it is cut off"):
            BPE.from_gguf(tmp_path / "a.gguf")


@pytest.mark.parametrize(
    ("model", "pre", "message"),
    [("llama", "gpt-2", "kind 'llama', and not a BPE"), ("gpt2", "llama-bpe", "rules 'llama-bpe'")],
)
def test_another_tokenizer_in_a_gguf_is_refused(tmp_path, model, pre, message):
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ValueError, match=message):
        BPE.from_gguf(tmp_path / "a.gguf")


def test_a_word_that_is_a_token_stays_whole_as_with_tiktoken(tmp_path):
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"abcd": 256}
    ours = BPE.from_ranks(ranks)
    ours.save(tmp_path / "ours")
    theirs = tiktoken.Encoding("x", pat_str=GPT2_REGEX, mergeable_ranks=ranks, special_tokens={})
    for text in ("abcd", "abcd abcd", "abcde"):
        assert ours.encode(text) == load(tmp_path / "ours").encode(text)
        assert ours.encode(text) == theirs.encode_ordinary(text)
    assert ours.merged("abcd") == [(0, 4, 256)]
