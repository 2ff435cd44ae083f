"""Shadow memory: who first read, wrote and atomically changed each element, to find races.

The interpreter runs the programs of a grid one after another, a GPU in any order and at once. Two
accesses of one element by two programs race if at least one writes, unless both are atomic.

As programs come one after another, the first access of each kind tells whether an earlier program
made one: if this program's access is the first, no earlier program's can be before it.

What it can't know: an order that the kernel enforces with atomics of its own (a lock, or a counter
that the last program waits for) is none to it, so such accesses are reported. Within a program,
between its warps, it looks at nothing, and a program never races with itself.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int32, Int64

RACES_WITH = {
    "load": ("store", "atomic"),
    "store": ("load", "store", "atomic"),
    "atomic": ("load", "store"),
}


class Shadow:
    """The shadow of one storage, which all arguments that are views of it share.

    Args:
        storage_bytes: its size.
        unit: bytes that have one entry together, such as an element's; it shrinks as need be.
    """

    def __init__(self, storage_bytes: int, unit: int) -> None:
        self._storage_bytes = storage_bytes
        self._unit = unit
        self._first: dict[str, Int32[np.ndarray, " units"]] = {}

    def note(
        self,
        kind: str,
        positions: Int64[np.ndarray, " elements"],
        size: int,
        event: int,
        program_start: int,
    ) -> list[tuple[int, Int64[np.ndarray, " clashes"]]]:
        """Enter one access, and say which earlier ones it races with.

        Args:
            kind: "load", "store" or "atomic".
            positions: bytes from the start of the storage to each element accessed.
            size: bytes of an element.
            event: the access's number, 1 or more, rising from access to access.
            program_start: the number of its program's first access.
        Returns:
            Of each earlier access, its number and the positions at which the two race.
        """
        units = self._units_of(positions, size)
        clashes = []
        for other in RACES_WITH[kind]:
            if other in self._first:
                first = self._first[other][units]
                raced = (first > 0) & (first < program_start)
                if raced.any():
                    where, by = units[raced] * self._unit, first[raced]
                    clashes += [(int(number), where[by == number]) for number in np.unique(by)]
        if kind not in self._first:
            self._first[kind] = np.zeros(-(-self._storage_bytes // self._unit), np.int32)
        first = self._first[kind]
        first[units[first[units] == 0]] = event
        return clashes

    def _units_of(
        self, positions: Int64[np.ndarray, " elements"], size: int
    ) -> Int64[np.ndarray, " units"]:
        if size < self._unit:
            # Another view of the storage, or a pointer that was cast, has smaller elements.
            for kind, first in self._first.items():
                self._first[kind] = np.repeat(first, self._unit // size)
            self._unit = size
        units = positions // self._unit
        if size == self._unit:
            return units
        return (units[:, None] + np.arange(size // self._unit)).ravel()
