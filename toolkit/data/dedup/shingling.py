"""Documents as sets of shingles, and how much two sets share.

This is the plain version: strings, Python sets, a regular expression. ``hashing`` says the same
thing in 64-bit numbers and loops; tests hold the two together.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set
from functools import cache
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, UInt8

from toolkit.arguments import whole_number

Unit = Literal["word", "char"]

SPACE, SEPARATOR, LETTER, MARK, IDEOGRAPH = range(5)
"""What a character does to the word it stands in: two end it, white space and all else that is no
word; one grows it; one joins it; one is a whole word."""

CODE_POINTS = 0x110000
UNSPACED = (
    (0x1100, 0x11FF),  # Hangul jamo
    (0x3005, 0x3007),  # Han iteration mark and zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3130, 0x318F),  # Hangul compatibility jamo
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA960, 0xA97F),  # Hangul jamo extended A
    (0xAC00, 0xD7FF),  # Hangul syllables, jamo extended B
    (0xF900, 0xFAFF),  # Han compatibility
    (0xFF66, 0xFFDC),  # half-width Katakana and Hangul
    (0x1AFF0, 0x1B16F),  # Kana extended and supplement
    (0x20000, 0x323AF),  # Han extensions B to I
)
"""Code points of Chinese, Japanese and Korean, first and last of each range."""


@cache
def character_classes() -> UInt8[np.ndarray, " code_points"]:
    """The class of every code point, U+0000 to U+10FFFF: SPACE, SEPARATOR, LETTER and so on.

    Letters, digits and underscores make words, as ``\\w`` does. Marks (the vowels of Devanagari,
    a combining accent) belong to the word they follow, where ``\\w`` would cut it in two.
    """
    kinds = {"L": LETTER, "N": LETTER, "M": MARK}
    classes = np.array(
        [kinds.get(unicodedata.category(chr(code))[0], SEPARATOR) for code in range(CODE_POINTS)],
        dtype=np.uint8,
    )
    classes[ord("_")] = LETTER
    classes[[code for code in range(0x3001) if chr(code).isspace()]] = SPACE
    for first, last in UNSPACED:
        unspaced = classes[first : last + 1]
        unspaced[unspaced == LETTER] = IDEOGRAPH
    return classes


@cache
def _word_pattern() -> re.Pattern[str]:
    classes = character_classes()
    letters, marks, ideographs = (_ranges(classes == kind) for kind in (LETTER, MARK, IDEOGRAPH))
    # Most separators are white space: refusing that first halves the time.
    return re.compile(rf"(?=\S)(?:[{letters}{marks}]+|[{ideographs}][{marks}]*)")


def _ranges(members: Bool[np.ndarray, " code_points"]) -> str:
    """The body of a regular expression's character set, such as ``A-Za-z``."""
    edges = np.flatnonzero(np.diff(members, prepend=False, append=False))
    starts, stops = edges[::2].tolist(), edges[1::2].tolist()
    return "".join(
        rf"\U{start:08x}-\U{stop - 1:08x}" for start, stop in zip(starts, stops, strict=True)
    )


def words(text: str) -> list[str]:
    """The words of a text, casefolded, in order.

    A word is a run of letters, digits, underscores and combining marks. Chinese, Japanese and
    Korean are written without spaces, so there each character, with its marks, is a word. Other
    scripts without spaces (Thai, Lao, Khmer, Burmese) are not cut: a run of them stays one word.

    Nothing is normalised: "café" with é as one character (NFC) and as e with an accent (NFD) are
    two different words. Where a corpus mixes both, apply ``unicodedata.normalize`` first.

    Args:
        text: any string.
    Returns:
        The words; none for a text of spaces and punctuation.
    """
    return _word_pattern().findall(text.casefold())


def shingles(text: str, n: int = 5, unit: Unit = "word") -> set[str]:
    """The set of runs of ``n`` consecutive words, or characters, of a text.

    A text with fewer than ``n`` of them is one shingle; a text with none has no shingle.

    Args:
        text: any string; it is casefolded.
        n: length of a shingle, at least 1.
        unit: "word", as ``words`` has them, joined by one space; or "char", the characters of the
            text with its runs of white space made one space.
    Returns:
        The distinct shingles.
    Raises:
        TypeError: ``text`` is no string, or ``n`` no whole number.
        ValueError: ``n`` is below 1, or ``unit`` is neither.
    Source:
        Broder, On the resemblance and containment of documents, 1997.
    """
    n = check_shingling(n, unit)
    check_text(text)
    tokens = words(text) if unit == "word" else list(normalised(text))
    if not tokens:
        return set()
    glue = " " if unit == "word" else ""
    last = max(len(tokens) - n, 0)
    return {glue.join(tokens[start : start + n]) for start in range(last + 1)}


def jaccard(a: Set[str], b: Set[str]) -> float:
    """The share of two sets' members that both have, |a ∩ b| / |a ∪ b|.

    Two empty sets share nothing: 0.0, so that an empty document duplicates nothing.

    Args:
        a, b: two sets of shingles.
    Returns:
        From 0.0 (nothing in common) to 1.0 (the same set).
    Source:
        Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.1.
    """
    union = len(a | b)
    return len(a & b) / union if union else 0.0


def normalised(text: str) -> str:
    """The text casefolded, its runs of white space made one space and those at its ends dropped."""
    return " ".join(text.casefold().split())


def check_shingling(n: int, unit: str) -> int:
    """Refuse a shingle length below 1 and an unknown unit; the length as a Python int."""
    n = whole_number("a shingle's n", n)
    if n < 1:
        raise ValueError(f"a shingle needs n of at least 1, got {n!r}")
    if unit not in get_args(Unit):
        raise ValueError(f'unit must be "word" or "char", got {unit!r}')
    return n


def check_text(text: str) -> None:
    """Refuse a document that is no string."""
    if not isinstance(text, str):
        raise TypeError(
            f"a text must be a str, got {type(text).__name__}: decode or extract it first"
        )
