"""Weights in four bits: choosing the codes, packing them, and multiplying with them.

    what it is      record: codes, scales, zeros or codebook, groups
    to choose       rounding: to the nearest code, NF4; gptq; awq
    to store        layouts: GPTQ, AWQ, Marlin -> packing -> nibbles; zero_points: which GPTQ it is
    to multiply     matmul: which engine -> cpu: numba's loop | launch -> kernels; tiles; cost
    in a model      linear: a layer, and a LLaMA made of such layers
    eight bits      w8a8: int8 weights and activations
    for the lab     small: a group, a word, a column, a time; small_kernels: the product

Triton's kernels run compiled on a GPU, or in Triton's interpreter where ``TRITON_INTERPRET=1`` is
set before triton is imported; elsewhere the CPU's loop runs.
"""

from importlib import import_module
from typing import Any

from .awq import awq
from .cost import ideal_bytes, w4a16_bytes
from .gptq import gptq, hessian
from .layouts import Packed
from .linear import Int4Linear, quantize_model
from .matmul import prepare, w4a16_matmul
from .nibbles import unpack_pairs
from .packing import convert, pack, unpack
from .record import QuantizedWeight
from .rounding import nf4, round_to_nearest, roundings
from .small import crossover, pack_nibbles, quantize, round_column, speedup, unpack_nibbles
from .tiles import Tiles
from .w8a8 import w8a8_matmul
from .zero_points import zero_convention

__all__ = [
    "Int4Linear",
    "Packed",
    "QuantizedWeight",
    "Tiles",
    "autotune",
    "awq",
    "convert",
    "crossover",
    "gptq",
    "hessian",
    "ideal_bytes",
    "nf4",
    "pack",
    "pack_nibbles",
    "prepare",
    "quantize",
    "quantize_model",
    "round_column",
    "round_to_nearest",
    "roundings",
    "speedup",
    "unpack",
    "unpack_nibbles",
    "unpack_pairs",
    "w4a16_bytes",
    "w4a16_kernel",
    "w4a16_matmul",
    "w8a8_matmul",
    "zero_convention",
]


WITH_TRITON = {"autotune": ".launch", "w4a16_kernel": ".small_kernels"}
"""What imports triton, which is not everywhere, and where it is."""


def __getattr__(name: str) -> Any:
    """What needs triton, once it is asked for."""
    if name not in WITH_TRITON:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(WITH_TRITON[name], __name__), name)
    return globals()[name]
