"""The lab as an assignment of otter-grader and of nbgrader, and how to have it graded by them.

Each peer has an environment of its own. Its notebooks have the lab's cells; its tests are the
lab's checks, one test case or cell a check, with the same seed and the same points; they call the
learner's functions directly, see ``in_kernel``.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.classroom.submissions import LAB, solved
from toolkit import course
from toolkit.classroom import checks

OTTER, NBGRADER = "otter-grader==7.0.0", "nbgrader==0.9.6"
NEEDS = (
    "anywidget", "datasketch", "filelock", "ipykernel", "jaxtyping", "jupytext", "matplotlib",
    "msgpack", "numba", "numpy", "orjson", "platformdirs", "pooch", "psutil", "pydivsufsort",
    "pygments", "pyyaml", "requests", "rich", "scipy", "tqdm", "typer", "xxhash", "zstandard",
)  # fmt: skip
"""What the lab's cells and the course need there: the course comes by PYTHONPATH, torch is not."""

READ_GRADEBOOK = """
import json, sys
from nbgrader.api import Gradebook
with Gradebook(sys.argv[1]) as book:
    found = {
        one.student.id: {grade.name: grade.auto_score for grade in one.notebooks[0].grades}
        for one in book.assignment_submissions("dedup")
    }
print(json.dumps(found))
"""

Grades = dict[str, dict[str, int]]
Notebooks = dict[str, dict[str, Any]]
Run = Callable[[list[str], Path, dict[str, str]], None]
"""Runs a command in a folder with these variables added to its environment."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A grader.

    Attributes:
        name: of its distribution.
        version: of its distribution.
        python: of its environment.
        library: the folder whose ``toolkit`` its notebooks import: no checks and no solutions.
    """

    name: str
    version: str
    python: Path
    library: Path

    def command(self, name: str) -> str:
        """The path of one of its commands."""
        return str(self.python.with_name(name))


def install(requirement: str, folder: Path, library: Path) -> Peer:
    """Make a peer's environment, if it is not there, with the versions of constraints.txt."""
    name, _, version = requirement.partition("==")
    python = folder / name / "bin" / "python"
    if not python.exists():
        print(f"installing {requirement}: some minutes", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
    pip = [python, "-m", "pip", "install", "-q", "-c", course.root() / "constraints.txt"]
    subprocess.run([*pip, requirement, *NEEDS], check=True)
    return Peer(name, version, python, library)


def plain(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run a command with no limits."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.call(command, cwd=folder, env=os.environ | environment, **quiet)


class ByOtter:
    """Notebooks for ``otter run``, which takes one at a time.

    Args:
        peer: otter-grader.
        folder: an empty one.
        notebooks: by student.
        seed: of the checks.
    """

    def __init__(self, peer: Peer, folder: Path, notebooks: Notebooks, seed: int) -> None:
        self._peer, self._folder = peer, folder
        self._students = list(notebooks)
        _otter_zip(folder / "autograder.zip", seed)
        for student, notebook in notebooks.items():
            (folder / student).mkdir()
            (folder / student / "dedup.ipynb").write_text(json.dumps(for_peer(notebook)))
        _open(folder)

    def grade(self, run: Run = plain) -> None:
        """Grade all, one after the other."""
        for student in self._students:
            command = [self._peer.command("otter"), "run", "-a", "../autograder.zip", "-o", "."]
            run([*command, "dedup.ipynb"], self._folder / student, _environment(self._peer))

    def grades(self) -> Grades:
        """What the graded have earned; who has no result is not there."""
        results = {student: self._folder / student / "results.json" for student in self._students}
        return {s: _otter_grade(path) for s, path in results.items() if path.exists()}


class ByNbgrader:
    """Notebooks for ``nbgrader autograde``, which takes all of a course; see ``ByOtter``."""

    def __init__(self, peer: Peer, folder: Path, notebooks: Notebooks, seed: int) -> None:
        self._peer, self._folder = peer, folder
        _nbgrader_course(folder, notebooks, seed)
        made = folder / "release" / "dedup" / "dedup.ipynb"
        for _ in range(3):  # on a busy machine it fails now and then
            if not made.exists():
                self._run("generate_assignment", plain)
        if not made.exists():
            raise RuntimeError("nbgrader generate_assignment made no assignment")
        _open(folder)

    def grade(self, run: Run = plain) -> None:
        """Grade all in one process."""
        self._run("autograde", run)

    def grades(self) -> Grades:
        """What the graded have earned; who has no result is not there."""
        read = [self._peer.python, "-c", READ_GRADEBOOK, f"sqlite:///{self._folder}/gradebook.db"]
        environment = os.environ | _environment(self._peer)
        said = subprocess.run(read, capture_output=True, text=True, check=True, env=environment)
        scores = json.loads(said.stdout)  # none until the notebook has been run to its end
        return {
            s: _by_question(found) for s, found in scores.items() if set(found.values()) != {None}
        }

    def _run(self, what: str, run: Run) -> None:
        command = [self._peer.command("nbgrader"), what, "dedup", "--force"]
        run(command, self._folder, _environment(self._peer))


def for_peer(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook whose ``Lab`` is the peer's: its checks do nothing."""
    made: dict[str, Any] = copy.deepcopy(notebook)
    for cell in made["cells"]:
        source = "".join(cell["source"])
        cell["source"] = re.sub(r"from toolkit.classroom import Lab\b", IMPORT_LAB, source)
    made["metadata"] = {"kernelspec": notebook["metadata"]["kernelspec"]}
    return made


IMPORT_LAB = "from lab_shim import Lab"


def _otter_zip(path: Path, seed: int) -> None:
    """What ``otter generate`` makes: tests in its default format, doctests, and support files."""
    found = checks.load(LAB)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("otter_config.json", json.dumps({"show_stdout": False}))
        for name, text in _support().items():
            archive.writestr(f"files/{name}", text)
        for question in found.questions:
            cases = [
                {
                    "code": f">>> import lab_checks\n>>> {_call(check, seed)}\nTrue",
                    "hidden": True,
                    "locked": False,
                    "points": check.points,
                }
                for check in found.of(question)
            ]
            suite = {"cases": cases, "scored": True, "setup": "", "teardown": "", "type": "doctest"}
            test = {"name": question, "points": None, "suites": [suite]}
            archive.writestr(f"tests/{question}.py", f"OK_FORMAT = True\n\ntest = {test!r}\n")


def _otter_grade(path: Path) -> dict[str, int]:
    tests = json.loads(path.read_text())["tests"]
    scores = {test["name"]: test["score"] for test in tests if "score" in test}
    return {q: round(scores.get(q, 0)) for q in checks.load(LAB).questions}


def _nbgrader_course(folder: Path, notebooks: dict[str, dict[str, Any]], seed: int) -> None:
    (folder / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'course'\n"
        "c.ClearSolutions.enforce_metadata = False\n"
    )
    source = folder / "source" / "dedup"
    source.mkdir(parents=True)
    for name, text in _support().items():
        (source / name).write_text(text)
    (source / "dedup.ipynb").write_text(json.dumps(with_test_cells(solved([]), seed)))
    for student, notebook in notebooks.items():
        place = folder / "submitted" / student / "dedup"
        place.mkdir(parents=True)
        (place / "dedup.ipynb").write_text(json.dumps(with_test_cells(notebook, seed)))


def with_test_cells(notebook: dict[str, Any], seed: int) -> dict[str, Any]:
    """A notebook with nbgrader's locked test cells, at its end: one a check."""
    made = for_peer(notebook)
    for check in checks.load(LAB).checks:
        about = {
            "grade": True,
            "grade_id": f"{check.question}-{check.function.__name__}",
            "locked": True,
            "points": check.points,
            "schema_version": 3,
            "solution": False,
            "task": False,
            "cell_type": "code",
        }
        made["cells"].append(
            {
                "cell_type": "code",
                "execution_count": None,
                "id": check.function.__name__[:60],
                "metadata": {"nbgrader": about},
                "outputs": [],
                "source": f"import lab_checks\n\nassert {_call(check, seed)}",
            }
        )
    return made


def _by_question(scores: dict[str, float | None]) -> dict[str, int]:
    earned = dict.fromkeys(checks.load(LAB).questions, 0)
    for cell, score in scores.items():
        earned[cell.partition("-")[0]] += round(score or 0)
    return earned


def _call(check: checks.Check, seed: int) -> str:
    return f"lab_checks.passes({check.function.__name__!r}, globals(), {seed})"


def _support() -> dict[str, str]:
    shim = Path(__file__).with_name("in_kernel.py").read_text(encoding="utf-8")
    text = course.chapter(LAB).checks.read_text(encoding="utf-8")
    ours = "from toolkit.classroom import expect, question, require"
    assert ours in text
    theirs = "from lab_shim import expect, passes, question, require"
    return {"lab_shim.py": shim, "lab_checks.py": text.replace(ours, theirs)}


def _environment(peer: Peer) -> dict[str, str]:
    path = f"{peer.python.parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(peer.library), "PYTHONHASHSEED": "0"}


def _open(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
