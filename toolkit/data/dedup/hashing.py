"""Documents as sorted arrays of 64-bit hashes: the fast image of ``shingling``.

No shingle is ever built as a string. One pass over a text's code points cuts it into words and
hashes each word once; a second pass rolls a window of ``n`` word hashes along:

    H_i = t_i B^(n-1) + t_(i+1) B^(n-2) + ... + t_(i+n-1)    mod 2^64
    H_(i+1) = (H_i - t_i B^(n-1)) B + t_(i+n)                mod 2^64      (Karp and Rabin)

Two different shingles get the same hash with a probability of about 2^-64; among the five million
of a corpus of 36 MB that is one chance in a million for a single such pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt32, UInt64

from .compiled import compiled
from .shingling import (
    IDEOGRAPH,
    LETTER,
    SEPARATOR,
    Unit,
    character_classes,
    check_shingling,
    check_text,
    normalised,
)

B = np.uint64(0x9E3779B97F4A7C15)  # the odd number nearest 2^64 / golden ratio
EMPTY_WORD = np.uint64(0xCBF29CE484222325)


@dataclass(frozen=True, slots=True)
class ShingleSets:
    """The shingles of each document, as hashes.

    Attributes:
        hashes: the sets end to end, each sorted and without repeats.
        offsets: document d has ``hashes[offsets[d]:offsets[d + 1]]``.
    """

    hashes: UInt64[np.ndarray, " shingles"]
    offsets: Int64[np.ndarray, " documents+1"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, document: int) -> UInt64[np.ndarray, " shingles"]:
        return self.hashes[self.offsets[document] : self.offsets[document + 1]]

    @property
    def sizes(self) -> Int64[np.ndarray, " documents"]:
        """How many shingles each document has."""
        return np.diff(self.offsets)


def shingle_sets(texts: Sequence[str], n: int = 5, unit: Unit = "word") -> ShingleSets:
    """The shingles of every text, hashed.

    Args:
        texts: the documents.
        n: length of a shingle, at least 1.
        unit: "word" or "char", as in ``shingles``.
    Returns:
        ShingleSets, one set a document.
    Raises:
        TypeError: ``texts`` is no list of strings, or ``n`` no whole number.
        ValueError: ``n`` is below 1, or ``unit`` is neither.
    """
    n = check_shingling(n, unit)
    check_texts(texts)
    sets = [_shingle_hashes(text, n, unit) for text in texts]
    offsets = np.zeros(len(sets) + 1, dtype=np.int64)
    np.cumsum([len(hashes) for hashes in sets], out=offsets[1:])
    return ShingleSets(np.concatenate([np.empty(0, np.uint64), *sets]), offsets)


def shingle_hashes(text: str, n: int = 5, unit: Unit = "word") -> UInt64[np.ndarray, " shingles"]:
    """The set ``shingles(text, n, unit)`` as sorted 64-bit hashes.

    Args:
        text: any string.
        n: length of a shingle, at least 1.
        unit: "word" or "char", as in ``shingles``.
    Returns:
        One hash for each distinct shingle, ascending.
    Raises:
        TypeError: ``text`` is no string, or ``n`` no whole number.
        ValueError: ``n`` is below 1, or ``unit`` is neither.
    """
    n = check_shingling(n, unit)
    check_text(text)
    return _shingle_hashes(text, n, unit)


def _shingle_hashes(text: str, n: int, unit: Unit) -> UInt64[np.ndarray, " shingles"]:
    if unit == "word":
        tokens = hash_words(_code_points(text.casefold()), character_classes())
    else:
        tokens = hash_characters(_code_points(normalised(text)))
    hashes = hash_ngrams(tokens, n)
    hashes.sort()
    return hashes[: drop_repeats(hashes)]


def _code_points(text: str) -> UInt32[np.ndarray, " characters"]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


@compiled
def mix(h: np.uint64) -> np.uint64:
    """Spread every bit of a 64-bit number over all of them (the finaliser of MurmurHash3)."""
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    h ^= h >> np.uint64(33)
    return h


@compiled
def hash_words(
    codes: UInt32[np.ndarray, " characters"], classes: UInt8[np.ndarray, " code_points"]
) -> UInt64[np.ndarray, " words"]:
    """One hash a word, in order, of a casefolded text."""
    tokens = np.empty(len(codes), dtype=np.uint64)
    count = 0
    word = SEPARATOR  # what is being read: no word, one of letters, or an ideograph
    h = EMPTY_WORD
    for code in codes:
        kind = classes[code]
        starts = kind == IDEOGRAPH or (
            kind != SEPARATOR and (word == SEPARATOR or (kind == LETTER and word == IDEOGRAPH))
        )
        if word != SEPARATOR and (starts or kind == SEPARATOR):
            tokens[count] = mix(h)
            count += 1
        if starts:
            word = IDEOGRAPH if kind == IDEOGRAPH else LETTER
            h = EMPTY_WORD
        elif kind == SEPARATOR:
            word = SEPARATOR
        h = (h ^ np.uint64(code)) * B
        h ^= h >> np.uint64(32)
    if word != SEPARATOR:
        tokens[count] = mix(h)
        count += 1
    return tokens[:count]


@compiled
def hash_characters(codes: UInt32[np.ndarray, " characters"]) -> UInt64[np.ndarray, " characters"]:
    """One hash a character."""
    tokens = np.empty(len(codes), dtype=np.uint64)
    for i, code in enumerate(codes):
        tokens[i] = mix(EMPTY_WORD ^ np.uint64(code))
    return tokens


@compiled
def hash_ngrams(tokens: UInt64[np.ndarray, " tokens"], n: int) -> UInt64[np.ndarray, " shingles"]:
    """The rolling hash of every ``n`` consecutive tokens, or of them all where they are fewer."""
    n = min(n, len(tokens))
    if n == 0:
        return np.empty(0, dtype=np.uint64)
    leading = np.uint64(1)  # B^(n-1), the weight of the token about to leave
    for _ in range(n - 1):
        leading *= B
    hashes = np.empty(len(tokens) - n + 1, dtype=np.uint64)
    h = np.uint64(0)
    for i, token in enumerate(tokens):
        if i >= n:
            h -= tokens[i - n] * leading
        h = h * B + token
        if i >= n - 1:
            hashes[i - n + 1] = mix(h)
    return hashes


@compiled
def drop_repeats(hashes: UInt64[np.ndarray, " shingles"]) -> int:
    """Move the distinct values of a sorted array to its front; how many there are."""
    count = 0
    for i in range(len(hashes)):
        if i == 0 or hashes[i] != hashes[i - 1]:
            hashes[count] = hashes[i]
            count += 1
    return count


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what is not a list of strings, naming the document at fault."""
    if isinstance(texts, str | bytes):
        got = f"one {type(texts).__name__}: wrap it as [text]"
        raise TypeError(f"texts must be a list of documents, got {got}")
    is_row = isinstance(texts, np.ndarray) and texts.ndim == 1 and texts.dtype.kind in "OU"
    # A generator or an open file would be used up by the check below, and then hold no document.
    if not (isinstance(texts, Sequence) or is_row):
        got = f"{type(texts).__name__}: wrap it in list(...)"
        raise TypeError(f"texts must be a list of documents, got {got}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"document {index} must be a str, got {type(text).__name__}: decode or extract it"
            )
