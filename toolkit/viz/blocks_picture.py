"""The picture of a pool over time for print: a bar for each block while the same requests read it.

The widget ``Blocks`` shows the same map, with the pool at one event below it.
"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from toolkit.viz.style import COLORS

TINTS = ("prefill", "decode", "peer")
LOOKS = 2 * len(TINTS)
"""How many requests can be told apart: each tint plain, and striped."""


def look_of(order: int) -> tuple[str, bool]:
    """The tint of the request that began as the ``order``-th, and whether it is striped."""
    return TINTS[order % len(TINTS)], order % LOOKS >= len(TINTS)


def draw_pool(record: dict[str, Any], words: dict[str, str]) -> Figure:
    """A widget's record, all events of it."""
    figure = Figure(figsize=(7.2, 1.4 + min(5.0, 0.8 + 0.06 * record["blocks"])))
    figure.suptitle(words["title"], x=0.01, ha="left", weight="bold", size="large")
    axes = figure.subplots()
    axes.set_title(words["picture_key"], size=9, weight="normal")
    orders = {request: at for at, request in enumerate(dict.fromkeys(record["request"]))}
    bars: dict[tuple[str, str], list[int]] = {}
    for at, readers in enumerate(record["readers"]):
        if len(readers) == 1:
            tint, striped = look_of(orders[readers[0]])
            bars.setdefault((tint, "////" if striped else ""), []).append(at)
        else:
            bars.setdefault(("hit", "" if readers else "xxxx"), []).append(at)
    for (tint, hatch), spans in bars.items():
        _draw_bars(axes, record, spans, tint, hatch)
    axes.plot(
        [event + 0.5 for event in record["lost_event"]],
        [block + 0.5 for block in record["lost_block"]],
        "X",
        color=COLORS["evicted"],
        markeredgecolor=COLORS["limit"],
        markeredgewidth=0.4,
        markersize=4.5,
    )
    axes.set_xlim(0, len(record["kind"]))
    axes.set_ylim(record["blocks"], 0)
    axes.set_xlabel(words["map_events"])
    axes.set_ylabel(words["map_blocks"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False)
    return figure


def _draw_bars(axes: Axes, record: dict[str, Any], spans: list[int], tint: str, hatch: str) -> None:
    boxes = []
    for at in spans:
        block, start, end = record["block"][at], record["start"][at], record["end"][at]
        boxes.append([(start, block), (end, block), (end, block + 0.92), (start, block + 0.92)])
    cached = hatch == "xxxx"
    axes.add_collection(
        PolyCollection(
            boxes,
            facecolor=COLORS["page" if cached else tint],
            edgecolor=COLORS[tint if cached else "page"],
            hatch=hatch,
            linewidth=0.4,
        )
    )
