"""`toolkit new`: a new chapter's homes, made in a copy of the course."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from toolkit import course
from toolkit.scaffold import STUB_MARK, add_to_toc, unfilled

ROOT = course.root()
TOC = """\
# The order.
root: index
subtrees:
  - caption: Data
    entries:
      - file: data/dedup  # the first
  - caption: Serving
    entries:
      - file: serving/batching
  - caption: Reference
    entries:
      - file: reference
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The course's own code and list of chapters, and one new chapter in a new part."""
    root = tmp_path_factory.mktemp("course")
    code = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "toolkit", root / "toolkit", ignore=code)
    for name in ("pyproject.toml", "tests/conftest.py", "tests/test_course.py", "book/_toc.yml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    made = run(root, "-c", MAIN, "new", "serving/paged", "--title", "Paged attention")
    assert made.returncode == 0, made.stderr
    return root


MAIN = "from toolkit.cli import main; main()"


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True
    )


def test_makes_every_home_that_is_written_by_hand(copy: Path) -> None:
    for name in (
        "toolkit/serving/__init__.py",
        "toolkit/serving/paged/__init__.py",
        "book/serving/paged.md",
        "solutions/serving/paged.md",
        "tests/serving/test_paged.py",
        "tests/labs/serving/paged/checks.py",
        "tests/labs/serving/paged/wrong.py",
        "benchmarks/serving/paged.py",
    ):
        text = (copy / name).read_text()
        assert "$" not in text, f"{name} has a word left to fill in"
        assert name == "toolkit/serving/__init__.py" or STUB_MARK in text, name
        if name.endswith(".py"):
            ast.parse(text)
        else:
            assert "\n# " in text
            assert "Paged attention" in text
            assert yaml.safe_load(text.split("---\n")[1])["kernelspec"]["name"] == "python3"


def test_the_tests_fail_and_name_each_home(copy: Path) -> None:
    tests = ["tests/serving", "tests/test_course.py::test_no_home_is_still_a_stub"]
    tests.append("tests/test_course.py::test_a_chapter_has_every_home")
    done = run(copy, "-m", "pytest", "--tb=line", "-p", "no:cacheprovider", "-k", "paged", *tests)
    assert done.returncode == 1, done.stdout
    assert "serving/paged: STILL TO BE WRITTEN, the library's tests" in done.stdout
    stubs = done.stdout.partition("serving/paged has still to be written: ")[2].partition("\n")[0]
    for name in ("toolkit/serving/paged/__init__.py", "book/serving/paged.md", "wrong.py"):
        assert name in stubs
    assert "serving/paged lacks labs/serving/paged.ipynb" in done.stdout
    assert "3 failed" in done.stdout


def test_its_lab_can_be_made_and_its_checks_run(copy: Path) -> None:
    code = """
from toolkit.classroom import checks, notebooks
notebooks.make_lab("serving/paged")
loaded = checks.load("serving/paged")
assert checks.judge(loaded, "q1", {"first": lambda x: x}).passed
verdict = checks.judge(loaded, "q1", {"first": lambda x: x + 1})
assert not verdict.passed and verdict.hint.startswith("STILL TO BE WRITTEN"), verdict
"""
    done = run(copy, "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("chapter", "reason"),
    [
        ("serving/paged", "there is already a chapter serving/paged"),
        ("cooking/soup", "is not PART/NAME"),
        ("data/Dedup", "is not PART/NAME"),
    ],
)
def test_refuses_in_one_sentence(copy: Path, chapter: str, reason: str) -> None:
    toc = (copy / "book" / "_toc.yml").read_text()
    done = run(copy, "-c", MAIN, "new", chapter)
    assert done.returncode != 0
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert (copy / "book" / "_toc.yml").read_text() == toc


def test_refuses_to_write_over_a_file(copy: Path) -> None:
    work = copy / "solutions" / "data" / "mine.md"
    work.parent.mkdir(exist_ok=True)
    work.write_text("an hour's work")
    done = run(copy, "-c", MAIN, "new", "data/mine")
    assert "data/mine has files already (solutions/data/mine.md)" in done.stderr
    assert work.read_text() == "an hour's work"
    assert not (copy / "toolkit" / "data" / "mine").exists()


def test_finished_chapters_are_filled() -> None:
    assert unfilled("data/dedup") == []


def test_enters_a_chapter_after_the_others_of_its_part() -> None:
    changed = add_to_toc(TOC, "data/shuffle").splitlines()
    assert changed.pop(6) == "      - file: data/shuffle"
    assert changed == TOC.splitlines(), "nothing else changes, comments included"


@pytest.mark.parametrize(
    ("part", "order"),
    [
        ("models", ["Data", "Models", "Serving", "Reference"]),
        ("knowledge", ["Data", "Serving", "Knowledge", "Reference"]),
    ],
)
def test_enters_a_new_part_in_reading_order(part: str, order: list[str]) -> None:
    parts = yaml.safe_load(add_to_toc(TOC, f"{part}/first"))["subtrees"]
    assert [entry["caption"] for entry in parts] == order
    assert parts[order.index(course.PARTS[part])]["entries"] == [{"file": f"{part}/first"}]


def test_says_what_to_do_with_a_table_of_contents_it_can_not_edit() -> None:
    flow = "root: index\nsubtrees: [{caption: Data, entries: [{file: data/dedup}]}]\n"
    with pytest.raises(course.CourseError, match="by hand"):
        add_to_toc(flow, "data/shuffle")
