"""Words, as GPT-2 cuts them: the regular expression's alternatives as a loop over characters.

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

In words: an English ending; else a run of letters, of numbers or of other signs, with one space
before it if there is one; else white space, all but its last character where a word follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import regex
from jaxtyping import Int64, UInt8

from toolkit.compiled import compiled

from .text import LETTER, NUMBER, SPACE, character_classes, code_point

GPT2_REGEX = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BLANK, APOSTROPHE = 0x20, 0x27
S, T, M, D, R, E, V, L = (ord(letter) for letter in "stmdrevl")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where a text is cut into words before BPE merges anything.

    Attributes:
        name: what files call it.
        isolate_numbers: whether every number sign is first cut off from what surrounds it.
    """

    name: str
    isolate_numbers: bool

    def words(self, text: str) -> Iterator[str]:
        """The words of a text, by the regular expression itself: the plain version of ``split``."""
        outer = r"\p{N}|\P{N}+" if self.isolate_numbers else r"(?s:.+)"
        for part in regex.findall(outer, text):
            yield from regex.findall(GPT2_REGEX, part)


GPT2 = Pattern("gpt-2", isolate_numbers=False)
SMOLLM = Pattern("smollm", isolate_numbers=True)
PATTERNS = {pattern.name: pattern for pattern in (GPT2, SMOLLM)}


def split(
    content: UInt8[np.ndarray, " bytes"],
    pattern: Pattern | None,
    bounds: Int64[np.ndarray, " texts"] | None = None,
) -> Int64[np.ndarray, " words"]:
    """Where the words of a text end.

    Args:
        content: valid UTF-8.
        pattern: None leaves a text whole.
        bounds: where each of several texts ends, if ``content`` is several; none is empty.
    """
    if bounds is None:
        bounds = np.array([len(content)] if len(content) else [], dtype=np.int64)
    if pattern is None:
        return bounds
    return _split(content, bounds, character_classes(), pattern.isolate_numbers)


@compiled
def _split(
    text: UInt8[np.ndarray, " bytes"],
    bounds: Int64[np.ndarray, " texts"],
    classes: UInt8[np.ndarray, " code_points"],
    isolate: bool,
) -> Int64[np.ndarray, " words"]:
    ends, count, at = np.empty(len(text), np.int64), 0, 0
    for bound in bounds:
        while at < bound:
            at = word_end(text, at, bound, classes, isolate)
            ends[count] = at
            count += 1
    return ends[:count].copy()


@compiled
def _class_at(
    text: UInt8[np.ndarray, " bytes"], at: int, classes: UInt8[np.ndarray, " code_points"]
) -> tuple[np.uint8, int]:
    """The class of the character at a byte, 0 for other signs, and its size in bytes."""
    point, size = code_point(text, at)
    return classes[point] & (LETTER | NUMBER | SPACE), size


@compiled
def word_end(
    text: UInt8[np.ndarray, " bytes"],
    at: int,
    bound: int,
    classes: UInt8[np.ndarray, " code_points"],
    isolate: bool,
) -> int:
    """Where the word that starts at ``at`` ends; the text ends at ``bound``."""
    first, size = _class_at(text, at, classes)
    if text[at] == APOSTROPHE and at + 1 < bound:
        ending, after = text[at + 1], text[at + 2] if at + 2 < bound else np.uint8(0)
        if ending in (S, T, M, D):
            return at + 2
        if (
            (ending == R and after == E) or (ending == V and after == E)
            or (ending == L and after == L)
        ):  # fmt: skip
            return at + 3
    if isolate and first == NUMBER:
        return at + size
    start = at
    if text[at] == BLANK and at + 1 < bound:
        first, size = _class_at(text, at + 1, classes)
        if isolate and first == NUMBER:
            return at + 1
        if first != SPACE:
            start = at + 1
    end = start + size if first != SPACE else at
    if first != SPACE:
        while end < bound:
            here, size = _class_at(text, end, classes)
            if here != first:
                break
            end += size
        return end
    last = at  # where the run's last character starts
    while end < bound:
        here, size = _class_at(text, end, classes)
        if here != SPACE:
            if isolate and here == NUMBER:
                return end
            return last if last > at else end
        last = end
        end += size
    return end
