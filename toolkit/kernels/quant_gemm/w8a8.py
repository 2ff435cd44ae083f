"""Eight bits on both sides: int8 weights by int8 activations, added up in int32.

A weight has a scale for each output, an activation one for each token, found as it comes, so both
leave the sum:

    y[m, n] = scale_x[m] scale_w[n] sum_k x[m, k] w[n, k]

Source:
    Dettmers et al. 2022, LLM.int8() (vector-wise quantisation, without its outliers in fp16).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Int8
from torch import Tensor
from torch.nn.functional import pad

from .record import QuantizedWeight

LONGEST = 2**17
"""Columns at which 2^14, the product of two int8, could overflow int32."""


def quantize_activations(
    x: Float[Tensor, "tokens in"],
) -> tuple[Int8[Tensor, "tokens in"], Float32[Tensor, "tokens 1"]]:
    """int8 and a scale for each token, symmetric, so that x is about scale * int8."""
    x = x.float()
    scales = (x.abs().amax(1, keepdim=True) / 127.5).clamp(min=torch.finfo(torch.float32).tiny)
    return (x / scales).round().clamp(-128, 127).to(torch.int8), scales


@torch.no_grad()
def w8a8_matmul(
    x: Float[Tensor, "*batch in"], weight: QuantizedWeight
) -> Float[Tensor, "*batch out"]:
    """x times the transposed weight, both in int8; in x's dtype.

    No gradients flow: rounding has none.

    Args:
        x: fp16, bf16 or fp32.
        weight: ``round_to_nearest(w, group_size=-1, bits=8)``.
    Raises:
        ValueError: the weight is not of that kind, or x does not fit it or lies elsewhere.
        TypeError: x is of another dtype.
    """
    if weight.bits != 8 or weight.groups != 1 or weight.zeros is not None:
        raise ValueError(
            "weight must be symmetric, in 8 bits, with one group a row, got "
            f"{weight.bits} bits, {weight.groups} groups and "
            f"{'no ' if weight.zeros is None else ''}zeros: "
            "take round_to_nearest(w, group_size=-1, bits=8)"
        )
    outputs, inputs = weight.shape
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise TypeError(f"x must be float32, float16 or bfloat16, got {x.dtype}")
    if x.ndim < 1 or x.shape[-1] != inputs:
        raise ValueError(f"x must end in in_features, {inputs}, got {tuple(x.shape)}")
    if x.device != weight.codes.device:
        raise ValueError(f"x must be on the weight's device, {weight.codes.device}, got {x.device}")
    if inputs >= LONGEST:
        raise ValueError(f"in_features must be below {LONGEST:,}, for int32's sake, got {inputs:,}")
    tokens, scales = quantize_activations(x.flatten(0, -2) if x.ndim > 1 else x[None])
    # A code and its int8, code - 128, differ in the top bit alone.
    sums = int_matmul(tokens, (weight.codes ^ 128).view(torch.int8))
    y = sums.float() * scales * weight.scales.T
    return y.to(x.dtype).reshape(*x.shape[:-1], outputs)


def int_matmul(a: Int8[Tensor, "rows in"], b: Int8[Tensor, "columns in"]) -> Tensor:
    """a b^T in int32. A GPU's takes more than 16 rows and multiples of 8, so it gets some zeros."""
    rows, columns, inner = a.shape[0], b.shape[0], a.shape[1]
    if a.is_cuda:
        a = pad(a, (0, -inner % 8, 0, max(17 - rows, 0)))
        b = pad(b, (0, -inner % 8, 0, -columns % 8))
    return torch._int_mm(a, b.T)[:rows, :columns]
