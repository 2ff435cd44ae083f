"""``toolkit dedup``: signals, exit codes and what is said around ``deduplicate_files``."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from .inputs import InputError, Inputs
from .progress import Stopped
from .stream import Summary, deduplicate_files


def run(
    inputs: Inputs, out: Path, report: Path | None, workers: int | None, settings: dict[str, Any]
) -> int:
    """Run ``deduplicate_files`` until it is done, or told to stop by Ctrl-C or a polite kill.

    Returns:
        The exit code: 0, 2 for what can't be used, 128 + the signal's number if stopped.
    """
    began = time.monotonic()
    try:
        with _noted_signals() as received:
            summary = deduplicate_files(
                inputs,
                out,
                report=report,
                workers=workers,
                stop=lambda: bool(received),
                **settings,
            )
    except InputError as error:
        typer.echo(f"toolkit: {error}", err=True)
        return 2
    except Stopped as stopped:
        typer.echo(f"toolkit: {stopped}", err=True)
        return 128 + received[0]
    _tell(summary, time.monotonic() - began)
    return 0


def _tell(summary: Summary, seconds: float) -> None:
    for line in summary.first_bad:
        typer.echo(f"left out: {line}", err=True)
    if more := summary.bad - len(summary.first_bad):
        typer.echo(f"left out: {more:,} more bad lines", err=True)
    removed = summary.documents - summary.kept
    typer.echo(
        f"documents {summary.documents:,} · kept {summary.kept:,} (empty {summary.empty:,}) · "
        f"removed {removed:,} · bad lines {summary.bad:,} · {seconds:.1f} s",
        err=True,
    )


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Signals to stop are noted instead of obeyed; one that comes again is obeyed at once."""
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {}
    for stop in (signal.SIGINT, signal.SIGTERM):
        before[stop] = signal.signal(stop, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
