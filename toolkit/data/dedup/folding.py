"""From UTF-8 to casefolded code points, without a Python string between.

``str.casefold`` looks at one character at a time, so a table says all: what each code point
becomes, and the few that become several. Nearly all bytes of most corpora are ASCII, which a
processor folds by the dozen.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Int64, UInt8, UInt32

from toolkit.compiled import compiled

from .shingling import CODE_POINTS

CASED = 0x20000
"""Scripts with upper and lower case all lie below: above are ideographs and symbols."""

RUN = 64
"""Bytes looked at together: where all are ASCII, the processor folds them in a step or two."""


@cache
def case_folds() -> tuple[UInt32[np.ndarray, " code_points"], UInt32[np.ndarray, "rows 3"]]:
    """What ``str.casefold`` makes of every code point.

    Returns:
        For each code point another one, or 0x110000 + row where it becomes several: "ß" is "ss".
        Then those rows, of two or three code points, filled up with zeros.
    """
    folds = np.arange(CODE_POINTS, dtype=np.uint32)
    several: list[list[int]] = []
    for code in range(CASED):
        folded = [ord(character) for character in chr(code).casefold()]
        if len(folded) > 1:
            folds[code] = CODE_POINTS + len(several)
            several.append(folded + [0] * (3 - len(folded)))
        else:
            folds[code] = folded[0]
    return folds, np.array(several, dtype=np.uint32)


@compiled
def decode(utf8: UInt8[np.ndarray, " bytes"], i: int) -> tuple[np.uint32, int]:
    """The code point that begins at byte ``i``, and where the next one does."""
    first = np.uint32(utf8[i])
    if first < 0x80:
        return first, i + 1
    second = np.uint32(utf8[i + 1] & 0x3F)
    if first < 0xE0:
        return (first & 0x1F) << 6 | second, i + 2
    third = np.uint32(utf8[i + 2] & 0x3F)
    if first < 0xF0:
        return (first & 0x0F) << 12 | second << 6 | third, i + 3
    return (first & 0x07) << 18 | second << 12 | third << 6 | np.uint32(utf8[i + 3] & 0x3F), i + 4


@compiled
def is_ascii(run: UInt8[np.ndarray, " bytes"]) -> bool:
    """Whether every byte is a code point of its own."""
    all_bits = np.uint8(0)
    for byte in run:
        all_bits |= byte
    return bool(all_bits < 0x80)


@compiled
def fold_case(
    utf8: UInt8[np.ndarray, " bytes"],
    offsets: Int64[np.ndarray, " documents+1"],
    folds: UInt32[np.ndarray, " code_points"],
    several: UInt32[np.ndarray, "rows 3"],
) -> tuple[UInt32[np.ndarray, " codes"], Int64[np.ndarray, " documents+1"]]:
    """``str.casefold`` of every document, from UTF-8 to code points."""
    codes = np.empty(3 * len(utf8) // 2 + 2, dtype=np.uint32)  # two bytes can become three letters
    ends = np.zeros(len(offsets), dtype=np.int64)
    count = 0
    i = 0
    for document in range(len(offsets) - 1):
        while i < offsets[document + 1]:
            run = utf8[i : min(i + RUN, offsets[document + 1])]
            if is_ascii(run):
                for k in range(len(run)):
                    codes[count + k] = run[k] + (32 if 65 <= run[k] <= 90 else 0)  # A to Z
                count += len(run)
                i += len(run)
                continue
            run_stop = i + len(run)
            while i < run_stop:
                code, i = decode(utf8, i)
                folded = folds[code]
                if folded < CODE_POINTS:
                    codes[count] = folded
                    count += 1
                    continue
                for part in several[folded - CODE_POINTS]:
                    if part:
                        codes[count] = part
                        count += 1
        ends[document + 1] = count
    return codes[:count], ends
