"""``OUT.work``: what a run over files knows so far, from which another run can go on.

    OUT.work/
        index/      the DedupIndex, whose note says how far the inputs were read
        places      file and line of every document
        kept        what becomes OUT, and
        report      the report, as they are written

It is deleted once OUT is there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from .columns import Column
from .index import DedupIndex
from .inputs import START, InputError, Inputs, Position

PARTS = {"index", "places", "kept", "report"}
PLACE = np.dtype(("i8", (2,)))
SAVE_EVERY = 10.0  # seconds; as many for each second that saving takes, where it takes longer


class Work:
    """The work folder of a run: a new one, or as an earlier run left it.

    Attributes:
        folder: where it is.
        inputs: what is read.
        index: the documents added so far.
        position: how far the inputs were read for them.
        saved: how many of them a later run need not add again.
    """

    def __init__(self, folder: Path, inputs: Inputs, **settings: Any) -> None:
        """Make the folder, or open it as it was last saved.

        Raises:
            InputError: the index refuses a setting, or the folder is in use, or it was begun with
                other settings or inputs.
        """
        self.folder = folder
        self.inputs = inputs
        self._asked = {"field": inputs.field, "inputs": inputs.identities()}
        try:
            self.index = self._index(settings)
        except (ValueError, TypeError) as error:
            raise InputError(str(error)) from error
        self.position = self._saved_at = Position(*self.index.note.get("read", START))
        self.saved = self.index.documents
        self._places = Column(PLACE, folder / "places", self.saved)
        self._due = time.monotonic() + SAVE_EVERY

    def _index(self, settings: dict[str, Any]) -> DedupIndex:
        folder = self.folder / "index"
        refusing = DedupIndex(**settings)  # what can't be, before anything is made
        wanted = refusing.settings | self._asked
        refusing.close()
        if not (folder / "index.json").exists():
            if self.folder.exists() and not {path.name for path in self.folder.iterdir()} <= PARTS:
                raise InputError(f"{self.folder} holds other files: move it out of the way")
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed as it began
            return DedupIndex.create(folder, **settings)
        index = DedupIndex.open(folder)
        begun = index.settings | index.note.get("asked", self._asked)
        for name in wanted:
            if wanted[name] != begun[name]:
                index.close()
                how = "with other inputs, or one of them has changed since"
                if name != "inputs":
                    how = f"with {name} {begun[name]!r}, not {wanted[name]!r}"
                raise InputError(f"{self.folder} was begun {how}: delete it to begin anew")
        return index

    def add(
        self,
        texts: Sequence[str],
        places: Sequence[tuple[int, int]],
        position: Position,
        workers: int | None,
    ) -> None:
        """Add documents, whose inputs are then read up to a position; save now and then."""
        self.index.add_all(texts, workers)
        self._places.append(np.array(places, dtype=np.int64).reshape(-1, 2))
        self.position = position
        if time.monotonic() >= self._due:
            self.save()

    def save(self) -> None:
        """Return when the disk has all that was added."""
        started = time.monotonic()
        self._places.sync()
        self.index.flush({"asked": self._asked, "read": list(self.position)})
        self.saved, self._saved_at = self.index.documents, self.position
        ended = time.monotonic()
        self._due = ended + SAVE_EVERY * max(1.0, ended - started)

    def in_words(self) -> str:
        """Up to where all is saved, such as "1,200 documents, line 56 of b.jsonl"."""
        return f"{self.saved:,} documents, {self.inputs.in_words(self._saved_at)}"

    @property
    def places(self) -> Int64[np.ndarray, "documents 2"]:
        """File and line of every document."""
        return self._places.rows

    def check_inputs(self) -> None:
        """Refuse inputs that are not as they were when the work began."""
        if self.inputs.identities() != self._asked["inputs"]:
            raise InputError(
                f"an input has changed since it was read: delete {self.folder} and run again"
            )

    def close(self, *, delete: bool) -> None:
        """Give the files back, and delete them if nobody needs them any more."""
        for files in (self.index, self._places):
            with suppress(OSError):  # of a full disk, which has been told of
                files.close()
        if delete:
            shutil.rmtree(self.folder)
