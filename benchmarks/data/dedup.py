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
    Measured: 8 times rensa, 13 times datasketch with xxh32, 26 times with sha1. Short of the 15:
    a third to a half of our time goes into casefolding and decoding Python strings, before any
    loop of ours.
    Recall and precision are of candidates, the same bands being cut from each one's signatures:
    recall is the same within 0.003. Precision is not a merit of one hash:
    over six seeds ours gave 0.55 to 0.70 million candidates where P(s) summed over all pairs
    expects 0.67, because pairs come in large clusters that collide together.
Pairs
    Predicted: the same pairs as datasketch's index at the same bands, in a tenth of its time, since
    Python's dictionaries and sets are left out of every inner loop.
    Measured: 16 times, at recall 0.999 and 0.996. What ``MinHashLSH(threshold=0.8)`` gives out of
    the box, at its own bands and without exact verification, takes 6 times as long as ours, misses
    a quarter of the pairs, and half of what it reports is none.
Where ours loses
    On a small corpus, the first time: compiling the loops takes seconds, once a machine, where the
    peers start at once. On memory it holds every shingle's hash to verify candidates, 8 bytes each,
    and all candidates at once, which a corpus of billions does not allow. On hostile input: the
    hash of words has no secret, so collisions can be made.
"""

from __future__ import annotations

import os

os.environ["RAYON_NUM_THREADS"] = "1"  # before rensa starts its threads

import re
from collections.abc import Callable
from functools import cache

import numpy as np
import rensa
import xxhash
from datasketch import MinHash, MinHashLSH

from toolkit import assets
from toolkit.bench import Case
from toolkit.data.dedup import (
    Bands,
    MinHasher,
    all_pairs_jaccard,
    bands_for_recall,
    candidate_pairs,
    deduplicate,
)

PACKAGES = ("numpy", "numba", "scipy", "datasketch", "rensa", "xxhash")
THRESHOLD = 0.8
NUM_PERM = 128
BANDS = bands_for_recall(THRESHOLD, NUM_PERM)

WORD = re.compile(r"\w+")


@cache
def texts() -> list[str]:
    return [text for text in assets.texts("license-texts").texts if len(text.split()) >= 20]


@cache
def truth() -> np.ndarray:
    pairs = all_pairs_jaccard(texts(), THRESHOLD)
    return np.stack([pairs["i"], pairs["j"]], axis=1)


def quality(pairs: np.ndarray) -> dict[str, float]:
    """Recall and precision of pairs (i, j) against exact all-pairs Jaccard."""
    found = {(i, j) for i, j in pairs.tolist()}
    right = len(found & {(i, j) for i, j in truth().tolist()})
    return {"recall": right / len(truth()), "precision": right / len(found)}


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


def our_pairs() -> np.ndarray:
    pairs = deduplicate(texts(), THRESHOLD).pairs
    return np.stack([pairs["i"], pairs["j"]], axis=1)


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
            ours=lambda: MinHasher(NUM_PERM).signatures(texts()),
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
            ours=our_pairs,
            peers={
                "datasketch LSH, same bands, verified": lambda: datasketch_pairs(BANDS, True),
                "datasketch LSH, its bands, unverified": lambda: datasketch_pairs(None, False),
            },
            quality=quality,
            rounds=3,
        ),
    ]
