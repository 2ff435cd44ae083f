"""One notebook on its way to a grade: what its judges have told, and what is left to do.

No process and no clock of its own: ``run`` feeds it events and the time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from toolkit.classroom import checks, notebooks
from toolkit.classroom.feedback import Message, strong
from toolkit.classroom.grading.gradebook import GRADED, Grade
from toolkit.classroom.grading.judge import Task, questions_of
from toolkit.classroom.grading.limits import GRACE_SECONDS

START_SECONDS = 90.0
"""How long a judge may take to read a notebook and start its process."""
STARTS = 2
"""How often a notebook's process is started in vain before it is given up."""


class Case:
    """What is known of one notebook.

    Args:
        task: whose, and how it is judged.
        now: the time, in seconds.
    Attributes:
        task: what the next judge has to do.
        grade: so far.
        finished: whether nothing is left to do.
    """

    def __init__(self, task: Task, now: float) -> None:
        self.task = task
        self.grade = Grade(task.submission.student, task.chapter, task.submission.fingerprint())
        self.finished = False
        self._checks = checks.load(task.chapter, task.extra)
        self._questions = self._checks.questions
        self._began = now
        self._failed_starts = 0
        self.start(now)

    def start(self, now: float) -> None:
        """A judge has been started."""
        self._doing: tuple[str, Any] = ("start", None)
        self._deadline = now + START_SECONDS

    def note(self, event: dict[str, Any], now: float) -> None:
        """Take in what a judge has told; see ``judge.main``."""
        if event["event"] != "died":
            self._doing = ("between", None)
        match event:
            case {"event": "unreadable", "why": why}:
                self.grade.status, self.finished = why, True
            case {"event": "notebook", "file": file, "version": version}:
                self.start(now)
                self.grade.file = file
                self.grade.status = self._status(version)
                self._questions = questions_of(self._checks, version)
            case {"event": "cell", "number": number, "seconds": seconds}:
                self._doing = ("cell", number)
                self._deadline = now + seconds + 2 * GRACE_SECONDS
            case {"event": "raised", "number": number, "error": error}:
                if number not in dict(self.grade.cells):
                    self.grade.cells.append((number, error))
            case {"event": "question", "question": question}:
                self._doing = ("question", question)
                self._deadline = now + self.task.limits.item_seconds + 2 * GRACE_SECONDS
            case {"event": "verdict", "question": question, **verdict}:
                self._judged(question, verdict)
            case {"event": "died", "why": why}:
                self.lost(why, now)
            case {"event": "end"}:
                self.finished = True

    def late(self, now: float) -> str | None:
        """Which time limit is broken; None if it keeps them."""
        if now > self._began + self.task.limits.notebook_seconds + 2 * GRACE_SECONDS:
            return f"the notebook's {self.task.limits.notebook_seconds:g} s are over"
        return "it took too long, and was ended" if now > self._deadline else None

    def lost(self, why: str, now: float) -> None:
        """The notebook's process or its judge is gone: what it was doing has cost it that."""
        what, name = self._doing
        if what == "cell":
            self.grade.cells.append((name, why))
            self.task = replace(self.task, skip=(*self.task.skip, name))
        elif what == "question":
            self._failed(name, why)
        elif what == "start":
            self._failed_starts += 1
            if self._failed_starts == STARTS:
                self.grade.status = why
                self._give_up(why)
        if now > self._began + self.task.limits.notebook_seconds:
            self._give_up(f"the notebook's {self.task.limits.notebook_seconds:g} s were over")

    def finish(self) -> Grade:
        """The grade, complete."""
        for question in self._questions:
            self.grade.possible[question] = self._checks.points(question)
            self.grade.points.setdefault(question, 0)
        return self.grade

    def _status(self, version: int | None) -> str:
        now = notebooks.metadata(self.task.chapter)["version"]
        if version == now:
            return GRADED
        which = "of no version" if version is None else f"version {version}"
        return f"{GRADED}, {which}; the course has version {now}"

    def _judged(self, question: str, verdict: dict[str, Any]) -> None:
        self.grade.points[question] = verdict["points"]
        self.grade.feedback[question] = verdict["text"]
        self.grade.pages[question] = verdict["html"]
        self.task = replace(self.task, done=(*self.task.done, question))

    def _failed(self, question: str, why: str) -> None:
        message = Message("wrong", (f"{strong(f'{question} not yet')} · {why}.",))
        told = {"points": 0, "text": repr(message), "html": message._repr_html_()}
        self._judged(question, told)

    def _give_up(self, why: str) -> None:
        for question in self._questions:
            if question not in self.task.done:
                self._failed(question, why)
        self.finished = True
