"""A schedule as a file that Perfetto and chrome://tracing open.

Each schedule is a process. Its thread 0 has the iterations, and each request has a thread of its
own: a complete event for each chunk and each wait, an instant where it lost its blocks. A counter
has the blocks in use.

Source:
    Trace Event Format, Google 2016: ``ph`` is X for complete, i for instant, C for counter and M
    for metadata; times are in microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np

from .lanes import lanes
from .schedule import Schedule


def chrome_trace(
    schedules: Schedule | Mapping[str, Schedule], span: tuple[float, float] = (-inf, inf)
) -> dict[str, Any]:
    """The trace of a schedule, or of several by name, ready for ``json.dump``.

    Args:
        schedules: of at least one iteration each.
        span: only what reaches into it, in seconds; by default all.
    """
    named = schedules if isinstance(schedules, Mapping) else {"schedule": schedules}
    names: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for process, (name, schedule) in enumerate(named.items(), 1):
        own = _events(schedule, span, process)
        threads = sorted({event["tid"] for event in own} - {0})
        names.append(_named("process", process, 0, name))
        names.append(_named("thread", process, 0, "iterations"))
        names += [_named("thread", process, tid, f"request {tid - 1}") for tid in threads]
        events += own
    return {
        "traceEvents": names + sorted(events, key=lambda event: event["ts"]),
        "displayTimeUnit": "ms",
    }


def microseconds(seconds: np.ndarray | float) -> list[int]:
    """The format's unit, whole: what ends where another begins still does when both are rounded."""
    return np.rint(1e6 * np.atleast_1d(seconds)).astype(np.int64).tolist()


def _events(schedule: Schedule, span: tuple[float, float], pid: int) -> list[dict[str, Any]]:
    what = lanes(schedule, span)
    events: list[dict[str, Any]] = []

    def complete(name: str, tid: int, start: int, end: int, **args: int) -> None:
        events.append(
            {"name": name, "ph": "X", "ts": start, "dur": end - start, "pid": pid, "tid": tid}
            | ({"args": args} if args else {})
        )

    start, end = microseconds(schedule.start), microseconds(schedule.end)
    # in a pipeline the next batch enters when this one has left the first stage
    entered = microseconds(schedule.start + schedule.seconds)
    for at in range(what.first, what.last):
        complete(
            "iteration", 0, start[at], entered[at], iteration=at,
            prefill=int(schedule.prefill_tokens[at]), decode=int(schedule.decode_tokens[at]),
            padding=int(schedule.padding[at]),
        )  # fmt: skip
        blocks = {"blocks": int(schedule.blocks_used[at])}
        events.append(
            {"name": "blocks in use", "ph": "C", "ts": start[at], "pid": pid, "tid": 0}
            | {"args": blocks}
        )
    for at, request, tokens, decode in zip(
        what.chunk_iteration.tolist(), what.chunk_request.tolist(),
        what.chunk_tokens.tolist(), what.chunk_decode.tolist(), strict=True,
    ):  # fmt: skip
        name = "decode" if decode else "prefill"
        complete(name, request + 1, start[at], end[at], iteration=at, tokens=tokens)
    waited = zip(microseconds(what.wait_start), microseconds(what.wait_end), strict=True)
    for request, (begun, ended) in zip(what.wait_request.tolist(), waited, strict=True):
        complete("waiting", request + 1, begun, ended)
    for request, time in zip(what.lost_request.tolist(), microseconds(what.lost_time), strict=True):
        events.append(
            {"name": "pre-empted", "ph": "i", "s": "t", "ts": time, "pid": pid, "tid": request + 1}
        )
    return events


def _named(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {
        "name": f"{kind}_name", "ph": "M", "pid": process, "tid": thread, "args": {"name": name},
    }  # fmt: skip
