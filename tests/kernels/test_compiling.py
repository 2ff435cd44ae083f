"""toolkit.kernels.compiling: kernels whose assembly is known beforehand, on chips of each kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import triton
import triton.language as tl

from toolkit.kernels.compiling import SHARED_LIMITS, TARGETS, Compiled, compile_for


@triton.jit
def multiply(a, b, out, inner, stride, ROWS: tl.constexpr, WIDE: tl.constexpr):
    rows, columns, step = tl.arange(0, ROWS), tl.arange(0, WIDE), tl.arange(0, 64)
    total = tl.zeros((ROWS, WIDE), dtype=tl.float32)
    for start in range(0, inner, 64):
        left = tl.load(a + rows[:, None] * stride + (start + step)[None, :])
        right = tl.load(b + (start + step)[:, None] * WIDE + columns[None, :])
        total += tl.dot(left, right)
    tl.store(out + rows[:, None] * WIDE + columns[None, :], total)


@triton.jit
def add_up(numbers, out, SIZE: tl.constexpr = 128):
    tl.store(out, tl.sum(tl.load(numbers + tl.arange(0, SIZE)), axis=0))


TYPES = {"a": "*fp16", "b": "*fp16", "out": "*fp32", "inner": "i32", "stride": "i32"}


def product(target: str, rows: int = 64, wide: int = 64, **options: int) -> Compiled:
    arguments = TYPES | {"ROWS": rows, "WIDE": wide}
    return compile_for(multiply, target, arguments, divisible=("inner", "stride"), **options)


@pytest.mark.parametrize(
    ("target", "instruction"),
    [("sm_80", "mma.sync"), ("sm_90", "wgmma"), ("sm_100", "tcgen05.mma"), ("gfx942", "v_mfma")],
)
def test_each_chip_multiplies_by_its_own_matrix_instruction(target: str, instruction: str) -> None:
    rows = 128 if target == "sm_100" else 64
    compiled = product(target, rows)
    assert (compiled.kernel, compiled.target) == ("multiply", target)
    assert set(compiled.matrix_instructions) == {instruction}
    assert compiled.matrix_instructions[instruction] > 0
    assert instruction in compiled.assembly
    assert 0 < compiled.shared_bytes <= compiled.shared_limit == SHARED_LIMITS[target]
    assert 0 < compiled.registers <= 512
    assert compiled.spilled_bytes == 0


def test_a_tile_of_16_rows_is_too_small_for_wgmma() -> None:
    assert set(product("sm_90", rows=16).matrix_instructions) == {"mma.sync"}


def test_a_kernel_without_a_product_has_no_matrix_instruction() -> None:
    compiled = compile_for(add_up, "sm_80", {"numbers": "*fp32", "out": "*fp32"})
    assert compiled.matrix_instructions == {}


@pytest.mark.parametrize(("target", "wide"), [("sm_80", 64), ("gfx942", 128)])
def test_a_tile_that_one_warp_cannot_hold_spills(target: str, wide: int) -> None:
    # 256 x 64 fp32 accumulators are 512 for each of 32 threads, which have 255 registers; on AMD
    # 256 x 128 are 512 for each of 64, which have 512.
    assert product(target, rows=256, wide=wide, num_warps=1).spilled_bytes > 0


def test_each_stage_of_the_pipeline_holds_tiles_in_shared_memory() -> None:
    tiles = 2 * (128 * 64 + 64 * 128)
    two, five = (product("sm_80", 128, 128, num_stages=n, num_warps=8) for n in (2, 5))
    assert five.shared_bytes - two.shared_bytes in {2 * tiles, 3 * tiles}
    eight = product("sm_80", 128, 128, num_stages=8, num_warps=8)
    assert eight.shared_bytes > eight.shared_limit


def test_an_aligned_pointer_is_read_16_bytes_at_a_time() -> None:
    arguments = {"numbers": "*fp32", "out": "*fp32", "SIZE": 512}
    assert "ld.global.v4" in compile_for(add_up, "sm_80", arguments).assembly


def test_rows_of_a_multiple_of_16_are_copied_past_the_registers() -> None:
    # a row that begins anywhere is loaded element by element, 16 bits at a time
    arguments = TYPES | {"ROWS": 64, "WIDE": 64}
    assert "ld.global.b16" in compile_for(multiply, "sm_80", arguments).assembly
    assert "ld.global" not in product("sm_80").assembly
    assert "cp.async.cg.shared.global" in product("sm_80").assembly


def test_an_argument_of_1_is_compiled_in_as_by_a_launch() -> None:
    def parameters(**changes: object) -> int:
        arguments = TYPES | {"ROWS": 16, "WIDE": 16} | changes
        return len(re.findall(r"\.param \.", compile_for(multiply, "sm_80", arguments).assembly))

    assert parameters(stride=1) == parameters() - 1


def test_the_log_is_read_again_although_the_binary_is_cached() -> None:
    assert product("sm_80") == product("sm_80")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "sm_70"}, "target must be one of sm_80, sm_90, sm_100, gfx942, got 'sm_70'"),
        ({"arguments": {"numbers": "*fp32"}}, "add_up needs out too: give all of numbers, out"),
        (
            {"arguments": {"numbers": "*fp32", "out": "*fp32", "size": 2}},
            "add_up has no parameter 'size': it has numbers, out, SIZE",
        ),
        ({"divisible": ["count"]}, "add_up has no parameter 'count'"),
        ({"arguments": {"numbers": 16, "out": "*fp32"}}, "numbers is no constexpr.* got 16"),
        ({"arguments": {"numbers": "*f16", "out": "*fp32"}}, "got '\\*f16'"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(changes: dict, said: str) -> None:
    given = {"target": "sm_80", "arguments": {"numbers": "*fp32", "out": "*fp32"}} | changes
    with pytest.raises(ValueError, match=said):
        compile_for(add_up, **given)


def test_a_plain_function_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"kernel must be a function under @triton\.jit, got function"
    ):
        compile_for(product, "sm_80", {})


def test_an_interpreted_kernel_is_refused() -> None:
    code = (
        "import triton\n"
        "from toolkit.kernels.compiling import compile_for\n"
        "def empty(): pass\n"
        "kernel = triton.runtime.interpreter.InterpretedFunction(empty)\n"
        "compile_for(kernel, 'sm_80', {})\n"
    )
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert b"empty runs in Triton's interpreter, which compiles nothing" in run.stderr


def test_without_triton_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton.backends.compiler", None)
    with pytest.raises(ModuleNotFoundError, match="Triton is not installed"):
        compile_for(add_up, "sm_80", {})


def test_every_target_has_its_limit() -> None:
    assert set(TARGETS) == set(SHARED_LIMITS)
