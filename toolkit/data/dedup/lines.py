"""Lines of text files: what one holds, and files of them, compressed or not.

A file's name says what its lines are:

    .jsonl .ndjson .json     JSON Lines: each is an object, with the text in one of its fields
    any other                plain lines: each is the text
    .gz or .zst after that   the same, compressed, in one or several members or frames

A line ends in "\\n". A blank one holds no document in JSON Lines and is passed over, as most
readers do; among plain lines it is an empty document.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import zstandard

JSON_LINES = (".jsonl", ".ndjson", ".json")
JSON_TYPES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}

BUFFER = 1 << 20
LARGEST_WINDOW = 1 << 31  # of zstd: corpora are often compressed with --long=31
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)
"""What reading a compressed file raises where it is damaged or cut off."""


class BadLine(Exception):  # noqa: N818 - the line is bad, and nothing is wrong here
    """A line that holds no document, and why: "is not JSON (...)"."""


def is_json_lines(path: Path) -> bool:
    """Whether a file is of JSON Lines, by its name."""
    name = path.name.lower()
    return name.removesuffix(".gz").removesuffix(".zst").endswith(JSON_LINES)


def text_of(line: bytes, field: str | None) -> str | None:
    """The document that a line holds.

    Args:
        line: with or without its end.
        field: the field of the text; None for a plain line.
    Returns:
        The text; None if the line is a blank one of JSON Lines.
    Raises:
        BadLine: not UTF-8, not JSON, no object, no such field, or no string in it.
    """
    if field is None:
        return _decoded(line).removesuffix("\n")
    if line.isspace():
        return None
    try:
        held = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        _decoded(line)
        raise BadLine(f"is not JSON ({error.msg}, at column {error.pos + 1})") from None
    if not isinstance(held, dict):
        raise BadLine(f"is {JSON_TYPES[type(held)]}, not an object")
    text = held.get(field)
    if isinstance(text, str):
        return text
    if field in held:
        raise BadLine(f"has {JSON_TYPES[type(text)]} in its field {field!r}, not a string")
    others = [repr(name) for name in held]
    only = f", only {', '.join(others[:5])}{', ...' * (len(others) > 5)}" if others else ""
    raise BadLine(f"has no field {field!r}{only}")


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadLine(
            f"is not UTF-8 (byte 0x{line[error.start]:02x} at {error.start + 1})"
        ) from None


def decompressed(file: IO[bytes], name: str) -> IO[bytes]:
    """The text of an open file of this name; reading it may raise one of ``DAMAGED``."""
    if name.lower().endswith(".gz"):
        return io.BufferedReader(gzip.GzipFile(fileobj=file), BUFFER)
    if name.lower().endswith(".zst"):
        return io.BufferedReader(_Frames(file), BUFFER)
    return file


class _Frames(io.RawIOBase):
    """The text of a zstd file. zstandard's own reader takes one that is cut off for a whole one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._chunks = _chunks_of_frames(file)
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._chunk:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._chunk = memoryview(chunk)
        count = min(len(buffer), len(self._chunk))
        buffer[:count], self._chunk = self._chunk[:count], self._chunk[count:]
        return count


def _chunks_of_frames(file: IO[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
    frame = decompressor.decompressobj()
    while data := file.read(1 << 16):
        while data:
            if frame.eof:
                frame = decompressor.decompressobj()
            yield frame.decompress(data)
            data = frame.unused_data if frame.eof else b""
    if not frame.eof:
        raise EOFError("its last frame has no end")


@contextmanager
def writing(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Make a file, compressed as ``name`` says. At the end the disk has it."""
    with path.open("wb") as file:
        stream: Any = file
        if name.lower().endswith(".gz"):
            stream = io.BufferedWriter(gzip.GzipFile("", "wb", 6, file, mtime=0), BUFFER)
        elif name.lower().endswith(".zst"):
            packer = zstandard.ZstdCompressor().stream_writer(file, closefd=False)
            stream = io.BufferedWriter(packer, BUFFER)
        yield stream
        if stream is not file:
            stream.close()
        file.flush()
        os.fsync(file.fileno())
