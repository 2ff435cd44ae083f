"""Notebooks to hand in, and a sandbox to run them in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import nbformat
import pytest

from toolkit.classroom import notebooks
from toolkit.classroom.grading import probe
from toolkit.classroom.grading.confine import Confinement, libraries
from toolkit.classroom.grading.limits import Limits
from toolkit.classroom.grading.sandbox import Sandbox

LAB = "data/dedup"


@pytest.fixture(scope="session")
def confinements() -> Iterator[tuple[Confinement, Confinement]]:
    """For notebooks, and for what is given to them."""
    with libraries(LAB) as (library, given):
        yield probe.choose(library, given, Limits())


@pytest.fixture
def start(confinements) -> Iterator[Callable[..., Sandbox]]:
    """Starts a sandbox with limits of the test's own, and ends it."""
    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(Sandbox(confinements[0], 0, Limits(**limits)))


def _made(sources: dict[str, str] | None = None, **about: object) -> str:
    notebook = nbformat.reads(notebooks.make_lab(LAB), as_version=4)
    for cell, solved in zip(notebook.cells, notebooks.solution(LAB).cells, strict=True):
        for tag in cell.metadata.get("tags", []):
            if sources is None or tag == "setup":
                cell.source = notebooks.solved(solved.source)
            elif tag in sources:
                cell.source = sources[tag]
    written = json.loads(nbformat.writes(notebook))
    written["metadata"]["toolkit"].update(about)
    return json.dumps(written)


@pytest.fixture(scope="session")
def made() -> Callable[..., str]:
    """``made(sources, **about)``: the lab's notebook as the text of an ``.ipynb``.

    ``sources`` has a question's own answer by its name; without it, the solution's answers stand
    throughout. ``about`` changes what the notebook says of itself.
    """
    return _made


@pytest.fixture
def hand_in(tmp_path: Path) -> Callable[..., Path]:
    """``hand_in(ada=text)`` writes ``ada.ipynb`` into a folder of submissions, and gives that."""

    def write(**texts: str) -> Path:
        folder = tmp_path / "submissions"
        folder.mkdir(exist_ok=True)
        for student, text in texts.items():
            (folder / f"{student}.ipynb").write_text(text, encoding="utf-8")
        return folder

    return write
