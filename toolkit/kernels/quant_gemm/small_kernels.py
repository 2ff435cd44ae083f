"""A product with four-bit weights, small enough to write in an evening.

The full one is ``kernels.w4a16``: 16-bit x, any group size, split along K, a layout of its own.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One tile of y = x W^T, with W[n, k] = scale[n] * (code[n, k] - zero[n]) in each group."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    y = tl.zeros([ROWS, COLUMNS], tl.float32)
    for group in range(depth // GROUP):
        word = group * (GROUP // 8) + tl.arange(0, GROUP // 8)
        held = column < columns
        words_at = words_ptr + word[:, None] * columns + column[None, :]
        words = tl.load(words_at, held[None, :], other=0)
        scale = tl.load(scales_ptr + group * columns + column, held, other=0.0)
        zero = tl.load(zeros_ptr + group * columns + column, held, other=0)
        for nibble in tl.static_range(8):
            # W[n, k] = scale[n] * (code[n, k] - zero[n])      k = 8 word + nibble
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x_at = x_ptr + row[:, None] * depth + k[None, :]
            x = tl.load(x_at, row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)
