"""Where the microscope joins Triton's interpreter: a launch's arguments, and the builder's calls.

With TRITON_INTERPRET=1 a kernel runs as Python, program by program, and every operation of the
language ends in a method of one builder that computes with NumPy. For the time of ``trace()``
those methods are replaced by ones that take note and then call the original. Loads and stores of
all sorts (plain, masked, block pointers, tensor descriptors) end in two of them.

Counted as vector operations are those below, on all lanes of the block whether masked or not,
since the chip computes them all. Not counted: casts, comparisons, selections, absolute values and
rounding, integer and pointer arithmetic, and ``tl.dot_scaled``. The atomic loads and stores that
Triton 3.9 adds are taken for plain ones.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .arguments import ADDRESS_BITS, LABEL_SHIFT, Argument, tensors_of
from .launch import Launch
from .record import KernelTrace

VECTOR_FLOPS = {"create_fma": 2} | {
    f"create_{name}": 1
    for name in (
        *("fadd", "fsub", "fmul", "fdiv", "precise_divf", "approx_divf", "frem", "fneg"),
        *("exp", "exp2", "log", "log2", "sqrt", "precise_sqrt", "rsqrt", "sin", "cos", "erf"),
        *("minimumf", "minnumf", "maximumf", "maxnumf", "clampf"),
    )
}
"""Operations per element of the result, by method of the builder; 3.6 to 3.9 lack some of them."""

Original = Callable[..., Any]

_running = False


@contextmanager
def trace() -> Iterator[list[KernelTrace]]:
    """Watch every kernel launched in the block; ``with trace() as launches: kernel[grid](...)``.

    An access outside the elements of its tensor is noted as a problem and turned off, so that
    nothing crashes or is overwritten: a load gives ``other`` or 0 there, a store does nothing.
    Races are found as ``shadow`` says. A kernel that raises leaves the trace up to there.

    Yields:
        One ``KernelTrace`` per launch, added as each ends.
    Raises:
        RuntimeError: Triton is not installed, its interpreter is off, or a trace runs already.
    """
    global _running
    if _running:
        raise RuntimeError("trace() runs already; launch all kernels in the one block")
    interpreter = _load_interpreter()
    seam = _Seam(interpreter)
    saved: list[tuple[Any, str, Any]] = []
    _running = True
    try:
        for owner, name, replacement in seam.replacements():
            original = getattr(owner, name, None)
            if original is not None:
                saved.append((owner, name, original))
                setattr(owner, name, _around(original, replacement))
        yield seam.launches
    finally:
        for owner, name, original in saved:
            setattr(owner, name, original)
        _running = False


def _load_interpreter() -> Any:
    try:
        interpreter = importlib.import_module("triton.runtime.interpreter")
    except ImportError:
        raise RuntimeError(
            "trace() needs Triton, which is not installed: it comes for Linux only, "
            "so run this in a Linux container or on a Linux machine"
        ) from None
    standard = importlib.import_module("triton.language.standard")
    if not isinstance(standard.cdiv, interpreter.InterpretedFunction):
        raise RuntimeError(
            "trace() watches Triton's interpreter, which is off: "
            "set TRITON_INTERPRET=1 before triton is first imported"
        )
    return interpreter


def _around(original: Original, replacement: Callable[..., Any]) -> Original:
    def patched(*args: Any, **kwargs: Any) -> Any:
        return replacement(original, *args, **kwargs)

    return patched


class _Seam:
    """The replacements; each takes the original method and then that one's arguments."""

    def __init__(self, interpreter: Any) -> None:
        self.launches: list[KernelTrace] = []
        self._interpreter = interpreter
        self._open: list[Launch] = []
        self._kernel: Callable[..., Any]
        self._arguments: list[Argument] = []
        self._labels: dict[int, int] = {}
        self._in_reduction = False

    def replacements(self) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
        """Owner, name and replacement of each method."""
        module, builder = self._interpreter, self._interpreter.InterpreterBuilder
        yield module.GridExecutor, "__call__", self._call
        yield module.GridExecutor, "_init_args_hst", self._move_arguments
        yield module, "_implicit_cvt", self._label
        yield builder, "set_grid_dim", self._start
        yield builder, "set_grid_idx", self._start_program
        yield builder, "create_masked_load", self._load
        yield builder, "create_masked_store", self._store
        yield builder, "create_atomic_rmw", self._atomic_rmw
        yield builder, "create_atomic_cas", self._atomic_cas
        yield builder, "create_dot", self._dot
        for name, flops in VECTOR_FLOPS.items():
            yield builder, name, self._vector(flops)
        yield module.ReduceOps, "apply_impl", self._reduce
        yield module.ScanOps, "apply_impl", self._reduce

    def _call(self, original: Original, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        finally:
            if self._open:
                self.launches.append(self._open.pop().finish())

    def _move_arguments(self, original: Original, executor: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = original(executor, args, kwargs)
        bound = inspect.getcallargs(executor.fn, *args, **kwargs)
        named = [pair for name, value in bound.items() for pair in tensors_of(name, value)]
        unwrap = self._interpreter._unwrap_tensor
        self._kernel = executor.fn
        self._arguments = [Argument.of(name, unwrap(tensor)) for name, tensor in named]
        # The interpreter has made these tensors just now, one for each place in the call.
        self._labels = {id(tensor): label for label, (_, tensor) in enumerate(named, 1)}
        return args, kwargs

    def _label(self, original: Original, argument: Any) -> Any:
        converted = original(argument)
        if id(argument) in self._labels:
            label = np.uint64(self._labels[id(argument)] << LABEL_SHIFT)
            converted.handle.data = converted.handle.data | label
        return converted

    def _start(self, original: Original, builder: Any, x: int, y: int, z: int) -> None:
        original(builder, x, y, z)
        self._open.append(Launch(self._kernel, self._arguments, (x, y, z)))

    def _start_program(self, original: Original, builder: Any, x: int, y: int, z: int) -> None:
        original(builder, x, y, z)
        self._open[-1].start_program((x, y, z))

    def _load(
        self, original: Original, builder: Any, pointers: Any, mask: Any, *rest: Any, **named: Any
    ) -> Any:
        return original(builder, *self._touch("load", pointers, mask), *rest, **named)

    def _store(
        self,
        original: Original,
        builder: Any,
        pointers: Any,
        value: Any,
        mask: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        pointers, mask = self._touch("store", pointers, mask)
        return original(builder, pointers, value, mask, *rest, **named)

    def _atomic_rmw(
        self,
        original: Original,
        builder: Any,
        operation: Any,
        pointers: Any,
        value: Any,
        mask: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        pointers, mask = self._touch("atomic", pointers, mask)
        return original(builder, operation, pointers, value, mask, *rest, **named)

    def _atomic_cas(
        self,
        original: Original,
        builder: Any,
        pointers: Any,
        compare: Any,
        value: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        pointers, mask = self._touch(
            "atomic", pointers, self._handle(np.ones(pointers.data.shape, bool), None)
        )
        on = mask.data
        # It takes no mask, so only the lanes that are on go to it.
        found = np.zeros(on.shape, compare.data.dtype)
        lanes = [
            self._handle(np.broadcast_to(handle.data, on.shape)[on], handle.dtype)
            for handle in (pointers, compare, value)
        ]
        found[on] = original(builder, *lanes, *rest, **named).data
        return self._handle(found, compare.dtype.scalar)

    def _touch(self, kind: str, pointers: Any, mask: Any) -> tuple[Any, Any]:
        launch, on = self._open[-1], np.asarray(mask.data)
        size = pointers.get_element_ty().primitive_bitwidth // 8
        allowed = launch.access(kind, pointers.data, on, size, self._line())
        if allowed is not on:
            mask = self._handle(allowed, None)
        return self._handle(pointers.data & ADDRESS_BITS, pointers.dtype), mask

    def _dot(
        self, original: Original, builder: Any, a: Any, b: Any, *rest: Any, **named: Any
    ) -> Any:
        product = original(builder, a, b, *rest, **named)
        *batch, m, n = product.data.shape
        self._open[-1].dot(math.prod(batch), m, n, a.data.shape[-1], self._line())
        return product

    def _vector(self, flops: int) -> Callable[..., Any]:
        def counted(original: Original, *args: Any, **named: Any) -> Any:
            result = original(*args, **named)
            if not self._in_reduction:
                self._open[-1].vector_flops += flops * result.data.size
            return result

        return counted

    def _reduce(self, original: Original, operation: Any, inputs: Any) -> Any:
        for data in (tensor.handle.data for tensor in inputs if tensor.dtype.is_floating()):
            length = data.size if operation.axis is None else data.shape[operation.axis]
            self._open[-1].vector_flops += data.size - data.size // length
        # A combination of the kernel's own runs through the builder, element by element.
        self._in_reduction = True
        try:
            return original(operation, inputs)
        finally:
            self._in_reduction = False

    def _handle(self, data: Any, dtype: Any) -> Any:
        """A value of the interpreter; a mask if no dtype is given."""
        return self._interpreter.TensorHandle(data, dtype or self._interpreter.tl.int1)

    def _line(self) -> int:
        """Where the kernel's file is now: in the kernel or in a device function beside it."""
        frame: Any = sys._getframe()
        while frame.f_code.co_filename != self._open[-1].file:
            frame = frame.f_back
        return frame.f_lineno
