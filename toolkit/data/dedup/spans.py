"""Where the words of a text stand in it, in characters of the text as it was given."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt32

from toolkit.compiled import compiled

from .shingling import CODE_POINTS, IDEOGRAPH, LETTER, SEPARATOR, character_classes


def spans(text: str) -> tuple[Int64[np.ndarray, " words"], Int64[np.ndarray, " words"]]:
    """Where each word of a text starts and where it stops, in characters."""
    folded = text.casefold()
    inside, begins = _cut(_code_points(folded), character_classes())
    ends = inside & np.append(begins | ~inside, True)[1:]
    starts, stops = np.flatnonzero(begins), np.flatnonzero(ends) + 1
    if len(folded) > len(text):  # "ß" became "ss", and what follows it moved
        origin = np.repeat(np.arange(len(text)), _folded_lengths()[_code_points(text)])
        starts, stops = origin[starts], origin[stops - 1] + 1
    return starts, stops


def _code_points(text: str) -> UInt32[np.ndarray, " characters"]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


@cache
def _folded_lengths() -> UInt8[np.ndarray, " code_points"]:
    """How many characters ``str.casefold`` makes of each."""
    return np.array([len(chr(code).casefold()) for code in range(CODE_POINTS)], dtype=np.uint8)


@compiled
def _cut(
    codes: UInt32[np.ndarray, " characters"], classes: UInt8[np.ndarray, " code_points"]
) -> tuple[Bool[np.ndarray, " characters"], Bool[np.ndarray, " characters"]]:
    """Which characters of a casefolded text are in a word, and which of them begin one."""
    inside, begins = np.zeros((2, len(codes)), dtype=np.bool_)
    word = SEPARATOR  # what is being read: no word, one of letters, or an ideograph
    for i in range(len(codes)):
        kind = classes[codes[i]]
        if kind <= SEPARATOR:
            word = SEPARATOR
            continue
        inside[i] = True
        if kind == IDEOGRAPH or word == SEPARATOR or (kind == LETTER and word == IDEOGRAPH):
            begins[i] = True
            word = IDEOGRAPH if kind == IDEOGRAPH else LETTER
    return inside, begins
