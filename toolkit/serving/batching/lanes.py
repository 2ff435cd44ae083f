"""A schedule by request: when each computed, what kind of work it was, and when it waited.

A request's chunk is a decode once it has written a token and its blocks are still there; before
that, and after it has lost them, it is prefill. A request waits from its arrival to its first
chunk, and after losing its blocks to its next. What else is empty of its life are stalls: it has
its blocks, and others are computed.

Pictures and files are made of this; ``Schedule`` itself is by iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from jaxtyping import Bool, Float64, Int64

from .schedule import Schedule


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """A span of a schedule by request; times are in seconds.

    Attributes:
        first, last: the iterations under way in the span, from ``first`` to before ``last``.
        requests: ids of those that have arrived and not ended in it.
        chunk_iteration, chunk_request, chunk_tokens: of these iterations.
        chunk_decode: whether it is one; else it is prefill.
        wait_request, wait_start, wait_end: waits that reach into the span. Who waits at the end of
            the schedule waits until then.
        lost_request, lost_time: who lost its blocks in it, and when.
    """

    first: int
    last: int
    requests: Int64[np.ndarray, " requests"]
    chunk_iteration: Int64[np.ndarray, " chunks"]
    chunk_request: Int64[np.ndarray, " chunks"]
    chunk_tokens: Int64[np.ndarray, " chunks"]
    chunk_decode: Bool[np.ndarray, " chunks"]
    wait_request: Int64[np.ndarray, " waits"]
    wait_start: Float64[np.ndarray, " waits"]
    wait_end: Float64[np.ndarray, " waits"]
    lost_request: Int64[np.ndarray, " preemptions"]
    lost_time: Float64[np.ndarray, " preemptions"]


def lanes(schedule: Schedule, span: tuple[float, float] = (-inf, inf)) -> Lanes:
    """What each request did in a span of time, in seconds; by default in all of it.

    Args:
        schedule: of at least one iteration.
        span: from when to when.
    Raises:
        ValueError: a schedule without an iteration.
    """
    if not schedule.iterations:
        raise ValueError("a schedule of 0 iterations has no lanes: it must have at least 1")
    start, end = span
    first, last = schedule.between(start, end)
    alive = present(schedule, span)
    owner = schedule.chunk_request.astype(np.int64)
    order = np.flatnonzero(alive[owner])
    order = order[np.argsort(owner[order], kind="stable")]  # by request, then by iteration
    iterations = np.repeat(np.arange(schedule.iterations), np.diff(schedule.chunk_offsets))
    request, iteration = owner[order], iterations[order]

    lost_alive = alive[schedule.preempted_request]
    lost_request = schedule.preempted_request[lost_alive].astype(np.int64)
    lost_iteration = schedule.preempted_iteration[lost_alive].astype(np.int64)
    # one number that is in order of request, then of iteration
    stride = schedule.iterations + 1
    at, lost_at = request * stride + iteration, lost_request * stride + lost_iteration
    losses = np.searchsorted(np.sort(lost_at), at, side="right")
    follows = (request[1:] == request[:-1]) & (losses[1:] == losses[:-1])
    decode = np.zeros(len(order), dtype=bool)
    decode[1:] = follows & _wrote(schedule, at, stride)[:-1]

    begins = np.append(schedule.start, schedule.end.max())
    wait_request = np.concatenate([np.flatnonzero(alive), lost_request])
    wait_start = np.concatenate([schedule.arrival[alive], begins[lost_iteration]])
    wait_at = np.concatenate([np.flatnonzero(alive) * stride, lost_at])
    following = np.searchsorted(at, wait_at)
    resumes = np.append(request, -1)[following] == wait_request
    wait_end = np.where(resumes, begins[np.append(iteration, -1)[following]], begins[-1])
    began = schedule.began[wait_request[: alive.sum()]]
    wait_end[: alive.sum()] = np.where(np.isnan(began), begins[-1], began)
    waits = (wait_start < wait_end) & (wait_start < end) & (wait_end > start)

    inside = (iteration >= first) & (iteration < last)
    back = np.argsort(order[inside])  # in the order of the schedule
    lost_time = begins[lost_iteration]
    shown = (lost_time >= start) & (lost_time <= end)
    return Lanes(
        first=first,
        last=last,
        requests=np.flatnonzero(alive),
        chunk_iteration=iteration[inside][back],
        chunk_request=request[inside][back],
        chunk_tokens=schedule.chunk_tokens[order[inside][back]].astype(np.int64),
        chunk_decode=decode[inside][back],
        wait_request=wait_request[waits],
        wait_start=wait_start[waits],
        wait_end=wait_end[waits],
        lost_request=lost_request[shown],
        lost_time=lost_time[shown],
    )


def present(schedule: Schedule, span: tuple[float, float]) -> Bool[np.ndarray, " requests"]:
    """Which requests have arrived before a span of time ends, and not ended before it begins."""
    start, end = span
    return (schedule.arrival < end) & ~(schedule.last_token <= start)


def _wrote(schedule: Schedule, at: np.ndarray, stride: int) -> np.ndarray:
    """Whether a chunk was its request's last before a token: one was there when it ended."""
    when = np.searchsorted(schedule.end, schedule.token_times)
    here = np.append(schedule.end, np.nan)[when] == schedule.token_times
    writer = np.repeat(np.arange(schedule.requests), schedule.output_tokens)
    return np.isin(at, (writer * stride + when)[here])
