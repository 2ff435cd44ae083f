"""What a kernel did in one launch, as plain data: its loads, stores, atomics and dots, and totals.

Bytes are counted as if no cache held anything between two accesses: each moves its distinct
elements between HBM and the chip. Floating-point operations are those the chip executes, on the
whole block, so masked lanes count too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

Program = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class TracedTensor:
    """A tensor the kernel was called with.

    Attributes:
        name: the kernel's parameter.
        shape: of the tensor, as passed.
        dtype: its name, such as "float32".
        itemsize: bytes of one element.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    itemsize: int


@dataclass(frozen=True, slots=True)
class Access:
    """One load, store, atomic or dot of one program.

    Attributes:
        program: which of the grid.
        step: 0, 1, ... within its program, over all kinds.
        kind: "load", "store", "atomic" or "dot".
        tensor: the kernel's parameter; "" for a dot.
        tile: per dimension of the tensor, (start, stop) of the smallest box around the elements
            accessed; () for a dot, or if no element is.
        shape: of the block of pointers; (M, N, K) for a dot.
        elements: distinct elements accessed, without masked and out-of-bounds lanes; 0 for a dot.
        bytes: that move between HBM and the chip: each element once, and twice for an atomic,
            which reads and writes it.
        flops: 2 M N K for a dot, times its batch; else 0.
        line: of the kernel's file.
    """

    program: Program
    step: int
    kind: str
    tensor: str
    tile: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]
    elements: int
    bytes: int
    flops: int
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """An access that goes wrong on a GPU, whatever the interpreter makes of it.

    Attributes:
        kind: "out of bounds" or "race".
        tensor: the kernel's parameter, or "" where the address belongs to none.
        line: of the kernel's file.
        program: the first one concerned.
        element: the first element concerned, () if it has no index. Out of bounds, it is the
            index that the address would have.
        count: elements concerned, over all programs.
        other_line: a race's other access, the earlier one in the interpreter's order.
        other_program: its program.
    """

    kind: str
    tensor: str
    line: int
    program: Program
    element: tuple[int, ...]
    count: int
    other_line: int = 0
    other_program: Program | None = None

    def __str__(self) -> str:
        where = self.tensor or "any argument"
        first = f"{self.tensor}[{', '.join(map(str, self.element))}]" if self.element else where
        elements = f"{self.count} element{'s' if self.count > 1 else ''}"
        if self.kind == "race":
            lines = (
                f"lines {self.other_line} and {self.line}"
                if self.other_line != self.line
                else f"line {self.line}"
            )
            return (
                f"{lines}: programs {self.other_program} and {self.program} both access {first} "
                f"and at least one writes it without an atomic, in an order that a GPU leaves open "
                f"({elements} in all)"
            )
        by = f"program {self.program}" + (f" at {first}" if self.element else "")
        return (
            f"line {self.line}: {elements} outside {where}, first by {by}; "
            f"the mask must leave them out"
        )


@dataclass(frozen=True, slots=True)
class KernelTrace:
    """One launch of a kernel.

    Attributes:
        kernel: its name.
        source: of the kernel, dedented; longer where it called functions of its file.
        first_line: line of the source's first line in its file.
        grid: programs along x, y and z.
        tensors: the arguments that are tensors, in the order of the parameters.
        accesses: program by program, in the interpreter's order.
        problems: in the order in which they were met.
        vector_flops: element-wise floating-point operations, and n - 1 for the reduction of n.
    """

    kernel: str
    source: str
    first_line: int
    grid: Program
    tensors: tuple[TracedTensor, ...]
    accesses: tuple[Access, ...]
    problems: tuple[Problem, ...]
    vector_flops: int

    @property
    def loaded_bytes(self) -> int:
        """Read from HBM: by loads, and by atomics the half of their bytes."""
        return self._bytes("load") + self._bytes("atomic") // 2

    @property
    def stored_bytes(self) -> int:
        """Written to HBM: by stores, and by atomics the half of their bytes."""
        return self._bytes("store") + self._bytes("atomic") // 2

    @property
    def hbm_bytes(self) -> int:
        """Moved between HBM and the chip, in both directions."""
        return self.loaded_bytes + self.stored_bytes

    @property
    def dot_flops(self) -> int:
        """Operations of the matrix products."""
        return sum(access.flops for access in self.accesses)

    @property
    def flops(self) -> int:
        """All floating-point operations: of the dots and of the vectors."""
        return self.dot_flops + self.vector_flops

    @property
    def intensity(self) -> float:
        """Floating-point operations per byte moved; infinite if no byte moves."""
        return self.flops / self.hbm_bytes if self.hbm_bytes else math.inf

    def bytes_of(self, name: str) -> int:
        """Bytes moved from and to one tensor.

        Raises:
            ValueError: no tensor has this name.
        """
        self._check_tensor(name)
        return sum(access.bytes for access in self.accesses if access.tensor == name)

    def loads(self, name: str) -> list[Access]:
        """The loads of one tensor; refuses as ``bytes_of`` does."""
        return self._accesses("load", name)

    def stores(self, name: str) -> list[Access]:
        """The stores to one tensor; refuses as ``bytes_of`` does."""
        return self._accesses("store", name)

    def programs(self) -> list[Program]:
        """All programs of the grid, in the interpreter's order: z runs fastest."""
        x, y, z = self.grid
        return list(product(range(x), range(y), range(z)))

    def of(self, program: Program) -> list[Access]:
        """What one program did, step by step.

        Raises:
            ValueError: the grid has no such program.
        """
        if not all(0 <= i < n for i, n in zip(program, self.grid, strict=True)):
            raise ValueError(f"program must lie in the grid {self.grid}, got {program!r}")
        return [access for access in self.accesses if access.program == program]

    def _bytes(self, kind: str) -> int:
        return sum(access.bytes for access in self.accesses if access.kind == kind)

    def _accesses(self, kind: str, name: str) -> list[Access]:
        self._check_tensor(name)
        return [a for a in self.accesses if a.kind == kind and a.tensor == name]

    def _check_tensor(self, name: str) -> None:
        names = [tensor.name for tensor in self.tensors]
        if name not in names:
            raise ValueError(f"{self.kernel} has the tensors {', '.join(names)}, got {name!r}")
