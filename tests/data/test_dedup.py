"""``toolkit.data.dedup`` against brute force, datasketch and identities, on texts made up here."""

import io
import os
import random
import subprocess
import sys
import tracemalloc
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest
from datasketch.lsh import _optimal_param
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.data.dedup import (
    Bands,
    MinHasher,
    all_pairs_jaccard,
    bands_for_recall,
    candidate_pairs,
    candidate_pairs_plain,
    deduplicate,
    jaccard,
    keep,
    minhash_signature,
    optimal_bands,
    permutations,
    sample_pairs,
    shingle_hashes,
    shingle_sets,
    shingles,
    words,
)
from toolkit.data.dedup.cluster import first_kept
from toolkit.data.dedup.exact import jaccard_of_pairs
from toolkit.data.dedup.shingling import IDEOGRAPH, LETTER, character_classes

# The first call of a loop compiles it, which no deadline should see.
unhurried = settings(deadline=None)

TRICKY = (
    "a b Z 9 _ - ' . \t\n \u3000 é e\u0301 ß İ \u0301 "
    "हि न् 中 文 か\u3099 が ー ア ｱ 한 \u1112\u1161 々 😀 \ud800"
)
tricky_texts = st.text(alphabet=st.sampled_from([*TRICKY.replace(" ", ""), " "]), max_size=30)
any_texts = st.one_of(tricky_texts, st.text(max_size=20))
units = st.sampled_from(["word", "char"])


def corpus(seed, documents=60, vocabulary=40):
    """Texts that share passages: copies with a few words changed, of very different lengths."""
    rng = random.Random(seed)
    texts = []
    for _ in range(documents):
        if texts and rng.random() < 0.7:
            text = rng.choice(texts).split()
            for _ in range(rng.choice([0, 1, 1, 3])):
                if text:
                    text[rng.randrange(len(text))] = f"w{rng.randrange(vocabulary)}"
        else:
            length = rng.choice([0, 3, 20, 60, 120])
            text = [f"w{rng.randrange(vocabulary)}" for _ in range(length)]
        texts.append(" ".join(text))
    return texts


def brute_force(texts, threshold, n=5):
    """Near-duplicates by sets of tuples and two loops, sharing no code with the library."""
    sets = []
    for text in texts:
        w = text.split()
        sets.append({tuple(w[i : i + n]) for i in range(max(len(w) - n, 0) + 1)} if w else set())
    found = []
    for i, j in combinations(range(len(texts)), 2):
        both = len(sets[i] & sets[j])
        if both and both / (len(sets[i]) + len(sets[j]) - both) >= threshold:
            found.append((i, j, both / (len(sets[i]) + len(sets[j]) - both)))
    return found


# Words and shingles


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" .,-\n", []),
        ("The GNU-GPL, v2.0!", ["the", "gnu", "gpl", "v2", "0"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("don't snake_case", ["don", "t", "snake_case"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("软件license许可", ["软", "件", "license", "许", "可"]),
        ("ソースコード。", list("ソースコード")),
        ("か\u3099き", ["か\u3099", "き"]),
        ("한국어 법", ["한", "국", "어", "법"]),
        ("𠀀x", ["𠀀", "x"]),
        ("a😀b", ["a", "b"]),
        ("ภาษาไทย ລາວ", ["ภาษาไทย", "ລາວ"]),
        ("café cafe\u0301", ["café", "cafe\u0301"]),
        ("\u0301a", ["\u0301a"]),
        ("a\ud800b", ["a", "b"]),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_every_character_named_for_an_unspaced_script_is_a_word_of_its_own():
    scripts = ("CJK UNIFIED", "CJK COMPAT", "HIRAGANA", "KATAKANA", "HANGUL", "HALFWIDTH HANGUL")
    for code in range(0x110000):
        kind = character_classes()[code]
        if kind == LETTER:
            assert not unicodedata.name(chr(code), "").startswith(scripts), hex(code)
        if kind == IDEOGRAPH:
            assert unicodedata.category(chr(code)) in ("Lo", "Lm", "Nl"), hex(code)


@unhurried
@given(any_texts)
def test_words_cover_exactly_the_letters_marks_digits_and_underscores(text):
    kept = [c for c in text.casefold() if unicodedata.category(c)[0] in "LMN" or c == "_"]
    assert "".join(words(text)) == "".join(kept)


@pytest.mark.parametrize(
    ("text", "n", "unit", "expected"),
    [
        ("a b c d", 2, "word", {"a b", "b c", "c d"}),
        ("a b c d", 4, "word", {"a b c d"}),
        ("A b, c", 5, "word", {"a b c"}),
        ("a a a a", 2, "word", {"a a"}),
        ("--", 2, "word", set()),
        ("软件许可", 3, "word", {"软 件 许", "件 许 可"}),
        ("a  B", 2, "char", {"a ", " b"}),
        (" a\n", 2, "char", {"a"}),
        (" \n", 2, "char", set()),
        ("a-b", 3, "char", {"a-b"}),
    ],
)
def test_shingles(text, n, unit, expected):
    assert shingles(text, n, unit) == expected


@unhurried
@given(any_texts, any_texts, st.integers(1, 6), units)
def test_hashes_are_the_image_of_the_strings(text, other, n, unit):
    a, b = shingles(text, n, unit), shingles(other, n, unit)
    x, y = shingle_hashes(text, n, unit), shingle_hashes(other, n, unit)
    assert x.dtype == np.uint64
    assert (np.diff(x.astype(object)) > 0).all()
    assert (len(x), len(y), len(np.intersect1d(x, y))) == (len(a), len(b), len(a & b))


def test_a_short_document_is_told_from_a_shingle_that_begins_like_it():
    assert len(np.intersect1d(shingle_hashes("a b"), shingle_hashes("a b a b a"))) == 0


def test_hashes_do_not_collide_over_all_three_letter_words():
    letters = "abcdefghijklmnopqrstuvwxyz"
    text = " ".join(a + b + c for a in letters for b in letters for c in letters)
    assert len(shingle_hashes(text, n=1)) == 26**3
    assert len(shingle_hashes(text, n=2)) == 26**3 - 1


def test_shingle_sets_lay_documents_end_to_end():
    texts = ["a b c d e f", "", "a"]
    sets = shingle_sets(texts)
    assert len(sets) == 3
    assert sets.sizes.tolist() == [2, 0, 1]
    for index, text in enumerate(texts):
        assert (sets[index] == shingle_hashes(text)).all()
    assert len(shingle_sets([])) == 0


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [("ab", "bc", 1 / 3), ("ab", "ab", 1.0), ("a", "b", 0.0), ("", "a", 0.0), ("", "", 0.0)],
)
def test_jaccard(a, b, expected):
    assert jaccard(set(a), set(b)) == expected


# MinHash


def test_signatures_are_the_plain_ones():
    texts = [*corpus(1), "", "软件许可协议"]
    for num_perm, ngram, unit in [(128, 5, "word"), (7, 3, "char")]:
        fast = MinHasher(num_perm, ngram, unit, seed=3).signatures(texts)
        a, b = permutations(num_perm, seed=3)
        plain = [minhash_signature(shingle_hashes(text, ngram, unit), a, b) for text in texts]
        assert fast.dtype == np.uint32
        assert (fast == np.array(plain)).all()


def test_plain_signature_is_the_formula_in_python_integers():
    a, b = permutations(16)
    hashes = shingle_hashes("to be or not to be that is the question", 2)
    expected = [
        min((int(ak) * (int(h) >> 32) + int(bk)) % 2**32 for h in hashes)
        for ak, bk in zip(a, b, strict=True)
    ]
    assert minhash_signature(hashes, a, b).tolist() == expected


def test_permutations_are_bijections_and_fewer_are_the_first_of_more():
    a, b = permutations(128, seed=5)
    assert (a % 2 == 1).all()
    assert len(set(a.tolist())) == 128
    assert len(set(b.tolist())) == 128
    assert (a >> 1 != b >> 1).all()
    for short, long in zip(permutations(64, seed=5), (a, b), strict=True):
        assert (short == long[:64]).all()


def test_an_empty_document_has_the_largest_value_throughout():
    assert (MinHasher(4).signatures(["", "..."]) == 2**32 - 1).all()
    assert MinHasher(4).signatures([]).shape == (0, 4)


@pytest.mark.parametrize("shared", [10, 50, 90, 180])
def test_agreement_estimates_jaccard_within_five_binomial_standard_errors(shared):
    rng = random.Random(shared)
    agreements = []
    for trial in range(40):
        tokens = [f"t{rng.getrandbits(60)}" for _ in range(200)]
        left = " ".join(tokens[:shared] + tokens[shared : (200 + shared) // 2])
        right = " ".join(tokens[:shared] + tokens[(200 + shared) // 2 :])
        x, y = MinHasher(256, ngram=1, seed=trial).signatures([left, right])
        agreements.append((x == y).mean())
    j = shared / 200
    assert abs(np.mean(agreements) - j) < 5 * np.sqrt(j * (1 - j) / (256 * 40))
    # Permutations that hung together would keep the mean and widen the spread.
    assert np.std(agreements) < 1.5 * np.sqrt(j * (1 - j) / 256)


# Bands


@pytest.mark.parametrize(
    ("threshold", "num_perm", "expected"),
    [
        (0.5, 128, (25, 5)),
        (0.7, 128, (14, 9)),
        (0.8, 128, (9, 13)),
        (0.9, 128, (5, 25)),
        (0.8, 256, (17, 15)),
        (0.37, 50, None),
        (0.8, 2, None),
        (0.05, 64, None),
        (0.99, 64, None),
    ],
)
def test_optimal_bands_are_those_of_datasketch(threshold, num_perm, expected):
    theirs = _optimal_param(threshold, num_perm, 0.5, 0.5)
    assert optimal_bands(threshold, num_perm) == Bands(*theirs)
    assert expected in (None, theirs)


@pytest.mark.parametrize(
    ("threshold", "num_perm", "recall"),
    [(0.8, 128, 0.98), (0.5, 128, 0.98), (0.9, 64, 0.9), (0.7, 40, 0.999)],
)
def test_bands_for_recall_are_the_most_selective_that_reach_it(threshold, num_perm, recall):
    s = np.linspace(0, threshold, 4001)
    areas = {}
    for b in range(1, num_perm + 1):
        for r in range(1, num_perm // b + 1):
            if 1 - (1 - threshold**r) ** b >= recall:
                areas[b, r] = np.trapezoid(1 - (1 - s**r) ** b, s)
    chosen = bands_for_recall(threshold, num_perm, recall)
    assert areas[chosen.b, chosen.r] <= min(areas.values()) * (1 + 1e-6)


def test_what_deduplicate_uses_at_its_default():
    assert bands_for_recall(0.8, 128) == Bands(17, 7)


def test_probability_is_the_share_of_random_signatures_that_collide():
    rng = np.random.default_rng(0)
    bands = Bands(4, 3)
    agree = rng.random((20_000, 4, 3)) < 0.6
    measured = agree.all(axis=2).any(axis=1).mean()
    five_standard_errors = 5 * 0.5 / np.sqrt(20_000)
    assert abs(bands.probability(0.6) - measured) < five_standard_errors
    assert bands.probability(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]


# Candidates


@unhurried
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 3), st.integers(0, 30))
def test_candidates_are_the_plain_ones(seed, b, r, documents):
    rng = np.random.default_rng(seed)
    signatures = rng.integers(0, 3, (documents, b * r + 1)).astype(np.uint32)
    signatures[rng.random(documents) < 0.2] = 2**32 - 1
    pairs = candidate_pairs(signatures, Bands(b, r))
    assert pairs.dtype == np.int64
    assert pairs.shape == (len(pairs), 2)
    assert [tuple(row) for row in pairs] == sorted(candidate_pairs_plain(signatures, Bands(b, r)))


def test_plain_candidates_are_pairs_that_agree_on_a_whole_band():
    rng = np.random.default_rng(1)
    signatures = rng.integers(0, 3, (40, 12)).astype(np.uint32)
    expected = {
        (i, j)
        for i, j in combinations(range(40), 2)
        if (signatures[i] == signatures[j]).reshape(4, 3).all(axis=1).any()
    }
    assert candidate_pairs_plain(signatures, Bands(4, 3)) == expected


def test_the_same_rows_in_different_bands_are_different_buckets():
    signatures = np.array([[1, 2], [2, 1]], dtype=np.uint32)
    assert len(candidate_pairs(signatures, Bands(2, 1))) == 0


def test_one_largest_value_does_not_make_a_document_empty():
    signatures = np.array([[5, 2**32 - 1], [5, 7]], dtype=np.uint32)
    assert candidate_pairs(signatures, Bands(2, 1)).tolist() == [[0, 1]]
    assert candidate_pairs_plain(signatures, Bands(2, 1)) == {(0, 1)}


def test_a_thousand_copies_give_each_pair_once():
    signatures = np.ones((1000, 128), dtype=np.uint32)
    pairs = candidate_pairs(signatures, Bands(17, 7))
    assert len(pairs) == 499_500
    assert len(np.unique(pairs, axis=0)) == 499_500


# Exact similarities


@pytest.mark.parametrize("threshold", [0.3, 0.8])
def test_all_pairs_are_those_of_two_loops(threshold):
    texts = corpus(2, documents=80)
    found = all_pairs_jaccard(texts, threshold)
    assert [tuple(row) for row in found.tolist()] == brute_force(texts, threshold)


def test_blocks_of_documents_make_no_difference():
    from toolkit.data.dedup.exact import overlapping_pairs

    sets = shingle_sets(corpus(3))
    whole = np.concatenate(list(overlapping_pairs(sets)))
    for block in (1, 7):
        assert (np.concatenate(list(overlapping_pairs(sets, block=block))) == whole).all()


def test_verification_walks_both_sets_to_their_ends():
    texts = [text for text in corpus(4) if text]
    sets = shingle_sets(texts)
    pairs = np.array(list(combinations(range(len(texts)), 2)))
    expected = [jaccard(shingles(texts[i]), shingles(texts[j])) for i, j in pairs]
    assert jaccard_of_pairs(sets.hashes, sets.offsets, pairs, 0.0).tolist() == expected


# Deduplication


@pytest.mark.parametrize("seed", range(4))
def test_deduplicate_finds_the_pairs_of_two_loops(seed):
    texts = corpus(seed, documents=200)
    result = deduplicate(texts, seed=seed)
    truth = brute_force(texts, 0.8)
    found = {tuple(pair) for pair in result.pairs.tolist()}
    assert found <= set(truth)
    assert len(found) >= 0.98 * len(truth)
    assert [tuple(pair) for pair in result.pairs.tolist()] == sorted(found)


@settings(unhurried, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0.4, 0.8, 0.95]))
def test_what_every_deduplication_keeps_to(seed, threshold):
    texts = corpus(seed, documents=40)
    result = deduplicate(texts, threshold)
    everyone = np.arange(len(texts))
    kept = set(result.kept.tolist())
    verified = {(i, j): s for i, j, s in result.pairs.tolist()}

    assert sorted(kept) == result.kept.tolist()
    assert all(i < j and s >= threshold for (i, j), s in verified.items())
    assert not any(i in kept and j in kept for i, j in verified)
    assert (result.duplicate_of <= everyone).all()
    for document, source in enumerate(result.duplicate_of.tolist()):
        earlier = [i for i, j in verified if j == document and i in kept]
        assert source == min(earlier, default=document)
        assert (source == document) == (document in kept)
    assert result.empty.tolist() == [i for i, text in enumerate(texts) if not text]
    assert set(result.empty.tolist()) <= kept
    assert result.documents == len(texts)
    assert result.threshold == threshold
    assert result.rule == bands_for_recall(threshold, 128)
    assert result.candidates >= len(result.pairs)


@settings(unhurried, max_examples=20)
@given(st.integers(0, 10**6), st.randoms())
def test_shuffled_documents_have_the_same_pairs(seed, rng):
    texts = corpus(seed, documents=40)
    order = list(range(len(texts)))
    rng.shuffle(order)
    shuffled = deduplicate([texts[i] for i in order])
    back = {(*sorted((order[i], order[j])), s) for i, j, s in shuffled.pairs.tolist()}
    assert back == {tuple(pair) for pair in deduplicate(texts).pairs.tolist()}


def test_clusters_begin_with_the_kept_document():
    a, b = "a b c d e f g h", "q r s t u v w x"
    result = deduplicate([b, a, "", a.upper(), b + "!", a, ""])
    assert [cluster.tolist() for cluster in result.clusters] == [[0, 4], [1, 3, 5]]
    assert result.kept.tolist() == [0, 1, 2, 6]
    assert result.empty.tolist() == [2, 6]
    assert result.pairs["jaccard"].tolist() == [1.0] * 4
    assert deduplicate(["a", "b"]).clusters == []


def test_a_chain_does_not_delete_its_far_end():
    chain = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    assert first_kept(5, chain).tolist() == [0, 0, 2, 2, 4]


def test_the_first_of_several_kept_documents_is_named():
    assert first_kept(4, np.array([[0, 3], [1, 3], [2, 3]])).tolist() == [0, 1, 2, 0]


def test_choosing_what_to_keep_makes_no_python_object_a_pair():
    copies = np.stack(np.triu_indices(400, k=1), axis=1)
    assert first_kept(400, copies).tolist() == [0] * 400  # compiles it
    tracemalloc.start()
    try:
        first_kept(400, copies)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < copies.nbytes / 4


def test_a_similarity_equal_to_the_threshold_counts():
    nine = [f"a{i}" for i in range(13)]  # 9 shingles of 5 words
    texts = [" ".join(nine), " ".join([*nine, "x"])]  # 9 of 10 shared
    assert deduplicate(texts, threshold=0.9).pairs.tolist() == [(0, 1, 0.9)]
    assert all_pairs_jaccard(texts, threshold=0.9).tolist() == [(0, 1, 0.9)]


@pytest.mark.parametrize("collection", [tuple, np.array, lambda x: np.array(x, dtype=object)])
def test_a_tuple_and_a_row_of_strings_are_lists_of_documents(collection):
    texts = ["a b", "A b", "c"]
    assert (
        deduplicate(collection(texts)).kept.tolist() == deduplicate(texts).kept.tolist() == [0, 2]
    )


@pytest.mark.parametrize("integer", [np.int64, np.uint64, np.uint8])
def test_numpy_integers_count_as_python_ones(integer):
    text = " ".join(f"w{i}" for i in range(300))  # more than a uint8 holds
    assert shingles(text, integer(3)) == shingles(text, 3)
    assert (shingle_hashes(text, integer(3)) == shingle_hashes(text, 3)).all()
    assert Bands(integer(17), integer(16)).b * Bands(integer(17), integer(16)).r == 272
    assert bands_for_recall(0.8, integer(128)) == bands_for_recall(0.8, 128)
    assert optimal_bands(np.float32(0.5), integer(16)) == optimal_bands(0.5, 16)
    plain = MinHasher(8, ngram=2, seed=3)
    hasher = MinHasher(integer(8), ngram=integer(2), seed=integer(3))
    assert hasher == plain
    assert (hasher.signatures([text]) == plain.signatures([text])).all()
    sample = sample_pairs([text, text], num_perm=integer(8), per_bin=integer(1))
    assert sample.documents.tolist() == [[0, 1]]


def test_no_document_and_one_document():
    assert deduplicate([]).kept.tolist() == []
    assert deduplicate(["one"]).kept.tolist() == [0]
    assert deduplicate([""]).empty.tolist() == [0]
    assert all_pairs_jaccard([]).tolist() == []


PROGRAM = """
import hashlib
from toolkit.data.dedup import MinHasher, deduplicate
texts = ["the quick brown fox jumps over %d lazy dogs" % (i // 2) for i in range(50)]
result = deduplicate(texts)
state = MinHasher().signatures(texts).tobytes() + result.pairs.tobytes() + result.kept.tobytes()
print(hashlib.sha256(state).hexdigest())
"""


def test_answers_depend_on_no_hash_seed_and_no_thread_count():
    def answer(**environment):
        return subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    one = answer(PYTHONHASHSEED="0", NUMBA_NUM_THREADS="1", OMP_NUM_THREADS="1")
    assert len(one.strip()) == 64
    assert answer(PYTHONHASHSEED="12345", NUMBA_NUM_THREADS="2", OMP_NUM_THREADS="2") == one


def test_batches_and_threads_give_the_same_signatures():
    texts = corpus(6)
    hasher = MinHasher()
    whole = hasher.signatures(texts)
    with ThreadPoolExecutor(2) as pool:
        parts = list(
            pool.map(lambda start: hasher.signatures(texts[start : start + 7]), range(0, 60, 7))
        )
    assert (np.concatenate(parts) == whole).all()


def test_another_seed_gives_other_signatures():
    first, second = (MinHasher(seed=seed).signatures(["a b c d e f"]) for seed in (1, 2))
    assert (first != second).any()


# The sample


def test_a_sample_that_takes_all_is_the_whole_truth():
    texts = corpus(7)
    sample = sample_pairs(texts, per_bin=10**6)
    truth = {(i, j): s for i, j, s in brute_force(texts, 1e-9)}
    assert sample.total_pairs == len(truth) == len(sample.jaccard)
    assert (sample.stands_for == 1).all()
    assert {
        tuple(ij): s for ij, s in zip(sample.documents.tolist(), sample.jaccard, strict=True)
    } == truth
    assert (np.diff(sample.jaccard) >= 0).all()
    signatures = MinHasher().signatures(texts)
    for (i, j), bits in zip(sample.documents, sample.agree, strict=True):
        assert (np.unpackbits(bits).astype(bool) == (signatures[i] == signatures[j])).all()


def test_a_sample_is_spread_over_similarities_and_its_weights_sum_to_the_corpus():
    texts = corpus(8, documents=150)
    truth = np.array([s for _, _, s in brute_force(texts, 1e-9)])
    sample = sample_pairs(texts, threshold=0.7, num_perm=64, per_bin=5)
    bins = np.minimum(np.floor(truth * 20), 19).astype(int)
    drawn = np.minimum(np.floor(sample.jaccard * 20), 19).astype(int)
    counts = np.bincount(bins, minlength=20)
    assert (np.bincount(drawn, minlength=20) == np.minimum(counts, 5)).all()
    weights = np.bincount(drawn, weights=sample.stands_for, minlength=20)
    np.testing.assert_allclose(weights, counts, rtol=1e-12)
    assert sample.agree.shape == (len(drawn), 8)
    assert (sample.method, sample.positions, sample.threshold) == ("minhash", 64, 0.7)


def test_a_sample_draws_the_pairs_of_a_bin_evenly():
    texts = [" ".join(f"w{k}" for k in range(12 + i % 3)) for i in range(30)]
    drawn = [sample_pairs(texts, per_bin=1, seed=seed).documents for seed in range(60)]
    firsts = np.concatenate(drawn)
    assert len(np.unique(firsts[:, 0])) > 15
    assert (sample_pairs(texts, per_bin=1, seed=3).documents == drawn[3]).all()


# Bad input


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: shingles("a", n=0), ValueError, "a shingle needs n of at least 1, got 0"),
        (
            lambda: shingles("a", unit="line"),
            ValueError,
            'unit must be "word" or "char", got \'line\'',
        ),
        (
            lambda: shingles(b"a"),
            TypeError,
            "a text must be a str, got bytes: decode or extract it first",
        ),
        (lambda: shingles("a", n=2.5), TypeError, "a shingle's n must be a whole number, got 2.5"),
        (lambda: shingle_hashes("a", n="2"), TypeError, "n must be a whole number, got '2'"),
        (lambda: shingle_hashes(None), TypeError, "a text must be a str, got NoneType"),
        (lambda: MinHasher(num_perm=0), ValueError, "num_perm must be at least 1, got 0"),
        (
            lambda: MinHasher(num_perm=1.5),
            TypeError,
            "num_perm must be a whole number, got 1.5",
        ),
        (lambda: MinHasher(ngram=2.5), TypeError, "ngram must be a whole number, got 2.5"),
        (lambda: MinHasher(seed=None), TypeError, "seed must be a whole number, got None"),
        (lambda: MinHasher(ngram=0), ValueError, "a shingle needs n of at least 1, got 0"),
        (lambda: MinHasher(unit="w"), ValueError, "unit must be"),
        (lambda: MinHasher(seed=-1), ValueError, "seed must be 0 or more, got -1"),
        (lambda: MinHasher().signatures("text"), TypeError, "got one str: wrap it as [text]"),
        (lambda: MinHasher().signatures(["a", 3]), TypeError, "document 1 must be a str, got int"),
        (lambda: deduplicate("text"), TypeError, "texts must be a list of documents, got one str"),
        (
            lambda: deduplicate(x for x in ["a", "a"]),
            TypeError,
            "texts must be a list of documents, got generator: wrap it in list(...)",
        ),
        (lambda: deduplicate(io.StringIO("a")), TypeError, "got StringIO: wrap it in list(...)"),
        (lambda: deduplicate({"a"}), TypeError, "got set: wrap it in list(...)"),
        (lambda: deduplicate(None), TypeError, "texts must be a list of documents, got NoneType"),
        (lambda: deduplicate(b""), TypeError, "got one bytes: wrap it as [text]"),
        (lambda: deduplicate(np.empty((0, 2), "U1")), TypeError, "got ndarray"),
        (lambda: deduplicate(np.empty(0)), TypeError, "got ndarray"),
        (lambda: all_pairs_jaccard(iter(["a"])), TypeError, "got list_iterator"),
        (lambda: MinHasher().signatures(iter(["a"])), TypeError, "got list_iterator"),
        (
            lambda: deduplicate(["a"], threshold="0.8"),
            TypeError,
            "threshold must be a number between 0 and 1, got '0.8'",
        ),
        (lambda: all_pairs_jaccard(["a"], threshold=None), TypeError, "got None"),
        (lambda: sample_pairs(["a"], threshold="0.8"), TypeError, "got '0.8'"),
        (lambda: optimal_bands("0.8", 128), TypeError, "got '0.8'"),
        (lambda: optimal_bands(0.8, 128.0), TypeError, "num_perm must be a whole number"),
        (
            lambda: bands_for_recall(0.8, 128, recall="1"),
            TypeError,
            "recall must be a number between 0 and 1, got '1'",
        ),
        (lambda: deduplicate(["a", None]), TypeError, "document 1 must be a str, got NoneType"),
        (
            lambda: deduplicate(["a"], threshold=1.0),
            ValueError,
            "threshold must be between 0 and 1, got 1.0",
        ),
        (lambda: deduplicate(["a"], threshold=0.0), ValueError, "got 0.0"),
        (lambda: deduplicate(["a"], seed=-1), ValueError, "seed must be 0 or more, got -1"),
        (lambda: all_pairs_jaccard(["a"], threshold=float("nan")), ValueError, "got nan"),
        (lambda: optimal_bands(80, 128), ValueError, "threshold must be between 0 and 1, got 80"),
        (lambda: optimal_bands(0.8, 1), ValueError, "num_perm must be at least 2, got 1"),
        (
            lambda: bands_for_recall(0.8, 128, recall=1),
            ValueError,
            "recall must be between 0 and 1, got 1",
        ),
        (lambda: bands_for_recall(0.1, 4), ValueError, "raise num_perm or lower recall"),
        (lambda: Bands(0, 5), ValueError, "bands and rows must be at least 1, got (0, 5)"),
        (lambda: Bands(2.5, 1), TypeError, "b must be a whole number, got 2.5"),
        (lambda: Bands(1, "2"), TypeError, "r must be a whole number, got '2'"),
        (lambda: Bands(5, 0), ValueError, "bands and rows must be at least 1, got (5, 0)"),
        (
            lambda: candidate_pairs(np.zeros((2, 8)), Bands(1, 8)),
            TypeError,
            "uint32 array from MinHasher.signatures, got float64",
        ),
        (lambda: candidate_pairs([[1]], Bands(1, 1)), TypeError, "got list"),
        (
            lambda: candidate_pairs(np.zeros(8, np.uint32), Bands(1, 8)),
            ValueError,
            "got shape (8,)",
        ),
        (
            lambda: candidate_pairs(np.zeros((2, 8), np.uint32), Bands(3, 3)),
            ValueError,
            "3 bands of 3 rows need signatures of 9 values, got 8",
        ),
        (
            lambda: sample_pairs(["a"], num_perm=12),
            ValueError,
            "num_perm must be a multiple of 8, got 12",
        ),
        (
            lambda: sample_pairs(["a"], num_perm=0),
            ValueError,
            "num_perm must be a multiple of 8, got 0",
        ),
        (lambda: sample_pairs(["a"], per_bin=0), ValueError, "per_bin must be at least 1, got 0"),
        (lambda: sample_pairs(["a"], per_bin=1.5), TypeError, "per_bin must be a whole number"),
        (lambda: sample_pairs(["a"], num_perm=8.0), TypeError, "num_perm must be a whole number"),
        (
            lambda: sample_pairs(["a"], signatures=[[1] * 8]),
            TypeError,
            "signatures must be a uint32 array from MinHasher.signatures or a uint64 array from "
            "SimHasher.fingerprints, got list",
        ),
        (
            lambda: sample_pairs(["a"], signatures=np.zeros((1, 64), np.uint64)),
            ValueError,
            "fingerprints must have one axis, got shape (1, 64)",
        ),
        (
            lambda: sample_pairs(["a"], signatures=np.zeros(1, np.uint64), bits=12),
            ValueError,
            "bits must be a multiple of 8, got 12",
        ),
        (
            lambda: sample_pairs(["a"], signatures=np.zeros(1, np.uint64), bits=72),
            ValueError,
            "bits must be at most 64 and no fewer than a fingerprint has, 0; got 72",
        ),
        (
            lambda: sample_pairs(["a"], signatures=np.array([1 << 32], np.uint64), bits=32),
            ValueError,
            "bits must be at most 64 and no fewer than a fingerprint has, 33; got 32",
        ),
        (
            lambda: sample_pairs(["a"], signatures=np.zeros(1, np.uint64), bits=8.0),
            TypeError,
            "bits must be a whole number, got 8.0",
        ),
        (
            lambda: sample_pairs(["a"] * 8, signatures=np.zeros(8, np.uint32)),
            ValueError,
            "signatures must have two axes, documents and num_perm, got shape (8,)",
        ),
        (
            lambda: sample_pairs(iter(["a"]), signatures=np.zeros((1, 8))),
            TypeError,
            "got list_iterator",
        ),
        (lambda: sample_pairs("a"), TypeError, "got one str"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, error, sentence):
    with pytest.raises(error) as refused:
        call()
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_rule_on_plain_sets_keeps_what_deduplicate_keeps():
    for seed in range(5):
        texts = corpus(seed, documents=150)
        met = candidate_pairs(MinHasher().signatures(texts), bands_for_recall(0.8, 128))
        stay = keep([shingles(text) for text in texts], met, 0.8)
        assert stay == deduplicate(texts, 0.8).kept.tolist()
    assert keep([{"a"}, {"a", "b"}, {"b"}], np.array([[0, 1], [1, 2], [0, 2]]), 0.5) == [0, 2]


def test_a_sample_looks_at_the_signatures_it_is_given():
    texts = corpus(3)
    mine = MinHasher(num_perm=64, seed=9).signatures(texts)
    sample = sample_pairs(texts, signatures=mine)
    assert (sample.method, sample.positions) == ("minhash", 64)
    i, j = sample.documents.T
    assert (np.unpackbits(sample.agree, axis=1) == (mine[i] == mine[j])).all()
    with pytest.raises(ValueError, match="60 texts need as many signatures, got 59"):
        sample_pairs(texts, signatures=mine[:59])


@pytest.mark.parametrize("bits", [64, 32, 8])
def test_a_sample_looks_at_the_fingerprints_it_is_given(bits):
    texts = corpus(3)
    drawn = np.random.default_rng(4).integers(2**bits, size=len(texts), dtype=np.uint64)
    drawn[:2] = 0, 2**bits - 1
    sample = sample_pairs(texts, signatures=drawn, bits=bits)
    assert (sample.method, sample.positions) == ("simhash", bits)
    assert sample.agree.shape == (len(sample.documents), bits // 8)
    for (i, j), packed in zip(sample.documents.tolist(), sample.agree, strict=True):
        one, other = f"{drawn[i]:0{bits}b}", f"{drawn[j]:0{bits}b}"  # the highest bit first
        agree = "".join("1" if a == b else "0" for a, b in zip(one, other, strict=True))
        assert "".join(f"{byte:08b}" for byte in packed) == agree
    plain = sample_pairs(texts)
    assert (sample.documents == plain.documents).all()
    assert (sample.stands_for == plain.stands_for).all()
    with pytest.raises(ValueError, match="60 texts need as many signatures, got 59"):
        sample_pairs(texts, signatures=drawn[:59], bits=bits)
