"""One launch under the microscope: what each access touches, and what is wrong with it."""

from __future__ import annotations

import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import EllipsisType
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt64

from .arguments import ADDRESS_BITS, LABEL_SHIFT, Argument
from .record import Access, KernelTrace, Problem, Program
from .shadow import Shadow


class Launch:
    """Collects the record of one launch.

    Args:
        kernel: the function that the interpreter runs.
        arguments: the tensors among its arguments; pointers into the first carry label 1, and on.
        grid: programs along x, y and z.

    Attributes:
        file: the kernel's.
        vector_flops: so far.
    """

    def __init__(
        self, kernel: Callable[..., Any], arguments: Sequence[Argument], grid: Program
    ) -> None:
        self.file = kernel.__code__.co_filename
        self.vector_flops = 0
        self._kernel = kernel
        self._grid = grid
        self._arguments = arguments
        self._shadows = {a.storage: Shadow(a.storage_bytes, a.tensor.itemsize) for a in arguments}
        self._accesses: list[Access] = []
        self._program: Program = (0, 0, 0)
        self._program_start = 0
        # Kind, lines and tensor of each problem: its first case, and the addresses of all.
        self._problems: dict[tuple[str, frozenset[int], str], Problem] = {}
        self._concerned: dict[tuple[str, frozenset[int], str], UInt64[np.ndarray, " elements"]] = {}

    def start_program(self, program: Program) -> None:
        """The next program of the grid runs from here on."""
        self._program = program
        self._program_start = len(self._accesses)

    def dot(self, batch: int, m: int, n: int, k: int, line: int) -> None:
        """Note ``batch`` products of an (M, K) and a (K, N) matrix."""
        self._note("dot", "", (), (m, n, k), 0, 0, 2 * batch * m * n * k, line)

    def access(
        self,
        kind: str,
        pointers: UInt64[np.ndarray, "*block"],
        mask: Bool[np.ndarray, "*block"],
        size: int,
        line: int,
    ) -> Bool[np.ndarray, "*block"]:
        """Note a load, store or atomic of a block; of each tensor, if its lanes lie in several.

        Lanes in no tensor are a problem, but no access.

        Args:
            kind: which of the three.
            pointers: labelled addresses.
            mask: the lanes that are on.
            size: bytes of an element.
            line: of the kernel's file.
        Returns:
            The mask, less the lanes that lie in no tensor.
        """
        lanes = pointers[mask]
        if not lanes.size:
            label = int(pointers.flat[0] >> LABEL_SHIFT)
            if 0 < label <= len(self._arguments):
                name = self._arguments[label - 1].tensor.name
                self._note(kind, name, (), pointers.shape, 0, 0, 0, line)
            return mask
        allowed = np.ones(lanes.shape, bool)
        for label, chosen in self._by_label(lanes):
            addresses = lanes[chosen] & ADDRESS_BITS
            # An offset of 2**48 bytes and more carries into the label, which then is no argument's.
            if 0 < label <= len(self._arguments):
                allowed[chosen] = self._access_one(
                    self._arguments[label - 1], kind, addresses, pointers.shape, size, line
                )
            else:
                self._find(Problem("out of bounds", "", line, self._program, (), 0), addresses)
                allowed[chosen] = False
        if allowed.all():
            return mask
        left = np.zeros(mask.shape, bool)
        left[mask] = allowed
        return left

    def finish(self) -> KernelTrace:
        """The record."""
        first_line, source = self._source()
        return KernelTrace(
            kernel=self._kernel.__name__,
            source=source,
            first_line=first_line,
            grid=self._grid,
            tensors=tuple(argument.tensor for argument in self._arguments),
            accesses=tuple(self._accesses),
            problems=tuple(
                replace(problem, count=len(self._concerned[key]))
                for key, problem in self._problems.items()
            ),
            vector_flops=self.vector_flops,
        )

    def _source(self) -> tuple[int, str]:
        """The kernel, and as much of its file as holds the functions that it called."""
        lines, first = inspect.getsourcelines(self._kernel)
        met = [first, first + len(lines) - 1, *(access.line for access in self._accesses)]
        if (min(met), max(met)) != (first, first + len(lines) - 1):
            first, lines = min(met), linecache.getlines(self.file)[min(met) - 1 : max(met)]
        return first, textwrap.dedent("".join(lines))

    def _by_label(
        self, lanes: UInt64[np.ndarray, " lanes"]
    ) -> Iterator[tuple[int, Bool[np.ndarray, " lanes"] | EllipsisType]]:
        labels = lanes >> LABEL_SHIFT
        if not labels.all():
            # Pointers that the kernel read from memory: whose element it is says the address.
            for number, argument in enumerate(self._arguments, 1):
                held = argument.inside(argument.offsets(lanes & ADDRESS_BITS))
                labels[held & (labels == 0)] = number
        if (labels == labels[0]).all():
            yield int(labels[0]), ...
        else:
            for label in np.unique(labels):
                yield int(label), labels == label

    def _access_one(
        self,
        argument: Argument,
        kind: str,
        addresses: UInt64[np.ndarray, " lanes"],
        shape: tuple[int, ...],
        size: int,
        line: int,
    ) -> Bool[np.ndarray, " lanes"]:
        tensor = argument.tensor
        inside = argument.inside(argument.offsets(addresses))
        if size > tensor.itemsize:
            inside &= argument.inside(argument.offsets(addresses + np.uint64(size - 1)))
        if not inside.all():
            outside = addresses[~inside]
            index = argument.index(int(argument.offsets(outside[:1])[0]))
            problem = Problem("out of bounds", tensor.name, line, self._program, index, 0)
            self._find(problem, outside)
            addresses = addresses[inside]
        addresses = _distinct(addresses)
        tile: tuple[tuple[int, int], ...] = ()
        if addresses.size:
            offsets = argument.offsets(addresses)
            if size > tensor.itemsize:
                last = argument.offsets(addresses + np.uint64(size - 1))
                offsets = np.concatenate([offsets, last])
            tile = argument.tile(offsets)
        moved = addresses.size * size * (2 if kind == "atomic" else 1)
        self._note(kind, tensor.name, tile, shape, addresses.size, moved, 0, line)
        self._races(argument, addresses, size)
        return inside

    def _races(
        self, argument: Argument, addresses: UInt64[np.ndarray, " elements"], size: int
    ) -> None:
        now, name = self._accesses[-1], argument.tensor.name
        start = np.uint64(argument.storage)
        positions = (addresses - start).view(np.int64)
        clashes = self._shadows[argument.storage].note(
            now.kind, positions, size, len(self._accesses), self._program_start + 1
        )
        for event, where in clashes:
            before = self._accesses[event - 1]
            elements = np.unique(where // size * size).view(np.uint64) + start
            index = argument.index(int(argument.offsets(elements[:1])[0]))
            self._find(
                Problem("race", name, now.line, now.program, index, 0, before.line, before.program),
                elements,
            )

    def _find(self, problem: Problem, addresses: UInt64[np.ndarray, " elements"]) -> None:
        lines = frozenset({problem.line, problem.other_line})
        key = (problem.kind, lines, problem.tensor)
        self._problems.setdefault(key, problem)
        known = self._concerned.get(key, addresses[:0])
        self._concerned[key] = np.union1d(known, addresses)

    def _note(
        self,
        kind: str,
        tensor: str,
        tile: tuple[tuple[int, int], ...],
        shape: tuple[int, ...],
        elements: int,
        moved: int,
        flops: int,
        line: int,
    ) -> None:
        step = len(self._accesses) - self._program_start
        self._accesses.append(
            Access(self._program, step, kind, tensor, tile, shape, elements, moved, flops, line)
        )


def _distinct(addresses: UInt64[np.ndarray, " lanes"]) -> UInt64[np.ndarray, " elements"]:
    # A tile of rows rises already, and looking is far cheaper than sorting.
    if (addresses[1:] > addresses[:-1]).all():
        return addresses
    ordered = np.sort(addresses)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])]
