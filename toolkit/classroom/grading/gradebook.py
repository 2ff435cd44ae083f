"""The results of a run on disk: complete at every moment, so that a killed run goes on.

RESULTS/
    run.json                the seed, the checks' hash, limits and protections of the run
    students/NAME.json      one student's grades, there once they are final
    students/NAME.html      the same as a page for the student
    grades.csv              everyone's, written at the end
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolkit.course import CourseError

GRADED = "graded"
_TEMPLATE = string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


@dataclass(slots=True)
class Grade:
    """What one student earned.

    Attributes:
        student, lab: whose and of what.
        fingerprint: of what was handed in; see ``Submission.fingerprint``.
        status: ``graded``, with what must be said of it, or why it was not.
        file: the notebook's name.
        points, possible: by question.
        feedback: by question, what the checks say, as text.
        pages: the same as HTML; not kept in the JSON.
        cells: number and error of each cell that raised or was cut off.
        seconds: of wall time.
    """

    student: str
    lab: str
    fingerprint: str
    status: str = GRADED
    file: str = ""
    points: dict[str, int] = field(default_factory=dict)
    possible: dict[str, int] = field(default_factory=dict)
    feedback: dict[str, str] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    cells: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """The points of all questions."""
        return sum(self.points.values())


class Gradebook:
    """A folder of results.

    Args:
        folder: made if it isn't there.
        settings: what decides the grades; those of a run that goes on must be the same.
        about: what else is recorded of the run.
    Raises:
        CourseError: the folder holds something else, or the grades of another run.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._students = folder / "students"
        earlier = recorded(folder)
        if earlier is None:
            if folder.exists() and any(folder.iterdir()):
                raise CourseError(
                    f"{folder} is not empty and holds no grades: give a new folder with -o"
                )
            self._students.mkdir(parents=True, exist_ok=True)
            _write(folder / "run.json", _json({"settings": settings, **about}))
            return
        for name, value in settings.items():
            if earlier["settings"].get(name) != value:
                raise CourseError(
                    f"{folder} holds grades with another {name} "
                    f"({earlier['settings'].get(name)}, now {value}): give a new folder with -o"
                )

    def kept(self, student: str, fingerprint: str) -> Grade | None:
        """The grade that an earlier run left, if what was handed in is still the same."""
        try:
            loaded = json.loads(self._path(student, ".json").read_text(encoding="utf-8"))
            loaded["cells"] = [tuple(cell) for cell in loaded["cells"]]
            grade = Grade(**loaded)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return grade if grade.fingerprint == fingerprint else None

    def keep(self, grade: Grade) -> None:
        """Write a final grade: the page first, since the JSON says that all is there."""
        _write(self._path(grade.student, ".html"), page(grade))
        record = asdict(grade)
        record["pages"] = {}
        _write(self._path(grade.student, ".json"), _json(record))

    def finish(self, grades: Sequence[Grade], questions: Sequence[str]) -> Path:
        """Write everyone's grades, sorted by student."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["student", "lab", *questions, "total", "possible", "status", "seconds"])
        for grade in sorted(grades, key=lambda grade: grade.student):
            points = [grade.points.get(question, "") for question in questions]
            possible = sum(grade.possible.values())
            sums = [grade.total, possible, _cell(grade.status), f"{grade.seconds:.1f}"]
            rows.writerow([_cell(grade.student), grade.lab, *points, *sums])
        path = self._folder / "grades.csv"
        _write(path, text.getvalue())
        return path

    def _path(self, student: str, suffix: str) -> Path:
        name = student
        if len(os.fsencode(name)) > 200:
            name = f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
        return self._students / f"{name}{suffix}"


def recorded(folder: Path) -> dict[str, Any] | None:
    """What is recorded of the run whose results lie in a folder; None if there are none.

    Raises:
        CourseError: the record can't be read.
    """
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["settings"]["seed"]
    except (ValueError, LookupError, TypeError):
        raise CourseError(f"{path} is not the record of a run: give a new folder with -o") from None
    return found


def page(grade: Grade) -> str:
    """A student's feedback as a page that needs nothing else."""
    possible = sum(grade.possible.values())
    parts = [
        f'<section id="{name}"><h2>{name} <span>{grade.points[name]} of {grade.possible[name]}'
        f"</span></h2>{grade.pages.get(name, '')}</section>"
        for name in grade.possible
    ]
    if grade.cells:
        rows = "".join(
            f"<li>Code cell {number}: {html.escape(error)}</li>" for number, error in grade.cells
        )
        parts.append(
            '<section id="cells"><h2>Cells that did not run to their end</h2>'
            "<p>What they would have defined after that point is missing.</p>"
            f"<ul>{rows}</ul></section>"
        )
    return _TEMPLATE.substitute(
        student=html.escape(grade.student),
        lab=html.escape(grade.lab),
        file=html.escape(grade.file),
        status=html.escape(grade.status),
        total=grade.total,
        possible=possible,
        body="\n".join(parts),
    )


def _cell(text: str) -> str:
    """Text that a spreadsheet takes for text, not for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{os.getpid()}.tmp")
    temporary.write_bytes(text.encode("utf-8", "replace"))
    os.replace(temporary, path)
