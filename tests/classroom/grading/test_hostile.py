"""Every hostile notebook gets what it deserves, and costs nobody else anything.

They are graded as a class would be, in one run, beside honest notebooks; ``test_naive`` shows what
each does to a grader that runs them in its own process.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from toolkit import course

HOSTILE = sorted((Path(__file__).parent.parent / "hostile").glob("*.md"))
QUESTIONS = ("q1", "q2", "q3", "q4", "q5")
SEED = 20_240_601
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's"),
    pytest.mark.timeout(1600),
]


def about(notebook: Path) -> dict:
    return yaml.safe_load(notebook.read_text(encoding="utf-8").split("---")[1])["hostile"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, made: Callable[..., str]) -> Path:
    """The class: each hostile notebook, and honest ones before, among and after them."""
    folder = tmp_path_factory.mktemp("class") / "submissions"
    folder.mkdir()
    for path in HOSTILE:
        (folder / path.name).write_bytes(path.read_bytes())
    for honest in ("aa", "mm", "zz"):
        (folder / f"{honest}.ipynb").write_text(made(), encoding="utf-8")
    with open(folder / "big.ipynb", "wb") as file:
        file.truncate(200_000_000)
    (folder / "link.ipynb").symlink_to(folder / "aa.ipynb")
    return folder


@pytest.fixture(scope="module")
def graded(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of the table, by student."""
    out = folder.parent / "results"
    before = _inventory()
    options = ["--seed", str(SEED), "--memory", "512"]  # one job a core, so that none shares one
    options += ["--seconds-per-call", "1.5", "--seconds-per-notebook", "60"]
    command = [sys.executable, "-m", "toolkit.cli", "grade", "data/dedup", str(folder)]
    done = subprocess.run(
        [*command, "-o", str(out), *options], capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert _inventory() == before, "a file of the course was changed"
    with open(out / "grades.csv", encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def _inventory() -> dict[Path, int]:
    """The course's own files, and when each was last changed."""
    places = [course.root() / name for name in ("toolkit", "tests", "labs", "solutions", "book")]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    own = [path for path in files if not {"__pycache__", "_build"} & set(path.parts)]
    return {path: path.stat().st_mtime_ns for path in own}


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 40
    assert len({about(path)["attack"] for path in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_it_earns_what_it_deserves(graded, path):
    row = graded[path.stem]
    found = {question: int(row[question]) for question in QUESTIONS if row[question] != "0"}
    assert found == {q: points for q, points in about(path)["deserves"].items() if points}
    assert row["status"].startswith("graded")


def test_the_honest_lose_nothing(graded):
    for honest in ("aa", "mm", "zz"):
        assert (graded[honest]["total"], graded[honest]["status"]) == ("21", "graded")


def test_what_can_not_be_read_is_said(graded):
    assert graded["big"]["status"] == "big.ipynb has 191 MiB, more than 50: clear its outputs"
    assert graded["link"]["status"] == "link.ipynb is a link, not a notebook"


def test_none_outlives_its_notebook(graded):
    for process in psutil.process_iter(["cmdline", "uids"]):
        assert "grading.inside" not in " ".join(process.info["cmdline"] or [])
        if process.info["uids"]:
            assert not 60_001 <= process.info["uids"].real < 60_100, process


def test_no_page_runs_a_script(folder, graded):
    pages = sorted((folder.parent / "results" / "students").glob("*.html"))
    assert len(pages) == len(graded)
    for page in pages:
        assert "<script" not in page.read_text(encoding="utf-8").lower()


def test_the_record_says_what_held(folder, graded):
    run = json.loads((folder.parent / "results" / "run.json").read_text(encoding="utf-8"))
    assert run["settings"]["seed"] == SEED
    assert all(says.startswith("on") for says in run["protections"].values()), run["protections"]
