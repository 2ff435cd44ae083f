"""The files that a run reads, twice over, and what is refused before it begins."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from .lines import BUFFER, DAMAGED, BadLine, decompressed, is_json_lines, text_of


class InputError(ValueError):
    """What the user gave can't be used: one sentence that says why, and the way out."""


class Position(NamedTuple):
    """After this line of this file, and so many bytes of all files as they lie on disk."""

    file: int = 0
    line: int = 0
    bytes_read: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """The line alone."""
        return self.file, self.line


START = Position()


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files that are read one after the other.

    Attributes:
        paths: of files as in ``lines``, all of JSON Lines or all of plain lines.
        field: of JSON Lines, the one that holds the text.
        skip_bad: pass over bad lines; else the first is an error.
    """

    paths: Sequence[Path]
    field: str = "text"
    skip_bad: bool = False

    def check(self, outputs: Sequence[Path]) -> None:
        """Refuse files that can't be read, and outputs that can't be made or are there already.

        Raises:
            InputError: names the file and what to do.
            OSError: the system doesn't let one be read.
        """
        if not self.paths:
            raise InputError("there is nothing to read: name a file")
        files: dict[tuple[int, int], Path] = {}
        for path in self.paths:
            if not path.exists():
                raise InputError(f"there is no file {path}")
            if path.is_dir():
                raise InputError(f"{path} is a folder: name the files in it")
            if not path.is_file():
                raise InputError(f"{path} can't be read twice, as it must: copy it into a file")
            if is_json_lines(path) != is_json_lines(self.paths[0]):
                raise InputError(
                    f"{self.paths[0]} and {path} are not of one kind by their names, JSON Lines "
                    f"and plain lines: run them apart"
                )
            if _inode(path) in files:
                raise InputError(f"{files[_inode(path)]} and {path} are one file: name it once")
            path.open("rb").close()
            files[_inode(path)] = path
        for path in outputs:
            if path.is_dir():
                raise InputError(f"{path} is a folder: name a new file in it")
            if path.exists():
                if _inode(path) in files:
                    raise InputError(f"{path} is read: name another file to write")
                raise InputError(f"{path} is there already: delete it, or name another file")
            if not path.parent.is_dir():
                raise InputError(f"there is no folder {path.parent}: make it first")
        if len({path.resolve() for path in outputs}) < len(outputs):
            raise InputError(
                f"{outputs[0]} can't be both the output and the report: name two files"
            )

    def lines(self, start: Position = START) -> Iterator[tuple[Position, bytes]]:
        """Every line after a position: the position after it, and its bytes with their end.

        Raises:
            InputError: a compressed file is damaged or cut off.
        """
        before = sum(path.stat().st_size for path in self.paths[: start.file])
        for number in range(start.file, len(self.paths)):
            path = self.paths[number]
            line = skipped = start.line if number == start.file else 0
            with path.open("rb", BUFFER) as file:
                numbered = enumerate(decompressed(file, path.name), 1)
                try:
                    for line, content in islice(numbered, skipped, None):
                        yield Position(number, line, before + file.tell()), content
                except DAMAGED as error:
                    raise InputError(
                        f"{path} is damaged or cut off after its line {line:,} ({error}): "
                        f"fetch it or make it again"
                    ) from error
                before += file.tell()

    def text(self, at: Position, line: bytes) -> str | None:
        """The document in a line, if it holds one.

        Raises:
            BadLine: the line is bad, and bad lines are passed over.
            InputError: the line is bad, and they are not.
        """
        try:
            return text_of(line, self.field if is_json_lines(self.paths[0]) else None)
        except BadLine as bad:
            if self.skip_bad:
                raise
            raise InputError(
                f"{self.in_words(at)} {bad}: mend it, or leave such lines out with --skip-bad"
            ) from None

    def in_words(self, at: Position) -> str:
        """Such as "line 12 of a.jsonl"."""
        return f"line {at.line:,} of {self.paths[at.file]}"

    def named(self, place: tuple[int, int]) -> dict[str, Any]:
        """The file and line of a place, for the report."""
        file, line = place
        return {"file": os.fsencode(self.paths[file]).decode(errors="replace"), "line": line}

    @property
    def size(self) -> int:
        """Bytes of all files, as they lie on disk."""
        return sum(path.stat().st_size for path in self.paths)

    def identities(self) -> list[list[str | int]]:
        """What tells whether the files are still those they were: path, size and time of each."""
        found = [(path.resolve(), path.stat()) for path in self.paths]
        return [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in found]


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
