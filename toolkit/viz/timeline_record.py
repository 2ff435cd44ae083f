"""A window of schedules by columns, for the widget ``Timeline``: whole microseconds from its start.

Requests are rows, those of all schedules together; iterations and chunks are each schedule's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.serving.batching import Schedule, Targets, meets
from toolkit.serving.batching.chrome_trace import microseconds
from toolkit.serving.batching.lanes import Lanes
from toolkit.viz.text import sized

STEPS = ((10**6, "s"), (10**3, "ms"), (1, "µs"))


def columns(
    named: dict[str, Schedule],
    seen: list[Lanes],
    window: tuple[float, float],
    targets: Targets | None,
    budgets: Sequence[int | None],
) -> dict[str, Any]:
    """The record of what was seen of each schedule in the window."""
    origin, end = microseconds(np.array(window))
    promised = targets or Targets()
    requests = np.unique(np.concatenate([one.requests for one in seen]))
    any_schedule = next(iter(named.values()))
    schedules = [
        _schedule(name, schedule, lanes, requests, origin)
        | {
            "budget": budget,
            "met": meets(schedule, targets)[requests].tolist() if targets else None,
        }
        for (name, schedule), lanes, budget in zip(named.items(), seen, budgets, strict=True)
    ]
    starts = np.concatenate([one["start"] for one in schedules])
    whose = np.repeat(np.arange(len(schedules)), [len(one["start"]) for one in schedules])
    number = np.concatenate([np.arange(len(one["start"])) for one in schedules])
    order = np.argsort(starts, kind="stable")
    return {
        "origin": origin,
        "span": end - origin,
        "requests": requests.tolist(),
        "arrival": _from(origin, any_schedule.arrival[requests]),
        "prompt_tokens": any_schedule.prompt_tokens[requests].tolist(),
        "step_schedule": whose[order].tolist(),
        "step_iteration": number[order].tolist(),
        "schedules": schedules,
        "most_tokens": max(map(_most_tokens, schedules)),
        "target_ttft": _promised(promised.ttft),
        "target_gap": _promised(promised.inter_token),
    }


def guess_of(record: dict[str, Any], first: int | None) -> dict[str, Any]:
    """Whose longest wait is asked for under the last schedule, and answers to choose from.

    The answers are the right one, what it is under the first schedule, what is usual, and others;
    any two of them differ by enough to tell.
    """
    *_, last = record["schedules"]
    before = record["schedules"][0]
    if first is None:
        row = max(range(len(record["requests"])), key=lambda row: _whole_gap(record, row))
    else:
        row = record["requests"].index(first)
    right = last["gap"][row]
    if right is None or not 0 <= last["first_token"][row] < record["span"]:
        return {"row": row, "choices": []}
    typical = (last["gap_curve"] or [right])[50]
    pool = [right, before["gap"][row] or right, typical, 3 * right, right // 3, 10 * right]
    kept: list[int] = []
    for one in pool:
        if one > 0 and all(not 0.7 < one / other < 1.4 for other in kept):
            kept.append(one)
    return {"row": row, "gap": right, "choices": sorted(kept[:4])}


def lasting(time: int | None) -> str:
    """Microseconds in three digits and a unit that suits them; ``–`` for none.

    >>> lasting(53_200).replace(chr(0x202F), " ")
    '53.2 ms'
    """
    if time is None:
        return "–"
    step, unit = next((one for one in STEPS if float(f"{time:.3g}") >= one[0]), STEPS[-1])
    return sized(time / step, unit)


def _whole_gap(record: dict[str, Any], row: int) -> int:
    """The request's longest wait under the first schedule, if all of its tokens are in view."""
    for one in record["schedules"]:
        first, last = one["first_token"][row], one["last_token"][row]
        if first is None or first < 0 or last > record["span"]:
            return -1
    return record["schedules"][0]["gap"][row] or 0


def _schedule(
    name: str, schedule: Schedule, lanes: Lanes, requests: np.ndarray, origin: int
) -> dict[str, Any]:
    here = slice(lanes.first, lanes.last)
    start, end = (_from(origin, getattr(schedule, name)[here]) for name in ("start", "end"))
    entered = _from(origin, (schedule.start + schedule.seconds)[here])
    pairs = [zip(ends, start, strict=True) for ends in (entered, end)]
    held, span = ([until - begun for until, begun in pair] for pair in pairs)
    row = {request: at for at, request in enumerate(requests.tolist())}
    gaps = [np.diff(schedule.tokens(request)) for request in requests]
    tokens = schedule.token_times
    owner = np.repeat(np.arange(schedule.requests), schedule.output_tokens)
    every_gap = np.diff(tokens)[owner[1:] == owner[:-1]]
    waited = schedule.first_token - schedule.arrival
    return {
        "name": name,
        "blocks": schedule.blocks,
        "first": lanes.first,
        "start": start,
        "held": held,
        "span": span,
        "prefill": schedule.prefill_tokens[here].tolist(),
        "decode": schedule.decode_tokens[here].tolist(),
        "padding": schedule.padding[here].tolist(),
        "blocks_used": schedule.blocks_used[here].tolist(),
        "chunk_iteration": (lanes.chunk_iteration - lanes.first).tolist(),
        "chunk_request": [row[request] for request in lanes.chunk_request.tolist()],
        "chunk_tokens": lanes.chunk_tokens.tolist(),
        "chunk_decode": lanes.chunk_decode.astype(int).tolist(),
        "wait_request": [row[request] for request in lanes.wait_request.tolist()],
        "wait_start": _from(origin, lanes.wait_start),
        "wait_end": _from(origin, lanes.wait_end),
        "lost_request": [row[request] for request in lanes.lost_request.tolist()],
        "lost_time": _from(origin, lanes.lost_time),
        "tokens": schedule.output_tokens[requests].tolist(),
        "preemptions": schedule.preemptions[requests].tolist(),
        "first_token": _from(origin, schedule.first_token[requests]),
        "last_token": _from(origin, schedule.last_token[requests]),
        "ttft": _from(0, waited[requests]),
        "gap": _from(0, np.array([one.max() if len(one) else np.nan for one in gaps])),
        "end_to_end": _from(0, (schedule.last_token - schedule.arrival)[requests]),
        "ttft_curve": _percentiles(waited[~np.isnan(waited)]),
        "gap_curve": _percentiles(every_gap),
    }


def _most_tokens(one: dict[str, Any]) -> int:
    """Of an iteration, or the budget if that is more."""
    each = zip(one["prefill"], one["decode"], one["padding"], strict=True)
    return max(one["budget"] or 1, *map(sum, each))


def _from(origin: int, seconds: np.ndarray) -> list[Any]:
    """None where there is no time."""
    none = np.isnan(seconds)
    times = microseconds(np.where(none, 0.0, seconds)) if len(seconds) else []
    return [None if gone else time - origin for time, gone in zip(times, none, strict=True)]


def _percentiles(seconds: np.ndarray) -> list[int]:
    """What 0, 1, ..., 100 of 100 are below or at."""
    return _from(0, np.percentile(seconds, np.arange(101))) if len(seconds) else []


def _promised(seconds: float) -> int | None:
    return microseconds(seconds)[0] if np.isfinite(seconds) else None
