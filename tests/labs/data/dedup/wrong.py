"""Plausible wrong answers to the near-duplicates lab, each with the hint that mends it."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import combinations

import numpy as np

from toolkit.classroom import wrong


def words(text):
    return re.findall(r"\w+", text.casefold())


@wrong("q1", hint="The last run is missing. `range` stops before its end: add 1.")
def shingles(text, n=5):
    tokens = words(text)
    if len(tokens) < n:
        return {" ".join(tokens)} if tokens else set()
    return {" ".join(tokens[i : i + n]) for i in range(len(tokens) - n)}


@wrong(
    "q1",
    hint="A run of fewer than n words at the end is no shingle. Where must the last one start?",
)
def shingles(text, n=5):
    tokens = words(text)
    return {" ".join(tokens[i : i + n]) for i in range(len(tokens))}


@wrong("q1", hint="These are runs of characters. Cut `tokens`, not the text.")
def shingles(text, n=5):
    text = " ".join(words(text))
    return {text[i : i + n] for i in range(max(len(text) - n, 0) + 1)} if text else set()


@wrong("q1", hint="The runs must overlap: the next one starts one word on, not n words on.")
def shingles(text, n=5):
    tokens = words(text)
    if len(tokens) < n:
        return {" ".join(tokens)} if tokens else set()
    return {" ".join(tokens[i : i + n]) for i in range(0, len(tokens) - n + 1, n)}


@wrong("q1", hint="A text shorter than n words is one shingle, all of its words. Yours is lost.")
def shingles(text, n=5):
    tokens = words(text)
    return {" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


@wrong("q1", hint="A text without words has no shingles; yours has one, the empty string.")
def shingles(text, n=5):
    tokens = words(text)
    return {" ".join(tokens[i : i + n]) for i in range(max(len(tokens) - n, 0) + 1)}


@wrong("q2", hint="How many members does the union have? You divided by the larger set.")
def jaccard(a, b):
    return len(a & b) / max(len(a), len(b)) if a and b else 0.0


@wrong("q2", hint="`len(a) + len(b)` counts what they share twice. `a | b` holds each member once.")
def jaccard(a, b):
    return len(a & b) / (len(a) + len(b)) if a or b else 0.0


@wrong(
    "q2", hint="You divided by the smaller set, which is containment: a part would equal its whole."
)
def jaccard(a, b):
    return len(a & b) / min(len(a), len(b)) if a and b else 0.0


@wrong("q2", hint="`//` rounds down to a whole number. Divide with `/`.")
def jaccard(a, b):
    return float(len(a & b) // len(a | b)) if a or b else 0.0


@wrong(
    "q2",
    hint="Two empty sets have an empty union, and you divided by its size. They are 0.0 alike.",
)
def jaccard(a, b):
    return len(a & b) / len(a | b)


@wrong(
    "q2",
    hint="Two empty sets are 0.0 alike here, or all empty texts would be copies of one another.",
)
def jaccard(a, b):
    return len(a & b) / len(a | b) if a or b else 1.0


EMPTY = np.uint32(2**32 - 1)


def upper(hashes):
    return (hashes >> np.uint64(32)).astype(np.uint32)


@wrong(
    "q3", hint="Those are the lower 32 bits. Shift right by 32 first: `hashes >> np.uint64(32)`."
)
def minhash_signature(hashes, a, b):
    x = hashes.astype(np.uint32)
    return (a[:, None] * x + b[:, None]).min(axis=1, initial=EMPTY)


@wrong(
    "q3", hint="The sums ran past 2^32 without wrapping. Compute in uint32, or take them mod 2^32."
)
def minhash_signature(hashes, a, b):
    x = (hashes >> np.uint64(32)).astype(np.uint64)
    values = a.astype(np.uint64)[:, None] * x + b.astype(np.uint64)[:, None]
    return values.min(axis=1, initial=np.uint64(EMPTY)).astype(np.uint32)


@wrong("q3", hint="You kept the greatest value; MinHash keeps the least.")
def minhash_signature(hashes, a, b):
    values = a[:, None] * upper(hashes) + b[:, None]
    return values.max(axis=1) if len(hashes) else np.full(len(a), EMPTY)


@wrong(
    "q3",
    hint="You took the least over the permutations. Each permutation has a least value of its own.",
)
def minhash_signature(hashes, a, b):
    return (a[:, None] * upper(hashes) + b[:, None]).min(axis=0, initial=EMPTY)


@wrong("q3", hint="NumPy has no least value of nothing. Give `min` an `initial=` of 2^32 - 1.")
def minhash_signature(hashes, a, b):
    return (a[:, None] * upper(hashes) + b[:, None]).min(axis=1)


@wrong("q3", hint="The values are right, their dtype is not: a signature is uint32.")
def minhash_signature(hashes, a, b):
    return (a[:, None] * upper(hashes) + b[:, None]).min(axis=1, initial=EMPTY).astype(np.int64)


@wrong("q3", hint="A float has 53 bits, a hash 64: `/` loses some. Shift with `>>` instead.")
def minhash_signature(hashes, a, b):
    with np.errstate(invalid="ignore"):
        x = (hashes / 2**32).astype(np.uint32)
    return (a[:, None] * x + b[:, None]).min(axis=1, initial=EMPTY)


def as_rows(pairs):
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def filled(signatures):
    return np.flatnonzero((signatures != EMPTY).any(axis=1)).tolist()


@wrong("q4", hint="Band 0 of one text met band 1 of another. Each band needs buckets of its own.")
def candidate_pairs(signatures, bands):
    buckets = defaultdict(set)
    for document in filled(signatures):
        for k in range(bands.b):
            buckets[signatures[document, k * bands.r : (k + 1) * bands.r].tobytes()].add(document)
    return as_rows(
        {pair for bucket in buckets.values() for pair in combinations(sorted(bucket), 2)}
    )


@wrong("q4", hint="You asked for every band to agree. One band is enough.")
def candidate_pairs(signatures, bands):
    used = signatures[:, : bands.b * bands.r]
    pairs = combinations(filled(signatures), 2)
    return as_rows({(i, j) for i, j in pairs if (used[i] == used[j]).all()})


@wrong("q4", hint="One row agreed, not a whole band: all r rows of the band must be the same.")
def candidate_pairs(signatures, bands):
    used = signatures[:, : bands.b * bands.r]
    pairs = combinations(filled(signatures), 2)
    return as_rows({(i, j) for i, j in pairs if (used[i] == used[j]).any()})


@wrong("q4", hint="Bands must not overlap: band k starts at row k * r, not at row k.")
def candidate_pairs(signatures, bands):
    pairs = set()
    for k in range(bands.b):
        buckets = defaultdict(list)
        for document in filled(signatures):
            buckets[signatures[document, k : k + bands.r].tobytes()].append(document)
        pairs.update(pair for bucket in buckets.values() for pair in combinations(bucket, 2))
    return as_rows(pairs)


@wrong("q4", hint="A pair that meets in two bands is one pair. Collect them in a set.")
def candidate_pairs(signatures, bands):
    pairs = []
    for k in range(bands.b):
        buckets = defaultdict(list)
        for document in filled(signatures):
            band = signatures[document, k * bands.r : (k + 1) * bands.r]
            buckets[band.tobytes()].append(document)
        pairs += [pair for bucket in buckets.values() for pair in combinations(bucket, 2)]
    return as_rows(pairs)


@wrong(
    "q4",
    hint="Empty documents all have one signature. Leave out those that are 2^32 - 1 throughout.",
)
def candidate_pairs(signatures, bands):
    pairs = set()
    for k in range(bands.b):
        buckets = defaultdict(list)
        for document, signature in enumerate(signatures):
            buckets[signature[k * bands.r : (k + 1) * bands.r].tobytes()].append(document)
        pairs.update(pair for bucket in buckets.values() for pair in combinations(bucket, 2))
    return as_rows(pairs)


def similarity(a, b):
    return len(a & b) / len(a | b) if a or b else 0.0


def verified(sets, candidates, threshold):
    rows = [(int(i), int(j)) for i, j in candidates]
    return [(i, j) for i, j in rows if similarity(sets[i], sets[j]) >= threshold]


@wrong(
    "q5", hint="Candidates are only suspects: verify each with `jaccard` before you drop anything."
)
def keep(sets, candidates, threshold=0.8):
    gone = set()
    for i, j in sorted((int(i), int(j)) for i, j in candidates):
        if i not in gone:
            gone.add(j)
    return [document for document in range(len(sets)) if document not in gone]


@wrong(
    "q5",
    hint="It went because of a text that went itself. Only one that **stays** may take it along.",
)
def keep(sets, candidates, threshold=0.8):
    gone = {j for _, j in verified(sets, candidates, threshold)}
    return [document for document in range(len(sets)) if document not in gone]


@wrong(
    "q5", hint="Both members of a pair are gone: the source with its copy. The earlier one stays."
)
def keep(sets, candidates, threshold=0.8):
    gone = {document for pair in verified(sets, candidates, threshold) for document in pair}
    return [document for document in range(len(sets)) if document not in gone]


@wrong(
    "q5",
    hint="You joined whole chains: the far end is nothing like the one that stays. Compare them.",
)
def keep(sets, candidates, threshold=0.8):
    root = list(range(len(sets)))

    def find(document):
        while root[document] != document:
            document = root[document]
        return document

    for i, j in verified(sets, candidates, threshold):
        first, second = sorted((find(i), find(j)))
        root[second] = first
    return [document for document in range(len(sets)) if find(document) == document]


@wrong("q5", hint="**At least** the threshold: a pair exactly at it counts, so compare with `>=`.")
def keep(sets, candidates, threshold=0.8):
    stay = []
    linked = {(int(i), int(j)) for i, j in candidates}
    for j in range(len(sets)):
        if not any((i, j) in linked and similarity(sets[i], sets[j]) > threshold for i in stay):
            stay.append(j)
    return stay


@wrong(
    "q5", hint="You compared every text with every other. Look only at the pairs in `candidates`."
)
def keep(sets, candidates, threshold=0.8):
    stay = []
    for j in range(len(sets)):
        if not any(similarity(sets[i], sets[j]) >= threshold for i in stay):
            stay.append(j)
    return stay
