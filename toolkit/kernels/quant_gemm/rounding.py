"""Each weight to its nearest code: evenly spaced codes, or NF4's sixteen levels.

Weights are grouped along a row, and each group has its own scale, which is rounded to fp16 first,
since that is what a kernel will multiply with. Codes are chosen for the rounded scale.

Not in here: quantisers that look at activations, which are in gptq and awq; NF4's second
quantisation, of the scales themselves.

Source:
    Dettmers et al. 2023, QLoRA (NF4).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from .record import QuantizedWeight

LARGEST = torch.finfo(torch.float16).max
SMALLEST_SCALE = 2.0**-24
"""fp16's smallest number above 0: a group of zeros needs some scale."""


@torch.no_grad()
def round_to_nearest(
    weight: Float[Tensor, "out in"],
    group_size: int = 128,
    *,
    symmetric: bool = True,
    bits: int = 4,
) -> QuantizedWeight:
    """A weight rounded to evenly spaced codes, group by group.

    Symmetric codes have 2a / (2^bits - 1) between them, a the group's largest magnitude, and the
    code 2^(bits-1) is 0: they reach a half step past -a, and end a half step below a. Asymmetric
    ones run over [min(w, 0), max(w, 0)], with the zero a code too. Within a group
    |w - w'| <= scale / 2, but for the scale's own rounding.

    Args:
        weight: as torch's Linear has it, fp16, bf16, fp32 or fp64.
        group_size: columns in a group; -1 for one group a row.
        symmetric: no zeros to store.
        bits: 2 to 8.
    Raises:
        TypeError: the weight is not of floating point.
        ValueError: it is not a finite matrix, or cannot be cut into such groups; or bits.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be 2 to 8, got {bits}: codes are kept in bytes")
    size = check_weight(weight, group_size)
    groups = weight.float().unflatten(1, (-1, size))
    scales, zeros = grid(groups, symmetric, bits)
    codes = encode(groups, scales[..., None], zeros[..., None], bits)
    return QuantizedWeight(
        codes.flatten(1), scales, None if symmetric else zeros, None, size, None, bits
    )


@torch.no_grad()
def nf4(weight: Float[Tensor, "out in"], group_size: int = 64) -> QuantizedWeight:
    """A weight rounded to NF4's levels, times the largest magnitude of its group.

    Args:
        weight: as torch's Linear has it.
        group_size: columns in a group; -1 for one group a row.
    Raises:
        TypeError: the weight is not of floating point.
        ValueError: it is not a finite matrix, or cannot be cut into such groups.
    """
    size = check_weight(weight, group_size)
    groups = weight.float().unflatten(1, (-1, size))
    scales = storable(groups.abs().amax(-1))
    levels = nf4_levels().to(weight.device)
    between = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(groups / scales[..., None], between).to(torch.uint8)
    return QuantizedWeight(codes.flatten(1), scales, None, levels, size, None)


def roundings(weight: Float[Tensor, "out in"]) -> dict[tuple[str, int, int], QuantizedWeight]:
    """A weight by each method, in as many bits and in groups of as many columns.

    Keys are ("symmetric" or "asymmetric", 2 to 8, 32, 64 or 128) and ("nf4", 4, 32, 64 or 128),
    for the groups that a row can be cut into.

    Raises:
        TypeError, ValueError: as ``round_to_nearest``.
    """
    groups = [size for size in (32, 64, 128) if weight.shape[-1] % size == 0]
    even = {
        (name, bits, size): round_to_nearest(weight, size, symmetric=symmetric, bits=bits)
        for name, symmetric in (("symmetric", True), ("asymmetric", False))
        for bits in range(2, 9)
        for size in groups
    }
    return even | {("nf4", 4, size): nf4(weight, size) for size in groups}


def nf4_levels() -> Float32[Tensor, " levels"]:
    """Sixteen levels over [-1, 1], each as likely as the next for a normally distributed weight.

    Quantiles of the normal distribution, evenly spaced in probability from a tail to the middle:
    eight levels from the left, nine from the right, 0 being in both.
    """
    tail = 1 - (1 / 32 + 1 / 30) / 2
    left = torch.special.ndtri(torch.linspace(1 - tail, 0.5, 8, dtype=torch.float64))
    right = torch.special.ndtri(torch.linspace(0.5, tail, 9, dtype=torch.float64))
    return (torch.cat([left, right[1:]]) / right[-1]).float()


def grid(
    values: Float[Tensor, "*rows columns"], symmetric: bool, bits: int
) -> tuple[Float32[Tensor, "*rows"], UInt8[Tensor, "*rows"]]:
    """Scale and zero of each row of values, over all of its columns."""
    steps = 2**bits - 1
    low, high = values.amin(-1).clamp(max=0), values.amax(-1).clamp(min=0)
    if symmetric:
        high = torch.maximum(-low, high)
        scales = storable(2 * high / steps)
        return scales, torch.full_like(scales, 2 ** (bits - 1), dtype=torch.uint8)
    scales = storable((high - low) / steps)
    return scales, (-low / scales).round().clamp(0, steps).to(torch.uint8)


def encode(
    values: Float[Tensor, "*rows columns"],
    scales: Float32[Tensor, "*#rows columns"],
    zeros: UInt8[Tensor, "*#rows columns"],
    bits: int,
) -> UInt8[Tensor, "*rows columns"]:
    """The code nearest to each value; beyond the grid, the last one."""
    codes = (values / scales).round() + zeros
    return codes.clamp(0, 2**bits - 1).to(torch.uint8)


def storable(scales: Float[Tensor, "*groups"]) -> Float32[Tensor, "*groups"]:
    """Scales as fp16 holds them, above 0."""
    return scales.clamp(min=SMALLEST_SCALE).half().float()


def check_weight(weight: Float[Tensor, "out in"], group_size: int) -> int:
    """The columns in a group; raises for a weight or a group size that cannot be quantised."""
    if weight.ndim != 2 or not weight.numel():
        raise ValueError(f"weight must be (out_features, in_features), got {tuple(weight.shape)}")
    if not weight.is_floating_point():
        raise TypeError(f"weight must be of floating point, got {weight.dtype}")
    columns = weight.shape[1]
    size = columns if group_size == -1 else group_size
    if size < 1:
        raise ValueError(f"group_size must be at least 1, or -1 for a whole row, got {group_size}")
    if columns % size:
        raise ValueError(
            f"in_features must be a multiple of group_size, got {columns} and {group_size}: "
            "take a divisor, or -1 for a whole row"
        )
    if not weight.isfinite().all():
        raise ValueError("weight must be finite, got NaN or inf in it")
    largest = weight.abs().max().item()
    if largest > LARGEST:
        raise ValueError(
            f"weight must be within fp16's {LARGEST:,.0f}, in which scales are kept, "
            f"got {largest:,.0f}"
        )
    return size
