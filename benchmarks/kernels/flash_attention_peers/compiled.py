"""The kernels, compiled for an H100 that need not be there, at the library's tiles and at others.

The seconds are of compiling. Nothing is run, so nothing is said of the kernels' speed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.bench import Case
from toolkit.kernels.compiling import Compiled, compile_for
from toolkit.kernels.flash_attention import Tiles
from toolkit.kernels.flash_attention.backward import flash_backward_keys, flash_backward_queries
from toolkit.kernels.flash_attention.forward import flash_forward
from toolkit.kernels.flash_attention.tiles import FORWARD, KEYS_GRADIENT, QUERIES_GRADIENT, pick

CHIP = "sm_90"
KERNELS = {
    "forward": (flash_forward, FORWARD),
    "keys' gradients": (flash_backward_keys, KEYS_GRADIENT),
    "queries' gradients": (flash_backward_queries, QUERIES_GRADIENT),
}
OTHERS = {
    ("forward", 64): [Tiles(64, 64, 4, 3), Tiles(128, 128, 4, 3)],
    ("forward", 128): [Tiles(128, 128, 8, 3), Tiles(128, 128, 4, 3)],
    ("keys' gradients", 64): [Tiles(64, 64, 4, 2), Tiles(128, 128, 8, 2)],
    ("keys' gradients", 128): [Tiles(64, 128, 8, 2), Tiles(64, 64, 4, 2)],
    ("queries' gradients", 64): [Tiles(64, 64, 4, 2), Tiles(32, 128, 8, 2)],
    ("queries' gradients", 128): [Tiles(128, 128, 8, 2), Tiles(32, 128, 8, 2)],
}
"""Beside the library's choice; rows of queries and of keys, warps, stages."""


def compiling(name: str, head_dim: int) -> Case:
    """One causal bf16 kernel at the library's tiles, and at others."""
    kernel, table = KERNELS[name]
    chosen = pick(table, head_dim, 2, CHIP, ruled=False)
    others = [tiles for tiles in OTHERS[name, head_dim] if tiles != chosen]
    return Case(
        f"{name}, head_dim {head_dim}, compiled for {CHIP}",
        {
            "ours": _label(chosen), "kernel": name, "head_dim": head_dim, "chip": CHIP,
            "dtype": "bf16", "causal": 1,
        },
        _compiling(kernel, head_dim, chosen),
        {_label(tiles): _compiling(kernel, head_dim, tiles) for tiles in others},
        _figures,
        rounds=0,
    )  # fmt: skip


def _label(tiles: Tiles) -> str:
    return f"{tiles.queries} x {tiles.keys}, {tiles.warps} warps, {tiles.stages} stages"


def _compiling(kernel: Any, head_dim: int, tiles: Tiles) -> Callable[[], Compiled]:
    constants = {
        "GROUP": 1, "DIM": head_dim, "PADDED": head_dim, "QUERIES": tiles.queries,
        "KEYS": tiles.keys, "STAGES": tiles.stages, "CAUSAL": True, "WINDOW": False,
        "SOFTCAP": False, "PACKED": False, "PRECISION": "tf32x3",
    }  # fmt: skip
    names = [parameter.name for parameter in kernel.params]
    arguments = {name: constants.get(name, _type(name)) for name in names}
    # the strides of tensors whose head_dim is a multiple of 16
    rows = [name for name in names if name.endswith(("_batch", "_head", "_row"))]
    divisible = [name for name in rows if not name.startswith("lse")]
    return lambda: compile_for(
        kernel, CHIP, arguments, divisible=divisible,
        num_warps=tiles.warps, num_stages=tiles.stages,
    )  # fmt: skip


def _type(name: str) -> str:
    if name.endswith("_ptr"):
        of = {"lse_ptr": "fp32", "delta_ptr": "fp32", "starts_q_ptr": "i32", "starts_k_ptr": "i32"}
        return f"*{of.get(name, 'bf16')}"
    return "fp32" if name in ("scale", "softcap") else "i32"


def _figures(compiled: Compiled) -> dict[str, float]:
    return {
        "wgmma": compiled.matrix_instructions.get("wgmma", 0),
        "shared_kib": compiled.shared_bytes / 1024,
        "registers": compiled.registers,
        "spilled_bytes": compiled.spilled_bytes,
    }
