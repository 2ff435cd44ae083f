"""The Triton kernels: a product with four-bit weights that become numbers in registers alone.

A program owns a tile of y, some rows and some columns, and walks along K.
From memory it reads words of four codes, and makes numbers of them on the way to the matrix units:

    y[m, n] = sum over slices of  scale[n] * sum over k of (code[n, k] - zero[n]) x[m, k]

A slice is 16 columns, as deep as a matrix instruction, and lies in one group: the scale waits until
the slice is summed. Word i of 64 columns holds columns i, 16 + i, 32 + i and 48 + i, low nibble
first, so 16 neighbouring words are four slices, one behind each shift. A word is as wide as an fp16
number: it is loaded into the very register from which its four numbers are multiplied, and nothing
is shuffled between threads.

What the matrix units multiply are whole numbers from -15 to 15, exact in fp16 and bf16. They are
made without a conversion, which a chip does slowly: a code in the lowest bits of the number 2^m is
the number 2^m + code, for m the bits of the mantissa, and 2^m + zero is taken off again. On two
words at once that is one instruction for the bits and one for the difference.

The weight is the left factor, y^T = W x^T: matrix units want 16 or 64 rows on the left and make do
with 8 on the right, and it is x that has few.

Where outputs are few, several programs share a tile's walk (split-K), each writes its part, and a
second kernel adds the parts in order. Nothing is added atomically: the result is the same bit for
bit in every run.

Source:
    Kim et al. 2022, Who Says Elephants Can't Run (numbers made by bits); Frantar et al. 2024,
    MARLIN (codes laid out for the instruction that multiplies them); Hoque et al. 2024,
    Accelerating a Triton Fused Kernel for W4A16 Quantized Inference with SplitK work
    decomposition.
"""

from __future__ import annotations

import triton
import triton.language as tl

SLICE: tl.constexpr = tl.constexpr(16)
BLOCK: tl.constexpr = tl.constexpr(64)


@triton.jit
def numbers(words, zero, NUMBER: tl.constexpr, dtype: tl.constexpr):
    """code - zero for the codes in one nibble of the words."""
    if dtype == tl.float16 and NUMBER % 2 == 1:
        # A mantissa of 10 bits has room for a nibble that stays where it is: 1024 + 16 code.
        bits = words >> (4 * NUMBER - 4) & 0xF0 | 0x6400
        return bits.to(tl.float16, bitcast=True) * 0.0625 - (zero + 64)
    codes = words >> 4 * NUMBER & 0xF
    if dtype == tl.float16:
        return (codes | 0x6400).to(tl.float16, bitcast=True) - (zero + 1024)
    if dtype == tl.bfloat16:
        return (codes | 0x4300).to(tl.bfloat16, bitcast=True) - (zero + 128)
    return codes.to(dtype) - zero


@triton.jit
def w4a16(
    x_ptr, qweight_ptr, scales_ptr, zeros_ptr, y_ptr, x_row, y_split,
    rows, columns, depth, share,
    GROUP: tl.constexpr, SHARED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr, STAGES: tl.constexpr, ZEROS: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile of y (rows, columns), summed over ``share`` tiles of K; qweight is (K / 4, N).

    ``SHARED`` columns, a multiple of a slice that divides a tile and a group, share a scale.
    """
    # Programs that need the same tile of the weight, the large factor, follow one another.
    row_tiles = tl.cdiv(rows, ROWS)
    row = tl.program_id(0) % row_tiles * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) // row_tiles * COLUMNS + tl.arange(0, COLUMNS)
    split = tl.program_id(1)
    first = split * share
    last = tl.minimum(first + share, tl.cdiv(depth, DEPTH))

    held, wanted = column < columns, row < rows
    place = tl.arange(0, SLICE)
    word_at = qweight_ptr + place[None, :] * columns + column[:, None]
    x_at = x_ptr + row[None, :].to(tl.int64) * x_row + place[:, None]
    y = tl.zeros([COLUMNS, ROWS], tl.float32)
    for tile in tl.range(first, last, num_stages=STAGES):
        for block in tl.static_range(DEPTH // BLOCK):
            begin = tile * DEPTH + block * BLOCK
            words = tl.load(word_at + begin // 4 * columns, held[:, None], other=0)
            for number in tl.static_range(BLOCK // SLICE):
                k = begin + number * SLICE
                inside = wanted[None, :]
                if MASKED:
                    inside = inside & (k + place[:, None] < depth)
                x = tl.load(x_at + k, inside, other=0.0)
                if (block * BLOCK + number * SLICE) % SHARED == 0:
                    group = k // GROUP
                    if MASKED:
                        group = tl.minimum(group, depth // GROUP - 1)
                    scale = tl.load(scales_ptr + group * columns + column, held, other=0.0)
                    zero = tl.full([COLUMNS], 8, tl.int32)
                    if ZEROS:
                        zero_at = zeros_ptr + group * tl.cdiv(columns, 8) + column // 8
                        zero = tl.load(zero_at, held, other=0) >> column % 8 * 4 & 0xF
                    zero = zero.to(x.dtype)[:, None]
                    sums = tl.zeros([COLUMNS, ROWS], tl.float32)
                weight = numbers(words, zero, number, x.dtype)
                sums = tl.dot(weight, x, sums, input_precision=PRECISION)
                if (block * BLOCK + (number + 1) * SLICE) % SHARED == 0:
                    y += sums * scale.to(tl.float32)[:, None]

    y_at = y_ptr + split.to(tl.int64) * y_split + row[:, None].to(tl.int64) * columns
    inside = wanted[:, None] & held[None, :]
    tl.store(y_at + column[None, :], tl.trans(y).to(y_ptr.dtype.element_ty), inside)


@triton.jit
def add_parts(parts_ptr, y_ptr, count, splits, OUTPUTS: tl.constexpr):
    """The sum of all splits' parts (splits, rows * columns), from the first to the last."""
    at = tl.program_id(0).to(tl.int64) * OUTPUTS + tl.arange(0, OUTPUTS)
    total = tl.zeros([OUTPUTS], tl.float32)
    part_at = parts_ptr + at
    for _ in tl.range(0, splits):
        total += tl.load(part_at, at < count, other=0.0)
        part_at += count
    tl.store(y_ptr + at, total.to(y_ptr.dtype.element_ty), at < count)
