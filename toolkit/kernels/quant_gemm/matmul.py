"""Products with four-bit weights as a user calls them: refusals and the choice of engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.kernels.engine import engine

from .layouts import Packed
from .record import QuantizedWeight

if TYPE_CHECKING:
    from .cpu import CpuWeight
    from .launch import GpuWeight

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def prepare(weight: QuantizedWeight) -> CpuWeight | GpuWeight:
    """A weight in the layout of the engine that will multiply with it, where it is.

    Columns that were grouped by activation order are laid group by group.

    Raises:
        ValueError: codes are not of 4 bits, groups are no multiple of 16 or of unequal sizes, or
            there is a codebook and no CPU to look it up.
    """
    if weight.bits != 4:
        raise ValueError(
            f"codes must be of 4 bits, got {weight.bits}: for 8 bits there is w8a8_matmul, for "
            f"others weight.dequantize()"
        )
    if weight.group_size % 16:
        raise ValueError(
            f"group_size must be a multiple of 16 to multiply with, got {weight.group_size}: "
            f"quantise in other groups, or multiply by weight.dequantize()"
        )
    order = None if weight.g_idx is None else _order(weight)
    if engine(weight.codes) == "reference":
        if weight.codes.device.type != "cpu":
            raise ValueError(
                f"weight is on {weight.codes.device}, where Triton does not run: move it to the "
                f"CPU or to a CUDA GPU"
            )
        from .cpu import lay_out as lay_out_for_cpu

        return lay_out_for_cpu(weight, order)
    if weight.codebook is not None:
        raise ValueError(
            "the Triton kernel computes weights and looks none up in a codebook: take "
            "round_to_nearest, gptq or awq, or multiply by weight.dequantize()"
        )
    from .launch import lay_out as lay_out_for_gpu

    return lay_out_for_gpu(weight, order)


def w4a16_matmul(
    x: Float[Tensor, "*batch in"], qweight: QuantizedWeight | CpuWeight | GpuWeight
) -> Float[Tensor, "*batch out"]:
    """x @ W.T for a weight (out, in) of 4-bit codes, which become numbers on the way.

    ``toolkit.kernels.engine.engine(x)`` says what runs it: the Triton kernels, compiled for a
    GPU's tensors; the same kernels in Triton's interpreter, where that is on; else, on a CPU, a
    loop compiled by numba, on as many threads as torch has. Sums are in fp32 and the same bit for
    bit in every run. The interpreter takes bf16 as fp32, since it computes wrongly in bf16.

    Args:
        x: fp32, fp16 or bf16.
        qweight: what ``prepare`` made of a weight; or the weight, which is then prepared for this
            one product, and that takes longer than the product.
    Returns:
        Outputs in x's dtype. They have no gradient. A row of x that is not finite gives NaN.
    Raises:
        ValueError, TypeError: shapes, dtypes or devices that don't fit, or x asks for a gradient,
            in a sentence; and as ``prepare``.
    """
    if isinstance(qweight, Tensor | Packed):
        raise TypeError(
            f"qweight must be a QuantizedWeight or what prepare() made of one, got a "
            f"{type(qweight).__name__}: quantise a tensor, or unpack() what is packed"
        )
    weight = prepare(qweight) if isinstance(qweight, QuantizedWeight) else qweight
    _check(x, weight)
    rows = x.reshape(-1, x.shape[-1])
    if weight.order is not None:
        rows = rows[:, weight.order]
    return _multiply(rows, weight).view(*x.shape[:-1], weight.shape[0])


@torch.compiler.disable  # numba's loop is nothing that torch.compile could trace
def _multiply(x: Tensor, weight: Any) -> Tensor:
    if engine(x) == "reference":
        from .cpu import multiply

        return multiply(x, weight)
    from .launch import launch

    x = x if x.stride(1) == 1 else x.contiguous()
    if engine(x) == "interpreter" and x.dtype == torch.bfloat16:
        return launch(x.float(), weight).to(x.dtype)
    return launch(x, weight)


def _check(x: Tensor, weight: CpuWeight | GpuWeight) -> None:
    if not isinstance(x, Tensor) or x.dtype not in DTYPES:
        given = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a tensor of float32, float16 or bfloat16, got {given}")
    if not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"x must end in the weight's {weight.shape[1]} columns, got shape {tuple(x.shape)}"
        )
    if x.device != weight.device:
        raise ValueError(
            f"x must be on the weight's device, {weight.device}, got {x.device}: a weight is "
            f"prepared for the device that it is on"
        )
    if x.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            "x asks for a gradient, and w4a16_matmul has none: call it under torch.no_grad()"
        )


def _order(weight: QuantizedWeight) -> Int64[Tensor, " in"]:
    """The columns group by group."""
    groups = weight.column_groups
    if (groups.bincount(minlength=weight.groups) != weight.group_size).any():
        raise ValueError(
            f"each group must have {weight.group_size} columns in g_idx, got "
            f"{groups.bincount(minlength=weight.groups).tolist()}"
        )
    return groups.argsort(stable=True)
