"""From tensors to launches of the kernels: the layout, tiles, splits, and what was measured."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from math import gcd

import torch
import triton
from jaxtyping import Float, Float16, Int16, Int32, Int64
from torch import Tensor
from torch.nn import functional
from triton.runtime.errors import OutOfResources

from toolkit.kernels.engine import chip, multiprocessors, on_its_device, precision

from .kernels import add_parts, w4a16
from .nibbles import to_words
from .record import QuantizedWeight
from .tiles import Tiles, pick

ADDED = 1024
"""Outputs that a program of ``add_parts`` adds up."""


@dataclass(frozen=True, slots=True)
class GpuWeight:
    """A weight as the kernel reads it: ``qweight`` has four codes a word, 64 columns in 16 words.

    ``zeros``, eight a word, is None where all are 8. ``order`` lists the columns group by group,
    where they were grouped by activation order.
    """

    qweight: Int16[Tensor, "words out"]
    scales: Float16[Tensor, "groups out"]
    zeros: Int32[Tensor, "groups out_words"] | None
    order: Int64[Tensor, " in"] | None
    shape: tuple[int, int]
    group_size: int

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.qweight.device


@dataclass(frozen=True, slots=True)
class Plan:
    """How a product is cut up: its tiles, and the programs that share a tile's walk along K.

    K, or what 64 fill it up to, is a multiple of the tiles' depth.
    """

    tiles: Tiles
    splits: int


MEASURED: dict[tuple, Plan] = {}
"""The best plans that ``autotune`` found in this process."""


def lay_out(weight: QuantizedWeight, order: Tensor | None) -> GpuWeight:
    """A weight as the kernel reads it; columns that fill the last 64 meet an x of 0."""
    rows, columns = weight.shape
    codes = weight.codes if order is None else weight.codes[:, order]
    zeros = None
    if weight.zeros is not None:
        zeros = to_words(functional.pad(weight.zeros.T, (0, -rows % 8))).contiguous()
    # (out, blocks, nibble, word): a word has every 16th column of 64
    codes = functional.pad(codes, (0, -columns % 64)).view(rows, -1, 4, 16).to(torch.int16)
    words = codes[:, :, 0] | codes[:, :, 1] << 4 | codes[:, :, 2] << 8 | codes[:, :, 3] << 12
    return GpuWeight(
        qweight=words.flatten(1).T.contiguous(),
        scales=weight.scales.T.half().contiguous(),
        zeros=zeros,
        order=order,
        shape=(rows, columns),
        group_size=weight.group_size,
    )


@on_its_device
def launch(
    x: Float[Tensor, "rows in"], weight: GpuWeight, plan: Plan | None = None
) -> Float[Tensor, "rows out"]:
    """x @ W.T in x's dtype, summed in fp32; the last dimension of x is contiguous."""
    (columns, depth), rows = weight.shape, len(x)
    y = x.new_empty(rows, columns)
    if not rows:
        return y
    plan = plan or MEASURED.get(_shape(x, weight)) or _by_table(x, weight)
    tiles, walk = plan.tiles, triton.cdiv(depth, plan.tiles.depth)
    share = triton.cdiv(walk, plan.splits)
    splits = triton.cdiv(walk, share)
    parts = y if splits == 1 else x.new_empty(splits, rows, columns, dtype=torch.float32)
    zeros = weight.qweight if weight.zeros is None else weight.zeros
    grid = (triton.cdiv(rows, tiles.rows) * triton.cdiv(columns, tiles.columns), splits)
    w4a16[grid](
        x, weight.qweight, weight.scales, zeros, parts, x.stride(0), rows * columns,
        rows, columns, depth, share,
        GROUP=weight.group_size, SHARED=gcd(weight.group_size, tiles.depth), ROWS=tiles.rows,
        COLUMNS=tiles.columns, DEPTH=tiles.depth, STAGES=tiles.stages,
        ZEROS=weight.zeros is not None, MASKED=depth % tiles.depth > 0, PRECISION=precision(x),
        num_warps=tiles.warps, num_stages=tiles.stages,
    )  # fmt: skip
    if splits > 1:
        count = rows * columns
        add_parts[(triton.cdiv(count, ADDED),)](parts, y, count, splits, OUTPUTS=ADDED)
    return y


@on_its_device
def autotune(x: Float[Tensor, "rows in"], weight: GpuWeight) -> Plan:
    """Time some plans for a product of this shape and keep the best for all that follow it.

    Until then, products of the shape are cut up by the table.

    Raises:
        ValueError: x is not on a GPU, where alone times mean something.
    """
    if not x.is_cuda:
        raise ValueError(f"kernels are timed on a GPU, and x is on {x.device}: move it there")
    start = pick(len(x), weight.shape[1], x.element_size(), chip(x))
    sizes = product({64, start.columns}, {start.stages, 6}, (1, 2, 4, 8, 16))
    times = {}
    for columns, stages, splits in sizes:
        plan = Plan(replace(start, columns=columns, stages=stages), splits)
        with suppress(OutOfResources):  # more stages than this chip's shared memory holds
            times[plan] = triton.testing.do_bench(lambda plan=plan: launch(x, weight, plan))
    best = min(times, key=times.__getitem__)
    MEASURED[_shape(x, weight)] = best
    return best


def _shape(x: Tensor, weight: GpuWeight) -> tuple:
    rows = triton.next_power_of_2(len(x))
    return (chip(x), x.dtype, rows, weight.shape, weight.group_size, weight.zeros is None)


def _by_table(x: Tensor, weight: GpuWeight) -> Plan:
    tiles = pick(len(x), weight.shape[1], x.element_size(), chip(x))
    programs = triton.cdiv(len(x), tiles.rows) * triton.cdiv(weight.shape[0], tiles.columns)
    splits = splits_that_fill(x, programs, triton.cdiv(weight.shape[1], tiles.depth))
    # The parts are fp32 sums of all rows: no more bytes of them than there are codes.
    return Plan(tiles, max(1, min(splits, weight.shape[1] // (16 * len(x)))))


def splits_that_fill(x: Tensor, programs: int, walk: int) -> int:
    """Splits of a walk that give every multiprocessor two programs, of at least four tiles each."""
    return max(1, min(2 * multiprocessors(x) // programs, walk // 4))
