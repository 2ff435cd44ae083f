"""Documents as sorted arrays of 64-bit hashes: the fast image of ``shingling``.

No shingle is ever built as a string. One pass over a block's UTF-8 bytes folds case, cuts words
and hashes each word once; a second pass rolls a window of ``n`` word hashes along:

    H_i = t_i B^(n-1) + t_(i+1) B^(n-2) + ... + t_(i+n-1)    mod 2^64
    H_(i+1) = (H_i - t_i B^(n-1)) B + t_(i+n)                mod 2^64      (Karp and Rabin)

Two different shingles get the same hash with a probability of about 2^-64; among the five million
of a corpus of 36 MB that is one chance in a million for a single such pair.

Documents lie end to end in one array, the d-th at ``offsets[d]:offsets[d + 1]``, as bytes, as
tokens (words, or characters) and as shingles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt32, UInt64

from toolkit.compiled import compiled

from .blocks import blocks
from .folding import case_folds, fold_case
from .shingling import (
    IDEOGRAPH,
    LETTER,
    MARK,
    SEPARATOR,
    SPACE,
    Unit,
    character_classes,
    check_shingling,
    check_text,
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


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words, or characters, of each document, one hash each, in order.

    Attributes:
        hashes: the documents end to end.
        offsets: document d has ``hashes[offsets[d]:offsets[d + 1]]``.
    """

    hashes: UInt64[np.ndarray, " tokens"]
    offsets: Int64[np.ndarray, " documents+1"]

    def ngrams(
        self, n: int
    ) -> tuple[UInt64[np.ndarray, " ngrams"], Int64[np.ndarray, " documents+1"]]:
        """The hash of every ``n`` consecutive tokens, in order, with repeats; and the offsets."""
        return hash_ngrams(self.hashes, self.offsets, n)

    def sets(self, n: int) -> ShingleSets:
        """The distinct n-grams of each document."""
        hashes, offsets = self.ngrams(n)
        for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            hashes[start:stop].sort()
        kept = drop_repeats(hashes, offsets)
        return ShingleSets(hashes[:kept].copy(), offsets)


def tokens(texts: Sequence[str], unit: Unit) -> Tokens:
    """The tokens of a block of texts, hashed."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    utf8 = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    codes, offsets = fold_case(utf8, offsets, *case_folds())
    hash_tokens = hash_words if unit == "word" else hash_characters
    return Tokens(*hash_tokens(codes, offsets, character_classes()))


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
    return joined([tokens(block, unit).sets(n) for block in blocks(texts)])


def joined(parts: Sequence[ShingleSets]) -> ShingleSets:
    """The sets of several blocks of documents, one block after the other."""
    sizes = np.concatenate([np.empty(0, np.int64), *(part.sizes for part in parts)])
    hashes = np.concatenate([np.empty(0, np.uint64), *(part.hashes for part in parts)])
    return ShingleSets(hashes, np.concatenate([[0], np.cumsum(sizes)]))


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
    return tokens([text], unit).sets(n)[0]


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
    codes: UInt32[np.ndarray, " codes"],
    offsets: Int64[np.ndarray, " documents+1"],
    classes: UInt8[np.ndarray, " code_points"],
) -> tuple[UInt64[np.ndarray, " words"], Int64[np.ndarray, " documents+1"]]:
    """One hash a word, in order, of casefolded documents."""
    tokens = np.empty(len(codes), dtype=np.uint64)
    ends = np.zeros(len(offsets), dtype=np.int64)
    count = 0
    for document in range(len(offsets) - 1):
        word = SEPARATOR  # what is being read: no word, one of letters, or an ideograph
        h = EMPTY_WORD
        for i in range(offsets[document], offsets[document + 1]):
            kind = classes[codes[i]]
            if (kind == LETTER and word == LETTER) or (kind == MARK and word != SEPARATOR):
                h = h * B + codes[i]
                continue
            if word != SEPARATOR:
                tokens[count] = mix(h)
                count += 1
            if kind <= SEPARATOR:
                word = SEPARATOR
            else:
                word = IDEOGRAPH if kind == IDEOGRAPH else LETTER
                h = EMPTY_WORD * B + codes[i]
        if word != SEPARATOR:
            tokens[count] = mix(h)
            count += 1
        ends[document + 1] = count
    return tokens[:count], ends


@compiled
def hash_characters(
    codes: UInt32[np.ndarray, " codes"],
    offsets: Int64[np.ndarray, " documents+1"],
    classes: UInt8[np.ndarray, " code_points"],
) -> tuple[UInt64[np.ndarray, " characters"], Int64[np.ndarray, " documents+1"]]:
    """One hash a character of casefolded documents, a run of white space within being one space."""
    tokens = np.empty(len(codes), dtype=np.uint64)
    ends = np.zeros(len(offsets), dtype=np.int64)
    space = mix(EMPTY_WORD ^ np.uint64(ord(" ")))
    count = 0
    for document in range(len(offsets) - 1):
        for i in range(offsets[document], offsets[document + 1]):
            if classes[codes[i]] == SPACE:
                continue
            if count > ends[document] and classes[codes[i - 1]] == SPACE:
                tokens[count] = space
                count += 1
            tokens[count] = mix(EMPTY_WORD ^ np.uint64(codes[i]))
            count += 1
        ends[document + 1] = count
    return tokens[:count], ends


@compiled
def hash_ngrams(
    tokens: UInt64[np.ndarray, " tokens"], offsets: Int64[np.ndarray, " documents+1"], n: int
) -> tuple[UInt64[np.ndarray, " ngrams"], Int64[np.ndarray, " documents+1"]]:
    """The rolling hash of every ``n`` consecutive tokens, or of all where a document has fewer."""
    hashes = np.empty(len(tokens), dtype=np.uint64)
    ends = np.zeros(len(offsets), dtype=np.int64)
    count = 0
    for document in range(len(offsets) - 1):
        start, stop = offsets[document], offsets[document + 1]
        length = min(n, stop - start)
        leading = np.uint64(1)  # B^(length - 1), the weight of the token about to leave
        for _ in range(length - 1):
            leading *= B
        h = np.uint64(0)
        for i in range(start, stop):
            if i - start >= length:
                h -= tokens[i - length] * leading
            h = h * B + tokens[i]
            if i - start >= length - 1:
                hashes[count] = mix(h)
                count += 1
        ends[document + 1] = count
    return hashes[:count], ends


@compiled
def drop_repeats(
    hashes: UInt64[np.ndarray, " shingles"], offsets: Int64[np.ndarray, " documents+1"]
) -> int:
    """Move each sorted document's distinct values forward and set the offsets; how many stay."""
    count = 0
    start = offsets[0]
    for document in range(len(offsets) - 1):
        stop = offsets[document + 1]
        for i in range(start, stop):
            if i == start or hashes[i] != hashes[i - 1]:
                hashes[count] = hashes[i]
                count += 1
        start = stop
        offsets[document + 1] = count
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
