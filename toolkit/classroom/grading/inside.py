"""The notebook's process: runs its cells and serves requests about what they define.

    python -m toolkit.classroom.grading.inside SETTINGS

It starts with the file descriptor of its line to the judge, gives up what it may not keep, and then
belongs to the learner: nothing in it is secret, and nothing that it says is believed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgpack

import toolkit.classroom
from toolkit.classroom.grading import limits
from toolkit.classroom.grading.wire import Frame, Kind, Wire, WireError
from toolkit.classroom.learner import Learner
from toolkit.classroom.notebooks import Shell


class TimeLimit(BaseException):
    """A call or a cell ran for too long."""


@contextlib.contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Raise ``TimeLimit`` in the main thread when the time is over, again and again."""

    def stop(_signal: int, _frame: object) -> None:
        raise TimeLimit(f"stopped after {seconds:g} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Notebook:
    """Serves one line until it is cut.

    Args:
        wire: the line.
        seconds: what one request may take.
    """

    def __init__(self, wire: Wire, seconds: float) -> None:
        self._wire, self._seconds = wire, seconds
        self._number = 0
        self._line = threading.Lock()  # a learner's threads may call back, one at a time
        self._shell = Shell()
        self._learner = Learner(self._shell.names, self._call)
        vars(toolkit.classroom)["Lab"] = graded_lab(self._learner)

    def serve(self) -> None:
        """Say that it is up, then carry out one request after the other."""
        self._wire.send(Frame(Kind.REPLY, 0, b""))
        while True:
            frame = self._wire.receive()
            self._number = frame.number
            try:
                run = self._run_cell if frame.kind is Kind.CELL else self._ask
                reply = run(frame.payload)
            except BaseException as error:  # the learner's: whatever it is, the line stays up
                reply = self._learner.failed(error)
            with self._line:
                self._wire.send(Frame(Kind.REPLY, frame.number, reply))

    def _ask(self, request: bytes) -> bytes:
        with stopped_after(self._seconds):
            return self._learner.serve(request)

    def _run_cell(self, request: bytes) -> bytes:
        source, seconds = msgpack.unpackb(request)
        with stopped_after(seconds):
            error = self._shell.run(source)
        if error is not None:
            return self._learner.failed(error)
        return bytes(msgpack.packb(["ok", None]))

    def _call(self, request: bytes) -> bytes:
        with self._line:
            self._wire.send(Frame(Kind.CALL, self._number, request))
            return self._wire.receive().payload


def graded_lab(learner: Learner) -> type:
    """The ``Lab`` of a notebook that is being graded: its checks come later, from outside."""

    class Lab:
        def __init__(self, chapter: str, namespace: object = None) -> None:
            self._chapter = chapter

        def check(self, question: str) -> str:
            return f"{question} is checked after the last cell"

        def hint(self, question: str) -> str:
            return f"no hints for {question} while grading"

        def predict(self, name: str, guess: object, reveal: object) -> str:
            return f"{name}: {guess}"

        def progress(self) -> str:
            return f"{self._chapter} is being graded"

        def given(self, question: str) -> Any:
            return learner.ask(["given", question])

    return Lab


def main(settings: dict[str, Any]) -> None:
    """Become what the settings say, then serve the line.

    Args:
        settings: ``fd``, ``user`` or None, ``limits``, ``processes``, and ``confine``: a module
            and its function that confines this process further, with its arguments; or None.
    """
    end = socket.socket(fileno=settings["fd"])
    if settings["user"] is not None:
        limits.become(settings["user"])
    if settings["confine"] is not None:
        module, function, arguments = settings["confine"]
        getattr(importlib.import_module(module), function)(**arguments)
    allowed = limits.Limits(**settings["limits"])
    limits.apply(allowed, settings["processes"])
    os.environ["TOOLKIT_WIRE"] = str(settings["fd"])
    notebook = Notebook(Wire(end), allowed.call_seconds)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    with contextlib.suppress(WireError):  # the line was cut
        notebook.serve()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
