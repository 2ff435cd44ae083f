"""Plausible wrong answers of the FlashAttention lab, each with the hint that mends it.

The kernels among them are never run here: only their text is taken, so they need no triton.
"""

from __future__ import annotations

import math

import numpy as np

from toolkit.classroom import wrong

# -- q1 ------------------------------------------------------------------------------------------


@wrong(
    "q1",
    hint="The sum of the weights follows the maximum, the weighted sum of values does not: "
    "it must shrink by the same e^(m - m').",
)
def online_attention(load, tiles):
    m, total, o = -math.inf, 0.0, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        higher = max(m, scores.max())
        weights = np.exp(scores - higher)
        total = np.exp(m - higher) * total + weights.sum()
        o = o + weights @ values
        m = higher
    return o / total


@wrong(
    "q1",
    hint="The weighted sum of values follows the maximum, the sum of the weights does not: "
    "it must shrink by the same e^(m - m').",
)
def online_attention(load, tiles):
    m, total, o = -math.inf, 0.0, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        higher = max(m, scores.max())
        weights = np.exp(scores - higher)
        total = total + weights.sum()
        o = np.exp(m - higher) * o + weights @ values
        m = higher
    return o / total


@wrong(
    "q1",
    hint="Each tile has a maximum of its own, and what you add up was made with different ones. "
    "When the maximum rises, what is kept must shrink by e^(m - m').",
)
def online_attention(load, tiles):
    total, o = 0.0, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        weights = np.exp(scores - scores.max())
        total, o = total + weights.sum(), o + weights @ values
    return o / total


@wrong(
    "q1",
    hint="The factor is the wrong way up: the old maximum is the smaller one, e^(m - m') is at "
    "most 1.",
)
def online_attention(load, tiles):
    m, total, o = -1e30, 0.0, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        higher = max(m, scores.max())
        weights = np.exp(scores - higher)
        fade = np.exp(higher - m) if total else 0.0
        total, o = fade * total + weights.sum(), fade * o + weights @ values
        m = higher
    return o / total


@wrong(
    "q1",
    hint="Your maximum falls again when a tile has smaller scores, and e^(m - m') overflows: "
    "`max(maximum, scores.max())` never falls.",
)
def online_attention(load, tiles):
    m, total, o = -math.inf, 0.0, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        fade, m = np.exp(m - scores.max()), scores.max()
        weights = np.exp(scores - m)
        total, o = fade * total + weights.sum(), fade * o + weights @ values
    return o / total


@wrong("q1", hint="e^1000 is infinite to a computer: subtract the greatest score so far first.")
def online_attention(load, tiles):
    total, o = 0.0, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        weights = np.exp(scores)
        total, o = total + weights.sum(), o + weights @ values
    return o / total


@wrong(
    "q1",
    hint="That goes over the tiles twice, once for the maximum: each must be fetched once. Mend "
    "what you have when the maximum rises.",
)
def online_attention(load, tiles):
    m = max(load(tile)[0].max() for tile in range(tiles))
    total, o = 0.0, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        weights = np.exp(scores - m)
        total, o = total + weights.sum(), o + weights @ values
    return o / total


@wrong(
    "q1",
    hint="You divide within each tile, and again in the next. Keep the sums as they are, and "
    "divide once, after the last tile.",
)
def online_attention(load, tiles):
    m, total, o = -math.inf, 0.0, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        higher = max(m, scores.max())
        weights, fade = np.exp(scores - higher), np.exp(m - higher)
        total = fade * total + weights.sum()
        o = (fade * o + weights @ values) / total
        m = higher
    return o


@wrong("q1", hint="That is the weighted sum of the values: divide it by the sum of the weights.")
def online_attention(load, tiles):
    m, o = -math.inf, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        higher = max(m, scores.max())
        o = np.exp(m - higher) * o + np.exp(scores - higher) @ values
        m = higher
    return o


# -- q2 ------------------------------------------------------------------------------------------


@wrong(
    "q2",
    hint="What the mask leaves out is 0 to you, and e^0 counts: `other=float('-inf')` has the "
    "weight 0.",
)
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    at = tl.program_id(0) * columns + tl.arange(0, WIDTH)
    inside = tl.arange(0, WIDTH) < columns
    x = tl.load(x_ptr + at, inside, other=0.0)
    powers = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + at, powers / tl.sum(powers, 0), inside)


@wrong(
    "q2",
    hint="The load reads the next row, and past the end of x: mask it. Where is a lane inside its "
    "row? `lanes < columns`.",
)
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    at = tl.program_id(0) * columns + tl.arange(0, WIDTH)
    x = tl.load(x_ptr + at)
    powers = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + at, powers / tl.sum(powers, 0), tl.arange(0, WIDTH) < columns)


@wrong(
    "q2",
    hint="The store writes into the next row, which another program writes too, and past the end "
    "of y: it needs the mask as well.",
)
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    at = tl.program_id(0) * columns + tl.arange(0, WIDTH)
    x = tl.load(x_ptr + at, tl.arange(0, WIDTH) < columns, other=float("-inf"))
    powers = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + at, powers / tl.sum(powers, 0))


@wrong(
    "q2",
    hint="Rows lie one behind another, `columns` elements apart. WIDTH is the length of the block "
    "only.",
)
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    at = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    inside = tl.arange(0, WIDTH) < columns
    x = tl.load(x_ptr + at, inside, other=float("-inf"))
    powers = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + at, powers / tl.sum(powers, 0), inside)


@wrong("q2", hint="e^1000 is infinite to a computer: first take the row's maximum off.")
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    at = tl.program_id(0) * columns + tl.arange(0, WIDTH)
    inside = tl.arange(0, WIDTH) < columns
    powers = tl.exp(tl.load(x_ptr + at, inside, other=float("-inf")))
    tl.store(y_ptr + at, powers / tl.sum(powers, 0), inside)


@wrong("q2", hint="The weights of a row don't add up to 1: divide by `tl.sum(powers, 0)`.")
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    at = tl.program_id(0) * columns + tl.arange(0, WIDTH)
    inside = tl.arange(0, WIDTH) < columns
    x = tl.load(x_ptr + at, inside, other=float("-inf"))
    tl.store(y_ptr + at, tl.exp(x - tl.max(x, 0)), inside)


@wrong(
    "q2",
    hint="Every program does the first row, all of them at once. `tl.program_id(0)` says which "
    "row is this one's.",
)
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    at = tl.arange(0, WIDTH)
    x = tl.load(x_ptr + at, at < columns, other=float("-inf"))
    powers = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + at, powers / tl.sum(powers, 0), at < columns)


@wrong(
    "q2",
    hint="You load the row three times, and each load goes to memory. Keep what you loaded in a "
    "variable.",
)
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    at = tl.program_id(0) * columns + tl.arange(0, WIDTH)
    inside = tl.arange(0, WIDTH) < columns
    maximum = tl.max(tl.load(x_ptr + at, inside, other=float("-inf")), 0)
    total = tl.sum(tl.exp(tl.load(x_ptr + at, inside, other=float("-inf")) - maximum), 0)
    x = tl.load(x_ptr + at, inside, other=float("-inf"))
    tl.store(y_ptr + at, tl.exp(x - maximum) / total, inside)


# -- q3 ------------------------------------------------------------------------------------------


@wrong("q3", hint="`output` does not follow the maximum: first `fade[:, None] * output`, then add.")
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = columns[:, None] < keys
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(columns[None, :] < limits[:, None], scores, float("-inf"))
        higher = tl.maximum(maximum, tl.max(scores, 1))
        weights = tl.exp(scores - higher[:, None])
        total = tl.exp(maximum - higher) * total + tl.sum(weights, 1)
        output = output + tl.dot(weights, v)
        maximum = higher
    return output, maximum, total


@wrong("q3", hint="`total` does not follow the maximum: first `fade * total`, then add.")
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = columns[:, None] < keys
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(columns[None, :] < limits[:, None], scores, float("-inf"))
        higher = tl.maximum(maximum, tl.max(scores, 1))
        weights = tl.exp(scores - higher[:, None])
        total = total + tl.sum(weights, 1)
        output = tl.exp(maximum - higher)[:, None] * output + tl.dot(weights, v)
        maximum = higher
    return output, maximum, total


@wrong(
    "q3",
    hint="Keys that no query may see take part, those beyond the last among them: their **scores** "
    "must be -inf, where columns are not before `limits`.",
)
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = columns[:, None] < keys
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        higher = tl.maximum(maximum, tl.max(scores, 1))
        fade = tl.exp(maximum - higher)
        weights = tl.exp(scores - higher[:, None])
        total = fade * total + tl.sum(weights, 1)
        output = fade[:, None] * output + tl.dot(weights, v)
        maximum = higher
    return output, maximum, total


@wrong(
    "q3",
    hint="Every query sees every key: `limits` says before which key each of them stops. That "
    "covers the end of the keys too.",
)
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = columns[:, None] < keys
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(columns[None, :] < keys, scores, float("-inf"))
        higher = tl.maximum(maximum, tl.max(scores, 1))
        fade = tl.exp(maximum - higher)
        weights = tl.exp(scores - higher[:, None])
        total = fade * total + tl.sum(weights, 1)
        output = fade[:, None] * output + tl.dot(weights, v)
        maximum = higher
    return output, maximum, total


@wrong(
    "q3",
    hint="The loads reach beyond the keys, for the last tile may not be full. Load where "
    "`columns[:, None] < keys`, with `other=0.0`.",
)
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :])
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :])
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(columns[None, :] < limits[:, None], scores, float("-inf"))
        higher = tl.maximum(maximum, tl.max(scores, 1))
        fade = tl.exp(maximum - higher)
        weights = tl.exp(scores - higher[:, None])
        total = fade * total + tl.sum(weights, 1)
        output = fade[:, None] * output + tl.dot(weights, v)
        maximum = higher
    return output, maximum, total


@wrong("q3", hint="The scores are not scaled: `tl.dot(q, tl.trans(k)) * scale`.")
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = columns[:, None] < keys
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        scores = tl.dot(q, tl.trans(k))
        scores = tl.where(columns[None, :] < limits[:, None], scores, float("-inf"))
        higher = tl.maximum(maximum, tl.max(scores, 1))
        fade = tl.exp(maximum - higher)
        weights = tl.exp(scores - higher[:, None])
        total = fade * total + tl.sum(weights, 1)
        output = fade[:, None] * output + tl.dot(weights, v)
        maximum = higher
    return output, maximum, total


@wrong(
    "q3",
    hint="`maximum` stays what it was at the beginning, so that the next tile takes all before it "
    "for nothing: keep the higher one.",
)
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = columns[:, None] < keys
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(columns[None, :] < limits[:, None], scores, float("-inf"))
        higher = tl.maximum(maximum, tl.max(scores, 1))
        fade = tl.exp(maximum - higher)
        weights = tl.exp(scores - higher[:, None])
        total = fade * total + tl.sum(weights, 1)
        output = fade[:, None] * output + tl.dot(weights, v)
    return output, maximum, total


@wrong(
    "q3",
    hint="`fade` is the wrong way up: the old maximum is the smaller one, so that "
    "`tl.exp(maximum - higher)` is at most 1.",
)
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = columns[:, None] < keys
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(columns[None, :] < limits[:, None], scores, float("-inf"))
        higher = tl.maximum(maximum, tl.max(scores, 1))
        fade = tl.exp(higher - maximum)
        weights = tl.exp(scores - higher[:, None])
        total = fade * total + tl.sum(weights, 1)
        output = fade[:, None] * output + tl.dot(weights, v)
        maximum = higher
    return output, maximum, total


@wrong(
    "q3",
    hint="The weights are made with this tile's own maximum, the sums with the greatest so far: "
    "subtract `higher` from the scores.",
)
def walk(
    output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,
    DIM: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    dims = tl.arange(0, DIM)
    for start in range(0, last, KEYS):
        columns = start + tl.arange(0, KEYS)
        inside = columns[:, None] < keys
        k = tl.load(k_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        v = tl.load(v_ptr + columns[:, None] * DIM + dims[None, :], inside, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(columns[None, :] < limits[:, None], scores, float("-inf"))
        higher = tl.maximum(maximum, tl.max(scores, 1))
        fade = tl.exp(maximum - higher)
        weights = tl.exp(scores - tl.max(scores, 1)[:, None])
        total = fade * total + tl.sum(weights, 1)
        output = fade[:, None] * output + tl.dot(weights, v)
        maximum = higher
    return output, maximum, total


# -- q4 ------------------------------------------------------------------------------------------


@wrong(
    "q4",
    hint="Nothing is taken in, so that the end divides 0 by 0: call `walk`, the one of question 3, "
    "and give back what it returns. Does question 3 pass?",
)
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    return output, maximum, total


@wrong(
    "q4",
    hint="The result is right, but every key is fetched for every query: `last` is where the "
    "program's last query stops to see anything.",
)
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    limits = row + tl.arange(0, QUERIES) + keys - queries + 1
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, keys, limits, keys, scale, DIM, KEYS
    )
    return output, maximum, total


@wrong(
    "q4",
    hint="Your query i stands at position i. With fewer queries than keys they are the **last** "
    "tokens: i + keys - queries.",
)
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    last = tl.minimum(row + QUERIES, keys)
    limits = row + tl.arange(0, QUERIES) + 1
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale, DIM, KEYS
    )
    return output, maximum, total


@wrong(
    "q4",
    hint="A token does not see itself: `limits` are the keys **before** which a query stops, its "
    "position plus one.",
)
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    last = tl.minimum(row + QUERIES + keys - queries, keys)
    limits = row + tl.arange(0, QUERIES) + keys - queries
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale, DIM, KEYS
    )
    return output, maximum, total


@wrong(
    "q4",
    hint="Tiles are skipped, but within the last one every query sees all keys: each has a limit "
    "of its own.",
)
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    last = tl.minimum(row + QUERIES + keys - queries, keys)
    limits = tl.zeros([QUERIES], tl.int32) + last
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale, DIM, KEYS
    )
    return output, maximum, total


@wrong(
    "q4",
    hint="`last` stops where the program's first query does: its last query sees QUERIES - 1 keys "
    "more.",
)
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    first = row + keys - queries
    limits = first + tl.arange(0, QUERIES) + 1
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, first + 1, limits, keys, scale, DIM, KEYS
    )
    return output, maximum, total


@wrong(
    "q4",
    hint="The tiles on the diagonal are missing: the program's own queries see one another's keys, "
    "up to row + QUERIES.",
)
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    first = row + keys - queries
    limits = first + tl.arange(0, QUERIES) + 1
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, first, limits, keys, scale, DIM, KEYS
    )
    return output, maximum, total


@wrong(
    "q4",
    hint="The limits count from the first query of the program, as if `row` were 0 in all of them.",
)
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    last = tl.minimum(row + QUERIES + keys - queries, keys)
    limits = tl.arange(0, QUERIES) + keys - queries + 1
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale, DIM, KEYS
    )
    return output, maximum, total


@wrong(
    "q4",
    hint="One tile too many: `last` is the key before which `walk` stops, and needs no further "
    "KEYS on top.",
)
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    last = tl.minimum(row + QUERIES + keys - queries + KEYS, keys)
    limits = row + tl.arange(0, QUERIES) + keys - queries + 1
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale, DIM, KEYS
    )
    return output, maximum, total


# -- q5 ------------------------------------------------------------------------------------------


@wrong(
    "q5",
    hint="Programs still load, add and store the same elements of dV. A barrier would not help: it "
    "holds up the threads of one program only. `tl.atomic_add`, or one owner for each element.",
)
def value_gradient_kernel(p_ptr, do_ptr, dv_ptr, tokens, DIM: tl.constexpr, BLOCK: tl.constexpr):
    queries = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, DIM)
    do_at = do_ptr + queries[:, None] * DIM + dims[None, :]
    do = tl.load(do_at, queries[:, None] < tokens, other=0.0)
    for start in range(0, tokens, BLOCK):
        keys = start + tl.arange(0, BLOCK)
        inside = (queries[:, None] < tokens) & (keys[None, :] < tokens)
        p = tl.load(p_ptr + queries[:, None] * tokens + keys[None, :], inside, other=0.0)
        dv_at = dv_ptr + keys[:, None] * DIM + dims[None, :]
        dv = tl.load(dv_at, keys[:, None] < tokens, other=0.0)
        tl.store(dv_at, dv + tl.dot(tl.trans(p), do), keys[:, None] < tokens)


@wrong(
    "q5",
    hint="You add atomically what was there already: `tl.atomic_add` loads and adds by itself, so "
    "give it the new part alone.",
)
def value_gradient_kernel(p_ptr, do_ptr, dv_ptr, tokens, DIM: tl.constexpr, BLOCK: tl.constexpr):
    queries = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, DIM)
    do_at = do_ptr + queries[:, None] * DIM + dims[None, :]
    do = tl.load(do_at, queries[:, None] < tokens, other=0.0)
    for start in range(0, tokens, BLOCK):
        keys = start + tl.arange(0, BLOCK)
        inside = (queries[:, None] < tokens) & (keys[None, :] < tokens)
        p = tl.load(p_ptr + queries[:, None] * tokens + keys[None, :], inside, other=0.0)
        dv_at = dv_ptr + keys[:, None] * DIM + dims[None, :]
        dv = tl.load(dv_at, keys[:, None] < tokens, other=0.0)
        tl.atomic_add(dv_at, dv + tl.dot(tl.trans(p), do), keys[:, None] < tokens)


@wrong(
    "q5",
    hint="Each program stores what its own queries contribute, over what others have stored: the "
    "parts are not added up.",
)
def value_gradient_kernel(p_ptr, do_ptr, dv_ptr, tokens, DIM: tl.constexpr, BLOCK: tl.constexpr):
    queries = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, DIM)
    do_at = do_ptr + queries[:, None] * DIM + dims[None, :]
    do = tl.load(do_at, queries[:, None] < tokens, other=0.0)
    for start in range(0, tokens, BLOCK):
        keys = start + tl.arange(0, BLOCK)
        inside = (queries[:, None] < tokens) & (keys[None, :] < tokens)
        p = tl.load(p_ptr + queries[:, None] * tokens + keys[None, :], inside, other=0.0)
        dv_at = dv_ptr + keys[:, None] * DIM + dims[None, :]
        tl.store(dv_at, tl.dot(tl.trans(p), do), keys[:, None] < tokens)


@wrong(
    "q5",
    hint="The owner of a block of keys takes the queries of the same block only: all queries have "
    "a part in it, so loop over them.",
)
def value_gradient_kernel(p_ptr, do_ptr, dv_ptr, tokens, DIM: tl.constexpr, BLOCK: tl.constexpr):
    mine = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, DIM)
    inside = (mine[:, None] < tokens) & (mine[None, :] < tokens)
    p = tl.load(p_ptr + mine[:, None] * tokens + mine[None, :], inside, other=0.0)
    do = tl.load(do_ptr + mine[:, None] * DIM + dims[None, :], mine[:, None] < tokens, other=0.0)
    dv_at = dv_ptr + mine[:, None] * DIM + dims[None, :]
    tl.store(dv_at, tl.dot(tl.trans(p), do), mine[:, None] < tokens)


@wrong(
    "q5",
    hint="P is taken the wrong way round: a row of P is a query's, and dV wants its transpose, "
    "`tl.trans(p)`.",
)
def value_gradient_kernel(p_ptr, do_ptr, dv_ptr, tokens, DIM: tl.constexpr, BLOCK: tl.constexpr):
    keys = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, DIM)
    dv = tl.zeros([BLOCK, DIM], tl.float32)
    for start in range(0, tokens, BLOCK):
        queries = start + tl.arange(0, BLOCK)
        inside = (keys[:, None] < tokens) & (queries[None, :] < tokens)
        p = tl.load(p_ptr + keys[:, None] * tokens + queries[None, :], inside, other=0.0)
        do_at = do_ptr + queries[:, None] * DIM + dims[None, :]
        dv += tl.dot(p, tl.load(do_at, queries[:, None] < tokens, other=0.0))
    tl.store(dv_ptr + keys[:, None] * DIM + dims[None, :], dv, keys[:, None] < tokens)


@wrong(
    "q5",
    hint="The atomic has no mask: where the last block of keys is not full, it adds past the end "
    "of dV.",
)
def value_gradient_kernel(p_ptr, do_ptr, dv_ptr, tokens, DIM: tl.constexpr, BLOCK: tl.constexpr):
    queries = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, DIM)
    do_at = do_ptr + queries[:, None] * DIM + dims[None, :]
    do = tl.load(do_at, queries[:, None] < tokens, other=0.0)
    for start in range(0, tokens, BLOCK):
        keys = start + tl.arange(0, BLOCK)
        inside = (queries[:, None] < tokens) & (keys[None, :] < tokens)
        p = tl.load(p_ptr + queries[:, None] * tokens + keys[None, :], inside, other=0.0)
        dv_at = dv_ptr + keys[:, None] * DIM + dims[None, :]
        tl.atomic_add(dv_at, tl.dot(tl.trans(p), do))
