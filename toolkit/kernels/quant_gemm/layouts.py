"""A 4-bit weight as files and kernels hold it: four layouts of the same numbers.

For a weight of out_features N and in_features K, nibble 0 lowest:

    gptq_v1   qweight (K/8, N): eight codes along K; qzeros (groups, N/8): eight (zero - 1) along N
    gptq_v2   the same, with the zeros as they are
    awq       qweight (K, N/8), qzeros (groups, N/8): along N, nibble i is column 0 2 4 6 1 3 5 7
    marlin    qweight (K/16, 2N): 16 x 16 tiles in the order tensor cores take; no zeros

Scales are fp16 (groups, N), permuted as well in marlin. GPTQ has g_idx, the group of each column.

Source:
    The code that defines each: AutoGPTQ's ``qlinear_cuda_old.py`` and GPTQModel's ``model.py`` for
    GPTQ, AutoAWQ's ``gemm.py``, and ``marlin/__init__.py`` of IST-DASLab/marlin.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float16, Int32
from torch import Tensor

LAYOUTS = ("gptq_v1", "gptq_v2", "awq", "marlin")


@dataclass(frozen=True, slots=True)
class Packed:
    """A weight's arrays in one of the ``LAYOUTS``, under the names that checkpoints give them.

    Attributes:
        qweight: eight codes a word.
        qzeros: eight zeros a word; None in marlin.
        scales: fp16, permuted in marlin.
        g_idx: the group of each column; None in awq and marlin, where it is column // group_size.
        shape: (out_features, in_features).
        group_size: columns in a group; in_features where the row is one group.
    Raises:
        ValueError, TypeError: a layout, size, shape or dtype that the format does not have.
    """

    layout: str
    qweight: Int32[Tensor, "words_in words_out"]
    qzeros: Int32[Tensor, "groups words"] | None
    scales: Float16[Tensor, "groups out"]
    g_idx: Int32[Tensor, " in"] | None
    shape: tuple[int, int]
    group_size: int

    def __post_init__(self) -> None:
        check_sizes(self.layout, self.shape, self.group_size)
        for name, expected in _arrays(self.layout, self.shape, self.group_size).items():
            array = getattr(self, name)
            given = None if array is None else (array.dtype, tuple(array.shape))
            if given != expected:
                raise TypeError(
                    f"{name} of a {self.layout} weight of {self.shape} in groups of "
                    f"{self.group_size} must be {expected}, got {given}"
                )
        groups = self.shape[1] // self.group_size
        if self.g_idx is not None and not 0 <= self.g_idx.min() <= self.g_idx.max() < groups:
            raise ValueError(
                f"g_idx must be from 0 to {groups - 1}, the last group, got "
                f"{self.g_idx.min().item()} to {self.g_idx.max().item()}"
            )


def check_sizes(layout: str, shape: tuple[int, int], group_size: int) -> None:
    """Raises ValueError where a layout can't hold a weight of this shape in these groups."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    out_features, in_features = shape
    if group_size < 1 or in_features % group_size:
        raise ValueError(
            f"group_size must divide in_features, {in_features}, got {group_size}: "
            "for one group a row, give in_features"
        )
    multiples = {"awq": (8, 1), "marlin": (256, 128)}.get(layout, (8, 8))
    if 0 in shape or out_features % multiples[0] or in_features % multiples[1]:
        raise ValueError(
            f"{layout} takes out_features in multiples of {multiples[0]} and in_features in "
            f"multiples of {multiples[1]}, got {out_features} and {in_features}: pad with zeros"
        )
    if layout == "marlin" and group_size not in (128, in_features):
        raise ValueError(
            f"marlin takes groups of 128 or one group a row, got {group_size}: quantise again with"
            " one of these, or choose another layout"
        )


def _arrays(
    layout: str, shape: tuple[int, int], group_size: int
) -> dict[str, tuple[torch.dtype, tuple[int, ...]] | None]:
    """dtype and shape of each array, None for one that the layout doesn't have."""
    out_features, in_features = shape
    groups = in_features // group_size
    qweight = {
        "awq": (in_features, out_features // 8),
        "marlin": (in_features // 16, out_features * 2),
    }.get(layout, (in_features // 8, out_features))
    return {
        "qweight": (torch.int32, qweight),
        "qzeros": None if layout == "marlin" else (torch.int32, (groups, out_features // 8)),
        "scales": (torch.float16, (groups, out_features)),
        "g_idx": (torch.int32, (in_features,)) if layout.startswith("gptq") else None,
    }
