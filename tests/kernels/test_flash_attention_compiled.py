"""Every kernel and every size of tile, compiled ahead of time for GPUs that aren't here.

The chip with little shared memory stands for an RTX 4090: code for sm_80 in 99 KB.
"""

from __future__ import annotations

from itertools import product

import pytest

from toolkit.kernels.compiling import compile_for
from toolkit.kernels.flash_attention import decode, naive
from toolkit.kernels.flash_attention.backward import (
    flash_backward_keys,
    flash_backward_queries,
    row_products,
)
from toolkit.kernels.flash_attention.forward import flash_forward
from toolkit.kernels.flash_attention.tiles import (
    DECODE,
    FORWARD,
    KEYS_GRADIENT,
    QUERIES_GRADIENT,
    pick,
)

KERNELS = {
    "forward": (flash_forward, FORWARD),
    "keys' gradients": (flash_backward_keys, KEYS_GRADIENT),
    "queries' gradients": (flash_backward_queries, QUERIES_GRADIENT),
}
CHIPS = {"sm_80": "sm_80", "sm_90": "sm_90", "gfx942": "gfx942", "sm_89": "sm_80"}
LIMITS = {"sm_89": 99 * 1024}
SIZES = {"bf16": 2, "fp16": 2, "fp32": 4}
PLAIN = {"CAUSAL": True, "GROUP": 4}
ALL = {"CAUSAL": True, "GROUP": 4, "WINDOW": True, "SOFTCAP": True, "PACKED": True}
FP32_POINTERS = ("lse_ptr", "out_lse_ptr", "delta_ptr", "dlse_ptr", "s_ptr", "p_ptr")
FP32 = ("scale", "softcap")
INT32_POINTERS = ("starts_q_ptr", "starts_k_ptr", "table_ptr", "lens_ptr")


def compiled(kernel, chip, dtype, constants, warps, stages, ones=()):
    """As a launch on tensors of head_dim 64, 128 or 256 would: their strides divide by 16.

    A launch compiles in the integers that are 1, such as the ``ones``.
    """
    target = CHIPS[chip]
    constants = {"PRECISION": "tf32x3" if target.startswith("sm_") else "ieee"} | constants
    arguments, divisible = {}, []
    for parameter in kernel.params:
        name = parameter.name
        if parameter.is_constexpr:
            arguments[name] = constants[name]
        elif name in ones:
            arguments[name] = 1
        elif name in FP32_POINTERS:
            arguments[name] = "*fp32"
        elif name in INT32_POINTERS:
            arguments[name] = "*i32"
        elif name.endswith("_ptr"):
            arguments[name] = f"*{dtype}"
        else:
            arguments[name] = "fp32" if name in FP32 else "i32"
            if name.split("_")[0] in ("q", "k", "v", "o", "do", "dk", "dq", "out"):
                divisible.append(name)
    done = compile_for(
        kernel, target, arguments, divisible=divisible, num_warps=warps, num_stages=stages
    )
    assert done.shared_bytes <= LIMITS.get(chip, done.shared_limit)
    return done


def check(chip, dtype, name, dim, rules, ones=()):
    kernel, table = KERNELS[name]
    careful = bool(rules.keys() & {"WINDOW", "SOFTCAP", "PACKED"})
    tiles = pick(table, dim, SIZES[dtype], chip, careful)
    constants = {
        "GROUP": 1, "DIM": dim, "PADDED": dim, "QUERIES": tiles.queries, "KEYS": tiles.keys,
        "STAGES": tiles.stages, "CAUSAL": False, "WINDOW": False, "SOFTCAP": False,
        "PACKED": False,
    } | rules  # fmt: skip
    done = compiled(kernel, chip, dtype, constants, tiles.warps, tiles.stages, ones)
    if chip == "sm_90" and dtype != "fp32" and min(tiles.queries, tiles.keys) >= 64:
        expected = "wgmma"
    else:
        expected = {"gfx942": "v_mfma"}.get(chip, "mma.sync")
    assert expected in done.matrix_instructions or "wgmma" in done.matrix_instructions
    assert dim > 128 or done.spilled_bytes == 0, f"{done.spilled_bytes} bytes spilled"


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dim", [64, 128])
def test_on_an_h100(name, dim):
    check("sm_90", "fp16", name, dim, PLAIN)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("rules", [{}, ALL], ids=["full", "all rules"])
def test_one_of_everything(name, rules):
    ones = ("heads", "kv_heads", "queries", "keys", "window")
    check("sm_90", "fp16", name, 64, rules | {"GROUP": 1}, ones)


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dim", [64, 128, 256])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("rules", [PLAIN, ALL], ids=["plain", "all rules"])
def test_every_configuration(name, dim, dtype, chip, rules):
    check(chip, dtype, name, dim, rules)


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_decoding(chip, dtype):
    for dim, rule in product((64, 128, 256), (False, True)):
        tiles = pick(DECODE, dim, SIZES[dtype], chip, rule)
        constants = {
            "GROUP": 4, "ROWS": 16, "DIM": dim, "PADDED": dim, "BLOCK": 16, "KEYS": tiles.keys,
            "STAGES": tiles.stages, "WINDOW": rule, "SOFTCAP": rule,
        }  # fmt: skip
        done = compiled(decode.decode_split, chip, dtype, constants, tiles.warps, tiles.stages)
        assert done.matrix_instructions
        assert dim > 128 or done.spilled_bytes == 0
        ones = ("k_slot", "table_batch", "window", "splits", "lse_head")
        compiled(decode.decode_split, chip, dtype, constants, tiles.warps, 1, ones)
        sizes = {"DIM": dim, "PADDED": dim, "SPLITS": 128}
        compiled(decode.decode_join, chip, dtype, sizes, 4, 1)


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
def test_the_other_kernels(chip):
    sizes = {"DIM": 64, "PADDED": 64, "QUERIES": 64, "KEYS": 64, "WIDTH": 4096}
    for kernel in (row_products, naive.score_tile, naive.softmax_row, naive.mix_tile):
        assert compiled(kernel, chip, "fp16", sizes, 4, 1).spilled_bytes == 0
