"""The picture of a radix tree for print: the runs of tokens, from the root to the leaves.

The widget ``RadixTree`` shows the same tree, a step at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from toolkit.viz.style import COLORS

WIDE, ROW = 7.2, 0.28  # inches
FITS, LONGEST, BETWEEN = 112, 44, 3  # characters: in a line, in a box, and between two columns


def layout(
    nodes: Sequence[int], parents: Sequence[int], orders: Sequence[int]
) -> list[tuple[int, int, float]]:
    """Where the nodes of a tree stand: leaves in rows, and parents in the middle of their children.

    Args:
        nodes: their numbers; 0 is the root.
        parents: the number of each one's parent.
        orders: siblings stand by these.
    Returns:
        The place in ``nodes``, the depth and the row of each, parents before their children.
    """
    children: dict[int, list[int]] = {}
    for at in sorted(range(len(nodes)), key=orders.__getitem__):
        if nodes[at]:
            children.setdefault(parents[at], []).append(at)
    depth = {0: 0}
    rows: dict[int, float] = {}
    before: list[int] = []
    stack = [nodes.index(0)]
    while stack:
        at = stack.pop()
        before.append(at)
        below = children.get(nodes[at], [])
        depth |= {nodes[child]: depth[nodes[at]] + 1 for child in below}
        stack += reversed(below)
    leaves = iter(range(len(nodes)))
    for at in before:
        if nodes[at] not in children:
            rows[at] = next(leaves)
    for at in reversed(before):
        if at not in rows:
            below = children[nodes[at]]
            rows[at] = (rows[below[0]] + rows[below[-1]]) / 2
    return [(at, depth[nodes[at]], rows[at]) for at in before]


def draw_tree(record: dict[str, Any], step: int, words: dict[str, str], event: str) -> Figure:
    """A widget's record at a step."""
    names = ("node", "parent", "order", "label", "locks", "evicted", "end")
    rows = [
        at
        for at, (start, end, gone) in enumerate(
            zip(record["start"], record["end"], record["evicted"], strict=True)
        )
        if start <= step < end or (gone and end == step)
    ]
    now = {name: [record[name][at] for at in rows] for name in names}
    both = now["node"], now["label"]
    placed = layout(now["node"], now["parent"], now["order"])
    leaves = 1 + max(row for _, _, row in placed)
    texts = [f"{node} | {record['labels'][label]}" for node, label in zip(*both, strict=True)]
    left = _columns([(depth, texts[at]) for at, depth, _ in placed if depth])
    figure = Figure(figsize=(WIDE, 0.9 + min(9.0, ROW * leaves)))
    figure.suptitle(words["title"], x=0.01, ha="left", weight="bold", size="large")
    axes = figure.subplots()
    axes.set_title(f"{event}\n{words['picture_key']}", size=9, weight="normal")
    axes.set_axis_off()
    axes.set_xlim(0, FITS)
    axes.set_ylim(leaves - 0.4, -0.6)
    ends = {0: (1.0, next(row for _, depth, row in placed if not depth))}
    axes.plot(*ends[0], "o", color=COLORS["muted"])
    for at, depth, row in placed:
        if not depth:
            continue
        wide = min(left[depth] - left[depth - 1] - BETWEEN, len(texts[at]) + 1.5)
        start, (end, beside) = left[depth - 1] + BETWEEN, ends[now["parent"][at]]
        ends[now["node"][at]] = start + wide, row
        axes.plot([end, start], [beside, row], "-", color=COLORS["peer"], linewidth=0.8, zorder=0)
        gone = bool(now["evicted"][at] and now["end"][at] == step)
        _draw_node(axes, (start, row, wide), gone, now["locks"][at])
        fits = max(1, int(wide - 1))
        short = texts[at] if len(texts[at]) <= fits else texts[at][: fits - 1] + "…"
        short = short.replace("$", r"\$")
        axes.text(start + 0.7, row, short, size=7, family="monospace", va="center")
    return figure


def _columns(texts: list[tuple[int, str]]) -> list[float]:
    """Where the column of each depth ends, in characters, for runs of these depths."""
    levels = max((depth for depth, _ in texts), default=0)
    wants = [
        BETWEEN + 1.5 + min(LONGEST, max(len(text) for depth, text in texts if depth == level))
        for level in range(1, levels + 1)
    ]
    shrink = min(1.0, (FITS - 2) / sum(wants)) if wants else 1.0
    return [1.0, *(1.0 + shrink * sum(wants[: level + 1]) for level in range(levels))]


def _draw_node(axes: Axes, box: tuple[float, float, float], gone: bool, locks: int) -> None:
    start, row, wide = box
    color = COLORS["evicted" if gone else "hit" if locks else "waiting"]
    axes.add_patch(
        FancyBboxPatch(
            (start, row - 0.36),
            wide,
            0.72,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=(color, 0.35),
            edgecolor=COLORS["hit" if locks else "peer"],
            linewidth=1.6 if locks else 0.8,
            linestyle="--" if gone else "-",
        )
    )
