"""From a quantised weight to a packed one and back, without losing a bit.

A layout with zeros writes 8 for a symmetric weight, and one with ``g_idx`` writes column //
group_size for plain groups. Both are read back as what they mean: no zeros, no g_idx.
"""

from __future__ import annotations

import torch
from jaxtyping import Int32, UInt8
from torch import Tensor

from .layouts import Packed, check_sizes
from .nibbles import (
    INVERSE,
    ORDER,
    from_tiles,
    from_words,
    permute_scales,
    reorder,
    to_tiles,
    to_words,
)
from .record import QuantizedWeight

SYMMETRIC_ZERO = 8


def pack(weight: QuantizedWeight, layout: str) -> Packed:
    """The weight in a layout: "gptq_v1", "gptq_v2", "awq" or "marlin".

    Raises:
        ValueError: what the layout can't hold: bits other than 4, a codebook, scales that fp16
            changes; activation order in awq and marlin; zeros in marlin, a zero of 0 in gptq_v1;
            sizes and groups that aren't its own.
    """
    shape = (weight.shape[0], weight.shape[1])
    check_sizes(layout, shape, weight.group_size)
    _check_numbers(weight)
    zeros, g_idx = weight.zeros, weight.g_idx
    if zeros is None:
        zeros = torch.full_like(weight.scales, SYMMETRIC_ZERO, dtype=torch.uint8)
    if g_idx is None:
        g_idx = _plain_groups(shape[1], weight.group_size, weight.codes.device)
    _check_layout_holds(layout, zeros, g_idx, weight.group_size)

    scales = weight.scales.half().T.contiguous()
    if layout == "marlin":
        qweight = to_words(to_tiles(weight.codes.T))
        scales = permute_scales(scales)
        return Packed(layout, qweight, None, scales, None, shape, weight.group_size)
    if layout == "awq":
        qweight = to_words(reorder(weight.codes.T, ORDER))
        qzeros = to_words(reorder(zeros.T, ORDER))
        return Packed(layout, qweight, qzeros, scales, None, shape, weight.group_size)
    qweight = to_words(weight.codes).T.contiguous()
    qzeros = to_words(zeros.T - 1 if layout == "gptq_v1" else zeros.T)
    return Packed(layout, qweight, qzeros, scales, g_idx, shape, weight.group_size)


def unpack(packed: Packed) -> QuantizedWeight:
    """The weight that was packed.

    Raises:
        ValueError: a gptq_v1 weight that stores 15, a zero of 0 that wrapped around.
    """
    scales, g_idx = packed.scales, packed.g_idx
    if packed.layout == "marlin":
        codes = from_tiles(from_words(packed.qweight)).T.contiguous()
        scales = permute_scales(scales)
    elif packed.layout == "awq":
        codes = reorder(from_words(packed.qweight), INVERSE).T.contiguous()
    else:
        codes = from_words(packed.qweight.T)
    plain = _plain_groups(packed.shape[1], packed.group_size, codes.device)
    if g_idx is not None and torch.equal(g_idx, plain):
        g_idx = None
    return QuantizedWeight(
        codes=codes,
        scales=scales.float().T.contiguous(),
        zeros=_zeros(packed),
        codebook=None,
        group_size=packed.group_size,
        g_idx=g_idx,
    )


def convert(packed: Packed, layout: str) -> Packed:
    """The same weight in another layout; raises as :func:`unpack` and :func:`pack` do."""
    return pack(unpack(packed), layout)


def _zeros(packed: Packed) -> UInt8[Tensor, "out groups"] | None:
    if packed.qzeros is None:
        return None
    zeros = from_words(packed.qzeros)
    if packed.layout == "awq":
        zeros = reorder(zeros, INVERSE)
    if packed.layout == "gptq_v1":
        _check_no_zero_wrapped(zeros)
        zeros += 1
    return None if (zeros == SYMMETRIC_ZERO).all() else zeros.T.contiguous()


def _plain_groups(in_features: int, group_size: int, device: torch.device) -> Int32[Tensor, " in"]:
    return torch.arange(in_features, dtype=torch.int32, device=device) // group_size


def _check_numbers(weight: QuantizedWeight) -> None:
    if weight.codebook is not None:
        raise ValueError(
            "these layouts hold evenly spaced codes, got a codebook such as NF4's: quantise with"
            " round_to_nearest, gptq or awq"
        )
    if weight.bits != 4:
        raise ValueError(f"these layouts hold 4 bits a code, got {weight.bits}: quantise to 4 bits")
    if not torch.equal(weight.scales.half().float(), weight.scales):
        raise ValueError(
            "scales must be numbers that fp16 holds, since fp16 is what is stored, and some are"
            " not: round them with .half().float(), then choose the codes"
        )


def _check_layout_holds(layout: str, zeros: Tensor, g_idx: Tensor, group_size: int) -> None:
    plain = torch.equal(g_idx, _plain_groups(len(g_idx), group_size, g_idx.device))
    if layout in ("awq", "marlin") and not plain:
        raise ValueError(
            f"{layout} has no activation order and the weight's g_idx has: pack as gptq_v2, or"
            " quantise with act_order=False"
        )
    if layout == "marlin" and not (zeros == SYMMETRIC_ZERO).all():
        raise ValueError(
            f"marlin is symmetric, every zero {SYMMETRIC_ZERO}, and the weight has zeros from "
            f"{zeros.min().item()} to {zeros.max().item()}: quantise with symmetric=True"
        )
    if layout == "gptq_v1" and (zeros == 0).any():
        raise ValueError(
            "gptq_v1 stores zero - 1, which has no room for a zero of 0, and the weight has "
            f"{(zeros == 0).sum().item()} of them: pack as gptq_v2"
        )


def _check_no_zero_wrapped(stored: Tensor) -> None:
    """What 15 means in gptq_v1 has no answer.

    It is a zero of 0, less 1. AutoGPTQ writes it as 32 set bits, over every later zero of the word;
    GPTQModel subtracts 1 from all eight at once and borrows from the next, which adding 1 to all
    eight undoes. Some kernels read 15 as 0, others as 16, and the file doesn't say who wrote it.
    (https://github.com/AutoGPTQ/AutoGPTQ/pull/640)
    """
    wrapped = (stored == 15).sum().item()
    if wrapped:
        raise ValueError(
            f"a gptq_v1 weight stores zero - 1, at most 14, and this one has {wrapped} of 15, each"
            " a 0 that wrapped around and may have spoilt its neighbours: take a gptq_v2"
            " checkpoint, or see with zero_convention whether this is one"
        )
