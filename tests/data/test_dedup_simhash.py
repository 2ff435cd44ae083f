"""SimHash and Hamming tables, against plain Python, the package simhash and comparing all pairs."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simhash import Simhash

from toolkit.data.dedup import (
    DedupIndex,
    Radius,
    SimHasher,
    all_pairs_jaccard,
    deduplicate,
    hamming_pairs,
    hamming_pairs_plain,
    simhash_fingerprint,
)
from toolkit.data.dedup.hamming import table_masks
from toolkit.data.dedup.hashing import tokens

unhurried = settings(deadline=None)


def ngram_hashes(text, n, unit="word"):
    """Every n-gram of a text as a hash, with repeats."""
    return tokens([text], unit).ngrams(n)[0]


def neighbours(rng, count, flips):
    """Fingerprints of which many differ from another in up to ``flips`` bits."""
    fingerprints = [int(x) for x in rng.integers(0, 2**64, count // 4 + 1, dtype=np.uint64)]
    while len(fingerprints) < count:
        copy = fingerprints[rng.integers(len(fingerprints))]
        for bit in rng.integers(0, 64, rng.integers(0, flips + 1)):
            copy ^= 1 << int(bit)
        fingerprints.append(copy)
    return np.array(fingerprints, dtype=np.uint64)


TEXTS = [
    "to be or not to be that is the question",
    "to be or not to be that was the question",
    "a a a a a a a a b",
    "one",
    "软件许可协议允许任何人",
    "",
    "...",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("bits", "ngram", "unit"), [(64, 3, "word"), (64, 2, "char"), (17, 1, "word")]
)
def test_fingerprints_are_the_plain_ones(text, bits, ngram, unit):
    hashes = ngram_hashes(text, ngram, unit)
    fingerprint = SimHasher(bits, ngram, unit).fingerprints([text])[0]
    assert fingerprint == simhash_fingerprint(hashes, bits)
    assert int(fingerprint) < 2**bits


@pytest.mark.parametrize("text", TEXTS[:5])
def test_fingerprints_are_those_of_the_package_simhash(text):
    def as_number(digits):
        return int(digits) if digits.isdigit() else 0  # it tries its hash on a word of its own

    hashes = ngram_hashes(text, 3)
    theirs = Simhash([str(x) for x in hashes], hashfunc=as_number)
    assert simhash_fingerprint(hashes) == theirs.value


def test_fingerprints_do_not_depend_on_blocks_or_workers():
    rng = random.Random(0)
    texts = [" ".join(f"w{rng.randrange(500)}" for _ in range(400)) for _ in range(300)]
    alone = [int(SimHasher().fingerprints([text])[0]) for text in texts]
    for workers in (1, 2, 5):
        assert SimHasher().fingerprints(texts, workers=workers).tolist() == alone
    assert SimHasher().fingerprints([]).shape == (0,)


@pytest.mark.parametrize("shared", [0.5, 0.8, 0.95])
def test_bits_differ_as_often_as_the_angle_says(shared):
    rng = random.Random(int(100 * shared))
    size, trials, differing = 400, 60, []
    for _ in range(trials):
        words = [f"{rng.getrandbits(60)}" for _ in range(2 * size)]
        both = words[: int(size * shared)]
        left = both + words[size : 2 * size - len(both)]
        right = both + words[2 * size - len(both) :][: size - len(both)]
        right += words[len(both) : len(both) + size - len(right)]
        x, y = SimHasher(ngram=1).fingerprints([" ".join(left), " ".join(right)])
        differing.append(int(x ^ y).bit_count())
    p = np.arccos(shared) / np.pi
    five_standard_errors = 5 * np.sqrt(p * (1 - p) / (64 * trials))
    assert abs(np.mean(differing) / 64 - p) < five_standard_errors


@unhurried
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 2, 3, 5, 8, 10, 16, 40, 64]))
def test_pairs_are_all_those_within_the_radius(seed, k):
    fingerprints = neighbours(np.random.default_rng(seed), 40, k + 2)
    pairs = hamming_pairs(fingerprints, Radius(k))
    assert pairs.dtype == np.int64
    assert [tuple(row) for row in pairs] == sorted(hamming_pairs_plain(fingerprints, Radius(k)))


def test_tables_are_of_many_layouts():
    # Otherwise the test above would see only one of them.
    assert [len(table_masks(Radius(k), 40)) for k in (0, 1, 2, 3)] == [1, 2, 3, 1]
    assert len(table_masks(Radius(3), 10_000_000)) > len(table_masks(Radius(3), 1000)) == 4
    assert table_masks(Radius(64), 1000).tolist() == [0]


@pytest.mark.parametrize("documents", [10, 10_000, 10_000_000])
@pytest.mark.parametrize("k", [0, 1, 2, 3, 6, 10, 13])
def test_whatever_bits_differ_some_table_does_not_look_at_them(k, documents):
    rng = np.random.default_rng(k)
    masks = table_masks(Radius(k), documents)
    for _ in range(200):
        differing = np.bitwise_or.reduce(
            np.uint64(1) << rng.choice(64, k, replace=False).astype(np.uint64), initial=0
        )
        assert (masks & differing == 0).any()


def test_fewer_bits_are_the_first_of_more():
    texts = TEXTS[:5]
    whole = SimHasher(64).fingerprints(texts)
    assert (SimHasher(20).fingerprints(texts) == whole & np.uint64(2**20 - 1)).all()


def test_deduplicate_by_fingerprints_verifies_what_it_finds():
    rng = random.Random(3)
    texts = ["", "..."]
    for _ in range(150):
        if len(texts) > 20 and rng.random() < 0.6:
            text = rng.choice(texts[2:]).split()
            text[rng.randrange(len(text))] = "changed"
        else:
            text = [f"w{rng.randrange(60)}" for _ in range(rng.choice([8, 60, 150]))]
        texts.append(" ".join(text))
    truth = {tuple(pair) for pair in all_pairs_jaccard(texts, 0.8).tolist()}
    everything = deduplicate(texts, method="simhash", radius=64)
    assert {tuple(pair) for pair in everything.pairs.tolist()} == truth
    some = deduplicate(texts, method="simhash", radius=6)
    found = {tuple(pair) for pair in some.pairs.tolist()}
    near = hamming_pairs_plain(SimHasher().fingerprints(texts), Radius(6)) - {(0, 1)}
    assert found == {(i, j, s) for i, j, s in truth if (i, j) in near}
    assert 0 < len(found) < len(truth)
    assert some.candidates == len(near)
    assert some.rule == Radius(6)
    assert {0, 1} <= set(some.kept.tolist())


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: SimHasher(bits=0), ValueError, "bits must be between 1 and 64, got 0"),
        (lambda: SimHasher(bits=65), ValueError, "bits must be between 1 and 64, got 65"),
        (lambda: SimHasher(bits=8.5), TypeError, "bits must be a whole number, got 8.5"),
        (lambda: SimHasher(ngram=0), ValueError, "n of at least 1, got 0"),
        (lambda: SimHasher(unit="line"), ValueError, "unit must be"),
        (lambda: SimHasher().fingerprints("one text"), TypeError, "got one str"),
        (
            lambda: SimHasher().fingerprints(["a"], workers=0),
            ValueError,
            "workers must be at least 1, got 0",
        ),
        (lambda: hamming_pairs(np.zeros(3), Radius(1)), TypeError, "uint64 array from SimHasher"),
        (lambda: hamming_pairs([1, 2], Radius(1)), TypeError, "got list"),
        (lambda: hamming_pairs(np.zeros((2, 2), np.uint64), Radius(1)), ValueError, "shape (2, 2)"),
        (lambda: Radius(65), ValueError, "got 65"),
        (lambda: Radius(-1), ValueError, "got -1"),
        (lambda: deduplicate(["a"], method="simhash"), ValueError, "simhash needs a radius"),
        (lambda: deduplicate(["a"], radius=3), ValueError, "minhash takes no radius, got 3"),
        (lambda: deduplicate(["a"], method="simash"), ValueError, "got 'simash'"),
        (
            lambda: deduplicate(["a"], method="simhash", radius=3.0),
            TypeError,
            "whole number, got 3.0",
        ),
        (
            lambda: DedupIndex(threshold=1.0),
            ValueError,
            "threshold must be between 0 and 1, got 1.0",
        ),
        (lambda: DedupIndex().add(b"bytes"), TypeError, "a text must be a str, got bytes"),
        (lambda: DedupIndex().add_all("one"), TypeError, "got one str"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, error, sentence):
    with pytest.raises(error) as refused:
        call()
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
