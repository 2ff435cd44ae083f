"""Compile a Triton kernel for a GPU that isn't there, and read what came out.

Triton's compiler needs no device: it lowers a kernel to PTX or AMD's assembly for any target, and
the assembler it brings along makes the binary. What the interpreter lets through shows here: a
product that found no matrix instruction, tiles that overflow a chip's shared memory, values that
spill out of registers. Nothing is run, so nothing is said of speed.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TARGETS = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "gfx942": ("hip", "gfx942", 64),
}
"""Triton's backend, its name for the chip (A100; H100 and H200; B200; MI300X), threads a warp."""

SHARED_LIMITS = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "sm_100": 227 * 1024, "gfx942": 65_536}
"""Bytes of shared memory that one program can have.

Sources: NVIDIA, Ampere, Hopper and Blackwell Tuning Guides, "Unified Shared Memory/L1/Texture
Cache" (164 and 228 KB a multiprocessor, of which CUDA keeps 1 KB a thread block); AMD, ROCm
documentation, "AMD GPU specifications" (LDS, 64 KiB).
"""

MATRIX_INSTRUCTIONS = {
    "mma.sync": r"\bmma\.sync\b",
    "wgmma": r"\bwgmma\.mma_async\b",
    "tcgen05.mma": r"\btcgen05\.mma\b",
    "v_mfma": r"\bv_mfma_",
}
"""Of one warp (sm_80), of four (sm_90), of a whole multiprocessor (sm_100); AMD's."""

COMPILED_IN = (1, None)
"""Arguments whose value a launch compiles into the kernel, constexpr or not."""

TYPE = re.compile(r"\*?[iu](1|8|16|32|64)|\*?fp(16|32|64|8\w+)|\*?bf16|tensordesc<.*>")


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a kernel became on one target.

    ``matrix_instructions`` counts those in the assembly by name, and holds only the names found.
    ``shared_bytes`` are a program's; ``registers``, on AMD the vector ones, and ``spilled_bytes``
    a thread's. Spilled are, on NVIDIA, the bytes of all stores and loads that ptxas added for want
    of registers, and on AMD those of the vector registers that were spilled.
    """

    kernel: str
    target: str
    matrix_instructions: dict[str, int]
    shared_bytes: int
    shared_limit: int
    registers: int
    spilled_bytes: int
    assembly: str


def compile_for(
    kernel: Any,
    target: str,
    arguments: Mapping[str, Any],
    *,
    divisible: Sequence[str] = (),
    num_warps: int = 4,
    num_stages: int = 2,
) -> Compiled:
    """Compile one kernel ahead of time, as a launch with such arguments would.

    Args:
        kernel: a function under ``@triton.jit``.
        target: one of ``TARGETS``.
        arguments: by parameter name; for a constexpr its value, for any other Triton's name of
            its type ("*fp16", "i32", "fp32"), or 1 or None, which a launch compiles in as well.
            Those with a default may be left out. Pointers count as aligned to 16 bytes, as those
            of PyTorch's tensors are.
        divisible: the integer parameters that are multiples of 16, which a launch notices too.
        num_warps: warps a program.
        num_stages: depth of the software pipeline.
    Raises:
        ValueError: the target, an argument's name or an argument's type is unknown, or one
            is missing.
        TypeError: the kernel is not compiled by Triton, as when its interpreter is on.
        ModuleNotFoundError: Triton isn't installed.
    """
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
    triton = _triton()
    if not isinstance(kernel, triton.JITFunction):
        raise TypeError(_not_compiled(kernel))
    defaults = {one.name: one.default for one in kernel.params if one.has_default}
    given = {**defaults, **arguments}
    _refuse(kernel, given, divisible)

    signature, constants, aligned = {}, {}, {}
    for number, parameter in enumerate(kernel.params):
        name, value = parameter.name, given[parameter.name]
        if parameter.is_constexpr or value in COMPILED_IN:
            signature[name], constants[name] = "constexpr", value
        else:
            signature[name] = value
            if value.startswith("*") or name in divisible:
                aligned[(number,)] = [["tt.divisibility", 16]]

    source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
    chip = triton.backends.compiler.GPUTarget(*TARGETS[target])
    options = {"num_warps": num_warps, "num_stages": num_stages}
    with _assembler_log(triton.knobs) as log:
        binary = triton.compile(source, target=chip, options=options)
    assembly = binary.asm["amdgcn" if target == "gfx942" else "ptx"]
    if target == "gfx942":
        registers = _sum(r"\.vgpr_count:\s+(\d+)", assembly)
        spilled = 4 * _sum(r"\.vgpr_spill_count:\s+(\d+)", assembly)
    else:
        registers = _sum(r"Used (\d+) registers", log.getvalue())
        spilled = _sum(r"(\d+) bytes spill (?:stores|loads)", log.getvalue())
    counts = {name: len(re.findall(word, assembly)) for name, word in MATRIX_INSTRUCTIONS.items()}
    return Compiled(
        kernel=kernel.__name__,
        target=target,
        matrix_instructions={name: count for name, count in counts.items() if count},
        shared_bytes=binary.metadata.shared,
        shared_limit=SHARED_LIMITS[target],
        registers=registers,
        spilled_bytes=spilled,
        assembly=assembly,
    )


def _triton() -> Any:
    try:
        import triton.backends.compiler
        import triton.compiler
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Triton is not installed, and kernels are compiled by it: on Linux, `pip install "
            "triton`; it has no wheels for other systems"
        ) from error
    return triton


def _not_compiled(kernel: Any) -> str:
    if type(kernel).__name__ == "InterpretedFunction":
        return (
            f"{kernel.__name__} runs in Triton's interpreter, which compiles nothing: start Python "
            "without TRITON_INTERPRET=1"
        )
    return (
        f"kernel must be a function under @triton.jit, got {type(kernel).__name__}: of an "
        "autotuned one give the function itself, `kernel.fn`"
    )


def _refuse(kernel: Any, given: Mapping[str, Any], divisible: Sequence[str]) -> None:
    parameters = {parameter.name: parameter for parameter in kernel.params}
    listed = ", ".join(parameters)
    if unknown := [name for name in (*given, *divisible) if name not in parameters]:
        raise ValueError(f"{kernel.__name__} has no parameter {unknown[0]!r}: it has {listed}")
    if missing := [name for name in parameters if name not in given]:
        raise ValueError(f"{kernel.__name__} needs {', '.join(missing)} too: give all of {listed}")
    for name, parameter in parameters.items():
        value = given[name]
        if not (parameter.is_constexpr or value in COMPILED_IN or TYPE.fullmatch(str(value))):
            raise ValueError(
                f"{name} is no constexpr, so Triton's name of its type is asked for, such as "
                f'"i32", "fp32" or "*fp16"; got {value!r}'
            )


@contextlib.contextmanager
def _assembler_log(knobs: Any) -> Iterator[io.StringIO]:
    """Catch ptxas's log, which Triton prints; a binary from its cache would come without one."""
    log = io.StringIO()
    with knobs.compilation.scope(), knobs.nvidia.scope(), contextlib.redirect_stdout(log):
        knobs.compilation.always_compile = True
        knobs.nvidia.dump_ptxas_log = True
        yield log


def _sum(number: str, text: str) -> int:
    found = re.findall(number, text)
    if not found:
        raise RuntimeError(f"the assembler's report has no {number!r}: its format has changed")
    return sum(map(int, found))
