"""A running notebook, seen by its judge: cells go in, requests and replies cross the line."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgpack

from toolkit.classroom.codec import CodecError
from toolkit.classroom.grading.confine import Confinement
from toolkit.classroom.grading.limits import GRACE_SECONDS, Limits
from toolkit.classroom.grading.wire import Frame, Kind, Wire, WireError, WireTimeout

START_SECONDS = 60.0
"""How long Python and its imports may take to come up before the first cell."""


class SandboxError(CodecError):
    """The notebook's process ended, hangs, or broke the protocol: nothing more can be asked."""


class Sandbox:
    """A notebook's process and the line to it.

    Args:
        confinement: how it is shut in.
        slot: which of the jobs it is: see ``Confinement.start``.
        limits: what it may use.
    Attributes:
        call: carries out the notebook's calls of the judge's functions: bytes to bytes.
        broken: why nothing more can be asked, once that is so.
    Raises:
        SandboxError: the process did not start.
    """

    def __init__(self, confinement: Confinement, slot: int, limits: Limits) -> None:
        self.call: Callable[[bytes], bytes] = bytes
        self.broken: str | None = None
        self._limits = limits
        self._number = 0
        self._folder = Path(tempfile.mkdtemp(prefix="toolkit-notebook-"))
        ours, theirs = socket.socketpair()
        self._wire = Wire(ours)
        with theirs, tempfile.TemporaryFile() as said:
            self._process = confinement.start(theirs, slot, limits, self._folder, said)
            theirs.close()
            try:
                self._wire.receive(time.monotonic() + START_SECONDS)  # it is up
            except WireError as error:
                self.close()
                said.seek(0)
                last = said.read().decode(errors="replace").strip().splitlines()[-1:]
                why = last[0] if last else str(error)
                raise SandboxError(f"its process did not start: {why}") from None

    def run_cell(self, source: str, seconds: float) -> bytes:
        """Run a cell.

        Returns:
            The packed reply: ``ok``, or the error that the cell raised.
        Raises:
            SandboxError: there is no reply.
        """
        return self._exchange(Kind.CELL, bytes(msgpack.packb([source, seconds])), seconds)

    def ask(self, request: bytes) -> bytes:
        """Carry out a packed request for the learner's names; see ``run_cell``."""
        return self._exchange(Kind.ASK, request, self._limits.call_seconds)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and all that it started, and throw its files away."""
        self._wire.close()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _exchange(self, kind: Kind, payload: bytes, seconds: float) -> bytes:
        if self.broken is not None:
            raise SandboxError(self.broken)
        self._number += 1
        deadline = time.monotonic() + seconds + GRACE_SECONDS
        try:
            self._wire.send(Frame(kind, self._number, payload), deadline)
            while True:
                frame = self._wire.receive(deadline)
                if frame.number != self._number:
                    raise WireError(f"it answered request {frame.number}, not {self._number}")
                if frame.kind is Kind.REPLY:
                    return frame.payload
                if frame.kind is not Kind.CALL:
                    raise WireError(f"it sent a {frame.kind.name} instead of a reply")
                returned = Frame(Kind.RETURN, frame.number, self.call(frame.payload))
                self._wire.send(returned, deadline)
        except WireTimeout:
            self.broken = f"it did not stop after {seconds:g} s, and was ended"
        except WireError as error:
            self.broken = str(error)
        raise SandboxError(self.broken)
