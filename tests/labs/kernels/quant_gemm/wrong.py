"""Plausible wrong answers of the four-bit lab, each with the hint that mends it.

The kernels among them are never run here: only their text is taken, so they need no triton.
"""

from __future__ import annotations

import math

import torch

from toolkit.classroom import wrong

# -- q1 ------------------------------------------------------------------------------------------


@wrong(
    "q1",
    hint="All groups have one scale here: each row is a group of its own, `groups.abs().amax(1)`.",
)
def quantize(groups, symmetric):
    groups, each = groups.flatten()[None], groups
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    low, high, groups = low.expand(len(each)), high.expand(len(each)), each
    scales = ((high - low) / 15).clamp(min=2**-24).half()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).round() + zeros[:, None]
    return codes.clamp(0, 15).to(torch.uint8), scales, zeros.to(torch.uint8)


@wrong(
    "q1",
    hint="With a / 7 the code 0 is never taken. Sixteen codes are fifteen steps: over a range of "
    "2 a, a step is 2 a / 15.",
)
def quantize(groups, symmetric):
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / (14 if symmetric else 15)).clamp(min=2**-24).half()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).round() + zeros[:, None]
    return codes.clamp(0, 15).to(torch.uint8), scales, zeros.to(torch.uint8)


@wrong("q1", hint="Sixteen levels have fifteen steps between them: divide the range by 15.")
def quantize(groups, symmetric):
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / 16).clamp(min=2**-24).half()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).round() + zeros[:, None]
    return codes.clamp(0, 15).to(torch.uint8), scales, zeros.to(torch.uint8)


@wrong(
    "q1",
    hint="Turning a number into uint8 cuts off what is behind its point: `.round()` first, or "
    "every code is too low by half a step on average.",
)
def quantize(groups, symmetric):
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / 15).clamp(min=2**-24).half()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).floor() + zeros[:, None]
    return codes.clamp(0, 15).to(torch.uint8), scales, zeros.to(torch.uint8)


@wrong(
    "q1",
    hint="The greatest weight is 7.5 steps from 0, which may be rounded to 8, and 8 + 8 is 16: no "
    "code. `.clamp(0, 15)`.",
)
def quantize(groups, symmetric):
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / 15).clamp(min=2**-24).half()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).round() + zeros[:, None]
    return codes.to(torch.uint8), scales, zeros.to(torch.uint8)


@wrong("q1", hint="Codes have no sign: the code of 0 is the zero, 8, so add it.")
def quantize(groups, symmetric):
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / 15).clamp(min=2**-24).half()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).round().clamp(-8, 7)
    return codes.to(torch.int8), scales, zeros.to(torch.uint8)


@wrong(
    "q1",
    hint="`symmetric` is not looked at: without it the grid runs from the least weight to the "
    "greatest.",
)
def quantize(groups, symmetric):
    scales = (2 * groups.abs().amax(1) / 15).clamp(min=2**-24).half()
    zeros = torch.full_like(scales, 8)
    codes = (groups / scales[:, None]).round() + zeros[:, None]
    return codes.clamp(0, 15).to(torch.uint8), scales, zeros.to(torch.uint8)


@wrong(
    "q1",
    hint="A group whose weights are all above 0 has no code for 0 on your grid, but the zero must "
    "be a code: low is `groups.amin(1).clamp(max=0)`, and high likewise.",
)
def quantize(groups, symmetric):
    low, high = groups.amin(1), groups.amax(1)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / 15).clamp(min=2**-24).half()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).round() + zeros[:, None]
    return codes.clamp(0, 15).to(torch.uint8), scales, zeros.to(torch.uint8)


@wrong(
    "q1",
    hint="Your codes count steps from low, and the zero is rounded: together they move the whole "
    "group. Count from 0, `(groups / scales[:, None]).round() + zeros[:, None]`.",
)
def quantize(groups, symmetric):
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / 15).clamp(min=2**-24).half()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = ((groups - (-8 * scales if symmetric else low)[:, None]) / scales[:, None]).round()
    return codes.clamp(0, 15).to(torch.uint8), scales, zeros.to(torch.uint8)


@wrong(
    "q1",
    hint="The codes are chosen for a scale of 32 bits, and multiplied with one of 16: `.half()` "
    "comes before the codes.",
)
def quantize(groups, symmetric):
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / 15).clamp(min=2**-24)
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).round() + zeros[:, None]
    return codes.clamp(0, 15).to(torch.uint8), scales.half(), zeros.to(torch.uint8)


@wrong("q1", hint="The scale is stored in fp16: `.half()`.")
def quantize(groups, symmetric):
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / 15).clamp(min=2**-24).half().float()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).round() + zeros[:, None]
    return codes.clamp(0, 15).to(torch.uint8), scales, zeros.to(torch.uint8)


@wrong(
    "q1",
    hint="A group of zeros has a scale of 0 in fp16, and 0 / 0 is NaN: `.clamp(min=2**-24)` "
    "before `.half()`; fp16 has no smaller number.",
)
def quantize(groups, symmetric):
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    if symmetric:
        high = groups.abs().amax(1)
        low = -high
    scales = ((high - low) / 15).half()
    zeros = torch.full_like(scales, 8) if symmetric else (-low / scales).round().clamp(0, 15)
    codes = (groups / scales[:, None]).round() + zeros[:, None]
    return codes.clamp(0, 15).to(torch.uint8), scales, zeros.to(torch.uint8)


# -- q2 ------------------------------------------------------------------------------------------


@wrong(
    "q2",
    hint="The first code is highest here: code i goes to the bits from 4 i on, so that the first "
    "is lowest.",
)
def pack_nibbles(codes):
    words = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int32)
    for i in range(8):
        words |= codes[:, i::8].int() << 28 - 4 * i
    return words.T.contiguous()


@wrong(
    "q2",
    hint="A code of 8 bits that is shifted by 8 or more is gone: `.int()` **before** the shift.",
)
def pack_nibbles(codes):
    words = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int32)
    for i in range(8):
        words |= (codes[:, i::8] << 4 * i).int()
    return words.T.contiguous()


@wrong(
    "q2",
    hint="That is AWQ's order of the nibbles, 0 2 4 6 1 3 5 7. GPTQ has code i in nibble i.",
)
def pack_nibbles(codes):
    words = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int32)
    for nibble, i in enumerate((0, 2, 4, 6, 1, 3, 5, 7)):
        words |= codes[:, i::8].int() << 4 * nibble
    return words.T.contiguous()


@wrong("q2", hint="A nibble has four bits, so that code i is shifted by 4 i, not by i.")
def pack_nibbles(codes):
    words = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int32)
    for i in range(8):
        words |= codes[:, i::8].int() << i
    return words.T.contiguous()


@wrong(
    "q2",
    hint="Eight codes that are an eighth of the row apart share a word here: it should be eight "
    "that follow each other, `codes[:, i::8]` for nibble i.",
)
def pack_nibbles(codes):
    words = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int32)
    for i in range(8):
        words |= codes.chunk(8, 1)[i].int() << 4 * i
    return words.T.contiguous()


@wrong(
    "q2",
    hint="The words lie as the weight does, (out, in / 8). GPTQ's lie (in / 8, out): `.T` at the "
    "end.",
)
def pack_nibbles(codes):
    words = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int32)
    for i in range(8):
        words |= codes[:, i::8].int() << 4 * i
    return words


@wrong(
    "q2",
    hint="You take eight outputs into a word, as AWQ does. GPTQ takes eight codes of one output, "
    "along K.",
)
def pack_nibbles(codes):
    rows = -(-codes.shape[0] // 8) * 8
    full = torch.zeros(rows, codes.shape[1], dtype=torch.int32)
    full[: codes.shape[0]] = codes
    words = torch.zeros(codes.shape[1], rows // 8, dtype=torch.int32)
    for i in range(8):
        words |= full[i::8].T << 4 * i
    return words


@wrong(
    "q2",
    hint="The words are of 64 bits, twice as many as eight codes need: `dtype=torch.int32`.",
)
def pack_nibbles(codes):
    words = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int64)
    for i in range(8):
        words |= codes[:, i::8].long() << 4 * i
    return words.T.contiguous()


# -- q3 ------------------------------------------------------------------------------------------


@wrong("q3", hint="What is above the nibble is still there when a word has been shifted: `& 15`.")
def unpack_nibbles(words):
    nibbles = [words.T >> 4 * i for i in range(8)]
    return torch.stack(nibbles, 2).flatten(1).to(torch.uint8)


@wrong("q3", hint="The nibbles come back highest first: nibble i is behind a shift by 4 i.")
def unpack_nibbles(words):
    nibbles = [words.T >> 28 - 4 * i & 15 for i in range(8)]
    return torch.stack(nibbles, 2).flatten(1).to(torch.uint8)


@wrong(
    "q3",
    hint="All first nibbles come first, then all second ones. The eight codes of a word lie next "
    "to each other: stack them along the last dimension.",
)
def unpack_nibbles(words):
    nibbles = [words.T >> 4 * i & 15 for i in range(8)]
    return torch.stack(nibbles, 1).flatten(1).to(torch.uint8)


@wrong(
    "q3",
    hint="The codes come back as (in, out): the words are transposed, the weight is (out, in).",
)
def unpack_nibbles(words):
    nibbles = [words.T >> 4 * i & 15 for i in range(8)]
    return torch.stack(nibbles, 2).flatten(1).to(torch.uint8).T


@wrong("q3", hint="Codes are uint8, one byte each: `.to(torch.uint8)`.")
def unpack_nibbles(words):
    nibbles = [words.T >> 4 * i & 15 for i in range(8)]
    return torch.stack(nibbles, 2).flatten(1)


@wrong("q3", hint="A mask of 7 has three bits, and a code has four: `& 15`.")
def unpack_nibbles(words):
    nibbles = [words.T >> 4 * i & 7 for i in range(8)]
    return torch.stack(nibbles, 2).flatten(1).to(torch.uint8)


# -- q4 ------------------------------------------------------------------------------------------


@wrong("q4", hint="The scale is missing: a weight is `scale * (code - zero)`.")
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    y = tl.zeros([ROWS, COLUMNS], tl.float32)
    for group in range(depth // GROUP):
        word = group * (GROUP // 8) + tl.arange(0, GROUP // 8)
        held = column < columns
        words_at = words_ptr + word[:, None] * columns + column[None, :]
        words = tl.load(words_at, held[None, :], other=0)
        zero = tl.load(zeros_ptr + group * columns + column, held, other=0)
        for nibble in tl.static_range(8):
            code = words >> 4 * nibble & 15
            weight = (code - zero[None, :]).to(tl.float32)
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong("q4", hint="No zero is taken off: a weight is `scale * (code - zero)`.")
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    y = tl.zeros([ROWS, COLUMNS], tl.float32)
    for group in range(depth // GROUP):
        word = group * (GROUP // 8) + tl.arange(0, GROUP // 8)
        held = column < columns
        words_at = words_ptr + word[:, None] * columns + column[None, :]
        words = tl.load(words_at, held[None, :], other=0)
        scale = tl.load(scales_ptr + group * columns + column, held, other=0.0)
        for nibble in tl.static_range(8):
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * code
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong("q4", hint="The zero is a code: take it off before the scale, `scale * (code - zero)`.")
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
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
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * code - zero[None, :]
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="Every zero is 8 to you, which is so for symmetric weights only: load those of the group.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    y = tl.zeros([ROWS, COLUMNS], tl.float32)
    for group in range(depth // GROUP):
        word = group * (GROUP // 8) + tl.arange(0, GROUP // 8)
        held = column < columns
        words_at = words_ptr + word[:, None] * columns + column[None, :]
        words = tl.load(words_at, held[None, :], other=0)
        scale = tl.load(scales_ptr + group * columns + column, held, other=0.0)
        for nibble in tl.static_range(8):
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - 8)
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="All groups are multiplied with the first group's scale and zero: those of this one lie "
    "`group * columns` further.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    y = tl.zeros([ROWS, COLUMNS], tl.float32)
    for group in range(depth // GROUP):
        word = group * (GROUP // 8) + tl.arange(0, GROUP // 8)
        held = column < columns
        words_at = words_ptr + word[:, None] * columns + column[None, :]
        words = tl.load(words_at, held[None, :], other=0)
        scale = tl.load(scales_ptr + column, held, other=0.0)
        zero = tl.load(zeros_ptr + column, held, other=0)
        for nibble in tl.static_range(8):
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="Each group scales again what the groups before have added up: scale what this group "
    "adds, and no more.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
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
            code = words >> 4 * nibble & 15
            weight = (code - zero[None, :]).to(tl.float32)
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
        y *= scale[None, :].to(tl.float32)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="Nibble 0 holds every eighth column of the weight, not the first eighth of them: the "
    "codes of nibble i meet x at `8 * word + i`.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
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
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = group * GROUP + nibble * (GROUP // 8) + tl.arange(0, GROUP // 8)
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="Only the first of a word's eight codes is used: go through `tl.static_range(8)`.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
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
        for nibble in tl.static_range(1):
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="The shift leaves the higher codes of the word above the one that you want: `& 15`.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
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
            code = words >> 4 * nibble
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong("q4", hint="The nibbles are taken from the highest down: nibble i is behind a shift by 4 i.")
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
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
            code = words >> 28 - 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="Every group is multiplied with the x of the first: the columns of the weight begin at "
    "`8 * word`, which counts from the first group.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
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
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * tl.arange(0, GROUP // 8) + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="The words of the last tile are loaded without a mask, beyond the weight's columns: "
    "`column[None, :] < columns`.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    y = tl.zeros([ROWS, COLUMNS], tl.float32)
    for group in range(depth // GROUP):
        word = group * (GROUP // 8) + tl.arange(0, GROUP // 8)
        held = column < columns
        words_at = words_ptr + word[:, None] * columns + column[None, :]
        words = tl.load(words_at)
        scale = tl.load(scales_ptr + group * columns + column, held, other=0.0)
        zero = tl.load(zeros_ptr + group * columns + column, held, other=0)
        for nibble in tl.static_range(8):
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="Scales and zeros of the last tile are loaded without a mask, beyond their end: `column "
    "< columns`.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    y = tl.zeros([ROWS, COLUMNS], tl.float32)
    for group in range(depth // GROUP):
        word = group * (GROUP // 8) + tl.arange(0, GROUP // 8)
        held = column < columns
        words_at = words_ptr + word[:, None] * columns + column[None, :]
        words = tl.load(words_at, held[None, :], other=0)
        scale = tl.load(scales_ptr + group * columns + column)
        zero = tl.load(zeros_ptr + group * columns + column)
        for nibble in tl.static_range(8):
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong("q4", hint="x is loaded without a mask, beyond its last row: `row[:, None] < rows`.")
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
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
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :])
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="The result is right, but the words are loaded again for each nibble: load them once, "
    "before the loop over the nibbles.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    y = tl.zeros([ROWS, COLUMNS], tl.float32)
    for group in range(depth // GROUP):
        word = group * (GROUP // 8) + tl.arange(0, GROUP // 8)
        held = column < columns
        scale = tl.load(scales_ptr + group * columns + column, held, other=0.0)
        zero = tl.load(zeros_ptr + group * columns + column, held, other=0)
        for nibble in tl.static_range(8):
            words_at = words_ptr + word[:, None] * columns + column[None, :]
            words = tl.load(words_at, held[None, :], other=0)
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


@wrong(
    "q4",
    hint="The result is right, but scale and zero are loaded again for each nibble: load them "
    "once for a group.",
)
def w4a16_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, y_ptr, rows, columns, depth,
    GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    y = tl.zeros([ROWS, COLUMNS], tl.float32)
    for group in range(depth // GROUP):
        word = group * (GROUP // 8) + tl.arange(0, GROUP // 8)
        held = column < columns
        words_at = words_ptr + word[:, None] * columns + column[None, :]
        words = tl.load(words_at, held[None, :], other=0)
        for nibble in tl.static_range(8):
            scale = tl.load(scales_ptr + group * columns + column, held, other=0.0)
            zero = tl.load(zeros_ptr + group * columns + column, held, other=0)
            code = words >> 4 * nibble & 15
            weight = scale[None, :].to(tl.float32) * (code - zero[None, :])
            k = 8 * word + nibble
            x = tl.load(x_ptr + row[:, None] * depth + k[None, :], row[:, None] < rows, other=0.0)
            y += tl.dot(x, weight)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(y_ptr + row[:, None] * columns + column[None, :], y, inside)


# -- q5 ------------------------------------------------------------------------------------------


@wrong(
    "q5",
    hint="The column is rounded, and nobody makes up for it: subtract e times `factor[column, "
    "column:]`, a row of U, from it and from the later columns.",
)
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    corrected = weight.clone()
    corrected[:, column] = scales * (codes - zeros)
    return codes.to(torch.uint8), corrected


@wrong("q5", hint="e is the error **over** U_qq: divide by `factor[column, column]`.")
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = weight[:, column] - scales * (codes - zeros)
    corrected = weight.clone()
    corrected[:, column:] -= torch.outer(error, factor[column, column:])
    return codes.to(torch.uint8), corrected


@wrong(
    "q5",
    hint="Divide by U_qq once: that is the q-th diagonal element of U, not of the inverse "
    "Hessian, which is its square for a first column.",
)
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column] ** 2
    corrected = weight.clone()
    corrected[:, column:] -= torch.outer(error, factor[column, column:])
    return codes.to(torch.uint8), corrected


@wrong(
    "q5",
    hint="The later columns move the wrong way, and the output's error grows: w_j **less** e "
    "U_qj, with e from w - w'.",
)
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    corrected[:, column:] += torch.outer(error, factor[column, column:])
    corrected[:, column] = scales * (codes - zeros)
    return codes.to(torch.uint8), corrected


@wrong(
    "q5",
    hint="The later columns are corrected, but the column itself is not rounded: for j = q the "
    "formula gives w'.",
)
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    later = slice(column + 1, None)
    corrected[:, later] -= torch.outer(error, factor[column, later])
    return codes.to(torch.uint8), corrected


@wrong("q5", hint="A weight beyond the grid takes the last code: `.clamp(0, 15)`.")
def round_column(weight, factor, column, scales, zeros):
    codes = (weight[:, column] / scales).round() + zeros
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    corrected[:, column:] -= torch.outer(error, factor[column, column:])
    return codes.to(torch.uint8), corrected


@wrong(
    "q5",
    hint="The error is counted in steps: it is w - w', in the units of the weight, so multiply by "
    "the scale.",
)
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = (weight[:, column] / scales - (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    corrected[:, column:] -= torch.outer(error, factor[column, column:])
    return codes.to(torch.uint8), corrected


@wrong(
    "q5",
    hint="What the code stands for is `scales * (codes - zeros)`: your error forgets the zero.",
)
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = (weight[:, column] - scales * codes) / factor[column, column]
    corrected = weight.clone()
    corrected[:, column:] -= torch.outer(error, factor[column, column:])
    return codes.to(torch.uint8), corrected


@wrong(
    "q5",
    hint="uint8 less uint8 has no room below 0: 3 - 8 is 251. Keep the codes as floating point "
    "until they are returned.",
)
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15).to(torch.uint8)
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    corrected[:, column:] -= torch.outer(error, factor[column, column:])
    return codes, corrected


@wrong("q5", hint="Codes are rounded, not cut off: `.round()`.")
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).trunc() + zeros).clamp(0, 15)
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    corrected[:, column:] -= torch.outer(error, factor[column, column:])
    return codes.to(torch.uint8), corrected


@wrong(
    "q5",
    hint="All columns are corrected, those before this one too, which have their codes already: "
    "from `column` on only.",
)
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    corrected -= torch.outer(error, (factor.T @ factor)[column] / factor[column, column])
    return codes.to(torch.uint8), corrected


@wrong(
    "q5",
    hint="You correct with the whole inverse Hessian, `factor.T @ factor`. Once columns are "
    "rounded they are no longer free, and the inverse is that of the free ones: row q of U has "
    "it.",
)
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    inverse = (factor.T @ factor)[column]
    error *= factor[column, column]
    corrected[:, column:] -= torch.outer(error, inverse[column:] / inverse[column])
    return codes.to(torch.uint8), corrected


@wrong("q5", hint="Only the next column is corrected: all later ones are.")
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    corrected[:, column] = scales * (codes - zeros)
    following = slice(column + 1, column + 2)
    corrected[:, following] -= torch.outer(error, factor[column, following])
    return codes.to(torch.uint8), corrected


@wrong("q5", hint="The codes are of uint8, one byte each: `.to(torch.uint8)`.")
def round_column(weight, factor, column, scales, zeros):
    codes = ((weight[:, column] / scales).round() + zeros).clamp(0, 15)
    error = (weight[:, column] - scales * (codes - zeros)) / factor[column, column]
    corrected = weight.clone()
    corrected[:, column:] -= torch.outer(error, factor[column, column:])
    return codes, corrected


# -- q6 ------------------------------------------------------------------------------------------


@wrong(
    "q6",
    hint="That is the card's operations for each byte, `peak / bandwidth`. It would be the answer "
    "if x and y had no bytes.",
)
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong("q6", hint="y is missing: it has batch times columns numbers, of 2 bytes each.")
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * depth / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong("q6", hint="x is missing: it has batch times depth numbers, of 2 bytes each.")
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * columns / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong("q6", hint="The numbers of x and y have 2 bytes each, as those of a 16-bit weight.")
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong(
    "q6",
    hint="Each number of the weight meets a multiplication and an addition: two operations.",
)
def crossover(columns, depth, group_size, peak, bandwidth):
    each = columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong(
    "q6",
    hint="At the batch before the crossover something is gained still: round up, `math.ceil`.",
)
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.floor(four / bandwidth / each), math.floor(sixteen / bandwidth / each)


@wrong("q6", hint="A batch is a whole number: `math.ceil`.")
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return four / bandwidth / each, sixteen / bandwidth / each


@wrong(
    "q6",
    hint="The two are the wrong way round: first where the gain begins to shrink, then where it "
    "ends.",
)
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(sixteen / bandwidth / each), math.ceil(four / bandwidth / each)


@wrong("q6", hint="A 16-bit weight has 2 bytes a number.")
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong(
    "q6",
    hint="Scales are read too, 2 bytes for each group of each row: the four-bit weight has a "
    "little more than a quarter of the bytes.",
)
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong("q6", hint="A code has half a byte: `columns * depth / 2`.")
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong(
    "q6",
    hint="Weights share a scale, so that a larger group has fewer of them: divide by group_size.",
)
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return math.inf, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong("q6", hint="A negative batch says that there is none: in a layer so small, `math.inf`.")
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong(
    "q6",
    hint="Without a crossover both are infinite: the four-bit product is bound by memory as well.",
)
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return 1, math.inf
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)


@wrong(
    "q6",
    hint="No batch is no crossover, and the question asks for `math.inf`, with which one can "
    "compare.",
)
def crossover(columns, depth, group_size, peak, bandwidth):
    each = 2 * columns * depth / peak - 2 * (columns + depth) / bandwidth
    if each <= 0:
        return None, None
    sixteen = 2 * columns * depth
    four = columns * depth / 2 + 2 * columns * depth / group_size
    return math.ceil(four / bandwidth / each), math.ceil(sixteen / bandwidth / each)
