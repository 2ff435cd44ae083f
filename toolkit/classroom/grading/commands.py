"""``toolkit grade``: from a folder of notebooks to a folder of grades."""

from __future__ import annotations

import hashlib
import platform
import secrets
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

import toolkit
from toolkit import course
from toolkit.classroom import checks, notebooks
from toolkit.classroom.grading import probe
from toolkit.classroom.grading.confine import libraries
from toolkit.classroom.grading.gradebook import Gradebook, recorded
from toolkit.classroom.grading.judge import Task
from toolkit.classroom.grading.limits import Limits
from toolkit.classroom.grading.run import run
from toolkit.classroom.grading.submissions import find

INTERRUPTED = 130


def grade(
    chapter: str,
    folder: Path,
    results: Path,
    jobs: int,
    seed: int | None,
    limits: Limits,
    extra: Path | None,
) -> int:
    """Grade a folder of notebooks; see ``toolkit grade --help``.

    Returns:
        0, or 130 where Ctrl-C stopped it.
    Raises:
        CourseError: a mistake in the arguments, or this machine can't limit a notebook.
    """
    console = Console()
    homes = course.chapter(chapter)
    if missing := notebooks.missing(chapter):
        raise course.CourseError(missing)
    folder, results = folder.absolute(), results.absolute()
    if folder in (results, *results.parents):
        raise course.CourseError(f"{results} lies in {folder}: give a place outside with -o")
    submissions = find(folder)
    extra = None if extra is None else extra.absolute()
    found = checks.load(chapter, extra)
    earlier = recorded(results)
    if seed is None:
        seed = secrets.randbits(63) if earlier is None else earlier["settings"]["seed"]
    settings = {
        "lab": chapter,
        "version": notebooks.metadata(chapter)["version"],
        "seed": seed,
        "checks": _hash(homes.checks, *([extra / "checks.py"] if extra else [])),
        "limits": asdict(limits),
    }
    secret = [homes.checks, homes.solution, homes.wrong, folder]
    with libraries(chapter) as (library, given):
        confinement, for_given = probe.choose(library, given, limits)
        protections = probe.measure(confinement, limits, secret)
        console.print(_shown(confinement.kind, protections))
        probe.require(protections)
        about = {
            "confinement": confinement.kind,
            "protections": {p.name: f"{'on' if p.on else 'OFF'}: {p.says}" for p in protections},
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "toolkit": toolkit.__version__,
            "python": platform.python_version(),
        }
        book = Gradebook(results, settings, about)
        kept = [book.kept(one.student, one.fingerprint()) for one in submissions]
        grades = [one for one in kept if one is not None]
        tasks = [
            Task(chapter, seed, extra, one, confinement, for_given, 0, limits)
            for one, before in zip(submissions, kept, strict=True)
            if before is None
        ]
        bar = tqdm(total=len(submissions), initial=len(grades), unit="notebook", desc="grading")
        try:
            with bar:
                for one in run(chapter, tasks, jobs):
                    book.keep(one)
                    grades.append(one)
                    bar.update()
        except KeyboardInterrupt:
            console.print(
                f"stopped: {len(grades)} of {len(submissions)} are graded and kept in {results}; "
                "the same command goes on from there"
            )
            return INTERRUPTED
    path = book.finish(grades, found.questions)
    graded = sum(one.status.startswith("graded") for one in grades)
    console.print(f"{graded} of {len(grades)} graded: {path}")
    for one in sorted(grades, key=lambda one: one.student):
        if one.status != "graded":
            console.print(f"  {one.student}: {one.status}", markup=False, highlight=False)
    return 0


def _hash(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _shown(kind: str, protections: list[probe.Protection]) -> Table:
    table = Table(title=f"A notebook is shut in by {kind}; each was tried", title_justify="left")
    table.add_column("limit")
    table.add_column("holds")
    table.add_column("allowed")
    for protection in protections:
        state = "[green]yes[/]" if protection.on else "[red]NO[/]"
        table.add_row(protection.name, state, protection.says if protection.on else "anything")
    return table
