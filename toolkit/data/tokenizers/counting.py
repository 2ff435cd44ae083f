"""Distinct pieces of text and how often each stood, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from queue import Queue
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64
from tqdm import tqdm

from toolkit.compiled import compiled

from .text import as_array, utf8

CHUNK = 1 << 22
"""Bytes of text that are counted at a time."""
NOTHING = -1
Table = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]
"""Hashes and entries of a hash table; pieces, offsets and counts of its entries; how many."""
Chunk = tuple[UInt8[np.ndarray, " bytes"], Int64[np.ndarray, " texts"]]
"""Texts, one after the other, and where each ends."""


class Counter(Protocol):
    """What texts are given to, chunk by chunk."""

    def add(self, text: UInt8[np.ndarray, " bytes"], ends: Int64[np.ndarray, " pieces"]) -> None:
        """Count what lies between the ends."""


AnyCounter = TypeVar("AnyCounter", bound=Counter)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Pieces and their counts.

    Attributes:
        joined: their bytes, one piece after the other.
        offsets: where each begins in ``joined``; the last number is its length.
        counts: how often each stood.
    """

    joined: UInt8[np.ndarray, " bytes"]
    offsets: Int64[np.ndarray, " pieces+1"]
    counts: Int64[np.ndarray, " pieces"]

    @classmethod
    def of(cls, counts: dict[bytes, int]) -> Pieces:
        """Pieces and counts from a dictionary."""
        offsets = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum(np.array([len(piece) for piece in counts], dtype=np.int64), out=offsets[1:])
        values = np.array(list(counts.values()), dtype=np.int64)
        return cls(as_array(b"".join(counts)), offsets, values)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def lengths(self) -> Int64[np.ndarray, " pieces"]:
        """In bytes."""
        return np.diff(self.offsets)

    @property
    def ends(self) -> Int64[np.ndarray, " pieces"]:
        """Where each ends in ``joined``."""
        return self.offsets[1:]

    def parts(self, most: int) -> list[Pieces]:
        """At most so many parts, of about as many bytes each: the same ones on every machine."""
        goals = np.linspace(0, len(self.joined), most + 1)
        cuts = np.unique(np.searchsorted(self.ends, goals, side="right"))
        return [self.chosen(np.arange(i, j)) for i, j in pairwise(cuts.tolist())]

    def as_list(self) -> list[bytes]:
        """The pieces themselves."""
        content = self.joined.tobytes()
        return [content[start:end] for start, end in pairwise(self.offsets.tolist())]

    def chosen(self, which: Bool[np.ndarray, " pieces"] | Int64[np.ndarray, " chosen"]) -> Pieces:
        """Some of the pieces, in the order that is asked for."""
        places = np.flatnonzero(which) if which.dtype == bool else which
        offsets = np.zeros(len(places) + 1, dtype=np.int64)
        np.cumsum(self.lengths[places], out=offsets[1:])
        return Pieces(
            _gathered(self.joined, self.offsets, places, offsets), offsets, self.counts[places]
        )

    def in_order(self) -> Pieces:
        """The same pieces in the order of their bytes."""
        every = self.as_list()
        return self.chosen(np.array(sorted(range(len(every)), key=every.__getitem__), np.int64))


@compiled
def _gathered(
    joined: UInt8[np.ndarray, " bytes"],
    offsets: Int64[np.ndarray, " pieces+1"],
    places: Int64[np.ndarray, " chosen"],
    ends: Int64[np.ndarray, " chosen+1"],
) -> UInt8[np.ndarray, " chosen_bytes"]:
    found = np.empty(ends[-1], np.uint8)
    for i in range(len(places)):
        start = offsets[places[i]]
        for byte in range(ends[i + 1] - ends[i]):
            found[ends[i] + byte] = joined[start + byte]
    return found


class PieceCounter:
    """Counts the pieces of the texts it is given."""

    def __init__(self) -> None:
        self._table = (
            np.zeros(1 << 12, np.uint64), np.full(1 << 12, NOTHING, np.int64),
            np.empty(1 << 16, np.uint8), np.zeros(1 << 11, np.int64), np.zeros(1 << 11, np.int64),
            0,
        )  # fmt: skip

    def add(
        self,
        text: UInt8[np.ndarray, " bytes"],
        ends: Int64[np.ndarray, " pieces"],
        counts: Int64[np.ndarray, " pieces"] | None = None,
    ) -> None:
        """Count the pieces that end at these places, once each or as often as is said."""
        counts = np.ones(len(ends), dtype=np.int64) if counts is None else counts
        self._table = _count(text, ends, counts, *self._table)

    def counted(self) -> Pieces:
        """What was counted so far, in the order it was met."""
        _, _, joined, offsets, counts, distinct = self._table
        return Pieces(joined[: offsets[distinct]], offsets[: distinct + 1], counts[:distinct])


@compiled
def _count(
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " pieces"],
    weights: Int64[np.ndarray, " pieces"],
    hashes: UInt64[np.ndarray, " slots"],
    entries: Int64[np.ndarray, " slots"],
    joined: UInt8[np.ndarray, " held"],
    offsets: Int64[np.ndarray, " entries+1"],
    counts: Int64[np.ndarray, " entries"],
    distinct: int,
) -> Table:
    """A hash table of entries; entry i is the piece ``joined[offsets[i]:offsets[i + 1]]``."""
    start = 0
    for at in range(len(ends)):
        end = ends[at]
        size = end - start
        key = np.uint64(size)
        for byte in range(start, end):
            key = (key ^ np.uint64(text[byte])) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        mask = np.uint64(len(hashes) - 1)
        place = (key ^ (key >> np.uint64(32))) & mask
        while True:
            entry = entries[place]
            if entry == NOTHING:
                break
            if hashes[place] == key and offsets[entry + 1] - offsets[entry] == size:
                same = True
                for byte in range(size):
                    if joined[offsets[entry] + byte] != text[start + byte]:
                        same = False
                        break
                if same:
                    break
            place = (place + np.uint64(1)) & mask
        if entry >= 0:
            counts[entry] += weights[at]
        else:
            while offsets[distinct] + size > len(joined):
                joined = np.concatenate((joined, np.empty(len(joined), np.uint8)))
            for byte in range(size):
                joined[offsets[distinct] + byte] = text[start + byte]
            hashes[place], entries[place] = key, distinct
            counts[distinct] = weights[at]
            offsets[distinct + 1] = offsets[distinct] + size
            distinct += 1
            if distinct + 1 == len(offsets):
                offsets = np.concatenate((offsets, np.zeros(len(offsets), np.int64)))
                counts = np.concatenate((counts, np.zeros(len(counts), np.int64)))
                hashes, entries = _doubled(hashes, entries)
        start = end
    return hashes, entries, joined, offsets, counts, distinct


@compiled
def _doubled(
    hashes: UInt64[np.ndarray, " slots"], entries: Int64[np.ndarray, " slots"]
) -> tuple[UInt64[np.ndarray, " more"], Int64[np.ndarray, " more"]]:
    more_hashes = np.zeros(2 * len(hashes), np.uint64)
    more_entries = np.full(2 * len(hashes), NOTHING, np.int64)
    mask = np.uint64(len(more_hashes) - 1)
    for old in range(len(hashes)):
        if entries[old] == NOTHING:
            continue
        key = hashes[old]
        place = (key ^ (key >> np.uint64(32))) & mask
        while more_entries[place] != NOTHING:
            place = (place + np.uint64(1)) & mask
        more_hashes[place], more_entries[place] = key, entries[old]
    return more_hashes, more_entries


def chunks(
    texts: Iterable[str], prepared: Callable[[str], str] | None, doing: str
) -> Iterator[Chunk]:
    """Texts as bytes with their ends, some megabytes at a time, with progress on a terminal.

    Args:
        texts: empty ones are passed over.
        prepared: what is done to each text first, if anything.
        doing: what the progress bar says.
    """
    held: list[bytes] = []
    size = 0
    with tqdm(desc=doing, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        for text in texts:
            content = utf8(prepared(text) if prepared else text)
            if not content:
                continue
            held.append(content)
            size += len(content)
            if size >= CHUNK:
                yield _together(held)
                bar.update(size)
                held, size = [], 0
        if held:
            yield _together(held)
            bar.update(size)


def _together(contents: list[bytes]) -> Chunk:
    return as_array(b"".join(contents)), np.cumsum([len(content) for content in contents])


def count_all(
    parts: Iterable[Chunk],
    counters: Sequence[AnyCounter],
    cut: Callable[..., Int64[np.ndarray, " pieces"]],
) -> Sequence[AnyCounter]:
    """Let each counter, in a thread of its own, count some of the chunks; all are counted once.

    What they count together does not depend on how many there are. The loops hold no lock.

    Args:
        parts: the chunks.
        counters: as many as there shall be threads.
        cut: gives the ends of what is counted in a chunk.
    """
    waiting: Queue[Chunk | None] = Queue(len(counters) + 1)

    def work(counter: AnyCounter) -> None:
        try:
            while (part := waiting.get()) is not None:
                counter.add(part[0], cut(*part))
        except BaseException:
            while waiting.get() is not None:  # so that who fills the queue does not wait for ever
                pass
            raise

    with ThreadPoolExecutor(len(counters)) as threads:
        working = [threads.submit(work, counter) for counter in counters]
        try:
            for part in parts:
                waiting.put(part)
        finally:
            for _ in counters:
                waiting.put(None)
        for done in working:
            done.result()
    return counters
