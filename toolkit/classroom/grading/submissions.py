"""What was handed in: whose it is, and its cells, read with suspicion."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import course

MAX_NOTEBOOK_BYTES = 50 * 2**20
SUFFIXES = (".ipynb", ".md")


@dataclass(frozen=True, slots=True)
class Submission:
    """The files of one student.

    Attributes:
        student: the name of their folder, or of their file without its suffix.
        files: their notebooks, as paths; more than one only where they handed in more.
    """

    student: str
    files: tuple[Path, ...]

    def fingerprint(self) -> str:
        """A hash of names and bytes, so that a changed submission is graded again."""
        digest = hashlib.sha256()
        for path in self.files:
            try:
                content = _read(path)
            except Unreadable as error:
                content = str(error).encode()
            digest.update(f"{path.name}\0{len(content)}\0".encode(errors="surrogateescape"))
            digest.update(content)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell: its source, and whether a question needs it or it only explores."""

    source: str
    explores: bool


@dataclass(frozen=True, slots=True)
class Notebook:
    """A lab as handed in.

    Attributes:
        file: its name.
        version: of the lab it was made from; None where it does not say.
        cells: its code cells.
    """

    file: str
    version: int | None
    cells: tuple[Cell, ...]


class Unreadable(Exception):  # noqa: N818 - what the file is
    """Why a file can't be graded, as the status of its student."""


def find(folder: Path) -> list[Submission]:
    """The submissions in a folder: a file or a folder a student, sorted by name.

    Hidden files are left out, and so is Markdown that is no notebook, such as a README.

    Raises:
        CourseError: it is no folder, or there is nothing in it.
    """
    if not folder.is_dir():
        raise course.CourseError(f"{folder} is not a folder: give the one that holds the notebooks")
    found: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            found.setdefault(entry.name, []).extend(_notebooks(entry))
        elif _is_notebook(entry):
            found.setdefault(entry.stem, []).append(entry)
    if not found:
        raise course.CourseError(
            f"there is no notebook in {folder}: it needs a .ipynb or .md, or a folder, a student"
        )
    return [Submission(student, tuple(files)) for student, files in sorted(found.items())]


def read(submission: Submission, chapter: str, own: set[str]) -> Notebook:
    """The one notebook of a student that is this lab, whatever its file is called.

    Args:
        submission: whose.
        chapter: the lab.
        own: the lab's cells that no question needs, which are the course's and not the student's.
    Raises:
        Unreadable: there is none, more than one, or it is no notebook.
    """
    if not submission.files:
        raise Unreadable("no notebook")
    labs, reasons = [], []
    for path in submission.files:
        try:
            labs.append(_parse(path, chapter, own))
        except Unreadable as error:
            reasons.append(str(error))
    if len(labs) > 1:
        names = ", ".join(notebook.file for notebook in labs)
        raise Unreadable(f"several notebooks of {chapter}: {names}; leave one")
    if not labs:
        raise Unreadable("; ".join(reasons[:3]))
    return labs[0]


def _notebooks(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(place, name) for name in sorted(files) if not name.startswith(".")]
        found += [path for path in paths if _is_notebook(path)]
    return found


def _is_notebook(path: Path) -> bool:
    if path.suffix.lower() not in SUFFIXES:
        return False
    if path.suffix.lower() == ".ipynb":
        return True
    try:
        return _read(path)[:4].strip() == b"---"
    except Unreadable:
        return True


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise Unreadable(f"{path.name} is a link, not a notebook") from None
        raise Unreadable(f"{path.name} can't be read: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable(f"{path.name} is no plain file")
        if about.st_size > MAX_NOTEBOOK_BYTES:
            size, most = about.st_size / 2**20, MAX_NOTEBOOK_BYTES // 2**20
            raise Unreadable(
                f"{path.name} has {size:,.0f} MiB, more than {most}: clear its outputs"
            )
        return file.read(MAX_NOTEBOOK_BYTES + 1)


def _parse(path: Path, chapter: str, own: set[str]) -> Notebook:
    content = _read(path)
    try:
        text = content.decode("utf-8")
        loaded = json.loads(text) if path.suffix.lower() == ".ipynb" else _from_myst(text)
        about, cells = dict(loaded["metadata"]).get("toolkit"), _code_cells(loaded)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise Unreadable(
            f"{path.name} is no notebook: {type(error).__name__}: {first}".rstrip(": ")
        ) from None
    about = about if isinstance(about, dict) else {}
    lab = about.get("lab")
    if lab != chapter:
        is_what = f"is lab {lab[:60]}" if isinstance(lab, str) else "is no lab of this course"
        raise Unreadable(f"{path.name} {is_what}, not {chapter}")
    version = about.get("version")
    kept = len(cells)
    while kept and cells[kept - 1].explores and cells[kept - 1].source in own:
        kept -= 1  # what the course itself shows at the end
    return Notebook(path.name, version if type(version) is int else None, tuple(cells[:kept]))


def _from_myst(text: str) -> Any:
    import jupytext

    return jupytext.reads(text, fmt="md:myst")


def _code_cells(notebook: Any) -> list[Cell]:
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source, tags = cell["source"], cell.get("metadata", {}).get("tags", [])
            text = source if isinstance(source, str) else "".join(source)
            explores = not any(tag == "setup" or str(tag).startswith("q") for tag in tags)
            cells.append(Cell(text, explores))
    return cells
