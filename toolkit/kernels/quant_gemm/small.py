"""The chapter's ideas with nothing around them: a group, a word, a column, a time.

    quantize                        a grid for each group, and codes on it
    pack_nibbles, unpack_nibbles    eight codes to a word, as GPTQ's checkpoints have them
    round_column                    one step of ``gptq``
    speedup, crossover              what a four-bit product gains, by the roofline

The kernel between them is ``small_kernels.w4a16_kernel``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float16, Float64, Int32, UInt8
from torch import Tensor

from .cost import ideal_bytes
from .nibbles import from_words, to_words
from .rounding import encode, grid


def quantize(
    groups: Float[Tensor, "groups columns"], symmetric: bool
) -> tuple[UInt8[Tensor, "groups columns"], Float16[Tensor, " groups"], UInt8[Tensor, " groups"]]:
    """Codes, scales and zeros of groups of weights: w is about scale * (code - zero).

    Args:
        groups: finite, of any dtype of floating point; each row has a grid of its own.
        symmetric: whether the zero is 8, and the grid as far to the left as to the right.
    """
    scales, zeros = grid(groups, symmetric, bits=4)
    return encode(groups, scales[:, None], zeros[:, None], bits=4), scales.half(), zeros


def pack_nibbles(codes: UInt8[Tensor, "out in"]) -> Int32[Tensor, "in/8 out"]:
    """Words of eight codes, 0 to 15, that follow each other along K, the first one lowest."""
    return to_words(codes).T.contiguous()


def unpack_nibbles(words: Int32[Tensor, "in/8 out"]) -> UInt8[Tensor, "out in"]:
    """The codes of :func:`pack_nibbles`."""
    return from_words(words.T)


def round_column(
    weight: Float64[Tensor, "out in"],
    factor: Float64[Tensor, "in in"],
    column: int,
    scales: Float[Tensor, " out"],
    zeros: UInt8[Tensor, " out"],
) -> tuple[UInt8[Tensor, " out"], Float64[Tensor, "out in"]]:
    """Codes of a column, and the weight with that column rounded and all later ones corrected.

    Args:
        weight: columns before this one are rounded.
        factor: U, upper triangular, with U^T U the inverse of the Hessian.
        scales, zeros: of the column's group.
    """
    codes = encode(weight[:, column], scales, zeros, bits=4)
    # e = (w_q - round(w_q)) / U[q, q]          W[:, q:] -= e U[q, q:]
    error = weight[:, column] - scales * (codes.double() - zeros)
    corrected = weight.clone()
    corrected[:, column:] -= torch.outer(error / factor[column, column], factor[column, column:])
    return codes, corrected


def speedup(
    batch: int, columns: int, depth: int, group_size: int, peak: float, bandwidth: float
) -> float:
    """How many times faster four bits are than sixteen, by the roofline.

    Args:
        batch: rows of x.
        columns, depth: out_features and in_features of the weight.
        group_size: columns that share a scale of 2 bytes.
        peak: FLOP a second.
        bandwidth: bytes a second.
    """
    computing = 2 * batch * columns * depth / peak
    moved = 2 * (batch * depth + columns * depth + batch * columns)
    sixteen = max(computing, moved / bandwidth)
    return sixteen / max(computing, ideal_bytes(batch, columns, depth, group_size) / bandwidth)


def crossover(
    columns: int, depth: int, group_size: int, peak: float, bandwidth: float
) -> tuple[float, float]:
    """The batches from which on four bits gain less, and nothing.

    At the first the product with 4-bit weights is bound by compute, at the second that with 16-bit
    weights is too. For a weight of so many bytes,

        (bytes + 2 M (K + N)) / bandwidth = 2 M N K / peak

    Both are infinite for a layer so small that x and y alone keep it bound by memory.
    """
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    four = ideal_bytes(0, columns, depth, group_size)
    sixteen = 2 * columns * depth
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)
