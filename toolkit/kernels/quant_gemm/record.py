"""A weight in few bits: what every quantiser gives and every layout and kernel takes.

It holds numbers, not memory: one byte a code here, whatever a layout makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int32, Int64, UInt8
from torch import Tensor

SCALE_BITS, INDEX_BITS, LEVEL_BITS = 16, 32, 32


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """A weight (out_features, in_features), as torch's Linear has it, in ``bits`` bits.

    Column k lies in a group g, and a row n has a scale for each group:

        w[n, k] = scale[n, g] * (code[n, k] - zero[n, g])
                = scale[n, g] * codebook[code[n, k]]         with a codebook

    Attributes:
        codes: 0 to 2^bits - 1.
        scales: fp32 that fp16 holds exactly, since fp16 is what is stored.
        zeros: the code that stands for 0; None where that is 2^(bits-1) or there is a codebook.
        codebook: the level of each code, NF4's; None for evenly spaced codes.
        group_size: columns in a group; in_features where the row is one group.
        g_idx: the group of each column, where columns were grouped by activation order; None
            where column k is in group k // group_size.
    Raises:
        TypeError, ValueError: an array's dtype or shape does not fit the others.
    """

    codes: UInt8[Tensor, "out in"]
    scales: Float32[Tensor, "out groups"]
    zeros: UInt8[Tensor, "out groups"] | None
    codebook: Float32[Tensor, " levels"] | None
    group_size: int
    g_idx: Int32[Tensor, " in"] | None
    bits: int = 4

    def __post_init__(self) -> None:
        (rows, columns), groups = self.codes.shape, self.scales.shape[1]
        expected = {
            "codes": (torch.uint8, (rows, columns)),
            "scales": (torch.float32, (rows, groups)),
            "zeros": (torch.uint8, (rows, groups)),
            "codebook": (torch.float32, (2**self.bits,)),
            "g_idx": (torch.int32, (columns,)),
        }
        for name, wanted in expected.items():
            array = getattr(self, name)
            given = None if array is None else (array.dtype, tuple(array.shape))
            if given not in (wanted, None):
                raise TypeError(
                    f"{name} of a weight of {columns} columns must be {wanted}, got {given}"
                )
        if groups * self.group_size != columns:
            raise ValueError(
                f"{groups} groups of {self.group_size} columns must make up the weight's {columns}"
            )

    @property
    def shape(self) -> torch.Size:
        """(out_features, in_features)."""
        return self.codes.shape

    @property
    def groups(self) -> int:
        """Groups in a row."""
        return self.scales.shape[1]

    @property
    def column_groups(self) -> Int64[Tensor, " in"]:
        """The group of each column."""
        if self.g_idx is not None:
            return self.g_idx.long()
        return torch.arange(self.shape[1], device=self.codes.device) // self.group_size

    @property
    def nbytes(self) -> int:
        """Bytes once packed: codes and zeros at ``bits`` bits, fp16 scales, g_idx, codebook."""
        bits = self.codes.numel() * self.bits + self.scales.numel() * SCALE_BITS
        if self.zeros is not None:
            bits += self.zeros.numel() * self.bits
        if self.g_idx is not None:
            bits += self.g_idx.numel() * INDEX_BITS
        if self.codebook is not None:
            bits += self.codebook.numel() * LEVEL_BITS
        return -(-bits // 8)

    def dequantize(self) -> Float32[Tensor, "out in"]:
        """The weight as a kernel sees it."""
        group = self.column_groups
        if self.codebook is not None:
            return self.scales[:, group] * self.codebook[self.codes.long()]
        codes = self.codes.float()
        zeros = 2 ** (self.bits - 1) if self.zeros is None else self.zeros.float()[:, group]
        return self.scales[:, group] * (codes - zeros)
