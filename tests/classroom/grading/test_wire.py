"""The frames between a judge and a notebook."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from toolkit.classroom.codec import MAX_BYTES
from toolkit.classroom.grading.wire import Frame, Kind, Wire, WireError, WireTimeout


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield Wire(one), other


def soon(seconds: float = 0.2) -> float:
    return time.monotonic() + seconds


def test_frames_arrive_in_order_and_whole():
    one, other = socket.socketpair()
    with one, other:
        sent = [Frame(Kind.ASK, 1, b""), Frame(Kind.REPLY, 2**32 - 1, bytes(100_000))]
        for frame in sent:
            Wire(one).send(frame)
        assert [Wire(other).receive(soon()) for _ in sent] == sent


def test_the_form_of_a_frame(ends):
    wire, other = ends
    wire.send(Frame(Kind.CELL, 7, b"abc"))
    assert other.recv(100) == struct.pack(">IBI", 3, 1, 7) + b"abc"


def test_an_announcement_that_lies_is_refused_before_anything_is_read(ends):
    wire, other = ends
    other.sendall(struct.pack(">IBI", 2**32 - 1, Kind.REPLY, 1))
    with pytest.raises(WireError, match=r"announced a message of 4,294,967,295 bytes"):
        wire.receive(soon())


def test_the_largest_message_may_be_announced(ends):
    wire, other = ends
    other.sendall(struct.pack(">IBI", MAX_BYTES, Kind.REPLY, 1))
    with pytest.raises(WireTimeout):
        wire.receive(soon())


def test_half_a_frame_is_late(ends):
    wire, other = ends
    other.sendall(struct.pack(">IBI", 10, Kind.REPLY, 1) + b"half")
    with pytest.raises(WireTimeout, match="did not answer in time"):
        wire.receive(soon())


def test_a_trickle_is_late_too(ends):
    wire, other = ends
    other.sendall(b"\0\0")
    with pytest.raises(WireTimeout):
        wire.receive(time.monotonic() - 1)


def test_nobody_at_the_other_end(ends):
    wire, other = ends
    other.close()
    with pytest.raises(WireError, match="its process ended"):
        wire.receive(soon())
    with pytest.raises(WireError, match="its process ended"):
        wire.send(Frame(Kind.ASK, 1, bytes(10**6)), soon())


def test_what_nobody_reads_does_not_block(ends):
    wire, _ = ends
    with pytest.raises(WireTimeout, match="too long to read"):
        wire.send(Frame(Kind.ASK, 1, bytes(10**8 // 2)), soon())


@pytest.mark.parametrize("kind", [0, 6, 255])
def test_a_frame_of_no_kind(ends, kind):
    wire, other = ends
    other.sendall(struct.pack(">IBI", 0, kind, 1))
    with pytest.raises(WireError, match=f"of no kind: {kind}"):
        wire.receive(soon())
