"""Weights in four bits: choosing the codes, packing them, and multiplying with them.

    what it is      record: codes, scales, zeros or codebook, groups
    to choose       rounding: to the nearest code, NF4; gptq; awq
    to store        layouts: GPTQ, AWQ, Marlin; packing: to and from them; nibbles: their orders;
                    zero_points: what a GPTQ checkpoint means by its zeros
    to multiply     matmul: refusals and the choice of engine; cpu: a loop that numba compiles;
                    kernels: Triton, around them launch and tiles; cost: bytes
    in a model      linear: a layer, and a LLaMA made of such layers
    eight bits      w8a8: int8 weights and activations

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
    "gptq",
    "hessian",
    "ideal_bytes",
    "nf4",
    "pack",
    "prepare",
    "quantize_model",
    "round_to_nearest",
    "roundings",
    "unpack",
    "unpack_pairs",
    "w4a16_bytes",
    "w4a16_matmul",
    "w8a8_matmul",
    "zero_convention",
]


def __getattr__(name: str) -> Any:
    """``autotune``, once it is asked for: it imports triton, which is not everywhere."""
    if name != "autotune":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(".launch", __name__), name)
    return globals()[name]
