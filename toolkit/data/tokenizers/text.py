"""Text as bytes, the classes of its characters, and where it is cut before any vocabulary is asked.

The rules for cutting decide more about a compression figure than the tokenizer behind them: two
tokenizers are compared under the same rules, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import regex
from jaxtyping import Int64, UInt8

from toolkit.compiled import compiled
from toolkit.data.dedup.inputs import Inputs

LETTER, NUMBER, SPACE, DIGIT = 1, 2, 4, 8
CLASSES = {LETTER: r"\p{L}", NUMBER: r"\p{N}", SPACE: r"\s", DIGIT: r"\p{Nd}"}
NEWLINE = 10
MOST_NEWLINES = 100
"""As many newlines end one segment while a tokenizer is trained on segments of a limited length."""
UNLIMITED = 1 << 62


class TextFiles:
    """The lines of files, one after the other, as often as they are asked for.

    Args:
        paths: plain lines, or JSON Lines by their names (``.jsonl``); ``.gz`` and ``.zst`` too.
        field: of JSON Lines, the one that holds the text.
    Raises:
        InputError: a file can't be read, or a line holds no text; it is named.
    """

    def __init__(self, *paths: str | Path, field: str = "text") -> None:
        self._inputs = Inputs([Path(path) for path in paths], field)
        self._inputs.check([])

    def __iter__(self) -> Iterator[str]:
        for at, line in self._inputs.lines():
            text = self._inputs.text(at, line)
            if text is not None:
                yield text


def several(texts: Iterable[str]) -> Iterable[str]:
    """The texts, if they are not one string, whose characters would be texts.

    Raises:
        TypeError: they are.
    """
    if isinstance(texts, str | bytes):
        raise TypeError("texts must be several: give one text as a list, [text]")
    return texts


def several_times(texts: Iterable[str]) -> Iterable[str]:
    """The texts, if they can be gone through more than once.

    Raises:
        TypeError: they are one string, or an iterator, which is used up by the first pass.
    """
    if isinstance(several(texts), Iterator):
        raise TypeError(
            "texts are read more than once, and an iterator only lasts for one pass: give a list, "
            "or TextFiles(path, ...)"
        )
    return texts


def utf8(text: str) -> bytes:
    """The bytes of a text.

    Raises:
        ValueError: it holds half of a surrogate pair, which UTF-8 has no bytes for.
        TypeError: not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start:,} of the text is {text[error.start]!r}, half of a surrogate "
            f"pair, which UTF-8 can't encode: replace it first, "
            f"text.encode(errors='replace').decode()"
        ) from None


def as_array(content: bytes) -> UInt8[np.ndarray, " bytes"]:
    """Bytes as numbers, without a copy."""
    return np.frombuffer(content, dtype=np.uint8)


@cache
def character_classes() -> UInt8[np.ndarray, " 1114112"]:
    """For each code point the sum of its classes: letter, number, space, decimal digit."""
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    every = "".join(map(chr, points))
    classes = np.zeros(0x110000, dtype=np.uint8)
    for flag, pattern in CLASSES.items():
        members = "".join(regex.findall(pattern, every)).encode("utf-32-le")
        classes[np.frombuffer(members, dtype=np.uint32)] += flag
    return classes


@compiled
def code_point(text: UInt8[np.ndarray, " bytes"], at: int) -> tuple[np.int64, int]:
    """The character that starts at a byte of valid UTF-8, and how many bytes it has."""
    first = np.int64(text[at])
    if first < 0x80:
        return first, 1
    second = np.int64(text[at + 1]) & 0x3F
    if first < 0xE0:
        return (first & 0x1F) << 6 | second, 2
    third = np.int64(text[at + 2]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | second << 6 | third, 3
    return (first & 0x07) << 18 | second << 12 | third << 6 | np.int64(text[at + 3]) & 0x3F, 4


def segments(
    content: UInt8[np.ndarray, " bytes"],
    isolate_digits: bool = False,
    most: int = UNLIMITED,
    bounds: Int64[np.ndarray, " texts"] | None = None,
) -> Int64[np.ndarray, " segments"]:
    """Where the segments of a text end: lines, each with the newlines after it.

    Args:
        content: valid UTF-8.
        isolate_digits: every decimal digit is a segment of its own.
        most: characters a segment; a longer line is several. While it limits anything, no segment
            ends in more than 100 newlines either.
        bounds: where each of several texts ends, if ``content`` is several.
    Source:
        Su Jianlin's bytepiece, version 0.6.3, whose segments these are.
    """
    classes = character_classes() if isolate_digits else np.zeros(1, dtype=np.uint8)
    newlines = UNLIMITED if most == UNLIMITED else MOST_NEWLINES
    bounds = np.array([len(content)]) if bounds is None else bounds
    return segment_ends(content, bounds, classes, isolate_digits, most, newlines)


@compiled
def segment_ends(
    text: UInt8[np.ndarray, " bytes"],
    bounds: Int64[np.ndarray, " texts"],
    classes: UInt8[np.ndarray, " code_points"],
    isolate_digits: bool,
    most: int,
    most_newlines: int,
) -> Int64[np.ndarray, " segments"]:
    ends, count, at, last = np.empty(64, np.int64), 0, 0, 0
    while at < len(text):
        while bounds[last] <= at:
            last += 1
        bound = bounds[last]
        characters = newlines = 0
        while at < bound:
            if text[at] == NEWLINE:
                if newlines == most_newlines:
                    break
                newlines += 1
                at += 1
                continue
            if newlines:
                break
            if text[at] < 0x80 and not isolate_digits:
                size = 1
            else:
                point, size = code_point(text, at)
                if isolate_digits and classes[point] & DIGIT:
                    if characters == 0:
                        at += size
                    break
            if characters == most:
                break
            characters += 1
            at += size
        if count == len(ends):
            longer = np.empty(2 * count, np.int64)
            longer[:count] = ends
            ends = longer
        ends[count] = at
        count += 1
    return ends[:count].copy()
