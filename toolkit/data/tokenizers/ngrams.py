"""Byte n-grams: counted, and as a model of which byte comes next.

A run of bytes is one number: its bytes from the highest down, and its length in the lowest byte.
At each place only the longest run is counted, in a table that is as large as the number of
distinct ones. The shorter runs that begin it come out by sorting: all runs with the same beginning
stand together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8, UInt64

from toolkit.compiled import compiled

MAX_ORDER = 7
"""The longest run that, with its length, fits into 64 bits."""
NONE = 0  # no run: the length of each is at least 1


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """How often each longest run stood.

    Attributes:
        keys: the runs as numbers, ascending.
        counts: of each.
    """

    keys: UInt64[np.ndarray, " runs"]
    counts: Int64[np.ndarray, " runs"]

    @classmethod
    def together(cls, several: Sequence[Runs]) -> Runs:
        """The runs of several texts, added up."""
        keys = np.concatenate([runs.keys for runs in several])
        counts = np.concatenate([runs.counts for runs in several])
        return cls(*_added_up(keys, counts))


class RunCounter:
    """Counts the longest runs of the texts it is given, at most ``order`` bytes each."""

    def __init__(self, order: int) -> None:
        self._order = order
        self._table = np.zeros(1 << 16, np.uint64), np.zeros(1 << 16, np.int64), 0

    def add(self, text: UInt8[np.ndarray, " bytes"], ends: Int64[np.ndarray, " segments"]) -> None:
        """Count a text's runs, none of which crosses the end of a segment."""
        self._table = _count(text, ends, self._order, *self._table)

    def counted(self) -> Runs:
        """What was counted so far."""
        keys, counts, _ = self._table
        used = keys != NONE
        return Runs(*_added_up(keys[used], counts[used]))


def _added_up(
    keys: UInt64[np.ndarray, " some"], counts: Int64[np.ndarray, " some"]
) -> tuple[UInt64[np.ndarray, " runs"], Int64[np.ndarray, " runs"]]:
    """Each key once, ascending, with the sum of its counts."""
    if len(keys) == 0:
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(counts, first)


@compiled
def _slot(keys: UInt64[np.ndarray, " slots"], key: np.uint64) -> np.uint64:
    """Where a key is in a table, or would be: the table's length is a power of two."""
    mask = np.uint64(len(keys) - 1)
    place = (key ^ (key >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    place = (place ^ (place >> np.uint64(32))) & mask
    while keys[place] != key and keys[place] != NONE:
        place = (place + np.uint64(1)) & mask
    return place


@compiled
def _count(
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " segments"],
    order: int,
    keys: UInt64[np.ndarray, " slots"],
    counts: Int64[np.ndarray, " slots"],
    distinct: int,
) -> tuple[UInt64[np.ndarray, " slots"], Int64[np.ndarray, " slots"], int]:
    begin = 0
    for end in ends:
        for at in range(begin, end):
            size = min(order, end - at)
            key = np.uint64(0)
            for byte in range(size):
                key |= np.uint64(text[at + byte]) << np.uint64(56 - 8 * byte)
            key |= np.uint64(size)
            place = _slot(keys, key)
            counts[place] += 1
            if keys[place] == NONE:
                keys[place] = key
                distinct += 1
                if 2 * distinct > len(keys):
                    keys, counts = _doubled(keys, counts)
        begin = end
    return keys, counts, distinct


@compiled
def _doubled(
    keys: UInt64[np.ndarray, " slots"], counts: Int64[np.ndarray, " slots"]
) -> tuple[UInt64[np.ndarray, " more"], Int64[np.ndarray, " more"]]:
    more_keys, more_counts = np.zeros(2 * len(keys), np.uint64), np.zeros(2 * len(keys), np.int64)
    for old in range(len(keys)):
        if keys[old] != NONE:
            place = _slot(more_keys, keys[old])
            more_keys[place], more_counts[place] = keys[old], counts[old]
    return more_keys, more_counts


@dataclass(frozen=True, slots=True, eq=False)
class NgramModel:
    """log p(last byte | the bytes before it) of each run, as a hash table.

    Attributes:
        order: bytes of the longest run.
        table: uint64 (slots, 2): a run's key, and the bits of its log-probability as float64.
        runs: how many there are of each length, from 1 on.
    """

    order: int
    table: UInt64[np.ndarray, "slots 2"]
    runs: tuple[int, ...]

    @classmethod
    def of(cls, longest: Runs, order: int, min_count: int) -> NgramModel:
        """The model of counted runs, the same as ``plain.continuations``.

        Runs of two bytes or more that are rarer than ``min_count`` are left out.
        """
        parents, above = np.zeros(1, np.uint64), np.array([longest.counts.sum()])
        every_key, every_value, runs = [], [], []
        for size in range(1, order + 1):
            keys, counts = _of_length(longest, size)
            if size == 1:
                keys, counts = _every_byte(keys, counts)
                above = np.array([counts.sum()])
            elif min_count > 1:
                enough = counts >= min_count
                keys, counts = keys[enough], counts[enough]
            parent = np.searchsorted(parents, _begin(keys, size - 1))
            every_key.append(keys)
            every_value.append(np.log(counts) - np.log(above)[parent])
            runs.append(len(keys))
            parents, above = keys, counts
        keys, values = np.concatenate(every_key), np.concatenate(every_value)
        return cls(order, _table(keys, values), tuple(runs))

    def log_probs(self) -> dict[bytes, float]:
        """Every run and its log-probability, as ``plain.continuations`` gives them."""
        values = self.table[:, 1].copy().view(np.float64)
        return {
            int(key).to_bytes(8)[: int(key) & 0xFF]: float(value)
            for key, value in zip(self.table[:, 0], values, strict=True)
            if key != NONE
        }


def _begin(keys: UInt64[np.ndarray, " runs"], size: int) -> UInt64[np.ndarray, " runs"]:
    """The first ``size`` bytes of each run, as a run; no bytes at all are the number 0."""
    kept = (1 << 64) - (1 << (64 - 8 * size)) if size else 0
    return keys & np.uint64(kept) | np.uint64(size)


def _of_length(
    longest: Runs, size: int
) -> tuple[UInt64[np.ndarray, " runs"], Int64[np.ndarray, " runs"]]:
    """The runs of one length, ascending, each with the count of all runs that begin with it."""
    enough = (longest.keys & np.uint64(0xFF)) >= size
    keys, counts = _begin(longest.keys[enough], size), longest.counts[enough]
    if len(keys) == 0:
        return keys, counts
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(counts, first)


def _every_byte(
    keys: UInt64[np.ndarray, " some"], counts: Int64[np.ndarray, " some"]
) -> tuple[UInt64[np.ndarray, " 256"], Int64[np.ndarray, " 256"]]:
    """All 256 runs of one byte; one that never stood counts as if it had once."""
    full = np.ones(256, dtype=np.int64)
    full[(keys >> np.uint64(56)).astype(np.int64)] = counts
    return np.arange(256, dtype=np.uint64) << np.uint64(56) | np.uint64(1), full


def _table(
    keys: UInt64[np.ndarray, " runs"], values: Float64[np.ndarray, " runs"]
) -> UInt64[np.ndarray, "slots 2"]:
    slots = 1 << (2 * len(keys)).bit_length()
    return _filled(np.zeros((slots, 2), dtype=np.uint64), keys, values.view(np.uint64))


@compiled
def _filled(
    table: UInt64[np.ndarray, "slots 2"],
    keys: UInt64[np.ndarray, " runs"],
    values: UInt64[np.ndarray, " runs"],
) -> UInt64[np.ndarray, "slots 2"]:
    column = table[:, 0]
    for run in range(len(keys)):
        place = _slot(column, keys[run])
        table[place, 0], table[place, 1] = keys[run], values[run]
    return table


@compiled
def _value(
    table: UInt64[np.ndarray, "slots 2"], values: Float64[np.ndarray, "slots 2"], key: np.uint64
) -> float:
    """The log-probability of a run; minus infinity if the model has none."""
    place = _slot(table[:, 0], key)
    return values[place, 1] if table[place, 0] == key else -np.inf


def cut(
    model: NgramModel,
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " segments"],
    ensure_unicode: bool,
    spell_rare: bool = True,
) -> Int64[np.ndarray, " pieces"]:
    """Where the pieces of a text end, the most likely by the model: ``plain.cut_by_ngrams``."""
    values = model.table.view(np.float64)
    return _cut(text, ends, model.order, model.table, values, ensure_unicode, spell_rare)


@compiled
def _spell(
    spelt: Bool[np.ndarray, " longest"],
    text: UInt8[np.ndarray, " bytes"],
    begin: int,
    end: int,
    order: int,
    table: UInt64[np.ndarray, "slots 2"],
    values: Float64[np.ndarray, "slots 2"],
) -> None:
    """Mark the bytes of the characters that the model can't go through: ``rare_characters``."""
    start = begin
    while start < end:
        after = start + 1
        rare = _inside(text[start])
        while after <= end:
            size = min(after - start, order)
            key = np.uint64(size)
            for byte in range(size):
                key |= np.uint64(text[after - size + byte]) << np.uint64(56 - 8 * byte)
            if _value(table, values, key) == -np.inf:
                rare = True
            if after == end or not _inside(text[after]):
                break
            after += 1
        spelt[start - begin : after - begin] = rare
        start = after


@compiled
def _inside(byte: np.uint8) -> bool:
    """Whether a byte of UTF-8 goes on with a character."""
    return byte & 0xC0 == 0x80


@compiled
def _cut(
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " segments"],
    order: int,
    table: UInt64[np.ndarray, "slots 2"],
    values: Float64[np.ndarray, "slots 2"],
    ensure_unicode: bool,
    spell_rare: bool,
) -> Int64[np.ndarray, " pieces"]:
    found, count, begin = np.empty(len(text), np.int64), 0, 0
    last = order - 1
    best, coming = np.empty(order), np.empty(order)
    origin, spelt = np.empty((1, order), np.int8), np.zeros(1, np.bool_)
    for end in ends:
        size = end - begin
        if size > len(origin):
            origin, spelt = np.empty((2 * size, order), np.int8), np.zeros(2 * size, np.bool_)
        if ensure_unicode and spell_rare:
            _spell(spelt, text, begin, end, order, table, values)
        best[:] = -np.inf
        best[0] = 0.0
        for i in range(size):
            # a run is in the model only if the shorter ones that end with it are
            coming[:] = -np.inf
            key = np.uint64(0)
            for j in range(min(order, i + 1)):
                byte = np.uint64(text[begin + i - j])
                key = key >> np.uint64(8) | byte << np.uint64(56)
                value = _value(table, values, key | np.uint64(j + 1))
                if value == -np.inf:
                    break
                coming[j] = value
            if ensure_unicode and _inside(text[begin + i]) and not spelt[i]:
                coming[0] = -np.inf
            if spelt[i] or (i > 0 and spelt[i - 1]):
                coming[1:] = -np.inf
            # sums are compared, not what they are made of: as in the package, what only differs
            # by rounding may then be equal, and of equals the first is taken
            start, any_state = best[0] + coming[0], 0
            for k in range(1, order):
                if best[k] + coming[0] > start:
                    start, any_state = best[k] + coming[0], k
            towards_last = max(last - 1, 0)
            at_last = best[towards_last] + coming[last]
            if i > 0 and best[last] + coming[last] > at_last:
                at_last, towards_last = best[last] + coming[last], last
            origin[i, last] = towards_last if at_last > -np.inf else 0
            origin[i, 0] = any_state
            for j in range(last - 1, 0, -1):
                best[j] = best[j - 1] + coming[j]
                origin[i, j] = j - 1 if best[j] > -np.inf else 0
            if last:
                best[last] = at_last
            best[0] = start
        state = 0
        for k in range(1, order):
            if best[k] > best[state]:
                state = k
        first = count
        for i in range(size - 1, -1, -1):
            if state == 0:
                found[count] = begin + i
                count += 1
            state = origin[i, state]
        if size:
            found[first:count] = found[first:count][::-1].copy()
            # starts become ends: the first start is the segment's begin
            for at in range(first, count - 1):
                found[at] = found[at + 1]
            found[count - 1] = end
        begin = end
    return found[:count].copy()
