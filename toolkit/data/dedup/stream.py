"""Files without their near-duplicates, however many lines they have.

    files -> blocks of documents -> DedupIndex, in OUT.work -> the files once more -> OUT

The first pass adds every document to an index that lies on disk; the second copies the lines that
stay. Neither holds more than a few blocks of lines. OUT and the report appear whole, by a rename
at the very end. Until then there is only the folder OUT.work, from which the same command goes on
after it was stopped or killed, or the disk was full.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from .inputs import InputError, Inputs, Position
from .lines import BadLine, writing
from .progress import one_ahead, watched
from .work import Work

BLOCK = 8 << 20  # bytes of lines added at once
LINES = 4096  # copied between two looks at the clock
NAMED = 3  # bad lines named in the summary


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run over files did.

    Attributes:
        documents: how many there were, bad lines apart.
        kept: how many of them stayed, the empty ones included.
        empty: documents without a word.
        bad: lines left out because they hold no document.
        first_bad: the first few of those, in words.
    """

    documents: int
    kept: int
    empty: int
    bad: int
    first_bad: tuple[str, ...]


def deduplicate_files(
    inputs: Inputs,
    out: Path,
    *,
    report: Path | None = None,
    workers: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Summary:
    """Copy the lines of files, in order and byte for byte, without the near-duplicates.

    Args:
        inputs: the files, and what to do about bad lines.
        out: the file to make, compressed if its name ends in .gz or .zst.
        report: a file of JSON Lines to make: for each document that was removed its file and
            line, those of the one it duplicates, and their similarity; for each bad line its file
            and line, and what is bad.
        workers: threads, as many as there are cores if None; they change no answer.
        stop: asked every second or so whether to stop.
        settings: of the ``DedupIndex``: threshold, method, radius, ngram, unit, seed.
    Returns:
        Summary.
    Raises:
        InputError: a file, a line or a setting can't be used, or the system refused something.
        Stopped: ``stop()`` was true.
    """
    inputs.check([out] if report is None else [out, report])
    work = Work(out.with_name(out.name + ".work"), inputs, **settings)
    finished = False
    try:
        _add_all(work, workers, stop)
        summary = _write(work, out, report, stop)
        finished = True
    except OSError as error:
        what = f"{error.filename} can't be used" if error.filename else "the system refused"
        raise InputError(
            f"{what} ({error.strerror or error}): mend that, then the same command goes on after "
            f"{work.in_words()}"
        ) from error
    finally:
        work.close(delete=finished or not work.saved)
    return summary


class _Block(NamedTuple):
    end: Position
    texts: list[str]
    places: list[tuple[int, int]]


def _add_all(work: Work, workers: int | None, stop: Callable[[], bool]) -> None:
    """The first pass: every document goes into the index."""
    start = work.position.bytes_read
    with closing(one_ahead(_blocks(work.inputs, work.position))) as blocks:
        for end, texts, places in watched("reading", blocks, work, stop, start):
            work.add(texts, places, end, workers)
    work.save()


def _blocks(inputs: Inputs, start: Position) -> Iterator[_Block]:
    end, size = start, 0
    texts: list[str] = []
    places: list[tuple[int, int]] = []
    for end, line in inputs.lines(start):
        with suppress(BadLine):
            text = inputs.text(end, line)
            if text is not None:
                texts.append(text)
                places.append(end.place)
        size += len(line)
        if size >= BLOCK:
            yield _Block(end, texts, places)
            texts, places, size = [], [], 0
    yield _Block(end, texts, places)


class _Decision(NamedTuple):
    place: tuple[int, int]
    duplicate_of: tuple[int, int]
    jaccard: float


NO_MORE = _Decision((-1, -1), (-1, -1), 0.0)


def _write(work: Work, out: Path, report: Path | None, stop: Callable[[], bool]) -> Summary:
    """The second pass: the lines that stay, and the report, which get their names at the end."""
    index, named = work.index, work.inputs.named
    bad = 0
    first_bad = []
    with ExitStack() as files:
        lines = files.enter_context(writing(work.folder / "kept", out.name))
        rows = files.enter_context(writing(work.folder / "report", report.name if report else ""))
        for at, line, outcome in watched("writing", _outcomes(work), work, stop, every=LINES):
            if isinstance(outcome, BadLine):
                bad += 1
                if bad <= NAMED:
                    first_bad.append(f"{work.inputs.in_words(at)} {outcome}")
                row = named(at.place) | {"bad": str(outcome)}
                rows.write(orjson.dumps(row) + b"\n")
            elif outcome.duplicate_of == at.place:
                lines.write(line if line.endswith(b"\n") else line + b"\n")
            else:
                original = named(outcome.duplicate_of)
                row = named(at.place) | {"duplicate_of": original, "jaccard": outcome.jaccard}
                rows.write(orjson.dumps(row) + b"\n")
    work.check_inputs()
    if report is not None:
        _publish(work.folder / "report", report)
    _publish(work.folder / "kept", out)
    return Summary(index.documents, len(index.kept), len(index.empty), bad, tuple(first_bad))


def _outcomes(work: Work) -> Iterator[tuple[Position, bytes, _Decision | BadLine]]:
    """Every line again but the blank ones, with what became of it."""
    decisions = _decisions(work)
    coming = next(decisions, NO_MORE)
    for at, line in work.inputs.lines():
        if at.place == coming.place:
            yield at, line, coming
            coming = next(decisions, NO_MORE)
            continue
        try:
            work.inputs.text(at, line)
        except BadLine as bad:
            yield at, line, bad


def _decisions(work: Work) -> Iterator[_Decision]:
    places, duplicate_of, jaccard = work.places, work.index.duplicate_of, work.index.similarity
    for start in range(0, len(places), LINES):
        some = slice(start, start + LINES)
        yield from map(
            _Decision,
            map(tuple, places[some].tolist()),
            map(tuple, places[duplicate_of[some]].tolist()),
            jaccard[some].tolist(),
        )


def _publish(part: Path, target: Path) -> None:
    """Give a whole file its name; to another disk, by way of a copy beside it."""
    beside = target.with_name(target.name + ".part")
    shutil.move(part, beside)
    beside.replace(target)
