"""Four-bit products on a CPU: a layout that a vectorising compiler can read, and its loop.

A vector unit wants many numbers that all take the same step. So 32 rows of the weight make a strip,
and a strip's codes lie column by column: the loop reads 32 codes that all meet the same x. A byte
holds two columns of one row, k in its low nibble and k + group / 2 in its high one, so that the
low nibbles of neighbouring bytes become neighbouring numbers by one mask, the high ones by one
shift. A group's scale and zero are left until its products are summed:

    y[n] = sum over groups of  scale[n] * (sum of code[n, k] x[k] - zero[n] * sum of x[k])

Source:
    The zero taken out of the sum: Jacob et al. 2018, Quantization and Training of Neural Networks
    for Efficient Integer-Arithmetic-Only Inference, section 2.3.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from toolkit.compiled import compiled

from .record import QuantizedWeight

STRIP = 32
"""Rows that are multiplied together: two vectors of AVX-512, four of AVX2, eight of NEON."""

CHUNK = 32
"""Bytes of a row that are widened at a time: 8 KiB of fp32, a quarter of a small L1 cache."""

LARGE = 32
"""Rows of x above which widening the weight for a BLAS pays."""

WIDE = 256
"""Rows of the weight that are widened for one call of the BLAS."""

SPLIT = 2**20
"""Codes below which a second thread takes longer to wake than it saves."""


@dataclass(frozen=True, slots=True)
class CpuWeight:
    """A weight as the loop reads it; ``levels`` is empty for evenly spaced codes.

    ``order`` lists the columns group by group, where they were grouped by activation order.
    """

    codes: UInt8[np.ndarray, "strips groups bytes"]
    scales: Float32[np.ndarray, "strips groups 32"]
    zeros: Float32[np.ndarray, "strips groups 32"]
    levels: Float32[np.ndarray, " levels"]
    order: Int64[Tensor, " in"] | None
    shape: tuple[int, int]
    group_size: int

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return torch.device("cpu")


def lay_out(weight: QuantizedWeight, order: Tensor | None) -> CpuWeight:
    """A weight in strips; rows that fill the last strip have scales of 0."""
    rows, columns = weight.shape
    groups, half, more = weight.groups, weight.group_size // 2, -rows % STRIP
    codes = weight.codes if order is None else weight.codes[:, order]
    codes = functional.pad(codes, (0, 0, 0, more)).view(-1, STRIP, groups, 2, half)
    low, high = codes.permute(3, 0, 2, 4, 1)  # each (strips, groups, half, strip)
    if weight.codebook is not None:
        zeros = torch.zeros_like(weight.scales)
    elif weight.zeros is not None:
        zeros = weight.zeros.float()
    else:
        zeros = torch.full_like(weight.scales, 2 ** (weight.bits - 1))

    def strips(x: Tensor) -> NDArray:
        return functional.pad(x, (0, 0, 0, more)).view(-1, STRIP, groups).mT.contiguous().numpy()

    return CpuWeight(
        codes=(low | high << 4).flatten(2).contiguous().numpy(),
        scales=strips(weight.scales),
        zeros=strips(zeros),
        levels=np.empty(0, np.float32) if weight.codebook is None else weight.codebook.numpy(),
        order=order,
        shape=(rows, columns),
        group_size=weight.group_size,
    )


def multiply(x: Float[Tensor, "rows in"], weight: CpuWeight) -> Float[Tensor, "rows out"]:
    """x @ W.T in x's dtype, summed in fp32, by as many threads as torch has."""
    x32, rows, strips = x.detach().float(), len(x), len(weight.codes)
    if rows > LARGE:
        return _by_blas(x32, weight).to(x.dtype)
    # (groups, rows, group): what a group meets lies together, whatever the distance of x's rows
    groups = x32.numpy().reshape(rows, weight.codes.shape[1], weight.group_size).transpose(1, 0, 2)
    pieces = np.ascontiguousarray(groups)
    output = np.empty((strips, rows, STRIP), np.float32)
    arrays = (weight.codes, weight.scales, weight.zeros, weight.levels)
    _share(multiply_strips, (pieces, pieces.sum(2), *arrays, output), weight)
    y = output.transpose(1, 0, 2).reshape(rows, strips * STRIP)
    return torch.from_numpy(y)[:, : weight.shape[0]].to(x.dtype).contiguous()


def _by_blas(x: Tensor, weight: CpuWeight) -> Tensor:
    arrays = (weight.codes, weight.scales, weight.zeros, weight.levels)
    output = x.new_empty(len(x), len(weight.codes) * STRIP)
    wide = x.new_empty(x.shape[1], WIDE)
    for first in range(0, len(weight.codes), WIDE // STRIP):
        last = min(first + WIDE // STRIP, len(weight.codes))
        # By one thread: the BLAS's own still wait, busily, for its next call.
        widen_strips(*arrays, wide.numpy(), first, last)
        rows = slice(first * STRIP, last * STRIP)
        torch.mm(x, wide[:, : (last - first) * STRIP], out=output[:, rows])
    return output[:, : weight.shape[0]].contiguous()


def _share(work: Callable, given: tuple, weight: CpuWeight) -> None:
    """Do all strips in as many parts as there are threads; this one takes a part."""
    strips = len(weight.codes)
    threads = max(1, min(torch.get_num_threads(), strips * STRIP * weight.shape[1] // SPLIT))
    ends = [strips * part // threads for part in range(threads + 1)]
    parts = [(*given, *ends[part : part + 2]) for part in range(threads)]
    others = [_pool(threads - 1).submit(work, *part) for part in parts[1:]]
    work(*parts[0])
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "w4a16")


if hasattr(os, "register_at_fork"):  # a forked child has this pool, but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


@compiled
def widen(tile: NDArray, levels: NDArray, wide: NDArray) -> None:
    """Codes as fp32: those in low nibbles, then those in high ones."""
    count = tile.size
    if levels.size:
        for i in range(count):
            wide[i] = levels[tile[i] & 15]
            wide[count + i] = levels[tile[i] >> 4]
    else:
        # Two loops, and a step through int32: so each becomes vector instructions.
        for i in range(count):
            wide[i] = np.float32(np.int32(tile[i] & 15))
        for i in range(count):
            wide[count + i] = np.float32(np.int32(tile[i] >> 4))


@compiled
def add_products(x: NDArray, wide: NDArray, sums: NDArray) -> None:
    """sums[r] += sum over k of x[k] * wide[k, r], eight columns at a time."""
    for k in range(0, x.size, 8):
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        x4, x5, x6, x7 = x[k + 4], x[k + 5], x[k + 6], x[k + 7]
        w = wide[k * STRIP : (k + 8) * STRIP]
        for r in range(STRIP):
            sums[r] += (
                (w[r] * x0 + w[STRIP + r] * x1)
                + (w[2 * STRIP + r] * x2 + w[3 * STRIP + r] * x3)
            ) + (
                (w[4 * STRIP + r] * x4 + w[5 * STRIP + r] * x5)
                + (w[6 * STRIP + r] * x6 + w[7 * STRIP + r] * x7)
            )  # fmt: skip


@compiled
def add_codes(low_x: NDArray, high_x: NDArray, tile: NDArray, sums: NDArray) -> None:
    """What ``widen`` and ``add_products`` do for a single row of x, in registers alone."""
    for k in range(0, low_x.size, 4):
        a0, a1, a2, a3 = low_x[k], low_x[k + 1], low_x[k + 2], low_x[k + 3]
        b0, b1, b2, b3 = high_x[k], high_x[k + 1], high_x[k + 2], high_x[k + 3]
        c = tile[k * STRIP : (k + 4) * STRIP]
        for r in range(STRIP):
            c0, c1, c2, c3 = c[r], c[STRIP + r], c[2 * STRIP + r], c[3 * STRIP + r]
            sums[r] += (
                (np.float32(np.int32(c0 & 15)) * a0 + np.float32(np.int32(c1 & 15)) * a1)
                + (np.float32(np.int32(c2 & 15)) * a2 + np.float32(np.int32(c3 & 15)) * a3)
            ) + (
                (np.float32(np.int32(c0 >> 4)) * b0 + np.float32(np.int32(c1 >> 4)) * b1)
                + (np.float32(np.int32(c2 >> 4)) * b2 + np.float32(np.int32(c3 >> 4)) * b3)
            )  # fmt: skip


@compiled
def multiply_strips(
    x: NDArray, x_sums: NDArray, codes: NDArray, scales: NDArray, zeros: NDArray, levels: NDArray,
    output: NDArray, first: int, last: int,
) -> None:  # fmt: skip
    """Write strips of the output (strips, rows, 32); x is (groups, rows, group)."""
    groups, rows, group = x.shape
    half = group // 2
    wide = np.empty(2 * CHUNK * STRIP, np.float32)
    sums = np.empty((rows, STRIP), np.float32)
    for strip in range(first, last):
        output[strip] = 0
        for g in range(groups):
            sums[:] = 0
            for begin in range(0, half, CHUNK):
                end = min(begin + CHUNK, half)
                many = (end - begin) * STRIP
                tile = codes[strip, g, begin * STRIP : end * STRIP]
                if rows == 1 and not levels.size:
                    low_x, high_x = x[g, 0, begin:end], x[g, 0, half + begin : half + end]
                    add_codes(low_x, high_x, tile, sums[0])
                    continue
                widen(tile, levels, wide)
                for row in range(rows):
                    add_products(x[g, row, begin:end], wide[:many], sums[row])
                    high = wide[many : 2 * many]
                    add_products(x[g, row, half + begin : half + end], high, sums[row])
            for row in range(rows):
                y, sum_x = output[strip, row], x_sums[g, row]
                for r in range(STRIP):
                    y[r] += scales[strip, g, r] * (sums[row, r] - zeros[strip, g, r] * sum_x)


@compiled
def widen_strips(
    codes: NDArray, scales: NDArray, zeros: NDArray, levels: NDArray,
    output: NDArray, first: int, last: int,
) -> None:  # fmt: skip
    """Write the dequantised strips, transposed, side by side: (columns, rows)."""
    groups, many = codes.shape[1:]
    columns = 2 * many // STRIP
    wide = np.empty(2 * many, np.float32)
    for strip in range(first, last):
        begin = strip % (WIDE // STRIP) * STRIP
        for g in range(groups):
            widen(codes[strip, g], levels, wide)
            for k in range(columns):
                row = output[g * columns + k, begin : begin + STRIP]
                w = wide[k * STRIP : (k + 1) * STRIP]
                for r in range(STRIP):
                    row[r] = scales[strip, g, r] * (w[r] - zeros[strip, g, r])
