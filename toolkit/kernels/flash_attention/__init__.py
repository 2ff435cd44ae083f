"""FlashAttention: exact attention that never writes its scores to the GPU's memory.

    the formula     reference: all scores at once
    to call         attending: dense and packed sequences, with gradients; paged: decoding
    kernels         forward, backward, decode: Triton; naive: the formula in three kernels
    around them     launch: strides and grids; tiles: sizes by chip; refusals; cost: FLOPs and bytes
    for the lab     small: the loop in NumPy; small_kernels: one head, contiguous, no options

Runs compiled on a GPU, in Triton's interpreter where ``TRITON_INTERPRET=1`` is set before triton is
imported, else as the reference: ``toolkit.kernels.engine.engine`` says which.
"""

from importlib import import_module
from typing import Any

from .attending import attention, flash_attention, flash_attention_varlen
from .cost import attention_bytes, attention_flops, flash_bytes
from .paged import flash_decode
from .reference import visible
from .small import online_attention
from .tiles import Tiles

__all__ = [
    "Tiles",
    "attention",
    "attention_bytes",
    "attention_flops",
    "causal_walk",
    "flash_attention",
    "flash_attention_varlen",
    "flash_bytes",
    "flash_decode",
    "online_attention",
    "softmax_kernel",
    "value_gradient_kernel",
    "visible",
    "walk",
]


def __getattr__(name: str) -> Any:
    """The lab's kernels, once they are asked for: they import triton, which is not everywhere."""
    if name not in ("softmax_kernel", "walk", "causal_walk", "value_gradient_kernel"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(".small_kernels", __name__), name)
    return globals()[name]
