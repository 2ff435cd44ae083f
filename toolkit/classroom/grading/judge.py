"""The judge of one notebook: starts its sandbox, runs its cells, checks its questions from outside.

It runs in a process of its own and tells the supervisor what it is about to do before it does it.
When the notebook's process dies or hangs, the judge says so and ends; the supervisor starts another
for what is left. So does it when the judge itself is lost, to a reply that eats its memory or time.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgpack

from toolkit import course
from toolkit.classroom import checks, kernels, notebooks
from toolkit.classroom.answer import Answer
from toolkit.classroom.checks import Checks, Verdict
from toolkit.classroom.feedback import verdict_message
from toolkit.classroom.grading import watch
from toolkit.classroom.grading.confine import Confinement
from toolkit.classroom.grading.limits import Limits
from toolkit.classroom.grading.sandbox import Sandbox, SandboxError
from toolkit.classroom.grading.submissions import Notebook, Submission, Unreadable, read

PR_SET_CHILD_SUBREAPER = 36
LAST = ("unreadable", "died", "end")
"""The events after which a judge says nothing more."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a judge needs to know.

    Attributes:
        chapter, seed, extra: which checks, with which inputs; see ``checks.load``.
        submission: whose notebook.
        confinement: of the notebook; ``given`` of the library that answers ``lab.given``.
        slot: which of the jobs this is.
        limits: what the notebook may use.
        skip: numbers of cells, from 1, that are not run: they ended an earlier process.
        done: questions that have been judged.
    """

    chapter: str
    seed: int
    extra: Path | None
    submission: Submission
    confinement: Confinement
    given: Confinement
    slot: int
    limits: Limits
    skip: tuple[int, ...] = ()
    done: tuple[str, ...] = ()


def main(line: Connection, task: Task) -> None:
    """Judge a notebook, telling every step over ``line`` as JSON.

    Events: ``unreadable`` (why), ``notebook`` (file, version), ``cell`` (its number, seconds)
    before it runs, ``raised`` (its number, error) after it did, ``question`` before it is judged,
    ``verdict`` after, ``died`` (why) when the notebook's process is lost, ``end``.
    """
    threading.Thread(target=_end_with_the_supervisor, args=(line,), daemon=True).start()
    if sys.platform == "linux":
        # What a notebook starts stays in this process's tree, and on one core: many busy processes
        # take no time from the notebooks beside it. The filter keeps it there.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[task.slot % len(cores)]})

    def tell(event: str, **what: Any) -> None:
        line.send_bytes(json.dumps({"event": event, **what}).encode())

    try:
        notebook = read(task.submission, task.chapter, own_cells(task.chapter))
        tell("notebook", file=notebook.file, version=notebook.version)
        _judge(task, notebook, tell)
    except Unreadable as error:
        tell("unreadable", why=str(error))
    except Exception as error:
        watch.end_below(os.getpid())
        kind = "" if isinstance(error, SandboxError) else f"{type(error).__name__}: "
        tell("died", why=f"{kind}{error}"[:500])
    else:
        watch.end_below(os.getpid())
        tell("end")


def questions_of(found: Checks, version: int | None) -> tuple[str, ...]:
    """The questions that a version of a lab has, as far as the course still asks them."""
    earlier: Mapping[str, Any] = notebooks.metadata(found.chapter).get("earlier", {})
    had = earlier.get(str(version), found.questions)
    return tuple(question for question in found.questions if question in had)


def _judge(task: Task, notebook: Notebook, tell: Any) -> None:
    found = checks.load(task.chapter, task.extra)
    passed: list[Callable[..., Any]] = []
    with (
        Given(task) as given,
        Sandbox(task.confinement, task.slot, task.limits) as sandbox,
        kernels.confined(lambda: Sandbox(task.given, task.slot, task.limits)),
    ):

        def answer() -> Answer:
            door = Answer(sandbox.ask, given.of, passed)
            sandbox.call = door.serve_callback
            return door

        answer()  # cells may ask for what is given, too
        _run_cells(task, notebook, sandbox, tell)
        for question in questions_of(found, notebook.version):
            if question not in task.done:
                tell("question", question=question)
                given.judging = question
                verdict = checks.judge(found, question, _around(task.chapter), task.seed, answer)
                tell("verdict", question=question, **_told(verdict, found))
                if sandbox.broken:
                    raise SandboxError(sandbox.broken)


def _run_cells(task: Task, notebook: Notebook, sandbox: Sandbox, tell: Any) -> None:
    for number, cell in enumerate(notebook.cells, start=1):
        if number in task.skip:
            continue
        limits = task.limits
        seconds = limits.call_seconds if cell.explores else limits.item_seconds
        tell("cell", number=number, seconds=seconds)
        if error := _error_in(sandbox.run_cell(cell.source, seconds)):
            tell("raised", number=number, error=error)


def _error_in(reply: bytes) -> str | None:
    """What a cell raised, as it says itself; None if it ran to its end."""
    try:
        told = msgpack.unpackb(reply, strict_map_key=False, unicode_errors="surrogatepass")
    except Exception:
        return "an error that can't be read"
    match told:
        case ["ok", None]:
            return None
        case ["error", str(kind), str(message), *_]:
            return f"{kind[:100]}: {message[:500]}"
    return "an error that can't be read"


def _told(verdict: Verdict, found: Checks) -> dict[str, Any]:
    message = verdict_message(verdict, found.hints(verdict.question))
    return {
        "points": verdict.points,
        "possible": verdict.possible,
        "text": repr(message),
        "html": message._repr_html_(),
    }


class Given:
    """The chapter's own answers, for ``lab.given``: run in a sandbox too, started when asked for.

    Attributes:
        judging: the question that is being judged. Its own answer is refused, and those of later
            questions, which are built on it and would give it away.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._sandbox: Sandbox | None = None
        self._library: Answer | None = None
        self.judging: str | None = None

    def __enter__(self) -> Given:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sandbox is not None:
            self._sandbox.close()

    def of(self, question: str) -> Any:
        """The function, or a list of them, that answers a question."""
        names = notebooks.metadata(self._task.chapter)["given"].get(question)
        if names is None:
            raise course.CourseError(f"{self._task.chapter} has no question {question!r}")
        found = [self._function(question, name) for name in names]
        return found if len(found) > 1 else found[0]

    def _function(self, question: str, name: str) -> Any:
        def given(*args: Any, **kwargs: Any) -> Any:
            if self.judging is not None and not self._before(question, self.judging):
                raise PermissionError(f"{question} is not given while {self.judging} is judged")
            return getattr(self._started(), name)(*args, **kwargs)

        given.__name__ = name
        return given

    def _before(self, question: str, judged: str) -> bool:
        order = list(notebooks.metadata(self._task.chapter)["given"])
        return order.index(question) < order.index(judged)

    def _started(self) -> Answer:
        if self._library is None:
            task = self._task
            self._sandbox = Sandbox(task.given, task.slot, task.limits)
            self._library = Answer(self._sandbox.ask)
            self._sandbox.call = self._library.serve_callback
            module = course.homes(task.chapter).module
            self._sandbox.run_cell(f"from {module} import *", task.limits.item_seconds)
        return self._library


@cache
def own_cells(chapter: str) -> set[str]:
    """The lab's own cells that no question needs."""
    cells = json.loads(course.chapter(chapter).lab.read_text(encoding="utf-8"))["cells"]
    return {
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and not cell["metadata"].get("tags")
    }


@cache
def _around(chapter: str) -> dict[str, Any]:
    """What a wrong answer finds around it: the lab's setup, and the library for the rest."""
    library = notebooks.library(chapter)
    about = notebooks.metadata(chapter)["given"]
    names = {name: getattr(library, name) for found in about.values() for name in found}
    cells = json.loads(course.chapter(chapter).lab.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if "setup" in cell["metadata"].get("tags", []):
            notebooks.define("".join(cell["source"]), names)
    return names


def _end_with_the_supervisor(line: Connection) -> None:
    try:
        line.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
