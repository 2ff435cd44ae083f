"""The files that traces come in, row by row; a row that isn't a request is named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from .memory import blocks_for

BLOCK = 512
"""Tokens of a block in Mooncake's traces; a prompt's last block may hold fewer."""

AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
PLAIN = ("arrival", "prompt_tokens", "output_tokens")
MOONCAKE = ("timestamp", "input_length", "output_length", "hash_ids")


class Rows(NamedTuple):
    """The columns of a file, in its order."""

    arrival: Float64[np.ndarray, " requests"]
    prompt_tokens: Int64[np.ndarray, " requests"]
    output_tokens: Int64[np.ndarray, " requests"]
    blocks: list[tuple[int, ...]] | None


def read_rows(path: str | PathLike[str]) -> Rows:
    """Read a trace: see ``Trace.load``."""
    path = Path(path)
    read = _mooncake if path.suffix == ".jsonl" else _table
    rows = list(read(path.name, StringIO(_text(path), newline="")))
    if not rows:
        raise ValueError(f"{path.name} has no requests: it needs at least one row")
    arrival, prompt, output, blocks = zip(*rows, strict=True)
    return Rows(
        np.array(arrival, dtype=np.float64),
        np.array(prompt, dtype=np.int64),
        np.array(output, dtype=np.int64),
        None if blocks[0] is None else list(blocks),
    )


Row = tuple[float, int, int, tuple[int, ...] | None]


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path.name}, line {line}: the byte {data[error.start]:#04x} is not UTF-8: "
            "save the file in that encoding"
        ) from None


def _table(name: str, file: StringIO) -> Iterator[Row]:
    lines = csv.DictReader(file)
    try:
        yield from _requests(name, lines)
    except csv.Error as error:
        where = f"{name}, line {lines.reader.line_num}"
        raise ValueError(f"{where}: {error}: check that it is a table of numbers") from None


def _requests(name: str, lines: csv.DictReader) -> Iterator[Row]:
    header = lines.fieldnames or []
    columns = next((these for these in (AZURE, PLAIN) if set(these) <= set(header)), None)
    if columns is None:
        raise ValueError(
            f"{name} must have the columns {', '.join(PLAIN)}, or {', '.join(AZURE)}; "
            f"it has {', '.join(header) or 'none'}"
        )
    time = _seconds_of_a_date if columns is AZURE else _seconds
    for row in lines:
        where = f"{name}, line {lines.line_num}"
        arrival, prompt, output = (row[column] for column in columns)
        yield (
            _value(where, columns[0], arrival, time),
            _value(where, columns[1], prompt, _tokens),
            _value(where, columns[2], output, _tokens),
            None,
        )


def _mooncake(name: str, file: StringIO) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        where = f"{name}, line {number}"
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not set(MOONCAKE) <= row.keys():
            raise ValueError(
                f"{where}: {line.strip()[:60]!r} must be a JSON object with {', '.join(MOONCAKE)}"
            )
        time, prompt, output, blocks = (row[column] for column in MOONCAKE)
        tokens = _value(where, "input_length", prompt, _tokens)
        count = blocks_for(tokens, BLOCK)
        if not isinstance(blocks, list) or len(blocks) != count:
            have = f"{len(blocks)} ids" if isinstance(blocks, list) else repr(blocks)
            raise ValueError(
                f"{where}: hash_ids must have one id for each {BLOCK} of its {tokens:,} tokens, "
                f"which is {count}, got {have}"
            )
        yield (
            _value(where, "timestamp", time, _seconds) / 1e3,
            tokens,
            _value(where, "output_length", output, _tokens),
            tuple(_value(where, "hash_ids", block, _id) for block in blocks),
        )


def _value(where: str, column: str, value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: {column} must be {read.__doc__}, got {value!r}") from None


def _seconds(value: Any) -> float:
    """a number of at least 0"""
    number = float(value)
    if not 0 <= number < np.inf:
        raise ValueError
    return number


def _seconds_of_a_date(value: Any) -> float:
    """a time such as 2023-11-16 18:15:46.6805900"""
    # Python knows microseconds, and the trace has a digit more.
    whole, point, fraction = str(value).partition(".")
    if point and not fraction.isdecimal():
        raise ValueError
    moment = datetime.fromisoformat(f"{whole}+00:00")
    return moment.timestamp() + float(f"0.{fraction or 0}")


def _tokens(value: Any) -> int:
    """a whole number of at least 1, below 2**31"""
    number = _id(value)
    if not 1 <= number < 2**31:
        raise ValueError
    return number


def _id(value: Any) -> int:
    """a whole number below 2**63"""
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise TypeError
    number = int(value)
    if abs(number) >= 2**63:
        raise ValueError
    return number
