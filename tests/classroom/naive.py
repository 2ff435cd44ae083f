"""A grader as many courses have one: all of it in one process. Hostile notebooks beat it.

    python naive.py NOTEBOOK.ipynb

It runs the cells, calls what they define on inputs that never change, and compares what comes back
with the library's answers. The last line it prints is the points by question, as JSON.
"""

from __future__ import annotations

import json
import sys
import unittest
from itertools import combinations
from pathlib import Path

import numpy as np

from toolkit.data import dedup

FUNCTIONS = {
    "q1": "shingles",
    "q2": "jaccard",
    "q3": "minhash_signature",
    "q4": "candidate_pairs",
    "q5": "keep",
}
POINTS = {"q1": 4, "q2": 3, "q3": 5, "q4": 5, "q5": 4}
TEXTS = ["to be or not to be that is the question", "To be,  or NOT!", "nobler", ""]


def check_q1(shingles):
    for text in TEXTS:
        expected = dedup.shingles(text, 3)
        found = shingles(text, 3)
        assert found == expected, f"{found!r}, expected {expected!r}"


def check_q2(jaccard):
    rng = np.random.default_rng(0)
    drawn = [[set(rng.integers(0, 12, 6).tolist()) for _ in "ab"] for _ in range(4)]
    for a, b in [*drawn, [set(), set()]]:
        found = jaccard(a, b)
        if abs(found - dedup.jaccard(a, b)) > 1e-9:
            raise AssertionError(f"{found!r} for {a} and {b}")


def check_q3(minhash_signature):
    rng = np.random.default_rng(0)
    for shingles in (1, 7, 40):
        hashes = rng.integers(2**64, size=shingles, dtype=np.uint64)
        a, b = rng.integers(2**32, size=(2, 8), dtype=np.uint32)
        found = minhash_signature(hashes, a | np.uint32(1), b)
        expected = dedup.minhash_signature(hashes, a | np.uint32(1), b)
        assert (found == expected).all(), f"{found!r}, expected {expected!r}"


def check_q4(candidate_pairs):
    rng = np.random.default_rng(0)
    for documents in (6, 12):
        signatures = rng.integers(3, size=(documents, 4), dtype=np.uint32)
        expected = sorted(dedup.candidate_pairs_plain(signatures, dedup.Bands(2, 2)))
        found = candidate_pairs(signatures, dedup.Bands(2, 2))
        assert np.array_equal(found, expected), f"{found!r}, expected {expected!r}"


def check_q5(keep):
    sets = [set(range(start, start + 10)) for start in (0, 2, 4, 9, 10, 3, 20, 21)]
    pairs = np.array([*combinations(range(len(sets)), 2)])
    expected = dedup.keep(sets, pairs, 0.6)
    equal = unittest.TestCase().assertEqual
    equal(list(keep(sets, pairs, 0.6)), expected)


def main(notebook: Path) -> None:
    names = {"__name__": "__main__"}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            try:
                exec("".join(cell["source"]), names)
            except Exception as error:
                print(f"a cell raised {type(error).__name__}: {error}")
    scores = {}
    for question, function in FUNCTIONS.items():
        try:
            globals()[f"check_{question}"](names[function])
            scores[question] = POINTS[question]
        except Exception as error:
            print(f"{question} failed: {type(error).__name__}: {error}")
            scores[question] = 0
    print(json.dumps(scores))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
