"""Near-duplicates of licence texts: ours against datasketch and rensa, from raw text, one thread.

Input: the 14,445 texts of ``license-texts`` with 20 words or more as white space parts them. Every
contestant starts from those strings, makes word 5-grams and takes 128 permutations. Each is given
what its documentation recommends: datasketch ``update_batch``, with its default sha1 and with
xxh32; rensa its full R-MinHash, not the kind that samples tokens.

Ledger
------
Signatures
    Predicted: hashing words once and rolling over them saves building 5.6 million strings, which
    is most of the peers' time; permuting 32-bit numbers rather than 64-bit ones does as many again
    at once. At least 5 times rensa and 15 times datasketch with xxh32.
    Measured: 11 times rensa, 17 times datasketch with xxh32, 32 times with sha1. While case was
    still folded and UTF-32 made by Python, one text at a time, it was 8, 13 and 26.
    Recall and precision are of candidates, the same bands being cut from each one's signatures:
    recall is the same within 0.003. Precision is not a merit of one hash:
    over six seeds ours gave 0.55 to 0.70 million candidates where P(s) summed over all pairs
    expects 0.67, because pairs come in large clusters that collide together.
Pairs
    Predicted: the same pairs as datasketch's index at the same bands, in a tenth of its time, since
    Python's dictionaries and sets are left out of every inner loop.
    Measured: 22 times, at the same recall of 0.996. What ``MinHashLSH(threshold=0.8)`` gives out of
    the box, at its own bands and without exact verification, takes 7 times as long as ours, misses
    a quarter of the pairs, and half of what it reports is none.
Rules
    Predicted: SimHash in 64 bits needs more comparisons than bands for the same recall, because its
    curve is flatter, and is faster where near means nearly identical.
    Measured: at 0.8, recall 0.996 takes bands 0.67 million comparisons; SimHash at 14 bits takes
    1.24 million for 0.997, in three times the time. At 3 bits it finds a tenth of the pairs.
Where ours loses
    On a small corpus, the first time: compiling the loops takes seconds, once a machine, where the
    peers start at once. On memory ``deduplicate`` holds every shingle's hash to verify candidates,
    8 bytes each, and all candidates at once; ``DedupIndex`` keeps the hashes on disk and no pairs.
    On hostile input: the hash of words has no secret, so collisions can be made.
"""

from __future__ import annotations

import os

os.environ["RAYON_NUM_THREADS"] = "1"  # before rensa starts its threads

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import rensa
import xxhash
from datasketch import MinHash, MinHashLSH

from toolkit import assets
from toolkit.bench import Case
from toolkit.data.dedup import (
    Bands,
    MinHasher,
    Radius,
    SimHasher,
    all_pairs_jaccard,
    bands_for_recall,
    candidate_pairs,
    deduplicate,
    hamming_pairs,
    optimal_bands,
)
from toolkit.data.dedup.blocks import check_workers
from toolkit.data.dedup.hamming import table_masks

PACKAGES = ("numpy", "numba", "scipy", "datasketch", "rensa", "xxhash")
THRESHOLD = 0.8
NUM_PERM = 128
BANDS = bands_for_recall(THRESHOLD, NUM_PERM)

WORD = re.compile(r"\w+")


@cache
def texts() -> list[str]:
    return [text for text in assets.texts("license-texts").texts if len(text.split()) >= 20]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs (i, j), and the bytes of the sketches and keys that found them."""

    pairs: np.ndarray
    size: int

    @property
    def costs(self) -> dict[str, float]:
        return {"candidates": len(self.pairs), "MiB": self.size / 2**20}


@cache
def truth(threshold: float) -> np.ndarray:
    return numbered(all_pairs_jaccard(texts(), threshold))


def numbered(pairs: np.ndarray) -> np.ndarray:
    """Each pair (i, j) as one number."""
    return pairs["i"] * len(texts()) + pairs["j"]


def quality(pairs: np.ndarray, threshold: float = THRESHOLD) -> dict[str, float]:
    """Recall and precision of distinct pairs (i, j) against exact all-pairs Jaccard."""
    found = np.unique(pairs[:, 0] * len(texts()) + pairs[:, 1])
    right = np.isin(found, truth(threshold)).sum()
    return {"recall": right / len(truth(threshold)), "precision": right / len(found)}


def quality_of_signatures(signatures: np.ndarray) -> dict[str, float]:
    """That of the candidates when the signatures are cut into the same bands."""
    return quality(candidate_pairs(signatures, BANDS))


def shingle_strings(text: str) -> list[str]:
    """Word 5-grams as one would write them for a library that takes strings."""
    words = WORD.findall(text.casefold())
    return [" ".join(words[start : start + 5]) for start in range(max(len(words) - 4, 1))]


def sha1_minhash() -> MinHash:
    return MinHash(NUM_PERM)


def xxh32_minhash() -> MinHash:
    return MinHash(NUM_PERM, hashfunc=xxhash.xxh32_intdigest)


def datasketch_minhashes(new: Callable[[], MinHash]) -> list[MinHash]:
    """One MinHash a text; copying an empty one spares drawing the permutations each time."""
    empty = new()
    sketches = []
    for text in texts():
        sketch = empty.copy()
        sketch.update_batch([shingle.encode() for shingle in shingle_strings(text)])
        sketches.append(sketch)
    return sketches


def datasketch_signatures(new: Callable[[], MinHash]) -> np.ndarray:
    return np.array([sketch.hashvalues for sketch in datasketch_minhashes(new)])


def rensa_signatures() -> np.ndarray:
    shingled = [shingle_strings(text) for text in texts()]
    rows = rensa.RMinHash.digests_from_token_sets(shingled, NUM_PERM, 1)
    return np.array(rows, dtype=np.uint32)


def our_pairs(workers: int) -> np.ndarray:
    pairs = deduplicate(texts(), THRESHOLD, workers=workers).pairs
    return np.stack([pairs["i"], pairs["j"]], axis=1)


def candidates_by(rule: Bands | Radius) -> Callable[[], Candidates]:
    """What a rule makes comparable, from raw text."""

    def find() -> Candidates:
        if isinstance(rule, Bands):
            signatures = MinHasher(NUM_PERM).signatures(texts(), workers=1)
            keys = 8 * rule.b * len(signatures)
            return Candidates(candidate_pairs(signatures, rule), signatures.nbytes + keys)
        fingerprints = SimHasher(rule.bits).fingerprints(texts(), workers=1)
        keys = 8 * len(table_masks(rule, len(fingerprints))) * len(fingerprints)
        return Candidates(hamming_pairs(fingerprints, rule), fingerprints.nbytes + keys)

    return find


def named(rule: Bands | Radius) -> str:
    """A rule as the page's tables name it."""
    if isinstance(rule, Bands):
        return f"MinHash, {rule.b} x {rule.r}"
    return f"SimHash, {rule.k} bits"


def rules_compared(threshold: float, params: dict[str, Any]) -> Case:
    """What each rule finds of the pairs at a threshold, what it compares, takes and holds."""
    best = bands_for_recall(threshold, NUM_PERM)
    bands = [optimal_bands(threshold, NUM_PERM), Bands(14, 8)]
    rules = [*bands, *(Radius(k) for k in (3, 6, 8, 10, 12, 14))]
    return Case(
        name=f"candidates at {threshold}",
        params=params | {"threshold": threshold, "ours": named(best)},
        ours=candidates_by(best),
        peers={named(rule): candidates_by(rule) for rule in rules},
        quality=lambda found: (
            quality(found.pairs, threshold)
            | {"candidates": len(found.pairs), "MiB": found.size / 2**20}
        ),
        rounds=3,
    )


def datasketch_pairs(bands: Bands | None, verified: bool) -> np.ndarray:
    """Pairs by MinHashLSH, at given bands or its own; kept, if so wished, only where exact."""
    params = None if bands is None else (bands.b, bands.r)
    lsh = MinHashLSH(THRESHOLD, NUM_PERM, params=params)
    sketches = datasketch_minhashes(xxh32_minhash)
    with lsh.insertion_session() as session:
        for document, sketch in enumerate(sketches):
            session.insert(document, sketch)
    sets = [set(shingle_strings(text)) for text in texts()] if verified else []
    pairs = []
    for i, sketch in enumerate(sketches):
        for j in lsh.query(sketch):
            if i < j and (not verified or similar(sets[i], sets[j])):
                pairs.append((i, j))
    return np.array(pairs)


def similar(a: set[str], b: set[str]) -> bool:
    both = len(a & b)
    return both >= THRESHOLD * (len(a) + len(b) - both)


def cases() -> list[Case]:
    params = {
        "documents": len(texts()),
        "characters": sum(map(len, texts())),
        "threads": 1,
        "ngram": 5,
        "num_perm": NUM_PERM,
        "threshold": THRESHOLD,
        "bands": BANDS.b,
        "rows": BANDS.r,
    }
    return [
        Case(
            name="signatures",
            params=params,
            ours=lambda: MinHasher(NUM_PERM).signatures(texts(), workers=1),
            peers={
                "rensa, full": rensa_signatures,
                "datasketch, xxh32": lambda: datasketch_signatures(xxh32_minhash),
                "datasketch, sha1": lambda: datasketch_signatures(sha1_minhash),
            },
            quality=quality_of_signatures,
            rounds=3,
        ),
        Case(
            name="near-duplicate pairs",
            params=params,
            ours=lambda: our_pairs(workers=1),
            peers={
                "datasketch LSH, same bands, verified": lambda: datasketch_pairs(BANDS, True),
                "datasketch LSH, its bands, unverified": lambda: datasketch_pairs(None, False),
            },
            quality=quality,
            rounds=3,
        ),
        Case(
            name="near-duplicate pairs, all cores",
            params=params | {"threads": check_workers(None)},
            ours=lambda: our_pairs(workers=check_workers(None)),
            peers={"ours, one thread": lambda: our_pairs(workers=1)},
            quality=quality,
        ),
        *(rules_compared(threshold, params) for threshold in (0.7, 0.8, 0.9)),
    ]
