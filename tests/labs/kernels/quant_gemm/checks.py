"""The checks of the four-bit lab. Expected values come from trying all sixteen codes, from Python's
integers, from float64, from solving GPTQ's least squares, and from trying all batches.

The kernel is launched from its source, in a clean process: see ``toolkit.classroom.kernels``. It
computes in fp32, and 1e-4 is a hundred times what that rounds off in sums of these lengths.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from toolkit.classroom import expect, launch, question, require
from toolkit.kernels.roofline import Card, attainable

FP32 = {"rtol": 1e-4, "atol": 1e-5}
SCALE_IN_FP16 = {"rtol": 2.0**-10, "atol": 0.0}
"""A scale may be computed by another formula before it is rounded: then it is the next in fp16."""
GROUP, ROWS, COLUMNS = 128, 16, 32  # no two the same, so that no shape fits by chance


def draw(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def draw_codes(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.integers(0, 16, shape, dtype=np.uint8))


# -- q1 ------------------------------------------------------------------------------------------


def quantized(answer, groups: Tensor, symmetric: bool) -> None:
    """Check scales and zeros against their formulas, and codes against all sixteen.

    Codes are judged by the learner's own scales and zeros, at which a tie may go either way.
    """
    found = answer.quantize(groups, symmetric)
    codes, scales, zeros = found
    exact = groups.double()
    low, high = exact.amin(1).clamp(max=0), exact.amax(1).clamp(min=0)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    steps = ((high - low) / 15).clamp(min=2.0**-24)
    expect(scales, steps.half(), **SCALE_IN_FP16)
    if symmetric:
        expect(zeros, torch.full((len(groups),), 8, dtype=torch.uint8))
    else:
        require_kind("zeros", zeros, (len(groups),), found)
        away = -low / scales.double() - zeros.double()
        require(bool((away.abs() < 0.501).all()), "a zero is not the code nearest to 0", found)
    require_kind("codes", codes, tuple(groups.shape), found)
    require(bool((codes <= 15).all()), f"a code is {int(codes.max())}, beyond 15", found)
    levels = scales.double()[:, None] * (torch.arange(16.0) - zeros.double()[:, None])
    nearest = (exact[:, :, None] - levels[:, None, :]).abs().amin(2)
    stands_for = scales.double()[:, None] * (codes.double() - zeros.double()[:, None])
    further = (exact - stands_for).abs() - nearest
    tie = 1e-4 * scales.double()[:, None]
    require(bool((further <= tie).all()), "a code stands for a level that is not nearest", found)


def require_kind(name: str, tensor: Tensor, shape: tuple[int, ...], found) -> None:
    kind = (tensor.dtype, tuple(tensor.shape))
    how = f"{name} are {kind[0]} {kind[1]}, expected torch.uint8 {shape}"
    require(kind == (torch.uint8, shape), how, found)


@question(
    "q1",
    points=1,
    hints=[
        "One scale and one zero for each row: `groups.abs().amax(1)` is the a of each.",
        "`scales = (2 * a / 15).half()`, the zeros are all 8, and a weight's code is its distance "
        "from 0 in steps, rounded, plus the zero.",
        "`(groups / scales[:, None]).round() + 8`, then `.clamp(0, 15).to(torch.uint8)`.",
    ],
)
def symmetric_codes_are_nearest(answer, rng):
    """Symmetric: the scale is a fifteenth of the range, and each weight takes its nearest code."""
    quantized(answer, 0.05 * draw(rng, 3, 32), True)
    quantized(answer, draw(rng, 40, 16).abs(), True)  # the greatest is at the end without a level


@question(
    "q1",
    points=1,
    hints=[
        "The grid covers every weight of the group, and 0: low is the least weight or 0, high the "
        "greatest or 0.",
        "`zeros = (-low / scales).round()`, in 0 to 15; the codes are as before, with these zeros.",
    ],
)
def asymmetric_codes_are_nearest(answer, rng):
    """Asymmetric: the grid runs from the least weight to the greatest, and has 0 in it."""
    quantized(answer, 0.05 * draw(rng, 8, 32) + 0.03, False)
    quantized(answer, torch.stack([draw(rng, 16).abs() + 2, -draw(rng, 16).abs() - 2]), False)


@question(
    "q1",
    points=1,
    hints=[
        "`scales.half()` first, and only then the codes: what they are multiplied with is the "
        "scale that is stored."
    ],
)
def codes_are_for_the_scale_that_is_stored(answer, rng):
    """Codes are nearest by the scale as it is stored, in fp16."""
    off = torch.zeros(())
    while abs(off) < 2.0**-13:  # fp16 rounds a number by up to 2^-11 of it
        greatest = draw(rng, 1)[0].abs() + 0.1
        scale = greatest.double() / 7.5
        off = scale / scale.half().double() - 1
    # Halfway between two levels, by a scale that lies between the two.
    halfway = (torch.arange(-7.0, 7.0) + 0.5) * (scale + scale.half().double()) / 2
    quantized(answer, torch.cat([-greatest[None], halfway.float()])[None], True)


@question(
    "q1",
    points=1,
    hints=["0 / 0 is NaN: `.clamp(min=2**-24)` before `.half()`, so that no scale is 0."],
)
def a_group_of_zeros_has_a_scale(answer, rng):
    """A group of zeros stays zeros, next to one that is not."""
    groups = torch.stack([torch.zeros(16), draw(rng, 16)])
    for symmetric in (True, False):
        quantized(answer, groups, symmetric)


# -- q2 ------------------------------------------------------------------------------------------


def words_of(codes: Tensor) -> Tensor:
    """The words by Python's integers, which have as many bits as it takes."""
    words = [
        [sum(code << 4 * i for i, code in enumerate(row[at : at + 8])) for row in codes.tolist()]
        for at in range(0, codes.shape[1], 8)
    ]
    signed = [[word - 2**32 if word >= 2**31 else word for word in line] for line in words]
    return torch.tensor(signed, dtype=torch.int32)


@question(
    "q2",
    points=1,
    hints=[
        "Code i goes to the bits from 4 i on: `code << 4 * i`. Codes of 8 bits have no room for "
        "that: `.int()` first.",
        "Different codes have different bits: put them together with `|`.",
    ],
)
def eight_codes_make_a_word(answer, rng):
    """Eight codes make a word, the first one lowest."""
    codes = torch.arange(1, 9, dtype=torch.uint8)[torch.from_numpy(rng.permutation(8))]
    two = torch.stack([codes, codes.flip(0) + 7])
    expect(answer.pack_nibbles(two), words_of(two))


@question(
    "q2",
    points=1,
    hints=[
        "`codes[:, i::8]` are the codes that go to nibble i of all words: (out, in / 8).",
        "Words lie K first, the outputs side by side: `.T` at the end.",
    ],
)
def words_lie_k_by_outputs(answer, rng):
    """Eight codes that follow each other along K share a word; words are (in / 8, out)."""
    for shape in ((3, 40), (5, 8), (1, 16)):
        codes = draw_codes(rng, *shape)
        expect(answer.pack_nibbles(codes), words_of(codes))


# -- q3 ------------------------------------------------------------------------------------------


@question(
    "q3",
    points=1,
    hints=[
        "Nibble i of all words at once: `words >> 4 * i & 15`. The `& 15` also takes away the ones "
        "that `>>` brings in.",
    ],
)
def a_words_codes_come_back(answer, rng):
    """Eight codes come back out of a word, with 8 to 15 in the highest nibble too."""
    codes = torch.arange(1, 9, dtype=torch.uint8)[torch.from_numpy(rng.permutation(8))]
    for eight in (codes, codes.flip(0) + 7):
        expect(answer.unpack_nibbles(words_of(eight[None])), eight[None])


@question(
    "q3",
    points=1,
    hints=[
        "The words are (in / 8, out), the codes (out, in): begin with `words.T`.",
        "The codes of a word lie next to each other: stack the eight nibbles along a new **last** "
        "dimension, `torch.stack(nibbles, 2)`, and flatten it into the one before.",
    ],
)
def all_codes_come_back(answer, rng):
    """Every code comes back in its place."""
    for shape in ((3, 40), (5, 8), (1, 16)):
        codes = draw_codes(rng, *shape)
        expect(answer.unpack_nibbles(words_of(codes)), codes)


# -- q4 ------------------------------------------------------------------------------------------


def product_of(answer, rng, rows: int, columns: int, groups: int, zeros: Tensor | None = None):
    """Launch the kernel, and check its result in float64."""
    depth = groups * GROUP
    codes, x = draw_codes(rng, columns, depth), draw(rng, rows, depth)
    scales = torch.from_numpy(rng.uniform(0.01, 0.02, (groups, columns))).half()
    zeros = draw_codes(rng, groups, columns) if zeros is None else zeros.expand(groups, columns)
    arguments = {"x_ptr": x, "words_ptr": words_of(codes), "scales_ptr": scales}
    arguments |= {"zeros_ptr": zeros.contiguous(), "y_ptr": torch.full((rows, columns), torch.nan)}
    arguments |= {"rows": rows, "columns": columns, "depth": depth}
    arguments |= {"GROUP": GROUP, "ROWS": ROWS, "COLUMNS": COLUMNS}
    grid = (-(-rows // ROWS), -(-columns // COLUMNS))
    found = launch(answer, "w4a16_kernel", grid, arguments, output="y_ptr")
    steps = codes.view(columns, groups, GROUP).double() - zeros.T[:, :, None].double()
    weight = (scales.T[:, :, None].double() * steps).flatten(1)
    expect(found.output, (x.double() @ weight.T).float(), **FP32)
    return found


EIGHT = torch.tensor(8, dtype=torch.uint8)


@question(
    "q4",
    points=1,
    hints=[
        "Where does word [j, n] lie? `words_ptr + j * columns + n`, so the block of them is "
        "`words_ptr + word[:, None] * columns + column[None, :]`.",
        "`code = words >> 4 * nibble & 15` are codes of (GROUP / 8, COLUMNS), those of the columns "
        "`k = 8 * word + nibble` of the weight. The numbers of x that they meet are "
        "`x_ptr + row[:, None] * depth + k[None, :]`.",
        "For each of the eight nibbles: `y += tl.dot(x, weight)`, with the weight "
        "`scale[None, :].to(tl.float32) * (code - zero[None, :])`.",
    ],
)
def one_group_is_multiplied(answer, rng):
    """With one group and zeros of 8, y is x times the weight that the words hold."""
    product_of(answer, rng, ROWS, COLUMNS, 1, EIGHT)


@question(
    "q4",
    points=1,
    hints=["A group's scale and zero lie at `group * columns + column`: load them for each group."],
)
def groups_have_scales_and_zeros(answer, rng):
    """Each group has its own scale and its own zero in each column."""
    product_of(answer, rng, ROWS, COLUMNS, 3)


@question(
    "q4",
    points=1,
    hints=[
        "The last tile may reach beyond x and the weight: mask x with `row[:, None] < rows` "
        "and words, scales and zeros with `column < columns`."
    ],
)
def any_number_of_rows_and_columns(answer, rng):
    """Any number of rows and columns: nothing outside is touched."""
    for rows, columns in ((1, COLUMNS + 5), (ROWS + 3, 3)):
        found = product_of(answer, rng, rows, columns, 2)
        require(not found.problems, "".join(found.problems[:1]), found.output)


@question(
    "q4",
    points=2,
    hints=[
        "Which loads stand inside a loop that need not? Words, scale and zero of a group are "
        "loaded once, before the loop over the nibbles.",
    ],
)
def each_word_is_loaded_once(answer, rng):
    """A program loads each of its words, scales, zeros and numbers of x once."""
    rows, columns, groups = ROWS + 1, COLUMNS + 1, 2
    found = product_of(answer, rng, rows, columns, groups)
    row_tiles, column_tiles, depth = 2, 2, groups * GROUP
    tile_exact = {
        "words_ptr": row_tiles * depth * columns // 2,
        "scales_ptr": row_tiles * groups * columns * 2,
        "zeros_ptr": row_tiles * groups * columns,
        "x_ptr": column_tiles * rows * depth * 4,
    }
    for name, most in tile_exact.items():
        moved = found.moved[name]
        how = f"it loads {moved:,} bytes of {name}; its tiles have {most:,}"
        require(moved <= most, how, found.output)


# -- q5 ------------------------------------------------------------------------------------------


OUT, IN = 6, 12
FACTORED = {"rtol": 1e-6, "atol": 1e-8}
"""Both ways go through an inverse of a matrix with a condition of at most some thousands."""


def draw_layer(rng: np.random.Generator):
    """A weight, the Hessian of inputs that rise and fall together, and its U."""
    mixed = rng.standard_normal((3, IN)) * 2
    inputs = rng.standard_normal((200, 3)) @ mixed + rng.standard_normal((200, IN))
    hessian = 2 * inputs.T @ inputs
    factor = np.linalg.cholesky(np.linalg.inv(hessian)).T
    weight = rng.standard_normal((OUT, IN))
    return torch.from_numpy(weight), hessian, torch.from_numpy(np.ascontiguousarray(factor))


def least_squares(weight: Tensor, hessian: np.ndarray, q: int, rounded: Tensor) -> Tensor:
    """The weight whose column q is rounded and whose later ones are best, given that.

    With d_q given, d H d^T is least over the later columns F at d_F = -d_q H_qF H_FF^-1.
    """
    corrected = weight.clone().numpy()
    d = rounded.numpy() - corrected[:, q]
    corrected[:, q] = rounded
    if q + 1 < len(hessian):
        best = np.linalg.solve(hessian[q + 1 :, q + 1 :], hessian[q + 1 :, q])
        corrected[:, q + 1 :] -= np.outer(d, best)
    return torch.from_numpy(corrected)


def draw_grid(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Steps that leave some weights beyond the ends of the grid."""
    zeros = torch.from_numpy(rng.integers(4, 12, OUT, dtype=np.uint8))
    return torch.from_numpy(rng.uniform(0.1, 0.2, OUT)).half().float(), zeros


def nearest(values: Tensor, scales: Tensor, zeros: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and levels by trying all sixteen."""
    levels = scales.double()[:, None] * (torch.arange(16.0) - zeros.double()[:, None])
    codes = (values[:, None] - levels).abs().argmin(1)
    return codes.to(torch.uint8), levels.gather(1, codes[:, None])[:, 0]


def rounded_column(answer, weight, hessian, factor, q, scales, zeros) -> Tensor:
    found = answer.round_column(weight, factor, q, scales, zeros)
    codes, levels = nearest(weight[:, q], scales, zeros)
    corrected = least_squares(weight, hessian, q, levels)
    expect(found[0], codes)
    expect(found[1], corrected, **FACTORED)
    return corrected


@question(
    "q5",
    points=1,
    hints=[
        "The codes are those of question 1, of one column and with scales that are there already: "
        "`(weight[:, column] / scales).round() + zeros`, from 0 to 15.",
        "In the last column there is nobody left to correct: put the rounded weights in its place.",
    ],
)
def the_last_column_is_rounded(answer, rng):
    """The column becomes what its nearest codes stand for; before it, nothing changes."""
    weight, hessian, factor = draw_layer(rng)
    rounded_column(answer, weight, hessian, factor, IN - 1, *draw_grid(rng))


@question(
    "q5",
    points=2,
    hints=[
        "e is one number for each row of the weight: what rounding took away from it, "
        "w - w', over `factor[column, column]`.",
        "A later column j loses e times `factor[column, j]`: for all rows and columns at once, "
        "that is `torch.outer(error, factor[column, column:])`.",
    ],
)
def later_columns_make_up_for_it(answer, rng):
    """Later columns move to where the output's error is least."""
    weight, hessian, factor = draw_layer(rng)
    for q in (0, IN // 2):
        rounded_column(answer, weight, hessian, factor, q, *draw_grid(rng))


@question(
    "q5",
    points=1,
    hints=[
        "Columns before this one have their codes already: leave them as they are. What comes in "
        "is the weight as corrected so far."
    ],
)
def columns_follow_each_other(answer, rng):
    """From the first column to the last, each is rounded as the ones before have left it."""
    weight, hessian, factor = draw_layer(rng)
    scales, zeros = draw_grid(rng)
    for q in range(IN):
        weight = rounded_column(answer, weight, hessian, factor, q, scales, zeros)


# -- q6 ------------------------------------------------------------------------------------------


def draw_card(rng: np.random.Generator) -> Card:
    """Between 100 and 300 operations a byte, as cards have."""
    bandwidth = float(rng.uniform(0.5e12, 5e12))
    peak = bandwidth * float(rng.uniform(100, 300))
    return Card("a card", bandwidth, {"16-bit": peak}, 2**17, 100, "drawn at random")


def draw_layer_sizes(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(20, 80)) * 128, int(rng.integers(20, 80)) * 128


def bound_by_compute_from(card: Card, columns: int, depth: int, weight_bytes: float) -> float:
    """The least batch at which the chapter's roofline lets a product reach the peak: all tried."""
    for batch in range(1, 10_000):
        moved = weight_bytes + 2 * batch * (columns + depth)
        intensity = 2 * batch * columns * depth / moved
        if attainable(card, intensity) >= card.peaks["16-bit"]:
            return float(batch)
    raise AssertionError("no batch is bound by compute")


def crossed(answer, card: Card, columns: int, depth: int, group_size: int):
    return answer.crossover(columns, depth, group_size, card.peaks["16-bit"], card.bandwidth)


@question(
    "q6",
    points=1,
    hints=[
        "Four bits gain nothing once the product with **16-bit** weights is bound by compute: set "
        "its two times equal, and solve for the batch.",
        "Its bytes are 2 for each number of the weight, of x, (batch, depth), and of y, (batch, "
        "columns).",
        "`batch * (2 * columns * depth / peak - 2 * (columns + depth) / bandwidth)` is the time "
        "that moving the weight takes. The least whole batch is `math.ceil`.",
    ],
)
def the_gain_ends(answer, rng):
    """The second is the least batch at which the product with 16-bit weights is compute-bound."""
    for group_size in (32, 128):
        card, (columns, depth) = draw_card(rng), draw_layer_sizes(rng)
        end = bound_by_compute_from(card, columns, depth, 2 * columns * depth)
        expect(crossed(answer, card, columns, depth, group_size)[1], end)


@question(
    "q6",
    points=1,
    hints=[
        "The first batch is found in the same way, with the bytes of the four-bit weight: half a "
        "byte a code, and 2 bytes a scale, `columns * depth / group_size` of them."
    ],
)
def the_gain_begins_to_shrink(answer, rng):
    """The first is the least batch at which the product with 4-bit weights is compute-bound."""
    for group_size in (16, 32, 128):
        card, (columns, depth) = draw_card(rng), draw_layer_sizes(rng)
        four = columns * depth / 2 + columns * (depth // group_size) * 2
        begin = bound_by_compute_from(card, columns, depth, four)
        expect(crossed(answer, card, columns, depth, group_size)[0], begin)


@question(
    "q6",
    points=1,
    hints=[
        "If moving a row of x and of y takes longer than computing with it, no batch is bound by "
        "compute: `math.inf`, twice."
    ],
)
def a_small_layer_has_no_crossover(answer, rng):
    """In a layer so small that x and y keep it bound by memory, neither batch is there."""
    found = crossed(answer, draw_card(rng), 128, 192, 64)
    expect(found, (math.inf, math.inf))
