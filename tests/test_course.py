"""The table of contents and the homes of its chapters; the arrows between rooms."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import pytest

from toolkit import course


@pytest.mark.parametrize("chapter", course.chapters())
def test_a_chapter_has_every_home(chapter):
    missing = [str(path.relative_to(course.root())) for path in course.homes(chapter).missing()]
    assert not missing, f"{chapter} lacks {', '.join(missing)}"


@pytest.mark.parametrize("chapter", course.chapters())
def test_no_home_is_still_a_stub(chapter):
    from toolkit.scaffold import unfilled

    stubs = [str(path.relative_to(course.root())) for path in unfilled(chapter)]
    assert not stubs, f"{chapter} has still to be written: {', '.join(stubs)}"


def homes_on_disk() -> dict[str, str]:
    """Each chapter that some file claims to belong to, and that file.

    A chapter's tests may be spread over ``test_NAME.py`` and ``test_NAME_MORE.py``.
    """
    root = course.root()
    patterns = {
        "book": r"book/(\w+/\w+)\.md",
        "solutions": r"solutions/(\w+/\w+)\.md",
        "labs": r"labs/(\w+/\w+)\.ipynb",
        "benchmarks": r"benchmarks/(\w+/\w+)\.py",
        "tests/labs": r"tests/labs/(\w+/\w+)/\w+\.py",
        "tests": r"tests/(\w+/)test_(\w+)\.py",
        "toolkit": r"toolkit/(\w+/\w+)(?:/__init__)?\.py",
    }
    found = {}
    for folder, pattern in patterns.items():
        for path in (root / folder).rglob("*.*"):
            match = re.fullmatch(pattern, path.relative_to(root).as_posix())
            name = "".join(match.groups()) if match else ""
            if folder == "tests":
                name = next((c for c in course.chapters() if name.startswith(f"{c}_")), name)
            if name.split("/")[0] in course.PARTS and not name.endswith("__init__"):
                found[name] = str(path.relative_to(root))
    return found


SHARED = {
    f"kernels/{name}"
    for name in (
        "compiling",
        "engine",
        "from_source",
        "interpreted",
        "roofline",
        "timeline",
        "trace",
    )
}
"""What all chapters of a part stand on."""


def test_no_home_is_orphaned():
    homes = {name: path for name, path in homes_on_disk().items() if name not in SHARED}
    orphans = {path for name, path in homes.items() if name not in course.chapters()}
    assert not orphans, f"not in book/_toc.yml: {', '.join(sorted(orphans))}"
    assert set(homes) == set(course.chapters())


def test_parts_come_in_reading_order():
    order = [list(course.PARTS).index(chapter.split("/")[0]) for chapter in course.chapters()]
    assert order == sorted(order)


def test_a_chapter_imports_only_earlier_ones():
    graph = grimp.build_graph("toolkit")
    modules = [course.homes(chapter).module for chapter in course.chapters()]
    for position, module in enumerate(modules):
        for later in modules[position + 1 :]:
            chain = graph.find_shortest_chain(module, later, as_packages=True)
            assert chain is None, f"{module} reaches {later}, a later chapter: {' -> '.join(chain)}"


@pytest.mark.parametrize("name", ["dedup", "data/", "data/De dup", "../etc/passwd", "toys/dedup"])
def test_a_name_that_is_no_chapters_is_refused(name):
    with pytest.raises(course.CourseError, match="is not PART/NAME"):
        course.homes(name)


@pytest.mark.parametrize("name", ["serving/class", "data/import", "models/async"])
def test_a_word_of_pythons_own_is_no_chapters_name(name):
    with pytest.raises(course.CourseError, match="a word of Python's own: take another name"):
        course.parse(name)


def test_a_package_without_its_course_says_so(monkeypatch, tmp_path):
    course.root.cache_clear()
    monkeypatch.setattr(course, "__file__", str(tmp_path / "toolkit" / "course.py"))
    with pytest.raises(course.CourseError, match="clone the course's repository"):
        course.root()
    monkeypatch.undo()
    course.root.cache_clear()
    assert (course.root() / "book" / "_toc.yml").exists()


def test_homes_are_paths_below_the_root():
    homes = course.homes("data/dedup")
    assert homes.module == "toolkit.data.dedup"
    assert homes.checks == Path(course.root(), "tests/labs/data/dedup/checks.py")
