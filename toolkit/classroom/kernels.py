"""Launches a learner's Triton kernels from their source alone, in a clean process.

A notebook may have changed triton, the microscope or its own functions: what it says of a kernel's
bytes, races and results proves nothing. So only the text of a kernel is asked of it. Another
process, which has seen nothing of the notebook, launches that text under the microscope; see
``toolkit.kernels.from_source``. A kernel's inputs go there too, and never to the notebook.

The process is started when the first kernel is checked and kept for the next ones. In a notebook it
is an ordinary process; a judge shuts it in as it does a notebook's.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from toolkit import course
from toolkit.classroom.answer import Answer, Call, LearnerError
from toolkit.classroom.codec import CodecError

if TYPE_CHECKING:
    from toolkit.classroom.grading.sandbox import Sandbox

FP32 = (1e-4, 1e-5)
"""Relative and absolute tolerance for what a kernel computes in fp32, sum after sum."""
IMPORTS = "import torch, triton; from toolkit.kernels.from_source import launch_from_source"
START_SECONDS = 30.0
"""How long the clean process may take for its imports."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What a launch did.

    Attributes:
        output: the tensor asked for, as the launch left it.
        moved: bytes between memory and chip, by the parameter of each tensor.
        problems: accesses out of bounds and races, each in a sentence.
    """

    output: Any
    moved: Mapping[str, int]
    problems: tuple[str, ...]


def launch(
    answer: Answer,
    kernel: str,
    grid: tuple[int, ...],
    arguments: Mapping[str, Any],
    *,
    output: str,
    of: Sequence[str] = (),
    beside: str | None = None,
) -> Launched:
    """Launch a kernel of the learner's, or one of ours that calls functions of theirs.

    Args:
        answer: the door to the notebook.
        kernel: to launch.
        grid: programs along x, y and z.
        arguments: the kernel's, by parameter.
        output: the parameter whose tensor is looked at.
        of: the functions of the notebook's that are needed, the judged one first; ``kernel`` alone
            if there are none. Of the others, one that was given is taken from ``beside``.
        beside: a module of ours with the kernels that are not the notebook's.
    Raises:
        LearnerError: a function is not defined, is no kernel, or raised.
        CodecError: the judged one was given, or the process was lost, as by a kernel without end.
    """
    needed = of or (kernel,)
    sources = [(name, source) for name in needed if (source := answer.source(name)) is not None]
    call = Call(f"{kernel}[{grid}]", (), arguments, tolerance=FP32)
    answer.call_log.append(call)
    if needed[0] not in dict(sources):
        raise CodecError("it was given: only a kernel that stands in the notebook is checked")
    try:
        told = _clean.launch(sources, beside, kernel, grid, dict(arguments))
    except LearnerError as error:
        call.error = error
        raise
    call.result = told["tensors"][output]
    call.after = [told["moved"], told["problems"]]
    return Launched(call.result, told["moved"], tuple(told["said"]))


@contextmanager
def confined(start: Callable[[], Sandbox]) -> Iterator[None]:
    """Have kernels run in a process that ``start`` shuts in."""
    global _clean
    before, _clean = _clean, _Clean(start)
    try:
        yield
    finally:
        _clean.close()
        _clean = before


def _open() -> Sandbox:
    from toolkit.classroom.grading.confine import Confinement
    from toolkit.classroom.grading.limits import Limits
    from toolkit.classroom.grading.sandbox import Sandbox

    return Sandbox(Confinement("limits", course.root(), None, False), 0, Limits())


class _Clean:
    """The process, started when it is needed, and again once a kernel has ended it."""

    def __init__(self, start: Callable[[], Sandbox]) -> None:
        self._start = start
        self._sandbox: Sandbox | None = None
        self._ask: Callable[[bytes], bytes]

    def launch(self, *arguments: Any) -> dict[str, Any]:
        if self._sandbox is None:
            sandbox = self._start()
            try:
                sandbox.run_cell(IMPORTS, START_SECONDS)
            except BaseException:
                sandbox.close()
                raise
            self._sandbox = sandbox
            # Whoever looks for a hint launches the same wrong answers on the same input.
            self._ask = lru_cache(maxsize=512)(sandbox.ask)
        try:
            found: dict[str, Any] = Answer(self._ask).launch_from_source(*arguments)
        except BaseException as error:
            if not isinstance(error, LearnerError) or error.kind == "TimeLimit":
                self.close()  # it is lost, late with its reply, or was stopped halfway
            raise
        return found

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None


_clean = _Clean(_open)
atexit.register(_clean.close)
