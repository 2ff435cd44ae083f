"""Notebooks: labs made from solutions, copied to a workspace, and run cell by cell.

A solution is a MyST notebook whose answers stand between ``# BEGIN SOLUTION`` and
``# END SOLUTION``; the lab has ``...`` in their place. A cell tagged ``q1`` holds the answer to
that question. The metadata of both says which lab this is, so a renamed copy is still known.

jupytext and nbformat are imported where they are used: they take seconds to load, and a learner's
``Lab`` needs neither.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import linecache
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from toolkit import course
from toolkit.classroom import progress

if TYPE_CHECKING:
    from nbformat import NotebookNode

_SOLUTION = re.compile(
    r"^(?P<indent>[ \t]*)# BEGIN SOLUTION\n(?P<body>.*?)^[ \t]*# END SOLUTION(?:\n|\Z)", re.M | re.S
)
_ASSIGNMENT = re.compile(r"[ \t]*(\w+ = )[^\n]*\n")
_MARKERS = re.compile(r"^[ \t]*# (?:BEGIN|END) SOLUTION(?:\n|\Z)", re.M)


def solution(chapter: str) -> NotebookNode:
    """A chapter's solution as a notebook."""
    import jupytext

    path = course.chapter(chapter).solution
    return jupytext.reads(path.read_text(encoding="utf-8"), fmt="md:myst")


def stub(source: str) -> str:
    """A cell as the learner gets it: ``...`` for each answer, ``x = ...`` for a lone ``x = 1``.

    Raises:
        CourseError: a marker has no partner.
    """
    cut = _SOLUTION.sub(_blank, source)
    if _MARKERS.search(cut):
        raise course.CourseError(f"BEGIN and END SOLUTION do not pair up in:\n{source}")
    return cut.rstrip("\n")


def _blank(answer: re.Match[str]) -> str:
    if _MARKERS.search(answer["body"]):
        return answer[0]  # two BEGINs: left for ``stub`` to refuse
    assignment = _ASSIGNMENT.fullmatch(answer["body"])
    return f"{answer['indent']}{assignment[1] if assignment else ''}...\n"


def solved(source: str) -> str:
    """A cell of the solution without the markers around its answers."""
    return _MARKERS.sub("", source).rstrip("\n")


def make_lab(chapter: str) -> str:
    """The learner's notebook, as the text of an ``.ipynb``: the same text every time.

    Raises:
        CourseError: the solution names another lab, or tags no question.
    """
    import nbformat

    source = solution(chapter)
    about = dict(source.metadata.get("toolkit", {}))
    if about.get("lab") != chapter:
        path = course.chapter(chapter).solution
        raise course.CourseError(f"{path} must say `lab: {chapter}` under `toolkit:` at its top")
    cells = []
    for index, cell in enumerate(source.cells):
        cell = copy.deepcopy(cell)
        cell.id = f"cell-{index:02d}"
        if cell.cell_type == "code":
            cell.source = stub(cell.source)
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    about["given"] = {
        question: _defined(cell.source)
        for cell in cells
        for question in _questions(cell)
        if cell.cell_type == "code"
    }
    if not about["given"]:
        raise course.CourseError(f"no cell of {chapter}'s solution is tagged with a question")
    text = json.dumps([[cell.cell_type, cell.source] for cell in cells], ensure_ascii=False)
    about["hash"] = hashlib.sha256(text.encode()).hexdigest()
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "jupytext": {"notebook_metadata_filter": "toolkit"},  # kept when saved as text
            "kernelspec": kernel,
            "toolkit": about,
        },
    )
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def make_labs(*, check: bool = False) -> list[str]:
    """Write every lab, or with ``check`` only look; the chapters whose lab was not up to date."""
    stale = []
    for chapter in course.chapters():
        path, text = course.homes(chapter).lab, make_lab(chapter)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(chapter)
        if not check:
            _write(path, text)
    return stale


@cache
def metadata(chapter: str) -> dict[str, Any]:
    """What a lab's notebook says of itself: lab, version, given names by question, hash."""
    return about(course.chapter(chapter).lab)


def library(chapter: str) -> ModuleType:
    """A chapter's own library, which ``Lab.given`` takes the answers from."""
    return importlib.import_module(course.chapter(chapter).module)


def about(notebook: Path) -> dict[str, Any]:
    """What a notebook's metadata says of the lab it is, whatever its file is called.

    Raises:
        CourseError: it is not a notebook, or not one of the course's labs.
    """
    try:
        if notebook.suffix == ".ipynb":
            metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
        else:
            import jupytext

            metadata = jupytext.read(notebook).metadata
        found = dict(metadata.get("toolkit", {}))
    except FileNotFoundError:
        raise course.CourseError(f"there is no file {notebook}") from None
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise course.CourseError(f"{notebook} can't be read as a notebook: {first}") from None
    lab, labs = found.get("lab"), ", ".join(course.chapters())
    if lab is None:
        raise course.CourseError(f"{notebook} is not a lab: labs are {labs}")
    if lab not in course.chapters():
        raise course.CourseError(f"{notebook} says it is lab {lab!r}; there are {labs}")
    return found


def outdated(notebook: Path) -> str | None:
    """A sentence, if a copy of a lab is of another version than the course's; else ``None``."""
    found = about(notebook)
    lab, version = found["lab"], found.get("version")
    now = metadata(lab)["version"]
    if version == now:
        return None
    return f"{notebook} is version {version} of {lab}, the course has version {now}"


def missing(chapter: str) -> str | None:
    """A sentence, if a package that a lab needs is not installed; else ``None``."""
    needed = metadata(chapter).get("needs")
    if needed is None or find_spec(needed) is not None:
        return None
    return (
        f"{chapter} needs {needed}, which is not installed here: on Linux `make lab` installs it, "
        "on macOS and Windows open the course in its devcontainer"
    )


def copy_to_workspace(chapter: str) -> Path:
    """Put a lab in the workspace, unless it is there already: work is never written over."""
    target = progress.workspace() / f"{chapter}.ipynb"
    if not target.exists():
        _write(target, course.chapter(chapter).lab.read_text(encoding="utf-8"))
    return target


def _silent(*_: Any, **__: Any) -> None:
    """Print no traceback: ``Shell.run`` returns the exception."""


class Shell:
    """An IPython shell of its own, so that magics and ``inspect.getsource`` work.

    Attributes:
        names: what its cells have defined.
    """

    def __init__(self) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        settings = Config()
        settings.HistoryManager.enabled = False
        self._shell = InteractiveShell(config=settings)
        vars(self._shell).update(showtraceback=_silent, showsyntaxerror=_silent)
        self.names: dict[str, Any] = self._shell.user_ns

    def run(self, source: str) -> BaseException | None:
        """Run a cell; what it raised."""
        result = self._shell.run_cell(source, store_history=True)
        error: BaseException | None = result.error_before_exec or result.error_in_exec
        return error


def run_cells(sources: Iterator[str] | list[str]) -> tuple[dict[str, Any], list[str]]:
    """Run cells in order in a fresh IPython shell; a cell that raises does not stop the next.

    Returns:
        The names they define, and for each cell that raised one line that says so.
    """
    from IPython.utils.capture import capture_output

    shell = Shell()
    failures = []
    for index, source in enumerate(sources, start=1):
        with capture_output():
            error = shell.run(source)
        if error is not None:
            failures.append(f"cell {index} raised {type(error).__name__}: {error}")
    return shell.names, failures


def define(source: str, names: dict[str, Any]) -> None:
    """Run a cell with no IPython around it, so that ``inspect.getsource`` finds its text."""
    file = f"<cell {hashlib.sha256(source.encode()).hexdigest()}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)


def question_cells(notebook: NotebookNode) -> list[str]:
    """The cells that a lab's checks need: those tagged ``setup`` or with a question."""
    return [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and ("setup" in _tags(cell) or _questions(cell))
    ]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _questions(cell: NotebookNode) -> list[str]:
    return [tag for tag in _tags(cell) if re.fullmatch(r"q\d+", tag)]


def _defined(source: str) -> list[str]:
    return re.findall(r"^(?:def|class) (\w+)", source, re.M)
