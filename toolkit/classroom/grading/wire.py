"""Frames over a socket: the line between a judge and a notebook's process.

A frame is a header of nine bytes, ``>IBI``, and a payload: how many bytes the payload has, the
frame's kind, and the number of the request that it belongs to.
"""

from __future__ import annotations

import socket
import struct
import time
from enum import IntEnum
from typing import NamedTuple

from toolkit.classroom.codec import MAX_BYTES

_HEADER = struct.Struct(">IBI")


class Kind(IntEnum):
    """What a frame is."""

    CELL = 1  # judge to notebook: run this cell
    ASK = 2  # judge to notebook: a request for the learner's names, see ``learner``
    REPLY = 3  # notebook to judge: what came of it
    CALL = 4  # notebook to judge, while a request is open: call a function of the judge's
    RETURN = 5  # judge to notebook: what that gave


class Frame(NamedTuple):
    """One message."""

    kind: Kind
    number: int
    payload: bytes


class WireError(Exception):
    """The other end is gone, late, or does not keep to the protocol."""


class WireTimeout(WireError):  # noqa: N818 - what happened, as in socket.timeout
    """Nothing, or only a part of a frame, came in time."""


class Wire:
    """One end of the line.

    Args:
        end: a connected stream socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def send(self, frame: Frame, deadline: float | None = None) -> None:
        """Send one frame, before ``deadline`` on the monotonic clock.

        Raises:
            WireError: the other end is gone; ``WireTimeout``: it did not take it in time.
        """
        header = _HEADER.pack(len(frame.payload), frame.kind, frame.number)
        self._within(deadline)
        try:
            self._socket.sendall(header + frame.payload)
        except TimeoutError:
            raise WireTimeout("it took too long to read a message") from None
        except OSError:
            raise WireError("its process ended") from None

    def receive(self, deadline: float | None = None) -> Frame:
        """The next frame.

        Raises:
            WireError: the other end is gone, or the frame is none; ``WireTimeout``: it is late.
        """
        length, kind, number = _HEADER.unpack(self._exactly(_HEADER.size, deadline))
        if length > MAX_BYTES:
            raise WireError(f"it announced a message of {length:,} bytes; {MAX_BYTES:,} can cross")
        if kind not in Kind.__members__.values():
            raise WireError(f"it sent a message of no kind: {kind}")
        return Frame(Kind(kind), number, self._exactly(length, deadline))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _exactly(self, length: int, deadline: float | None) -> bytes:
        parts, missing = [], length
        while missing:
            self._within(deadline)
            try:
                part = self._socket.recv(min(missing, 2**20))
            except TimeoutError:
                raise WireTimeout("it did not answer in time") from None
            except OSError:
                part = b""
            if not part:
                raise WireError("its process ended")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _within(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise WireTimeout("it did not answer in time")
        self._socket.settimeout(left)
