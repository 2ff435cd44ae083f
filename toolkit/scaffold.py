"""``toolkit new PART/NAME``: the empty homes of a chapter, which fail the tests until filled.

Each home is made from a template in ``toolkit/templates/chapter`` and carries ``STUB_MARK``
wherever something is missing. The lab and the benchmark's results are not made here: they are
generated, by ``toolkit make-labs`` and ``toolkit bench``.
"""

from __future__ import annotations

from pathlib import Path
from string import Template

import yaml

from toolkit import course

STUB_MARK = "STILL TO BE WRITTEN"
"""What a home says wherever its author has yet to write something."""

_TEMPLATES = Path(__file__).resolve().parent / "templates" / "chapter"


def new_chapter(chapter: str, title: str) -> list[Path]:
    """Make a chapter's empty homes and enter it at the end of its part in the table of contents.

    Args:
        chapter: PART/NAME, such as ``"data/shuffle"``.
        title: the page's title, such as ``"Shuffling"``.
    Returns:
        The files made or changed.
    Raises:
        CourseError: the name is no PART/NAME, the chapter exists, or one of its homes does.
    """
    homes = course.homes(chapter)
    if chapter in course.chapters():
        raise course.CourseError(f"there is already a chapter {chapter}: choose another name")
    part, name = chapter.split("/")
    files = {
        homes.library / "__init__.py": "library",
        homes.page: "page",
        homes.solution: "solution",
        homes.tests: "tests",
        homes.checks: "checks",
        homes.wrong: "wrong",
        homes.benchmark: "benchmark",
    }
    taken = [
        path for path in (*files, homes.library.with_suffix(".py"), homes.lab) if path.exists()
    ]
    if taken:
        found = ", ".join(str(path.relative_to(course.root())) for path in taken)
        raise course.CourseError(f"{chapter} has files already ({found}): move them away first")
    toc = course.root() / "book" / "_toc.yml"
    entered = add_to_toc(toc.read_text(encoding="utf-8"), chapter)

    words = {"chapter": chapter, "part": part, "name": name, "title": title, "module": homes.module}
    texts = {path: _template(template).substitute(words) for path, template in files.items()}
    package = course.root() / "toolkit" / part / "__init__.py"
    if not package.exists():
        texts[package] = f'"""{course.PARTS[part]}: the libraries of this part\'s chapters."""\n'
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    toc.write_text(entered, encoding="utf-8")
    course.chapters.cache_clear()
    return [*texts, toc]


def unfilled(chapter: str) -> list[Path]:
    """The files of a chapter that still say ``STUB_MARK``."""
    homes = course.homes(chapter)
    library = sorted(homes.library.rglob("*.py")) or [homes.library.with_suffix(".py")]
    rest = [homes.page, homes.solution, homes.tests, homes.checks, homes.wrong, homes.benchmark]
    files = [path for path in (*library, *rest) if path.exists()]
    return [path for path in files if STUB_MARK in path.read_text(encoding="utf-8")]


def add_to_toc(text: str, chapter: str) -> str:
    """Enter a chapter at the end of its part, all other lines (and comments) as they are.

    A part that has no chapter yet is added where the reading order wants it.
    """
    part = chapter.split("/")[0]
    lines = text.splitlines()
    entries = [i for i, line in enumerate(lines) if line.lstrip().startswith(f"- file: {part}/")]
    entry = f"      - file: {chapter}"
    if entries:
        lines.insert(entries[-1] + 1, entry)
    else:
        parts = list(course.PARTS.values())
        earlier = [f"  - caption: {title}" for title in parts[: list(course.PARTS).index(part)]]
        captions = [i for i, line in enumerate(lines) if line.startswith("  - caption: ")]
        after = [i for i in captions if lines[i] not in earlier]
        block = [f"  - caption: {course.PARTS[part]}", "    entries:", entry]
        position = after[0] if after else len(lines)
        lines[position:position] = block
    changed = "\n".join(lines) + "\n"
    _require_entered(text, changed, chapter)
    return changed


def _require_entered(before: str, after: str, chapter: str) -> None:
    try:
        if sorted([*_files(before), chapter]) == sorted(_files(after)):
            return
    except yaml.YAMLError:
        pass
    raise course.CourseError(
        f"book/_toc.yml is not laid out as expected: add `- file: {chapter}` to it by hand"
    )


def _files(toc: str) -> list[str]:
    parts = yaml.safe_load(toc)["subtrees"]
    return [entry["file"] for part in parts for entry in part["entries"]]


def _template(name: str) -> Template:
    return Template((_TEMPLATES / f"{name}.txt").read_text(encoding="utf-8"))
