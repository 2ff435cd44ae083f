"""The picture of a kernel's run for print: the tiles touched of each tensor, and by which program.

The widget ``Tiles`` shows the same run step by step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from toolkit.kernels.trace.record import Access, KernelTrace, TracedTensor
from toolkit.viz.style import COLORS
from toolkit.viz.text import GAP, significant, sized

PRINTED = 5  # tensors side by side

Box = tuple[tuple[int, int], ...]
"""Of each dimension, where a tile starts and stops."""


def draw_run(trace: KernelTrace, tensor: int, words: dict[str, str]) -> Figure:
    """The tensors of a run to one scale, as they were touched, above the visits to one of them."""
    faces = _faces(trace)
    tall = max((rows for rows, _, _ in faces), default=1)
    wide = max((columns for _, columns, _ in faces), default=1)
    lines = -(-len(faces) // PRINTED)
    inches = lines * (0.9 + min(1.8, 1.4 * tall / wide))
    figure = Figure(figsize=(7.2, 2.9 + inches))
    figure.suptitle(words["title"], x=0.01, ha="left", weight="bold", size="large")
    if not faces:
        return figure
    (upper,), (lower,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(inches, 2.5))
    grid = list(upper.subplots(lines, PRINTED, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
        axes.set_xlim(-0.01 * wide, 1.01 * wide)
        axes.set_ylim(1.01 * tall, -0.01 * tall)
        axes.set_aspect("equal", anchor="NW")
    for axes, one, face in zip(grid, trace.tensors, faces, strict=False):
        _draw_tensor(axes, trace, one, face, least=0.04 * max(tall, wide))
        lines_of_text = [*_moved(trace, one, words), GAP, GAP]
        name = _slice_name(trace, one)
        axes.set_title("\n".join([name, *lines_of_text[:3]]), size=8, weight="normal", va="bottom")
    _draw_visits(lower.subplots(), trace, trace.tensors[tensor], words)
    return figure


def _faces(trace: KernelTrace) -> list[tuple[int, int, bool]]:
    """Rows and columns of each tensor's picture, and whether it is one row that stands up.

    It does where others are as tall as it is long, as the row sums of a matrix are beside it.
    """
    leads = (len(_touched(trace, tensor)[0]) for tensor in trace.tensors)
    faces = [
        (1, 1, *tensor.shape[lead:])[-2:] for tensor, lead in zip(trace.tensors, leads, strict=True)
    ]
    heights = {rows for rows, _ in faces if rows > 1}
    return [
        (columns, 1, True) if rows == 1 and columns in heights else (rows, columns, False)
        for rows, columns in faces
    ]


def _touched(trace: KernelTrace, tensor: TracedTensor) -> tuple[Box, list[Access]]:
    """The leading dimensions of the last access to a tensor, and all accesses in them."""
    accesses = [one for one in trace.accesses if one.tensor == tensor.name and one.elements]
    lead = leading(tensor.shape, [access.tile for access in accesses])
    here = accesses[-1].tile[:lead] if accesses else ((0, 1),) * lead
    return here, [access for access in accesses if access.tile[:lead] == here]


def _slice_name(trace: KernelTrace, tensor: TracedTensor) -> str:
    here, _ = _touched(trace, tensor)
    return tile_name(tensor.name, tensor.shape[: len(here)], here)


def _draw_tensor(
    axes: Axes,
    trace: KernelTrace,
    tensor: TracedTensor,
    face: tuple[int, int, bool],
    least: float,
) -> None:
    here, accesses = _touched(trace, tensor)
    rows, columns, standing = face
    width, height = max(columns, least), max(rows, least)
    across, down = width / columns, height / rows
    axes.add_patch(Rectangle((0, 0), width, height, facecolor=COLORS["waiting"]))
    for kind, box in dict.fromkeys((one.kind, one.tile) for one in accesses):
        (top, bottom), (left, right) = ((0, 1), (0, 1), *box[len(here) :])[-2:]
        if standing:
            top, bottom, left, right = left, right, top, bottom
        color, hatch = ("prefill", None) if kind == "load" else ("evicted", "....")
        look: dict[str, Any] = {"facecolor": COLORS[color], "hatch": hatch}
        axes.add_patch(
            Rectangle(
                (left * across, top * down), (right - left) * across, (bottom - top) * down,
                edgecolor=COLORS["page"], linewidth=0.6, **look,
            )
        )  # fmt: skip
    outline: dict[str, Any] = {"fill": False, "edgecolor": COLORS["muted"], "linewidth": 1}
    axes.add_patch(Rectangle((0, 0), width, height, **outline))


def _moved(trace: KernelTrace, tensor: TracedTensor, words: dict[str, str]) -> list[str]:
    moved = {"load": 0, "store": 0, "atomic": 0}
    for access in trace.accesses:
        if access.tensor == tensor.name:
            moved[access.kind] += access.bytes
    times = significant(times_read(trace, tensor))
    said = [
        words[f"picture_{kind}"].format(bytes=sized(count), times=times)
        for kind, count in moved.items()
        if count
    ]
    return "\n".join([" × ".join(map(str, tensor.shape)), *said]).split("\n")


def _draw_visits(
    axes: Axes, trace: KernelTrace, tensor: TracedTensor, words: dict[str, str]
) -> None:
    here, accesses = _touched(trace, tensor)
    visits = {(access.program, access.tile) for access in accesses}
    boxes = sorted({box for _, box in visits})
    programs = programs_of(trace)
    if here:
        visitors = {program for program, _ in visits}
        programs = [program for program in programs if program in visitors]
    size = max(1, len(boxes)), max(1, len(programs))
    hatched: dict[str, Any] = {"hatch": "////", "edgecolor": COLORS["page"]}
    axes.add_patch(Rectangle((-0.5, -0.5), *size, facecolor=COLORS["waiting"], **hatched))
    look: dict[str, Any] = {"facecolor": COLORS["prefill"], "edgecolor": COLORS["page"]}
    column = {box: at for at, box in enumerate(boxes)}
    row = {program: at for at, program in enumerate(programs)}
    for program, box in sorted(visits):
        corner = (column[box] - 0.5, row[program] - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, **look))
    axes.set_xlim(-0.5, size[0] - 0.5)
    axes.set_ylim(size[1] - 0.5, -0.5)
    axes.set_aspect("equal" if size[0] < 3 * size[1] < 12 * size[0] else "auto", anchor="W")
    axes.grid(visible=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(words["map_tiles"].format(tensor=_slice_name(trace, tensor)))
    axes.set_ylabel(words["map_programs"])
    handles = [
        Patch(facecolor=COLORS["prefill"], label=words["key_visited"]),
        Patch(facecolor=COLORS["waiting"], label=words["key_skipped"], **hatched),
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


def programs_of(trace: KernelTrace) -> list[tuple[int, int, int]]:
    """Those that access anything, in the interpreter's order."""
    return list(dict.fromkeys(access.program for access in trace.accesses))


def times_read(trace: KernelTrace, tensor: TracedTensor) -> float:
    """Loaded bytes of a tensor over its size: how many times it is read, on average."""
    size = tensor.itemsize * math.prod(tensor.shape)
    return sum(access.bytes for access in trace.loads(tensor.name)) / size if size else 0.0


def leading(shape: Sequence[int], tiles: Sequence[Box]) -> int:
    """How many leading dimensions a picture of the tiles fixes: those before the last two.

    The last but one too, where there are more than two and every tile has one index of it, as in
    (batch, heads, seq) tiled along seq.
    """
    lead = max(0, len(shape) - 2)
    alone = lead > 0 and all(box[lead][1] - box[lead][0] == 1 for box in tiles)
    return lead + alone


def tile_name(name: str, shape: Sequence[int], tile: Box) -> str:
    """A tile as an index expression.

    >>> tile_name("K", (2, 256, 64), ((1, 2), (64, 128), (0, 64)))
    'K[1, 64:128, :]'
    """
    parts = [
        str(start) if stop - start == 1 else ":" if stop - start == extent else f"{start}:{stop}"
        for (start, stop), extent in zip(tile, shape, strict=True)
    ]
    return f"{name}[{', '.join(parts)}]" if parts else name
