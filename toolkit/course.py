"""The course on disk: its root, its list of chapters, and the homes of each.

``book/_toc.yml`` is the one list and order of chapters; everything else that needs the list
asks here. A chapter is a path ``PART/NAME`` such as ``data/dedup``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from keyword import iskeyword
from pathlib import Path

import yaml

PARTS = {
    "data": "Data",
    "models": "Models",
    "kernels": "Kernels",
    "training": "Training",
    "serving": "Serving",
    "knowledge": "Knowledge",
}
"""The parts in reading order, and the title of each."""


class CourseError(Exception):
    """A mistake the person at the keyboard can mend: one sentence, shown without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [str(self)]


@dataclass(frozen=True, slots=True)
class Homes:
    """Where a chapter lives, as paths below the course's root."""

    chapter: str
    library: Path
    page: Path
    solution: Path
    lab: Path
    tests: Path
    checks: Path
    wrong: Path
    benchmark: Path
    results: Path

    @property
    def module(self) -> str:
        """The library's import name, such as ``toolkit.data.dedup``."""
        return "toolkit." + self.chapter.replace("/", ".")

    def missing(self) -> list[Path]:
        """The homes that hold nothing yet; a library may be a package or a single module."""
        paths = [self.page, self.solution, self.lab, self.tests, self.checks, self.wrong]
        paths += [self.benchmark, self.results]
        if not self.library.with_suffix(".py").exists():
            paths.insert(0, self.library / "__init__.py")
        return [path for path in paths if not path.exists()]


@cache
def root() -> Path:
    """The folder that holds ``book``, ``labs`` and ``toolkit``.

    Raises:
        CourseError: the package was installed without the course around it.
    """
    folder = Path(__file__).resolve().parent.parent
    if not (folder / "book" / "_toc.yml").exists():
        raise CourseError(
            f"{folder} holds no book/_toc.yml: clone the course's repository, run `make lab` there"
        )
    return folder


@cache
def chapters() -> tuple[str, ...]:
    """Every chapter in reading order, as ``book/_toc.yml`` lists them."""
    toc = yaml.safe_load((root() / "book" / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry["file"] for part in toc.get("subtrees", []) for entry in part["entries"]]
    return tuple(file for file in files if file.split("/")[0] in PARTS)


def parse(chapter: str) -> str:
    """Refuse anything that is not written ``PART/NAME`` with a known part; return it unchanged.

    NAME becomes a module's name, so it can't be one of Python's own words.
    """
    part, _, name = chapter.partition("/")
    if part not in PARTS or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        parts = ", ".join(PARTS)
        raise CourseError(
            f"{chapter!r} is not PART/NAME with a part among {parts}, such as data/dedup"
        )
    if iskeyword(name):
        raise CourseError(
            f"{chapter!r} can't be imported, since {name!r} is a word of Python's own: "
            f"take another name, such as {part}/{name}_1"
        )
    return chapter


def homes(chapter: str) -> Homes:
    """The homes of a chapter, whether or not they exist yet."""
    part, name = parse(chapter).split("/")
    base = root()
    labs = base / "tests" / "labs" / part / name
    return Homes(
        chapter=chapter,
        library=base / "toolkit" / part / name,
        page=base / "book" / part / f"{name}.md",
        solution=base / "solutions" / part / f"{name}.md",
        lab=base / "labs" / part / f"{name}.ipynb",
        tests=base / "tests" / part / f"test_{name}.py",
        checks=labs / "checks.py",
        wrong=labs / "wrong.py",
        benchmark=base / "benchmarks" / part / f"{name}.py",
        results=base / "benchmarks" / "results" / part / f"{name}.json",
    )


def chapter(name: str) -> Homes:
    """The homes of a chapter of the table of contents.

    Raises:
        CourseError: there is no such chapter; the sentence lists those there are.
    """
    if parse(name) not in chapters():
        raise CourseError(f"there is no chapter {name!r}; there are: {', '.join(chapters())}")
    return homes(name)
