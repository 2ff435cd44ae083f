"""An index that documents are added to as they arrive, and that says at once what each repeats.

It follows the rule of ``deduplicate`` and comes to the same answer. Only kept documents are held:
one that arrives is compared with those of them that share a bucket with it, so a copy costs one
comparison, however many copies came before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Float64, Int64, UInt64

from .blocks import blocks, check_workers, in_parallel
from .columns import Column
from .hashing import ShingleSets, check_texts
from .radius import Radius
from .search import Method, Search, Sketches
from .shingling import Unit, check_text
from .tables import Arrivals, KeptSets, place, rows_repeated, tables_of, with_room

STATE = "index.json"
EXPECTED = 1_000_000
"""Documents that the tables of SimHash are laid out for: with more, or fewer, they are slower."""


@dataclass(frozen=True, slots=True)
class Match:
    """A kept document that one just added is a near-duplicate of.

    Attributes:
        document: its number.
        jaccard: their exact similarity.
    """

    document: int
    jaccard: float


class DedupIndex:
    """Near-duplicates of documents that arrive one after another.

    Documents are numbered from 0 in the order of their arrival. One is kept unless a kept one
    before it is at least ``threshold`` similar: of the same texts, ``deduplicate`` keeps the same.

    Sketches and hashes lie in files, which are mapped into memory: those of a folder for an index
    that was created in one, temporary ones otherwise. In memory proper are the tables, up to 40
    bytes a kept document and key: for MinHash at 0.8, with 17 keys, at most 0.7 GB a million.

    Args:
        threshold, method, radius, ngram, unit, seed: as in ``deduplicate``.
    Raises:
        TypeError: a number is of the wrong kind.
        ValueError: an argument outside its range; a radius without "simhash", or none with it.

    Attributes:
        settings: those arguments, by name.
        note: what the last ``flush`` left beside the documents.
    """

    settings: dict[str, Any]
    note: dict[str, Any]

    def __init__(
        self,
        threshold: float = 0.8,
        *,
        method: Method = "minhash",
        radius: int | None = None,
        ngram: int = 5,
        unit: Unit = "word",
        seed: int = 1,
    ) -> None:
        search = {"threshold": threshold, "method": method, "radius": radius}
        self._start(search | {"ngram": ngram, "unit": unit, "seed": seed})

    @classmethod
    def create(cls, folder: Path | str, **settings: Any) -> DedupIndex:
        """An empty index in the files of a new folder; ``settings`` as for ``DedupIndex``.

        Raises:
            TypeError, ValueError: as for ``DedupIndex``, or the folder holds something already.
        """
        settings = cls(**settings).settings  # refused before anything is made
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty: choose a new folder, or open the index in it")
        index = cls.__new__(cls)
        index._start(settings, folder, _locked(folder))
        index.flush()
        return index

    @classmethod
    def open(cls, folder: Path | str) -> DedupIndex:
        """The index of a folder as it was at its last ``flush``, for one process at a time.

        Raises:
            ValueError: the folder holds no index, a damaged one, or one that another process has
                open.
        """
        folder = Path(folder)
        if not (folder / STATE).is_file():
            raise ValueError(f"{folder} holds no index: DedupIndex.create makes one")
        lock = _locked(folder)
        try:
            state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        except ValueError:
            lock.release()
            raise ValueError(f"{folder / STATE} is damaged: delete {folder}, begin anew") from None
        index = cls.__new__(cls)
        index._start(state["settings"], folder, lock, state["lengths"], state["note"])
        return index

    def _start(
        self,
        settings: dict[str, Any],
        folder: Path | None = None,
        lock: FileLock | None = None,
        lengths: Mapping[str, int] = MappingProxyType({}),
        note: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._search = Search.by(**settings)
        self.settings, self.note = settings, dict(note)
        self._folder, self._lock = folder, lock
        sketch = self._search.sketch([])[1]
        dtypes: dict[str, Any] = {
            "duplicate_of": "i8",  # of every document: the kept one it repeats, or itself
            "similarity": "f8",
            "kept": "i8",  # of every kept document: its number
            "sketches": (sketch.dtype, sketch.shape[1:]),
            "ends": "i8",  # where its hashes end, which begin where those of the last one end
            "hashes": "u8",
        }
        self._columns = {
            name: Column(np.dtype(dtype), folder and folder / name, lengths.get(name, 0))
            for name, dtype in dtypes.items()
        }
        keys = self._keys(self._columns["sketches"].rows)
        self._tables = tables_of(*keys, empty=self._sizes() == 0)

    @property
    def documents(self) -> int:
        """How many documents were added."""
        return len(self._columns["duplicate_of"])

    @property
    def kept(self) -> Int64[np.ndarray, " kept"]:
        """The numbers of those kept, ascending."""
        return self._columns["kept"].rows

    @property
    def duplicate_of(self) -> Int64[np.ndarray, " documents"]:
        """For each document the first kept one that it is near to; itself if it is kept."""
        return self._columns["duplicate_of"].rows

    @property
    def empty(self) -> Int64[np.ndarray, " empty"]:
        """The numbers of those without a word, all kept."""
        return self.kept[self._sizes() == 0]

    @property
    def similarity(self) -> Float64[np.ndarray, " documents"]:
        """The Jaccard similarity of each document and that one; nan if it is kept."""
        return self._columns["similarity"].rows

    def add(self, text: str) -> list[Match]:
        """Take one document in.

        Args:
            text: any string.
        Returns:
            The kept documents at least ``threshold`` similar to it, the earliest first. If there
            is none it is kept itself; a document without a word always is.
        Raises:
            TypeError: ``text`` is no string.
        """
        check_text(text)
        sketched = self._search.sketch([text])
        rows, similarity = rows_repeated(
            self._tables, self._kept_sets(), self._arrivals(*sketched), *self._bounds
        )
        matches = zip(self.kept[rows].tolist(), similarity.tolist(), strict=True)
        self._take(*sketched)
        return [Match(*match) for match in matches]

    def add_all(
        self, texts: Sequence[str], workers: int | None = None
    ) -> Int64[np.ndarray, " documents"]:
        """Take documents in, in order.

        Args:
            texts: the documents.
            workers: threads, as many as there are cores if left out; they change no answer.
        Returns:
            For each the first kept document that it is near to, or its own number if it is kept.
        Raises:
            TypeError: ``texts`` is no list of strings, or ``workers`` no whole number.
            ValueError: ``workers`` is below 1.
        """
        check_texts(texts)
        workers = check_workers(workers)
        before = self.documents
        for sets, sketches in in_parallel(self._search.sketch, blocks(texts), workers):
            self._take(sets, sketches)
        return self.duplicate_of[before:]

    def flush(self, note: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Return when the folder holds all that was added so far; of a temporary index, nothing.

        Args:
            note: kept beside the documents, as JSON; what a reopened index says it was.
        """
        if self._folder is None:
            return
        for column in self._columns.values():
            column.sync()
        self.note = dict(note)
        lengths = {name: len(column) for name, column in self._columns.items()}
        state = {"settings": self.settings, "lengths": lengths, "note": self.note}
        new = self._folder / f"{STATE}.new"
        with new.open("w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._folder / STATE)

    def save(self, folder: Path | str) -> None:
        """Write this index to a new folder, where ``DedupIndex.open`` finds it.

        Raises:
            ValueError: the folder holds something already.
        """
        saved = DedupIndex.create(folder, **self.settings)
        for name, column in self._columns.items():
            saved._columns[name].append(column.rows)
        saved.flush(self.note)
        saved.close()

    def close(self) -> None:
        """Give the files back; what was added after the last ``flush`` is lost."""
        for column in self._columns.values():
            column.close()
        if self._lock:
            self._lock.release()

    def _sizes(self) -> Int64[np.ndarray, " kept"]:
        return np.diff(self._columns["ends"].rows, prepend=0)

    def _keys(
        self, sketches: Sketches
    ) -> tuple[UInt64[np.ndarray, "rows tables"], UInt64[np.ndarray, " rows"]]:
        """The key of each sketch in every table; and its fingerprint, which bands don't ask for."""
        keys = self._search.keys(sketches, EXPECTED)
        by_radius = isinstance(self._search.rule, Radius)
        return keys, sketches if by_radius else np.zeros(len(keys), np.uint64)

    @property
    def _bounds(self) -> tuple[int, float]:
        rule = self._search.rule
        return rule.k if isinstance(rule, Radius) else 0, self._search.threshold

    def _arrivals(self, sets: ShingleSets, sketches: Sketches) -> Arrivals:
        return Arrivals(sets.hashes, sets.offsets, *self._keys(sketches))

    def _kept_sets(self) -> KeptSets:
        return KeptSets(self._columns["hashes"].rows, self._columns["ends"].rows)

    def _take(self, sets: ShingleSets, sketches: Sketches) -> None:
        """Keep, of some documents and in order, those that repeat none that is kept."""
        columns, first = self._columns, self.documents
        self._tables = with_room(self._tables, len(self.kept), len(sets))
        row_of, similarity = place(
            self._tables, self._kept_sets(), self._arrivals(sets, sketches), *self._bounds
        )
        stays = np.isnan(similarity)
        columns["kept"].append(first + np.flatnonzero(stays))
        columns["duplicate_of"].append(self.kept[row_of])
        columns["similarity"].append(similarity)
        columns["sketches"].append(sketches[stays])
        columns["ends"].append(len(columns["hashes"]) + np.cumsum(sets.sizes[stays]))
        columns["hashes"].append(sets.hashes[np.repeat(stays, sets.sizes)])


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"{folder} is open in another process: close it there first") from None
    return lock
