"""Hash tables of kept documents, one for each key they have, to which documents are added.

A slot of a table holds the last row whose key falls into it, and each row names the one before
it: a row is added in one step, and a bucket is walked from its latest row to its first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt64

from toolkit.compiled import compiled

from .candidates import bits_set
from .exact import jaccard_if_near
from .hashing import mix

LAST = -1  # no row before this one
UNLINKED = -2  # an empty document, which is in no bucket


class Tables(NamedTuple):
    """Arrays with room for rows to come; a row is a kept document.

    Attributes:
        keys: of each row, one a table.
        previous: the row before it in the same slot, LAST, or UNLINKED.
        heads: the last row in each slot; the number of slots is a power of two.
        fingerprints: of each row; all the same where a shared key is enough.
    """

    keys: UInt64[np.ndarray, "room tables"]
    previous: Int32[np.ndarray, "room tables"]
    heads: Int32[np.ndarray, "tables slots"]
    fingerprints: UInt64[np.ndarray, " room"]


class KeptSets(NamedTuple):
    """The shingles of the rows, end to end, and where each row's end."""

    hashes: UInt64[np.ndarray, " shingles"]
    ends: Int64[np.ndarray, " rows"]


class Arrivals(NamedTuple):
    """Documents to be taken in: their sets, as in ``ShingleSets``, their keys and fingerprints."""

    hashes: UInt64[np.ndarray, " shingles"]
    offsets: Int64[np.ndarray, " documents+1"]
    keys: UInt64[np.ndarray, "documents tables"]
    fingerprints: UInt64[np.ndarray, " documents"]


def tables_of(
    keys: UInt64[np.ndarray, "rows tables"],
    fingerprints: UInt64[np.ndarray, " rows"],
    empty: Bool[np.ndarray, " rows"],
) -> Tables:
    """Tables that hold these rows and have room for no other."""
    previous = np.where(empty[:, None], UNLINKED, np.full(keys.shape, LAST)).astype(np.int32)
    return with_room(Tables(keys, previous, np.empty((0, 0), np.int32), fingerprints), len(keys), 1)


def with_room(tables: Tables, rows: int, more: int) -> Tables:
    """The same tables if ``more`` rows fit after the first ``rows``; else larger ones."""
    room = len(tables.keys)
    if rows + more <= room:
        return tables
    room = max(rows + more, 3 * room // 2)
    slots = 1 << (room - 1).bit_length()
    larger = Tables(
        keys=np.empty((room, tables.keys.shape[1]), dtype=np.uint64),
        previous=np.empty((room, tables.keys.shape[1]), dtype=np.int32),
        heads=np.full((tables.keys.shape[1], slots), LAST, dtype=np.int32),
        fingerprints=np.empty(room, dtype=np.uint64),
    )
    for old, new in ((tables.keys, larger.keys), (tables.previous, larger.previous)):
        new[:rows] = old[:rows]
    larger.fingerprints[:rows] = tables.fingerprints[:rows]
    _link_again(larger, rows)
    return larger


@compiled
def _link_again(tables: Tables, rows: int) -> None:
    for row in range(rows):
        if tables.previous[row, 0] != UNLINKED:
            link(tables, row)


@compiled
def link(tables: Tables, row: int) -> None:
    """Put a row, whose keys are there, into its buckets."""
    for table in range(tables.keys.shape[1]):
        slot = mix(tables.keys[row, table]) & np.uint64(tables.heads.shape[1] - 1)
        tables.previous[row, table] = tables.heads[table, slot]
        tables.heads[table, slot] = row


@compiled
def rows_near(
    tables: Tables, keys: UInt64[np.ndarray, " tables"], fingerprint: np.uint64, radius: int
) -> Int64[np.ndarray, " rows"]:
    """The rows that share a key and are within the radius, ascending, each once."""
    found = np.empty(64, dtype=np.int64)
    count = 0
    for table in range(len(keys)):
        row = tables.heads[table, mix(keys[table]) & np.uint64(tables.heads.shape[1] - 1)]
        while row != LAST:
            same = tables.keys[row, table] == keys[table]
            if same and bits_set(tables.fingerprints[row] ^ fingerprint) <= radius:
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                found[count] = row
                count += 1
            row = tables.previous[row, table]
    found = np.sort(found[:count])
    count = 0
    for i in range(len(found)):
        if i == 0 or found[i] != found[i - 1]:
            found[count] = found[i]
            count += 1
    return found[:count]


@compiled
def rows_repeated(
    tables: Tables, kept: KeptSets, arrivals: Arrivals, radius: int, threshold: float
) -> tuple[Int64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """All rows that the first document to arrive repeats, ascending, and how similar they are."""
    this = arrivals.hashes[: arrivals.offsets[1]]
    rows = rows_near(tables, arrivals.keys[0], arrivals.fingerprints[0], radius)
    similarity = np.empty(len(rows))
    for i, row in enumerate(rows):
        start = kept.ends[row - 1] if row else 0
        similarity[i] = jaccard_if_near(this, kept.hashes[start : kept.ends[row]], threshold)
    near = similarity > 0
    return rows[near], similarity[near]


@compiled
def place(
    tables: Tables, kept: KeptSets, arrivals: Arrivals, radius: int, threshold: float
) -> tuple[Int64[np.ndarray, " documents"], Float64[np.ndarray, " documents"]]:
    """Take documents in one by one: each repeats a row, or is kept and becomes the next row.

    Args:
        tables: with room for all that arrive.
        kept: the sets of the rows so far.
        arrivals: the documents.
        radius: bits in which the fingerprints of a candidate may differ.
        threshold: least Jaccard similarity of a near-duplicate.
    Returns:
        The first row that each repeats, or the row it became; and their similarity, or nan.
    """
    hashes, offsets, keys, fingerprints = arrivals
    before = row = len(kept.ends)
    row_of = np.empty(len(keys), dtype=np.int64)
    similarity = np.full(len(keys), np.nan)
    document_of = np.empty(len(keys), dtype=np.int64)  # of each row that is made here
    for document in range(len(keys)):
        this = hashes[offsets[document] : offsets[document + 1]]
        for near in rows_near(tables, keys[document], fingerprints[document], radius):
            if near < before:
                start = kept.ends[near - 1] if near else 0
                that = kept.hashes[start : kept.ends[near]]
            else:
                earlier = document_of[near - before]
                that = hashes[offsets[earlier] : offsets[earlier + 1]]
            jaccard = jaccard_if_near(this, that, threshold)
            if jaccard > 0:
                row_of[document], similarity[document] = near, jaccard
                break
        else:
            tables.keys[row] = keys[document]
            tables.fingerprints[row] = fingerprints[document]
            tables.previous[row] = UNLINKED
            if len(this):
                link(tables, row)
            row_of[document], document_of[row - before] = row, document
            row += 1
    return row_of, similarity
