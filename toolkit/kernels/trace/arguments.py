"""Whose element an address is: the tensors a kernel was called with, as ranges of memory.

The interpreter's pointers are plain 64-bit addresses, so a pointer that runs past the end of one
tensor may well land in another, and one tensor may be two arguments. Addresses use the lower 48
bits only, so the upper 16 can say which argument a pointer was computed from: the kernel gets its
pointers labelled, adding offsets keeps the label, and it is taken off before memory is touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from .record import TracedTensor

LABEL_SHIFT = 48
ADDRESS_BITS = np.uint64((1 << LABEL_SHIFT) - 1)


@dataclass(frozen=True, slots=True)
class Argument:
    """A tensor argument in memory.

    Attributes:
        tensor: what the record says of it.
        address: of its first element.
        strides: of its dimensions, in elements.
        storage: address of the storage, which other arguments may share.
        storage_bytes: its size.
    """

    tensor: TracedTensor
    address: int
    strides: tuple[int, ...]
    storage: int
    storage_bytes: int

    @classmethod
    def of(cls, name: str, tensor: Any) -> Argument:
        """The argument that a torch tensor is, under its parameter's name."""
        dtype = str(tensor.dtype).removeprefix("torch.")
        traced = TracedTensor(name, tuple(tensor.shape), dtype, tensor.element_size())
        storage = tensor.untyped_storage()
        return cls(traced, tensor.data_ptr(), tensor.stride(), storage.data_ptr(), storage.nbytes())

    def offsets(self, addresses: UInt64[np.ndarray, " lanes"]) -> Int64[np.ndarray, " lanes"]:
        """Elements from the first one to that in which each address lies."""
        return (addresses - np.uint64(self.address)).view(np.int64) // self.tensor.itemsize

    def inside(self, offsets: Int64[np.ndarray, " lanes"]) -> Bool[np.ndarray, " lanes"]:
        """Whether each offset is an element of the tensor: not past its ends, nor in a gap.

        Indices are found from the widest stride down, which finds all elements of slices, steps,
        transpositions, broadcasts and sliding windows. It misses some if strides overlap without
        one filling the next, as 3 and 2 of windows at every third element with every second in it.
        """
        if self._is_dense():
            return (offsets >= 0) & (offsets < math.prod(self.tensor.shape))
        rest = offsets
        for _, size, stride in self._dimensions():
            rest = rest - np.minimum(rest // stride, size - 1) * stride
        return (rest == 0) & (offsets >= 0)

    def tile(self, offsets: Int64[np.ndarray, " elements"]) -> tuple[tuple[int, int], ...]:
        """The smallest box around elements of the tensor: (start, stop) per dimension.

        A dimension that repeats its elements (stride 0) counts once.
        """
        box, rest = [(0, 1)] * len(self.strides), offsets
        for dimension, size, stride in self._dimensions():
            index = np.minimum(rest // stride, size - 1)
            box[dimension] = (int(index.min()), int(index.max()) + 1)
            rest = rest - index * stride
        return tuple(box)

    def index(self, offset: int) -> tuple[int, ...]:
        """The index of one offset; where no element is, the one that it would have."""
        index, rest = self._index(offset, clipped=True)
        return self._index(offset, clipped=False)[0] if rest else index

    def _index(self, offset: int, clipped: bool) -> tuple[tuple[int, ...], int]:
        index = [0] * len(self.strides)
        for dimension, size, stride in self._dimensions():
            step = offset // stride
            index[dimension] = min(step, size - 1) if clipped else step
            offset -= index[dimension] * stride
        return tuple(index), offset

    def _dimensions(self) -> list[tuple[int, int, int]]:
        """Number, size and stride of the dimensions along which one moves, widest stride first."""
        rows = zip(range(len(self.strides)), self.tensor.shape, self.strides, strict=True)
        # A vector of one element keeps its dimension, so that what follows it has an index.
        moving = [row for row in rows if row[2] and (row[1] != 1 or len(self.strides) == 1)]
        return sorted(moving, key=lambda row: -row[2])

    def _is_dense(self) -> bool:
        elements = 1
        for _, size, stride in reversed(self._dimensions()):
            if stride != elements:
                return False
            elements *= size
        return elements == math.prod(self.tensor.shape)


def tensors_of(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The tensors in one of the interpreter's arguments, each with a name.

    A tuple gives its members, ``name[0]`` and on, a tensor descriptor the tensor it describes, and
    a tensor read as another type the tensor itself.
    """
    if isinstance(value, tuple):
        for i, member in enumerate(value):
            yield from tensors_of(f"{name}[{i}]", member)
    elif hasattr(value, "data_ptr"):
        yield name, value
    elif hasattr(value, "block_shape"):
        yield name, value.base
