"""When and where each program of a launch ran on a real GPU: one lane per multiprocessor.

``clocked`` builds a second version of a kernel that also writes down, for each program, the
multiprocessor it is on and the GPU's clock at its first and its last instruction. What the
interpreter can't show is seen there: programs come in waves, the last wave is a tail in which
multiprocessors idle, and causal programs are of unequal length.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

CLOCKS = "clocks_ptr"


@dataclass(frozen=True, slots=True)
class Timeline:
    """One launch; times are in nanoseconds from the start of its first program."""

    kernel: str
    card: str
    multiprocessors: int
    processor: Int[np.ndarray, " programs"]
    start: Int[np.ndarray, " programs"]
    end: Int[np.ndarray, " programs"]

    @property
    def duration(self) -> int:
        """Nanoseconds from the first start to the last end."""
        return int(self.end.max())

    @property
    def at_once(self) -> int:
        """The most programs that ran at one time."""
        times = np.concatenate([self.start, self.end])
        change = np.concatenate([np.ones_like(self.start), -np.ones_like(self.end)])
        # at one instant, ends come before starts
        order = np.lexsort((change, times))
        return int(change[order].cumsum().max())

    @property
    def waves(self) -> float:
        """Programs for each place that the GPU had for them; the fraction is the tail's."""
        return len(self.start) / self.at_once

    @property
    def idle(self) -> float:
        """Share of the multiprocessors' time in which they ran no program, 0 to 1."""
        busy = sum(self._covered(processor) for processor in np.unique(self.processor))
        return 1.0 - busy / (self.multiprocessors * self.duration)

    @property
    def tail(self) -> int:
        """Nanoseconds from when the first multiprocessor ran out of work to the end."""
        last = [self.end[self.processor == p].max() for p in np.unique(self.processor)]
        return self.duration - int(min(last))

    def _covered(self, processor: int) -> int:
        """Nanoseconds in which at least one program ran on a multiprocessor."""
        mine = self.processor == processor
        order = np.argsort(self.start[mine])
        start, end = self.start[mine][order], np.maximum.accumulate(self.end[mine][order])
        fresh = np.maximum(start[1:], end[:-1])
        return int(end[0] - start[0] + np.maximum(end[1:] - fresh, 0).sum())


def clocked(kernel: Any) -> Any:
    """The kernel with a first parameter more, ``clocks_ptr``: int64 (programs, 3).

    Each program writes its start, its end and its multiprocessor. The kernel must end at its last
    line: an early ``return`` is a path without an end, and is refused.

    Raises:
        TypeError: not a function under ``@triton.jit``, or Triton interprets.
        ValueError: the kernel returns early.
    """
    import triton

    if not isinstance(kernel, triton.JITFunction):
        raise TypeError(
            f"kernel must be a compiled function under @triton.jit, got {type(kernel).__name__}"
        )
    tree = ast.parse(textwrap.dedent(inspect.getsource(kernel.fn)))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    if any(isinstance(node, ast.Return) for node in ast.walk(function)):
        raise ValueError(
            f"{function.name} returns early, where it would write no end: "
            "let it end at its last line"
        )
    function.args.args.insert(0, ast.arg(CLOCKS))
    function.decorator_list = []
    function.body[:0] = ast.parse(
        "_program = tl.program_id(0) + tl.num_programs(0) * "
        "(tl.program_id(1) + tl.num_programs(1) * tl.program_id(2))\n"
        f"tl.store({CLOCKS} + 3 * _program, tl.extra.cuda.globaltimer())"
    ).body
    function.body += ast.parse(
        f"tl.store({CLOCKS} + 3 * _program + 1, tl.extra.cuda.globaltimer())\n"
        f"tl.store({CLOCKS} + 3 * _program + 2, tl.extra.cuda.smid().to(tl.int64))"
    ).body
    source = ast.unparse(ast.fix_missing_locations(tree))
    # Triton reads a kernel's source again, by its file: this one is in Python's cache of lines.
    name = f"<clocked {function.name}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space = {**kernel.fn.__globals__}
    exec(compile(source, name, "exec"), space)
    return triton.jit(space[function.name])


def timeline(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> Timeline:
    """Run ``kernel[grid](*arguments, **constants)`` on the present GPU, and say what ran where.

    The launch is made twice, and the second is recorded: the first compiles.

    Raises:
        RuntimeError: there is no GPU of NVIDIA's.
        TypeError, ValueError: as ``clocked``.
    """
    if not torch.cuda.is_available() or torch.version.hip:
        raise RuntimeError(
            "a timeline needs an NVIDIA GPU, and there is none here: "
            "the microscope, toolkit.kernels.trace, needs none"
        )
    version = clocked(kernel)
    programs = int(np.prod(grid))
    clocks = torch.zeros(programs, 3, dtype=torch.int64, device="cuda")
    for _ in range(2):
        version[grid](clocks, *arguments, **constants)
        torch.cuda.synchronize()
    start, end, processor = clocks.cpu().numpy().T
    properties = torch.cuda.get_device_properties(clocks.device)
    return Timeline(
        kernel=kernel.__name__,
        card=properties.name,
        multiprocessors=properties.multi_processor_count,
        processor=processor.copy(),
        start=start - start.min(),
        end=end - start.min(),
    )
