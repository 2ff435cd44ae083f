"""Tokenizers as files: JSON, with pieces in base64, since they are bytes and not always text."""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

FORMAT, VERSION = "llm-systems-by-hand/tokenizer", 1


def write(path: Path, kind: str, fields: dict[str, Any]) -> None:
    """Write a tokenizer's file."""
    write_atomically(
        path, json.dumps({"format": FORMAT, "version": VERSION, "kind": kind} | fields)
    )


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file aside, then rename it: nothing half-written ever has its name."""
    with atomically(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Where to write a file, which gets its name when that is done."""
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """What a tokenizer's file holds.

    Raises:
        ValueError: it is no such file, or of a later version.
    """
    held = read_json(path, "a tokenizer's file, written by save()")
    if held.get("format") != FORMAT:
        raise ValueError(f"{path} is not a tokenizer's file, written by save(): it says no format")
    if held.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {held.get('version')!r}, and {VERSION} is read here: "
            f"bring the course up to date"
        )
    return held


def read_json(path: Path, wanted: str) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        ValueError: it holds none; the sentence says what was wanted.
    """
    try:
        held = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not {wanted}: it is not JSON ({error})") from None
    if not isinstance(held, dict):
        raise ValueError(f"{path} is not {wanted}: it is JSON, but not an object")
    return held


def as_base64(pieces: Iterable[bytes]) -> list[str]:
    """Bytes as text for JSON."""
    return [b64encode(piece).decode() for piece in pieces]


def from_base64(texts: Iterable[str]) -> list[bytes]:
    """The bytes again.

    Raises:
        ValueError: a text is not base64.
    """
    return [b64decode(text, validate=True) for text in texts]
