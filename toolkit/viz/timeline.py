"""The widget ``Timeline``: what each request of a schedule did, and when.

A request is a lane: it waits, its prompt is computed in chunks, then it decodes, a token at a time.
Under the lanes are the tokens of each iteration. Two schedules of the same requests stand one above
the other on one axis of time.

A kernel's launch on a GPU is something else: see ``toolkit.kernels.timeline``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import traitlets
from matplotlib.figure import Figure

from toolkit.serving.batching import Schedule, Targets
from toolkit.serving.batching.chrome_trace import microseconds
from toolkit.serving.batching.lanes import lanes, present
from toolkit.viz.timeline_picture import draw_schedules
from toolkit.viz.timeline_record import columns, guess_of, lasting
from toolkit.viz.widget import Widget

MOST_CHUNKS = 8000
"""The most chunks, of all schedules together, that a page may hold."""

MOST_LANES = 200
VIEW = 100_000
"""Parts of the window, in which the ends of what is in view are given."""


class Timeline(Widget):
    """A schedule as lanes, or two of the same requests.

    Args:
        schedules: one, or two by name: the better one last.
        targets: what each request was promised; drawn beside what it got.
        budget: the most tokens that an iteration was to have; by name where they differ.
        first: the request that is shown first. The reader guesses its longest wait between two
            tokens, under the last schedule. By default the one that waits longest under the first,
            of those whose tokens are all in the window.
        guess: whether the reader is asked before all is shown.
        window: from when to when, in seconds; by default all.
    Raises:
        ValueError: no schedule or more than two, schedules of different requests or without
            iterations, a window without any, or with more than ``MOST_CHUNKS`` chunks or
            ``MOST_LANES`` requests, or an argument that doesn't fit.

    The traits ``step`` (which iteration is the present one, from 0, over all schedules by their
    start), ``request`` (its id), ``view_start`` and ``view_end`` (in parts of ``VIEW`` of the
    window) and ``revealed`` follow the reader, and the widget follows them.
    """

    name = "timeline"
    linked = ("step", "request", "view_start", "view_end")

    record = traitlets.Dict(help="The window of the schedules, by columns.").tag(sync=True)
    step = traitlets.Int(0, help="Which iteration is the present one.").tag(sync=True)
    request = traitlets.Int(0, help="The id of the request shown.").tag(sync=True)
    view_start = traitlets.Int(0, help="Where the view begins in the window.").tag(sync=True)
    view_end = traitlets.Int(VIEW, help="Where it ends.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(
        self,
        schedules: Schedule | Mapping[str, Schedule],
        targets: Targets | None = None,
        *,
        budget: int | Mapping[str, int] | None = None,
        first: int | None = None,
        window: tuple[float, float] | None = None,
        guess: bool = True,
    ) -> None:
        named = dict(schedules) if isinstance(schedules, Mapping) else {"schedule": schedules}
        _refuse(named)
        self.schedules = named
        self.window = window or _whole(named)
        _refuse_window(named, self.window)
        seen = [lanes(schedule, self.window) for schedule in named.values()]
        record = columns(named, seen, self.window, targets, _budgets(budget, named))
        for one, schedule in zip(record["schedules"], named.values(), strict=True):
            one |= _empty_rows(schedule, record)
        if first is not None and first not in record["requests"]:
            raise ValueError(
                f"first must be a request that is in the window, got {first!r}: they are "
                f"{record['requests'][0]} to {record['requests'][-1]}"
            )
        question = guess_of(record, first)
        super().__init__(
            record=record | {"guess": question},
            request=record["requests"][question["row"]],
            revealed=not (guess and question["choices"]),
        )

    @property
    def iteration(self) -> tuple[str, int]:
        """The present iteration: of which schedule, and its number there."""
        one = self.record["schedules"][self.record["step_schedule"][self.step]]
        return one["name"], one["first"] + self.record["step_iteration"][self.step]

    @traitlets.validate("step", "view_start", "view_end")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        most = len(self.record["step_schedule"]) - 1 if name == "step" else VIEW
        if not 0 <= value <= most:
            raise traitlets.TraitError(f"{name} must be 0 to {most}, got {value}")
        return value

    @traitlets.validate("request")
    def _known(self, proposal: Any) -> int:
        if proposal["value"] not in self.record["requests"]:
            raise traitlets.TraitError(
                f"request must be one that is in the window, got {proposal['value']}"
            )
        return proposal["value"]

    def summary(self) -> str:
        """What is computed at the present step, and how the chosen request fared."""
        said = self.words["summary"].format(
            time=self._clock(self._time),
            now=" ".join(self._under(one, self._now(one)) for one in self._schedules),
            request=self.request,
        )
        row = self.record["requests"].index(self.request)
        fared = [self._under(one, self._fared(one, row)) for one in self._schedules]
        return " ".join([said, *fared])

    @property
    def _schedules(self) -> list[dict[str, Any]]:
        return self.record["schedules"]

    @property
    def _time(self) -> int:
        of, iteration = (
            self.record[f"step_{name}"][self.step] for name in ("schedule", "iteration")
        )
        return self._schedules[of]["start"][iteration]

    def _under(self, one: dict[str, Any], text: str) -> str:
        several = len(self._schedules) > 1
        return self.words["under"].format(name=one["name"], text=text) if several else text

    def _now(self, one: dict[str, Any]) -> str:
        at = int(np.searchsorted(one["start"], self._time, side="right")) - 1
        if at < 0 or one["start"][at] + one["span"][at] <= self._time:
            return self.words["idle"]
        padding = one["padding"][at]
        return self.words["now_padding" if padding else "now"].format(
            iteration=one["first"] + at, prefill=f"{one['prefill'][at]:,}",
            decode=f"{one['decode'][at]:,}", padding=f"{padding:,}",
            duration=lasting(one["span"][at]), used=f"{one['blocks_used'][at]:,}",
            blocks=f"{one['blocks']:,}",
        )  # fmt: skip

    def _fared(self, one: dict[str, Any], row: int) -> str:
        times = {name: lasting(one[name][row]) for name in ("ttft", "gap", "end_to_end")}
        return self.words["fared"].format(**times)

    def _clock(self, time: int) -> str:
        return f"{(self.record['origin'] + time + 500) // 1000 / 1000:,.3f}"

    def picture(self) -> Figure:
        """The whole window: lanes, tokens of each iteration, and the curves of both latencies."""
        return draw_schedules(self.record, self.words)


def _refuse(named: dict[str, Schedule]) -> None:
    if not 1 <= len(named) <= 2:
        raise ValueError(f"schedules must be one or two, got {len(named)}")
    for name, schedule in named.items():
        if not schedule.iterations:
            raise ValueError(f"{name} has no iterations: simulate a trace, or run an engine")
    one, *others = named.values()
    if any(not np.array_equal(one.arrival, other.arrival) for other in others):
        raise ValueError(
            "both schedules must be of the same requests, and these arrive at other times: "
            "simulate the same trace under both policies"
        )


def _whole(named: dict[str, Schedule]) -> tuple[float, float]:
    starts = [min(one.arrival.min(), one.start[0]) for one in named.values()]
    return float(min(starts)), float(max(one.end.max() for one in named.values()))


def _refuse_window(named: dict[str, Schedule], window: tuple[float, float]) -> None:
    for name, schedule in named.items():
        first, last = schedule.between(*window)
        if first == last or window[0] >= window[1]:
            ends = f"{schedule.start[0]:.3g} to {schedule.end.max():.3g} s"
            raise ValueError(
                f"window must be from when to when, in seconds, and have an iteration of {name}, "
                f"which has them from {ends}; got {window!r}"
            )
    chunks, requests = _sizes(named, window)
    (start, end), size = window, (chunks, requests)
    while size[0] > MOST_CHUNKS or size[1] > MOST_LANES:
        end = start + 0.8 * (end - start)
        size = _sizes(named, (start, end))
    if size != (chunks, requests):
        raise ValueError(
            f"the window has {chunks:,} chunks of {requests:,} requests, and {MOST_CHUNKS:,} of "
            f"{MOST_LANES:,} are the most that can be shown: window=({start:g}, {end:.3g}) fits"
        )


def _sizes(named: dict[str, Schedule], window: tuple[float, float]) -> tuple[int, int]:
    """Chunks of all schedules in a window, and requests of any."""
    chunks = sum(
        int(np.diff(schedule.chunk_offsets[list(schedule.between(*window))])[0])
        for schedule in named.values()
    )
    there = np.any([present(schedule, window) for schedule in named.values()], axis=0)
    return chunks, int(there.sum())


def _empty_rows(schedule: Schedule, record: dict[str, Any]) -> dict[str, list[int]]:
    """Whose row of a static batch is computed for nothing, and from when to when.

    Only where nobody joins a batch are the padding tokens the rows of those that have ended.
    """
    _, batch = np.unique(schedule.began, return_inverse=True)
    joins = np.flatnonzero(np.diff(batch[schedule.chunk_request])) + 1
    static = np.isin(joins, schedule.chunk_offsets).all()
    last = schedule.last_token
    until = np.full(len(last), -np.inf)
    np.fmax.at(until, batch, last)
    ends = until[batch]
    # its batch's last iteration: rows are padded there if any has ended before
    final = np.minimum(np.searchsorted(schedule.end, ends), schedule.iterations - 1)
    padded = (schedule.padding > 0) & (schedule.prefill_tokens == 0)
    empty = static & padded[final] & (last < ends)
    rows = np.flatnonzero(empty[record["requests"]])
    found = np.array(record["requests"])[rows]
    return {
        "empty_request": rows.tolist(),
        "empty_start": [time - record["origin"] for time in microseconds(last[found])],
        "empty_end": [time - record["origin"] for time in microseconds(ends[found])],
    }


def _budgets(
    budget: int | Mapping[str, int] | None, named: dict[str, Schedule]
) -> list[int | None]:
    budgets = budget if isinstance(budget, Mapping) else dict.fromkeys(named, budget)
    for name, tokens in budgets.items():
        if name not in named:
            raise ValueError(f"budget must be by the names {', '.join(named)}, got {name!r}")
        if tokens is not None and tokens < 1:
            raise ValueError(f"budget must be at least 1 token, got {tokens!r}")
    return [budgets.get(name) for name in named]
