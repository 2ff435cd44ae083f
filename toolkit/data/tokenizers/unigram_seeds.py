"""Where a Unigram vocabulary starts from: the characters of a text, and its frequent substrings.

Only what can stand in a piece is kept of the text, and what it says twice is kept once, with its
count:

    texts -> distinct lines -> characters that are covered -> runs of them -> substrings

A substring is a candidate if it is not always followed by the same character: else it would be
worth no more than the longer one. These are the inner nodes of the text's suffix tree, which
sorting all suffixes yields without building it (Abouelhoda, Kurtz, Ohlebusch, 2004).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8
from pydivsufsort import divsufsort

from toolkit.compiled import compiled

from .counting import PieceCounter, Pieces, chunks
from .text import code_point, segments

SEPARATOR = 0xFF
"""Stands after every run while suffixes are sorted; no byte of UTF-8."""
SEEDS = 1_000_000
"""How many substrings training starts with, as many as SentencePiece."""
LONGEST_SEGMENT = 10_000
"""In characters. A longer line is cut, so that its lattice doesn't have to fit in memory."""
CODE_POINTS = 0x110000


def distinct_lines(texts: Iterable[str]) -> Pieces:
    """The lines of all texts, each with the newlines after it, and each once."""
    counter = PieceCounter()
    for content, bounds in chunks(texts, None, "counting lines"):
        counter.add(content, segments(content, most=LONGEST_SEGMENT, bounds=bounds))
    return counter.counted()


def characters(runs: Pieces, coverage: float) -> dict[bytes, int]:
    """The most frequent characters that together make up a share of all, with their counts."""
    counts = _code_point_counts(runs.joined, runs.ends, runs.counts)
    order = np.argsort(-counts, kind="stable")
    order = order[: np.count_nonzero(counts)]
    before = np.cumsum(counts[order]) - counts[order]
    order = order[before < coverage * counts.sum()]
    return {chr(point).encode(): int(counts[point]) for point in order}


def covered_runs(runs: Pieces, kept: Iterable[bytes]) -> Pieces:
    """The text without all other characters; no run goes across one that was there."""
    points = np.zeros(CODE_POINTS, dtype=np.bool_)
    points[[ord(character.decode()) for character in kept]] = True
    text, ends, counts = _covered(runs.joined, runs.ends, runs.counts, points)
    return Pieces(text, np.insert(ends, 0, 0), counts)


def frequent_substrings(runs: Pieces, max_length: int, most: int = SEEDS) -> dict[bytes, int]:
    """The substrings of two characters and more that cover most of the text.

    Only those that stand there twice or more, and go on in more than one way; the end of a run is
    one. Takes about 11 bytes a byte of the runs, and at most 72 for each substring found.

    Args:
        runs: what they are sought in.
        max_length: in characters.
        most: how many are returned.
    Returns:
        Each one's score, count times characters; the highest first.
    """
    text = np.insert(runs.joined, runs.ends, np.uint8(SEPARATOR))
    run = np.repeat(np.arange(len(runs), dtype=np.int32), runs.lengths + 1)
    found = _repeated(text, divsufsort(text), run, runs.counts, max_length)
    found = found[np.argsort(-found[:, 2], kind="stable")[:most]]
    content = text.tobytes()
    return {content[at : at + size]: score for at, size, score in found.tolist()}


@compiled
def _code_point_counts(
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " runs"],
    weights: Int64[np.ndarray, " runs"],
) -> Int64[np.ndarray, " 1114112"]:
    counts, at = np.zeros(CODE_POINTS, np.int64), 0
    for run in range(len(ends)):
        while at < ends[run]:
            point, size = code_point(text, at)
            counts[point] += weights[run]
            at += size
    return counts


@compiled
def _covered(
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " runs"],
    weights: Int64[np.ndarray, " runs"],
    points: Bool[np.ndarray, " 1114112"],
) -> tuple[UInt8[np.ndarray, " kept"], Int64[np.ndarray, " found"], Int64[np.ndarray, " found"]]:
    kept, size = np.empty(len(text), np.uint8), 0
    found, count = np.empty((len(ends) + 1, 2), np.int64), 0
    at = begin = 0
    for run in range(len(ends)):
        while at < ends[run]:
            point, width = code_point(text, at)
            if points[point]:
                kept[size : size + width] = text[at : at + width]
                size += width
            at += width
            if size > begin and (at == ends[run] or not points[point]):
                if count == len(found):
                    found = np.concatenate((found, found))
                found[count, 0], found[count, 1] = size, weights[run]
                count += 1
                begin = size
    return kept[:size].copy(), found[:count, 0].copy(), found[:count, 1].copy()


@compiled
def _repeated(
    text: UInt8[np.ndarray, " bytes"],
    suffixes: Int32[np.ndarray, " bytes"],
    run: Int32[np.ndarray, " bytes"],
    weights: Int64[np.ndarray, " runs"],
    max_length: int,
) -> Int64[np.ndarray, "found 3"]:
    """Where each candidate stands, its bytes, and its count times its characters.

    The open nodes are on a stack, each longer than the one below it. A suffix closes those that
    it doesn't begin with; their counts go to the longest beginning that it does have.
    """
    found, count = np.empty((1024, 3), np.int64), 0
    size, length = np.zeros(max_length + 3, np.int64), np.zeros(max_length + 3, np.int64)
    place, total = np.zeros(max_length + 3, np.int64), np.zeros(max_length + 3, np.int64)
    top, previous = 0, np.int64(-1)  # the root, which has no characters, is never closed
    for rank in range(len(suffixes) + 1):
        shared = shared_bytes = 0
        if rank < len(suffixes):
            at = np.int64(suffixes[rank])
            if text[at] == SEPARATOR or text[at] & 0xC0 == 0x80:
                continue
            if previous >= 0:
                shared, shared_bytes = _common(text, previous, at, max_length + 1)
        while length[top] > shared:
            if total[top] >= 2 and 2 <= length[top] <= max_length:
                if count == len(found):
                    found = np.concatenate((found, found))
                found[count, 0], found[count, 1] = place[top], size[top]
                found[count, 2] = total[top] * length[top]
                count += 1
            closed = total[top]
            top -= 1
            if length[top] < shared:
                top += 1
                length[top], size[top], place[top] = shared, shared_bytes, previous
                total[top] = closed
            else:
                total[top] += closed
        if rank < len(suffixes):
            own, own_bytes = _common(text, at, at, max_length + 1)
            if own > length[top]:
                top += 1
                length[top], size[top], place[top], total[top] = own, own_bytes, at, 0
            total[top] += weights[run[at]]
            previous = at
    return found[:count].copy()


@compiled
def _common(text: UInt8[np.ndarray, " bytes"], a: int, b: int, most: int) -> tuple[int, int]:
    """How many characters two suffixes share, within their runs and up to ``most``; and bytes."""
    count, size, i = -1, 0, 0
    while True:
        if text[a + i] & 0xC0 != 0x80:
            count += 1
            size = i
            if count == most:
                break
        if text[a + i] != text[b + i] or text[a + i] == SEPARATOR:
            break
        i += 1
    return count, size
