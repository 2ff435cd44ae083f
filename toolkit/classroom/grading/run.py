"""The supervisor: hands submissions to judges, watches what they use, keeps what they find."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from toolkit import course
from toolkit.classroom.grading import judge, watch
from toolkit.classroom.grading.case import Case
from toolkit.classroom.grading.gradebook import Grade
from toolkit.classroom.grading.judge import Task
from toolkit.classroom.grading.limits import GRACE_SECONDS

TICK_SECONDS = 0.1
"""How often memory and processes are looked at."""


def run(chapter: str, tasks: Iterable[Task], jobs: int) -> Iterator[Grade]:
    """Grade notebooks, some at once; each grade comes as soon as it is final.

    Args:
        chapter: whose lab they are.
        tasks: one a student, drawn as judges are free.
        jobs: how many are graded at once.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["__main__", judge.__name__, course.homes(chapter).module])
    waiting, free = iter(tasks), list(range(jobs))
    running: list[_Judged] = []
    try:
        while True:
            while free and (task := next(waiting, None)):
                began = time.monotonic()
                case = Case(replace(task, slot=free.pop()), began)
                running.append(_Judged(case, began, *_start(processes, case.task)))
            if not running:
                return
            wait([judged.line for judged in running], timeout=TICK_SECONDS)
            for judged in list(running):
                if judged.attend():
                    continue
                judged.stop()
                if judged.case.finished:
                    running.remove(judged)
                    free.append(judged.case.task.slot)
                    grade = judged.case.finish()
                    grade.seconds = time.monotonic() - judged.began
                    yield grade
                else:
                    judged.case.start(time.monotonic())
                    judged.process, judged.line = _start(processes, judged.case.task)
    finally:
        for judged in running:
            judged.stop()


def _start(
    processes: multiprocessing.context.ForkServerContext, task: Task
) -> tuple[BaseProcess, Connection]:
    ours, theirs = processes.Pipe()
    process = processes.Process(target=judge.main, args=(theirs, task))
    process.start()
    theirs.close()
    return process, ours


@dataclass(slots=True)
class _Judged:
    """A case and the judge that is at work on it."""

    case: Case
    began: float
    process: BaseProcess
    line: Connection
    looked: float = 0.0

    def attend(self) -> bool:
        """Take in what the judge has told, and hold it to the limits; whether it goes on."""
        now, why = time.monotonic(), None
        try:
            while self.line.poll():
                event = json.loads(self.line.recv_bytes())
                self.case.note(event, now)
                if event["event"] in judge.LAST:
                    self.process.join(GRACE_SECONDS)  # it has cleared up
                    return False
        except (EOFError, OSError):
            why = "its judge ended, as too much memory would make it"
        if why is None and now - self.looked >= TICK_SECONDS:
            self.looked = now
            why = watch.excess(self.process.pid or 0, self.case.task.limits)
        why = why or self.case.late(now)
        if why is not None:
            self.case.lost(why, now)
        return why is None

    def stop(self) -> None:
        """End the judge and all that it started."""
        if self.process.exitcode is None:
            watch.end(self.process.pid or 0)
            self.process.join()
        self.line.close()
