"""The widget ``Tiles``: a recorded run of a kernel, step by step.

A kernel's program loads a tile of a tensor from HBM to the chip, computes on it there, and stores
a tile back. The picture has the tensors to one scale with the tiles that have been touched, what
the present program holds on chip, and which programs touch which tile of one tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import traitlets
from matplotlib.figure import Figure

from toolkit.kernels.trace.record import Access, KernelTrace, Problem
from toolkit.viz.text import significant, sized
from toolkit.viz.tiles_picture import (
    Box,
    draw_run,
    leading,
    programs_of,
    tile_name,
    times_read,
)
from toolkit.viz.widget import Widget

MOST_EVENTS = 4000
"""The most loads, stores and dots of a run that a page may hold."""

KINDS = ("load", "store", "atomic", "dot")
MOST_CHOICES = 4


class Tiles(Widget):
    """A run of a kernel: its tensors in HBM, the tiles on chip, and who touches what.

    Args:
        trace: the run, as the microscope recorded it.
        first: the tensor, by its parameter's name, whose visits are shown first; the reader
            guesses how often it is read. By default the one of which most bytes are loaded, among
            those that are read more than once over if there are any.
    Raises:
        ValueError: the trace has no accesses or more than ``MOST_EVENTS``, or none of the tensors
            that it touches is called ``first``.

    The traits ``step`` (which of the trace's accesses, from 0, over all programs), ``tensor``
    (whose visits are shown) and ``revealed`` follow the reader, and the widget follows them.
    """

    name = "tiles"
    linked = ("step", "tensor")

    record = traitlets.Dict(help="The trace, by columns.").tag(sync=True)
    step = traitlets.Int(0, help="Which access is the present one.").tag(sync=True)
    tensor = traitlets.Int(0, help="The tensor whose visits are shown.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(self, trace: KernelTrace, *, first: str | None = None) -> None:
        used = {access.tensor for access in trace.accesses}
        names = [tensor.name for tensor in trace.tensors if tensor.name in used]
        _refuse(trace, names, first)
        self.trace = trace
        self._short = _short([tensor.name for tensor in trace.tensors])
        self._shown = _renamed(trace, names, self._short)
        tensor = names.index(first) if first else _most_read(self._shown)
        times = times_read(self._shown, self._shown.tensors[tensor]) if names else 0
        untouched = [self._short[one.name] for one in trace.tensors if one.name not in used]
        super().__init__(
            record=_columns(self._shown)
            | _guess(self._shown, tensor, times)
            | {"untouched": untouched},
            tensor=tensor,
            revealed=times <= 1,
        )

    @property
    def access(self) -> Access:
        """The present access."""
        return self.trace.accesses[self.step]

    def held(self) -> list[Access]:
        """The loads whose tiles the present program holds on chip, in the order of their lines.

        Each line of a program holds the last tile of a tensor that it loaded.
        """
        last: dict[tuple[int, int], Access] = {}
        so_far = self.trace.accesses[: self.step + 1]
        for access, tensor in zip(so_far, self.record["tensor"], strict=False):
            if access.program == self.access.program and access.kind == "load":
                last[access.line, tensor] = access
        return [last[key] for key in sorted(last) if last[key].elements]

    @traitlets.validate("step", "tensor")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        trace = self._shown
        most = max(0, len(trace.accesses if name == "step" else trace.tensors) - 1)
        if not 0 <= value <= most:
            raise traitlets.TraitError(f"{name} must be 0 to {most}, got {value}")
        return value

    def summary(self) -> str:
        """The present step, what is on chip, and what the run has moved and computed so far."""
        trace, words = self.trace, self.words
        done = trace.accesses[: self.step + 1]
        held = self.held()
        said = [
            words["summary"].format(
                program=_listed(self.access.program),
                step=self.access.step + 1,
                steps=sum(access.program == self.access.program for access in trace.accesses),
                does=self._does(self.access),
                held=", ".join(self._tile(access) for access in held) or words["nothing_held"],
                size=sized(sum(access.bytes for access in held)),
                moved=sized(sum(access.bytes for access in done)),
                bytes=sized(trace.hbm_bytes),
                computed=sized(sum(access.flops for access in done), "FLOP"),
                flops=sized(trace.dot_flops, "FLOP"),
            )
        ]
        if trace.problems:
            said.append(words["summary_problems"].format(count=len(trace.problems)))
        return " ".join(said)

    def _tile(self, access: Access) -> str:
        name = self._short.get(access.tensor, self.words["nowhere"])
        if not access.elements:
            return self.words["nothing"].format(tensor=name)
        shape = next((one.shape for one in self._shown.tensors if one.name == name), ())
        return tile_name(name, shape, access.tile)

    def _does(self, access: Access) -> str:
        if access.kind == "dot":
            block = " × ".join(map(str, access.shape))
            return self.words["does_dot"].format(block=block, flops=sized(access.flops, "FLOP"))
        tile = self._tile(access)
        return self.words[f"does_{access.kind}"].format(tile=tile, bytes=sized(access.bytes))

    def picture(self) -> Figure:
        """The run at its end: the tiles touched of each tensor, its bytes, and who touched what."""
        return draw_run(self._shown, self.tensor, self.words)


def _refuse(trace: KernelTrace, names: list[str], first: str | None) -> None:
    count = len(trace.accesses)
    if not count:
        raise ValueError(
            f"the trace of {trace.kernel} has no accesses: trace a launch that loads or stores"
        )
    if count > MOST_EVENTS:
        raise ValueError(
            f"the trace of {trace.kernel} has {count:,} accesses and {MOST_EVENTS:,} is the most "
            "that can be shown: trace a smaller problem"
        )
    if first is not None and first not in names:
        raise ValueError(f"first must be one of {', '.join(names)}, got {first!r}")


def _short(names: list[str]) -> dict[str, str]:
    """Names without the ``_ptr`` that Triton's kernels give their parameters, where they differ."""
    short = {name: name.removesuffix("_ptr") for name in names}
    return short if len({*short.values()}) == len(names) else {name: name for name in names}


def _renamed(trace: KernelTrace, names: list[str], short: dict[str, str]) -> KernelTrace:
    """The same run with those tensors alone, by their short names."""
    return replace(
        trace,
        tensors=tuple(
            replace(one, name=short[one.name]) for one in trace.tensors if one.name in names
        ),
        accesses=tuple(replace(one, tensor=short.get(one.tensor, "")) for one in trace.accesses),
        problems=tuple(replace(one, tensor=short.get(one.tensor, "")) for one in trace.problems),
    )


def _most_read(trace: KernelTrace) -> int:
    def loaded(at: int) -> tuple[bool, int]:
        tensor = trace.tensors[at]
        loads = trace.loads(tensor.name)
        return times_read(trace, tensor) > 1, sum(access.bytes for access in loads)

    return max(range(len(trace.tensors)), key=loaded, default=0)


def _listed(numbers: Sequence[int]) -> str:
    return f"({', '.join(map(str, numbers))})"


def _guess(trace: KernelTrace, tensor: int, times: float) -> dict[str, Any]:
    """Answers to choose from: once, the right one, once for each reader, and wrong ones."""
    if times <= 1:
        return {"guess": tensor, "times": times, "choices": []}
    readers = len({access.program for access in trace.loads(trace.tensors[tensor].name)})
    halves = [times / 2] if times > 2 else []
    pool = [1, times, readers, 2 * times, *halves, 4 * times]
    distinct = {significant(one): float(one) for one in reversed(pool)}
    kept = sorted(distinct.values(), key=[float(one) for one in pool].index)[:MOST_CHOICES]
    return {"guess": tensor, "times": times, "choices": sorted(kept)}


def _columns(trace: KernelTrace) -> dict[str, Any]:
    names = [tensor.name for tensor in trace.tensors]
    programs = programs_of(trace)
    row = {program: at for at, program in enumerate(programs)}
    touched = [
        access.shape if access.kind == "dot" else access.tile if access.elements else None
        for access in trace.accesses
    ]
    distinct = dict.fromkeys(box for box in touched if box is not None)
    boxes = {box: at for at, box in enumerate(distinct)}
    tiles = {
        name: [a.tile for a in trace.accesses if a.tensor == name and a.elements] for name in names
    }
    return {
        "kernel": trace.kernel,
        "source": trace.source,
        "first_line": trace.first_line,
        "grid": list(trace.grid),
        "names": names,
        "shapes": [list(tensor.shape) for tensor in trace.tensors],
        "sizes": [tensor.itemsize for tensor in trace.tensors],
        "leading": [leading(one.shape, tiles[one.name]) for one in trace.tensors],
        "programs": [list(program) for program in programs],
        "boxes": [_flat(box) for box in boxes],
        "program": [row[access.program] for access in trace.accesses],
        "kind": [KINDS.index(access.kind) for access in trace.accesses],
        "tensor": [names.index(a.tensor) if a.tensor else -1 for a in trace.accesses],
        "box": [-1 if box is None else boxes[box] for box in touched],
        "bytes": [access.bytes for access in trace.accesses],
        "flops": [access.flops for access in trace.accesses],
        "line": [access.line for access in trace.accesses],
        "vector_flops": trace.vector_flops,
        "problem_text": [str(problem) for problem in trace.problems],
        "problem_kind": [problem.kind for problem in trace.problems],
        "problem_tensor": [
            names.index(p.tensor) if p.tensor in names else -1 for p in trace.problems
        ],
        "problem_element": [list(problem.element) for problem in trace.problems],
        "problem_step": [_step_of(trace, problem) for problem in trace.problems],
    }


def _flat(box: Box | tuple[int, ...]) -> list[int]:
    return [number for side in box for number in (side if isinstance(side, tuple) else (side,))]


def _step_of(trace: KernelTrace, problem: Problem) -> int:
    """The access that a problem is of, or the best that is known of it; -1 if nothing is."""
    best, found = 0, -1
    for at, access in enumerate(trace.accesses):
        if access.program != problem.program:
            continue
        here = access.line == problem.line
        inside = len(access.tile) == len(problem.element) and all(
            start <= index < stop
            for (start, stop), index in zip(access.tile, problem.element, strict=True)
        )
        fits = 1 + 4 * here + 2 * (here and access.tensor == problem.tensor) + (here and inside)
        if fits > best:
            best, found = fits, at
    return found
