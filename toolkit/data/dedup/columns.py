"""Columns of numbers that grow at their end and live in files, read as memory-mapped arrays."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np


class Column:
    """Rows of one dtype in a file; in one without a name, gone with the process, if none is given.

    Rows are written with ``write``, which says when the disk is full, and read through a mapping,
    so that what they take is the system's page cache and none of the process's own memory.

    Args:
        dtype: of a row; may have a shape, such as ("u4", (128,)).
        path: of the file; made if it is not there.
        length: rows that count; what the file has beyond them, from a run that broke off, is cut.
    """

    def __init__(self, dtype: np.dtype, path: Path | None = None, length: int = 0) -> None:
        self._dtype = dtype
        self._length = length
        self._file = path.open("a+b") if path else tempfile.TemporaryFile()  # noqa: SIM115
        self._file.truncate(length * dtype.itemsize)
        self._rows = self._mapped()

    def __len__(self) -> int:
        return self._length

    def append(self, rows: np.ndarray) -> None:
        """Write rows after the last."""
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype.base).data)
        self._length += len(rows)

    @property
    def rows(self) -> np.ndarray:
        """All rows, not to be written to."""
        if len(self._rows) < self._length:
            self._file.flush()
            self._rows = self._mapped()
        return self._rows

    def sync(self) -> None:
        """Return when the disk has every row."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Give the file back; rows that were not synced may be lost."""
        self._rows = self._rows[:0].copy()
        with suppress(OSError):  # a full disk, of which ``append`` or ``sync`` has told
            self._file.close()

    def _mapped(self) -> np.ndarray:
        if self._length == 0:  # which can't be mapped
            return np.empty(0, dtype=self._dtype)
        flat = np.memmap(self._file, dtype=self._dtype.base, mode="r")
        return np.asarray(flat).reshape(-1, *self._dtype.shape)[: self._length]
