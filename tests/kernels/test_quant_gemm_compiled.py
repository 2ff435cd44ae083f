"""The four-bit product, every size of tile, compiled ahead of time for GPUs that aren't here.

The chip with little shared memory stands for an RTX 4090: code for sm_80 in 99 KB.
"""

from __future__ import annotations

from itertools import product
from math import gcd

import pytest

from toolkit.kernels.compiling import compile_for
from toolkit.kernels.quant_gemm.kernels import add_parts, w4a16
from toolkit.kernels.quant_gemm.tiles import pick

CHIPS = {"sm_80": "sm_80", "sm_90": "sm_90", "gfx942": "gfx942", "sm_89": "sm_80"}
LIMITS = {"sm_89": 99 * 1024}
SIZES = {"fp16": 2, "bf16": 2, "fp32": 4}
DIVISIBLE = ("x_row", "y_split", "columns", "depth")  # those of a layer's sizes


def compiled(chip, dtype, rows, group, zeros, split, ones=()):
    """As a launch on a layer of large sizes would: they divide by 16."""
    target = CHIPS[chip]
    tiles = pick(rows, 4096 if group % 64 == 0 else 96, SIZES[dtype], chip)
    arguments = {
        "x_ptr": f"*{dtype}", "qweight_ptr": "*i16", "scales_ptr": "*fp16", "zeros_ptr": "*i32",
        "y_ptr": "*fp32" if split else f"*{dtype}", "x_row": "i32", "y_split": "i32",
        "rows": "i32", "columns": "i32", "depth": "i32", "share": "i32",
        "GROUP": group, "SHARED": gcd(group, tiles.depth), "ROWS": tiles.rows,
        "COLUMNS": tiles.columns, "DEPTH": tiles.depth, "STAGES": tiles.stages, "ZEROS": zeros,
        "MASKED": group % 64 > 0,
        "PRECISION": "tf32x3" if target.startswith("sm_") else "ieee",
    } | dict.fromkeys(ones, 1)  # fmt: skip
    divisible = [name for name in DIVISIBLE if name not in ones]
    done = compile_for(
        w4a16, target, arguments, divisible=divisible,
        num_warps=tiles.warps, num_stages=tiles.stages,
    )  # fmt: skip
    assert done.shared_bytes <= LIMITS.get(chip, done.shared_limit)
    assert done.spilled_bytes == 0
    return done


@pytest.mark.parametrize("rows", [16, 128])
def test_on_an_h100(rows):
    done = compiled("sm_90", "fp16", rows, 128, zeros=False, split=False)
    assert "wgmma" in done.matrix_instructions


def test_one_row_of_everything():
    done = compiled("sm_90", "bf16", 1, 32, zeros=True, split=True, ones=("rows", "share"))
    assert done.matrix_instructions


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("dtype", SIZES)
def test_every_configuration(chip, dtype):
    for rows, (group, zeros) in product((16, 32, 64, 128), ((128, False), (32, True))):
        done = compiled(chip, dtype, rows, group, zeros, split=rows < 64)
        assert done.matrix_instructions.keys() & {"mma.sync", "wgmma", "v_mfma"}


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("dtype", SIZES)
def test_the_sum_of_parts(chip, dtype):
    arguments = {"parts_ptr": "*fp32", "y_ptr": f"*{dtype}", "count": "i32", "splits": "i32"}
    for ones in ({}, {"count": 1}):
        done = compile_for(add_parts, CHIPS[chip], arguments | {"OUTPUTS": 1024} | ones)
        assert done.spilled_bytes == 0
