"""The picture of schedules for print: lanes, the tokens of each iteration, both latencies' curves.

The widget ``Timeline`` shows the same window, an iteration at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from toolkit.viz.style import COLORS
from toolkit.viz.timeline_record import lasting

Bar = tuple[int, int, int]
"""A row, and from when to when."""

LOOKS: dict[str, tuple[str, float]] = {
    "waiting": ("waiting", 0.34),
    "prefill": ("prefill", 0.86),
    "decode": ("decode", 0.56),
}
"""Colour, and height in parts of the lane: the three differ in both."""

HOLLOW: dict[str, Any] = {
    "facecolor": COLORS["page"],
    "edgecolor": COLORS["missed"],
    "linewidth": 0.8,
}
"""The look of padding, which is computed for nothing."""


def draw_schedules(record: dict[str, Any], words: dict[str, str]) -> Figure:
    """Each schedule's lanes above its tokens, on one axis of time; below, the two curves."""
    schedules = record["schedules"]
    lanes = min(3.2, max(1.1, 0.12 * len(record["requests"])))
    tall = [part for _ in schedules for part in (lanes + 0.3, 0.9)]
    figure = Figure(figsize=(7.2, 0.9 + sum(tall) + 2.3))
    figure.suptitle(words["title"], x=0.01, ha="left", weight="bold", size="large")
    (upper,), (lower,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(sum(tall) + 0.5, 2))
    axes = upper.subplots(len(tall), 1, sharex=True, squeeze=False, height_ratios=tall)[:, 0]
    for one, above, below in zip(schedules, axes[::2], axes[1::2], strict=True):
        _draw_lanes(above, record, one, words)
        _draw_tokens(below, record, one, words)
    if len(schedules) > 1:
        for one, above in zip(schedules, axes[::2], strict=True):
            above.set_title(one["name"], size="medium")
    axes[-1].set_xlabel(words["time"])
    start = record["origin"] / 1e6
    axes[-1].set_xlim(start, start + record["span"] / 1e6)
    both = lower.subplots(1, 2, sharey=True)
    for axis, curve in zip(both, ("ttft", "gap"), strict=True):
        _draw_curve(axis, record, curve, words)
    both[0].set_ylabel(words["share"])
    return figure


def merged(bars: Iterable[Bar]) -> list[Bar]:
    """Bars by row and start, with those that touch made one."""
    done: list[Bar] = []
    for row, start, end in sorted(bars):
        if done and done[-1][0] == row and done[-1][2] >= start:
            done[-1] = (row, done[-1][1], max(end, done[-1][2]))
        else:
            done.append((row, start, end))
    return done


def bars(one: dict[str, Any]) -> dict[str, list[Bar]]:
    """The bars of a schedule's lanes: waits, chunks of prefill, and decodes."""
    chunks: dict[int, list[Bar]] = {0: [], 1: []}
    names = ("chunk_iteration", "chunk_request", "chunk_decode")
    for at, row, decode in zip(*(one[name] for name in names), strict=True):
        start = one["start"][at]
        chunks[decode].append((row, start, start + one["span"][at]))
    waits = _columns(one, "wait")
    return {"waiting": sorted(waits), "prefill": sorted(chunks[0]), "decode": merged(chunks[1])}


def _columns(one: dict[str, Any], kind: str) -> Iterable[Bar]:
    return zip(*(one[f"{kind}_{name}"] for name in ("request", "start", "end")), strict=True)


def _draw_lanes(
    axes: Axes, record: dict[str, Any], one: dict[str, Any], words: dict[str, str]
) -> None:
    origin, rows = record["origin"], len(record["requests"])

    def add(found: Iterable[Bar], height: float, **look: Any) -> None:
        boxes = [_box(row, (origin + start) / 1e6, (origin + end) / 1e6, height)
                 for row, start, end in found]  # fmt: skip
        axes.add_collection(PolyCollection(boxes, **look))

    there = [
        [((origin + start) / 1e6, row), ((origin + end) / 1e6, row)]
        for row, (start, end) in enumerate(zip(record["arrival"], one["last_token"], strict=True))
        for end in [record["span"] if end is None else end]
    ]
    axes.add_collection(LineCollection(there, color=COLORS["muted"], linewidth=0.6, zorder=0.9))
    for kind, found in bars(one).items():
        color, height = LOOKS[kind]
        edge = COLORS["page"] if kind == "prefill" else COLORS["peer"]
        add(found, height, facecolor=COLORS[color], edgecolor=edge, linewidth=0.4)
    add(_columns(one, "empty"), LOOKS["decode"][1], **HOLLOW)
    lost = [(origin + time) / 1e6 for time in one["lost_time"]]
    axes.plot(
        lost, one["lost_request"], "v", color=COLORS["evicted"], markeredgecolor=COLORS["text"],
        markeredgewidth=0.6, markersize=5, zorder=3,
    )  # fmt: skip
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_ylabel(words["request"])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    names = record["requests"]
    axes.yaxis.set_major_formatter(lambda row, _: str(names[int(row)]) if 0 <= row < rows else "")
    handles: list[Any] = [
        Patch(facecolor=COLORS[color], edgecolor=COLORS["peer"], label=words[f"key_{kind}"])
        for kind, (color, _) in LOOKS.items()
    ]
    handles.append(Line2D([], [], color=COLORS["muted"], lw=0.6, label=words["key_stalled"]))
    if one["empty_request"]:
        handles.append(Patch(label=words["key_padding"], **HOLLOW))
    if lost:
        handles.append(axes.lines[0])
        axes.lines[0].set_label(words["key_lost"])
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=6, fontsize=8,
        columnspacing=1.2, handlelength=1.4,
    )  # fmt: skip


def _box(row: int, start: float, end: float, height: float) -> list[tuple[float, float]]:
    top, bottom = row - height / 2, row + height / 2
    return [(start, top), (end, top), (end, bottom), (start, bottom)]


def _draw_tokens(
    axes: Axes, record: dict[str, Any], one: dict[str, Any], words: dict[str, str]
) -> None:
    start, held = np.array(one["start"]), np.array(one["held"])
    # between two iterations there are none
    edges = np.stack([start, start + held], axis=1).ravel()
    edges = np.maximum.accumulate((record["origin"] + edges) / 1e6)
    wide = np.diff(edges) > 0
    edges = np.append(edges[:-1][wide], edges[-1])
    below = np.zeros(wide.sum())
    looks = {kind: {"color": COLORS[kind], "linewidth": 0} for kind in ("prefill", "decode")}
    for kind, look in [*looks.items(), ("padding", HOLLOW)]:
        tokens = np.zeros(len(wide))
        tokens[::2] = one[kind]
        tokens = tokens[wide]
        if not tokens.any():
            continue
        axes.stairs(below + tokens, edges, baseline=below.copy(), fill=True, **look)
        below += tokens
    if one["budget"]:
        axes.axhline(one["budget"], color=COLORS["limit"], linestyle="--", linewidth=1.2)
    axes.set_ylim(0, 1.12 * record["most_tokens"])
    axes.set_ylabel(words["tokens"])


def _draw_curve(axes: Axes, record: dict[str, Any], curve: str, words: dict[str, str]) -> None:
    schedules: Sequence[dict[str, Any]] = record["schedules"]
    for at, one in enumerate(schedules):
        if not one[f"{curve}_curve"]:
            continue
        last = at == len(schedules) - 1
        axes.plot(
            np.maximum(1, one[f"{curve}_curve"]) / 1e6, np.arange(101),
            color=COLORS["ours" if last else "peer"], linestyle="-" if last else "--",
            label=one["name"],
        )  # fmt: skip
    if record[f"target_{curve}"]:
        label = words["target"]
        axes.axvline(
            record[f"target_{curve}"] / 1e6, color=COLORS["limit"], linestyle=":", label=label
        )
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 40 * low else (1,)))
    axes.xaxis.set_major_formatter(lambda seconds, _: lasting(round(1e6 * seconds)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(words[f"{curve}_curve"], fontsize=8.5)
    if len(schedules) > 1 or record[f"target_{curve}"]:
        axes.legend(fontsize=8)
