"""The checks of the near-duplicates lab. Expected values come from loops over the definition."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from toolkit.classroom import expect, question, require

VOCABULARY = ["to", "be", "or", "not", "that", "is", "the", "question", "whether", "nobler"]
EMPTY = 2**32 - 1


def draw_words(rng: np.random.Generator, count: int) -> list[str]:
    return [VOCABULARY[i] for i in rng.integers(0, len(VOCABULARY), count)]


def runs(words: list[str], n: int) -> set[str]:
    """Every window whose length is n, found by looking at every window there is."""
    windows = [words[i:j] for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
    length = min(n, len(words))
    return {" ".join(window) for window in windows if len(window) == length}


@question(
    "q1",
    points=2,
    hints=[
        "A text of 7 words has 3 runs of 5: at which words can a run start?",
        "`tokens[start : start + n]` is one run; `' '.join(...)` makes it a string.",
        "The last run starts at word `len(tokens) - n`, and `range` stops before its end.",
    ],
)
def every_run_of_n_words_is_a_shingle(answer, rng):
    """Every run of n words is a shingle, the last one too."""
    for n in (1, 2, 3, 5):
        words = draw_words(rng, int(rng.integers(n + 1, 15)))
        expect(answer.shingles(" ".join(words), n), runs(words, n))


@question("q1", points=1, hints=["`words(text)` has taken care of capitals and punctuation."])
def words_are_casefolded_and_spacing_does_not_count(answer, rng):
    """Capitals, punctuation and spacing make no difference."""
    words = draw_words(rng, 8)
    text = ",  ".join(word.upper() for word in words) + "!\n"
    expect(answer.shingles(text, 3), runs(words, 3))


@question("q1", points=1, hints=["Try a text of two words, and one of none: what comes out?"])
def short_texts_are_one_shingle_and_empty_ones_none(answer, rng):
    """A short text is one shingle, an empty one has none."""
    words = draw_words(rng, int(rng.integers(2, 4)))
    expect(answer.shingles(" ".join(words), 5), {" ".join(words)})
    expect(answer.shingles(words[0]), {words[0]})
    expect(answer.shingles(" ... "), set())


@question(
    "q2",
    points=2,
    hints=[
        "`a & b` is what they share. What is it a part of?",
        "`a | b` holds each member once, however many sets it is in.",
        "Divide `len(a & b)` by `len(a | b)`, unless that is 0.",
    ],
)
def jaccard_divides_by_the_union(answer, rng):
    """Jaccard is the part of the union that both sets share."""
    first = set(rng.permutation(12)[:6].tolist())
    pairs = [(first, set(sorted(first)[:3])), (first, set(first))]
    for _ in range(20):
        pairs.append(tuple(set(rng.integers(0, 12, rng.integers(1, 10)).tolist()) for _ in "ab"))
    for a, b in pairs:
        shared = sum(x in a and x in b for x in range(12))
        either = sum(x in a or x in b for x in range(12))
        expect(answer.jaccard(a, b), shared / either)
    after = answer.call_inplace("jaccard", {1, 2}, {2, 3})
    require(after.args == [{1, 2}, {2, 3}], "it changes the sets it was given", after.result)


@question("q2", points=1, hints=["What is the size of the union of two empty sets?"])
def two_empty_sets_are_unlike(answer, rng):
    """Two empty sets are 0.0 alike, and so is an empty one with any other."""
    expect(answer.jaccard(set(), {"a"}), 0.0)
    expect(answer.jaccard(set(), set()), 0.0)


def least_values(hashes: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The signature in Python's own integers, which never overflow."""
    tops = [int(h) // 2**32 for h in hashes]
    values = [
        min([EMPTY] + [(int(a_k) * x + int(b_k)) % 2**32 for x in tops])
        for a_k, b_k in zip(a, b, strict=True)
    ]
    return np.array(values, dtype=np.uint32)


def draw_permutations(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = rng.integers(2**32, size=(2, count), dtype=np.uint32)
    return a | np.uint32(1), b


@question(
    "q3",
    points=3,
    hints=[
        "`hashes >> np.uint64(32)` leaves the upper 32 bits. Which dtype has exactly 32 bits?",
        "In uint32, products and sums wrap around by themselves: that is mod 2^32.",
        "`a[:, None] * x[None, :]` has a row a permutation and a column a shingle.",
    ],
)
def signatures_hold_the_least_value_under_each_permutation(answer, rng):
    """A signature holds the least value under each permutation."""
    for shingles, num_perm in ((1, 1), (7, 3), (40, 16)):
        hashes = rng.integers(2**64, size=shingles, dtype=np.uint64)
        a, b = draw_permutations(rng, num_perm)
        expect(answer.minhash_signature(hashes, a, b), least_values(hashes, a, b))
    after = answer.call_inplace("minhash_signature", hashes, a, b)
    require(bool((after.args[0] == hashes).all()), "it changes the hashes", after.result)


@question(
    "q3", points=1, hints=["Near 2^64 a float has no room for the last bits: shift integers."]
)
def the_greatest_hashes_lose_no_bit(answer, rng):
    """Hashes next to 2^64 and with all lower bits set are cut exactly."""
    a, b = draw_permutations(rng, 8)
    for value in (2**64 - 1, (int(rng.integers(2**31)) << 32) | (2**32 - 1)):
        one = np.array([value], dtype=np.uint64)
        expect(answer.minhash_signature(one, a, b), least_values(one, a, b))


@question(
    "q3", points=1, hints=["`min` of nothing is an error, unless it is told an `initial` value."]
)
def an_empty_set_has_the_greatest_value_throughout(answer, rng):
    """An empty set has 2^32 - 1 throughout."""
    a, b = draw_permutations(rng, 4)
    empty = np.array([], dtype=np.uint64)
    expect(answer.minhash_signature(empty, a, b), np.full(4, EMPTY, dtype=np.uint32))


LOOKALIKES = np.array([1, 11, 12, 2, 257, 2**24, 2**24 + 1, 2**31 + 1], dtype=np.uint32)
"""Values that a careless key confuses: as text end to end, as bytes, as 32-bit floats."""


def draw_signatures(rng: np.random.Generator, documents: int, num_perm: int) -> np.ndarray:
    """Few distinct values, so that bands often agree, here and there by chance in another band."""
    return rng.choice(rng.permutation(LOOKALIKES)[:3], size=(documents, num_perm))


def expect_pairs(found: object, expected: np.ndarray) -> None:
    """First as a set of pairs, which names a missing one; then dtype, order and repeats."""
    if isinstance(found, np.ndarray) and found.ndim == 2:
        expect({tuple(row) for row in found.tolist()}, {tuple(row) for row in expected.tolist()})
    expect(found, expected)


def meeting_pairs(signatures: np.ndarray, b: int, r: int) -> np.ndarray:
    """Every pair looked at, band by band."""
    rows = signatures.tolist()
    pairs = [
        (i, j)
        for i, j in combinations(range(len(rows)), 2)
        if set(rows[i]) != {EMPTY}
        and any(rows[i][k * r : k * r + r] == rows[j][k * r : k * r + r] for k in range(b))
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


@question(
    "q4",
    points=3,
    hints=[
        "Band `k` of a signature is `signature[k * r : (k + 1) * r]`.",
        "A dictionary from a band's bytes (`.tobytes()`) to its documents holds the buckets.",
        "Each band needs its own dictionary; `combinations(bucket, 2)` gives a bucket's pairs.",
    ],
)
def pairs_that_share_a_bucket_are_candidates(answer, rng):
    """Two documents are candidates when all rows of at least one band agree."""
    for documents, b, r in ((6, 2, 2), (12, 3, 2), (12, 2, 3), (10, 4, 3)):
        signatures = draw_signatures(rng, documents, b * r + r)
        bands = answer.Bands(b, r)
        expect_pairs(answer.candidate_pairs(signatures, bands), meeting_pairs(signatures, b, r))


@question("q4", points=1, hints=["The key must tell [1, 12] from [11, 2], and 2^24 from 2^24 + 1."])
def bands_that_only_look_alike_do_not_meet(answer, rng):
    """Bands that only look alike, as text or as floats, do not meet."""
    rows = [[1, 12], [11, 2], [2**24, 7], [2**24 + 1, 7], [1, 7], [257, 7], [12, 1], [1, 12]]
    signatures = np.array(rows, dtype=np.uint32)[rng.permutation(len(rows))]
    bands = answer.Bands(1, 2)
    expect_pairs(answer.candidate_pairs(signatures, bands), meeting_pairs(signatures, 1, 2))


@question(
    "q4", points=1, hints=["Empty means 2^32 - 1 in **every** place: test with `all`, not `any`."]
)
def empty_documents_are_in_no_bucket(answer, rng):
    """An empty document is nobody's candidate."""
    signatures = draw_signatures(rng, 6, 4)
    signatures[[1, 4]] = EMPTY
    signatures[[0, 3], 0] = EMPTY  # one value may be 2^32 - 1 by chance
    signatures[3] = signatures[0]
    bands = answer.Bands(2, 2)
    expect_pairs(answer.candidate_pairs(signatures, bands), meeting_pairs(signatures, 2, 2))


def draw_sets(rng: np.random.Generator, count: int) -> list[set[int]]:
    """Shuffled sets of a drift: each is near a few others, those near still others, in a chain."""
    start = rng.permutation(np.cumsum(rng.integers(0, 4, count)))
    return [set(range(int(s), int(s) + 10)) for s in start]


def who_stays(sets: list[set[int]], pairs: np.ndarray, threshold: float) -> list[int]:
    linked = {(int(i), int(j)) for i, j in pairs}
    stay: list[int] = []
    for j, b in enumerate(sets):
        alike = [i for i in stay if (i, j) in linked and _share(sets[i], b) >= threshold]
        if not alike:
            stay.append(j)
    return stay


def _share(a: set[int], b: set[int]) -> float:
    both = sum(x in b for x in a)
    return both / (len(a) + len(b) - both)


@question(
    "q5",
    points=3,
    hints=[
        "A candidate pair is only a suspicion: what makes it a near-duplicate?",
        "Keep a list of those that stay. A document goes if one of *those* is like it.",
        "Collect each document's verified earlier partners first, then go through the documents.",
    ],
)
def a_document_goes_only_for_an_earlier_one_that_stays(answer, rng):
    """A document goes only for a verified near-duplicate that stays."""
    for count in (12, 15, 20):
        sets = draw_sets(rng, count)
        pairs = rng.permutation(np.array(list(combinations(range(count), 2)), dtype=np.int64))
        expect(answer.keep(sets, pairs, 0.6), who_stays(sets, pairs, 0.6))


@question(
    "q5", points=1, hints=["**At least** the threshold is `>=`, and only pairs in `candidates`."]
)
def only_candidates_are_compared_and_the_threshold_itself_counts(answer, rng):
    """A pair exactly at the threshold counts; pairs that never met are not looked at."""
    four_of_five = [{1, 2, 3, 4, 5}, {1, 2, 3, 4}, {7}, {7}]
    met = np.array([[0, 1], [0, 2]], dtype=np.int64)
    stay = answer.keep(four_of_five, met, 0.8)
    require(1 not in stay, "it keeps document 1, which is exactly 0.8 like document 0", stay)
    expect(stay, [0, 2, 3])
