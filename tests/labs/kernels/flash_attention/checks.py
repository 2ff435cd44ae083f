"""The checks of the FlashAttention lab. Expected values come from torch in float64, bytes from
counting the tiles that some query sees.

Kernels are launched from their source, in a clean process: see ``toolkit.classroom.kernels``. They
compute in fp32, and 1e-4 is a hundred times what that rounds off in sums of these lengths.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from toolkit.classroom import expect, launch, question, require

SMALL = "toolkit.kernels.flash_attention.small_kernels"
FP32 = {"rtol": 1e-4, "atol": 1e-5}
QUERIES, KEYS, DIM = 32, 16, 64  # no two the same, so that no shape fits by chance
FP32_BYTES = 4


def draw(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def unwritten(*shape: int) -> Tensor:
    """What a kernel has to fill: a NaN that is left shows."""
    return torch.full(shape, torch.nan)


def require_no_problem(found) -> None:
    require(not found.problems, "".join(found.problems[:1]), found.output)


# -- q1 ------------------------------------------------------------------------------------------


def online(answer, tiles: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Check the result on tiles, and that each of them was fetched once, in order."""
    fetched = []

    def load(tile):
        fetched.append(tile)
        return tiles[tile]

    found = answer.online_attention(load, len(tiles))
    scores, values = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*tiles, strict=True))
    expect(found, (scores.softmax(0) @ values).numpy())
    wanted = list(range(len(tiles)))
    require(fetched == wanted, f"it fetched the tiles {fetched}, expected {wanted}", found)


def tiles_of(rng: np.random.Generator, sizes, dim: int = 3, spread: float = 1.0):
    return [(rng.normal(0, spread, size), rng.standard_normal((size, dim))) for size in sizes]


@question(
    "q1",
    points=1,
    hints=[
        "With one tile there is nothing to mend: weights, their sum, the weighted sum of values.",
        "Keep three things from tile to tile, and divide once, after the last.",
        "`weights = np.exp(scores - maximum)`, then `weights @ values` and `weights.sum()`.",
    ],
)
def one_tile_is_a_softmax(answer, rng):
    """Values are averaged by the softmax of their scores."""
    for size in (1, 5):
        online(answer, tiles_of(rng, [size]))


@question(
    "q1",
    points=2,
    hints=[
        "When the maximum rises from m to m', what you have kept must shrink by e^(m - m'): both "
        "the sum of the weights and the weighted sum of the values.",
        "`higher = max(maximum, scores.max())`, `fade = np.exp(maximum - higher)`, and e^(-inf) is "
        "0, so that the first tile is none that stands apart.",
    ],
)
def what_is_kept_follows_the_maximum(answer, rng):
    """Tiles of any size, in one pass: what is kept follows the maximum when it rises."""
    for sizes in ((4, 4), (3, 1, 5, 2), (1, 1, 1)):
        tiles = tiles_of(rng, sizes)
        for order in (1, -1):  # the greatest score in the last tile, then in the first
            online(answer, sorted(tiles, key=lambda tile: order * tile[0].max()))


@question(
    "q1",
    points=1,
    hints=["e^1000 is infinite to a computer. Subtract the maximum **before** `np.exp`."],
)
def great_scores_do_not_overflow(answer, rng):
    """Scores of 1,000 and of -1,000 are no trouble, whichever come first."""
    for offsets in ((1000, 0), (-1000, -1001), (0, 1000)):
        tiles = tiles_of(rng, (3, 3))
        online(answer, [(s + offset, v) for (s, v), offset in zip(tiles, offsets, strict=True)])


# -- q2 ------------------------------------------------------------------------------------------


def softmax_of(answer, x: Tensor):
    rows, columns = x.shape
    width = 1 << (columns - 1).bit_length()
    arguments = {"x_ptr": x, "y_ptr": unwritten(rows, columns), "columns": columns, "WIDTH": width}
    found = launch(answer, "softmax_kernel", (rows,), arguments, output="y_ptr")
    expect(found.output, x.double().softmax(1).float(), **FP32)
    return found


@question(
    "q2",
    points=1,
    hints=[
        "Which row is this program's, and at which element does that row begin?",
        "`x_ptr + tl.program_id(0) * columns + tl.arange(0, WIDTH)` are the pointers to a row.",
        "Load, `tl.exp(x - tl.max(x, 0))`, divide by `tl.sum(powers, 0)`, store.",
    ],
)
def each_program_has_a_row(answer, rng):
    """Each program makes the softmax of its row."""
    softmax_of(answer, draw(rng, 3, 8))


@question(
    "q2",
    points=1,
    hints=[
        "With 5 columns, a block of 8 reaches into the next row: mask the load and the store with "
        "`lanes < columns`.",
        "What the mask leaves out must not count: e^-inf is 0, so `other=float('-inf')`.",
    ],
)
def rows_of_any_length(answer, rng):
    """Rows of any length: nothing outside of them counts, or is touched."""
    for columns in (5, 1):
        require_no_problem(softmax_of(answer, draw(rng, 3, columns) - 2.0))


@question("q2", points=1, hints=["Take the row's maximum off before `tl.exp`: `tl.max(x, 0)`."])
def great_numbers_do_not_overflow(answer, rng):
    """Numbers of 1,000 and of -1,000 are no trouble."""
    softmax_of(answer, draw(rng, 2, 6) + torch.tensor([[1000.0], [-1000.0]]))


@question("q2", points=1, hints=["Keep the row in a variable: load it once, and store once."])
def each_element_moves_once(answer, rng):
    """Each element is loaded once and stored once."""
    x = draw(rng, 2, 7)
    found = softmax_of(answer, x)
    for name, verb in (("x_ptr", "loads"), ("y_ptr", "stores")):
        once, moved = x.numel() * FP32_BYTES, found.moved[name]
        require(moved == once, f"it {verb} {moved} bytes, and once over is {once}", found.output)


# -- q3 and q4 -----------------------------------------------------------------------------------


def flash_of(answer, rng: np.random.Generator, queries: int, keys: int, causal: bool, of):
    """Launch the kernel around the learner's functions, and check its result."""
    q, k, v = draw(rng, queries, DIM), draw(rng, keys, DIM), draw(rng, keys, DIM)
    scale = float(rng.uniform(0.3, 0.6))
    arguments = {"q_ptr": q, "k_ptr": k, "v_ptr": v, "o_ptr": unwritten(queries, DIM)}
    arguments |= {"queries": queries, "keys": keys, "scale": scale, "CAUSAL": causal}
    arguments |= {"DIM": DIM, "QUERIES": QUERIES, "KEYS": KEYS}
    grid = (-(-queries // QUERIES),)
    found = launch(answer, "flash_kernel", grid, arguments, output="o_ptr", of=of, beside=SMALL)
    mask = None
    if causal:
        tokens = torch.arange(keys)
        mask = tokens <= tokens[keys - queries :, None]
    exact = [x.double()[None] for x in (q, k, v)]
    expected = functional.scaled_dot_product_attention(*exact, attn_mask=mask, scale=scale)
    expect(found.output, expected[0].float(), **FP32)
    return found


@question(
    "q3",
    points=1,
    hints=[
        "Load k and v, both of (KEYS, DIM). The scores are `tl.dot(q, tl.trans(k)) * scale`.",
        "Then the lines of question 1, on blocks: a number of each query is a row of a block, so "
        "it is `fade[:, None] * output` and `tl.exp(scores - higher[:, None])`.",
        "`tl.dot(weights, v)` adds to the output, `tl.sum(weights, 1)` to the total.",
    ],
)
def one_tile_of_keys(answer, rng):
    """With one tile of keys, the output is attention."""
    flash_of(answer, rng, QUERIES, KEYS, False, ["walk"])


@question(
    "q3",
    points=2,
    hints=[
        "Shrink `total` and `output` by `fade = tl.exp(maximum - higher)`, then add, and keep "
        "`higher` as the maximum."
    ],
)
def many_tiles_of_keys(answer, rng):
    """With many tiles, what is held follows the maximum, and each tile is loaded once."""
    keys = 3 * KEYS
    found = flash_of(answer, rng, QUERIES, keys, False, ["walk"])
    for name in ("k_ptr", "v_ptr"):
        once, moved = keys * DIM * FP32_BYTES, found.moved[name]
        require(moved == once, f"it loads {moved:,} bytes of {name}, and once over is {once:,}")


@question(
    "q3",
    points=1,
    hints=[
        "The last tile may reach beyond the keys: load with the mask `columns[:, None] < keys` "
        "and `other=0.0`.",
        "Keys that are not there have a score of 0, and e^0 is 1: give them -inf.",
    ],
)
def any_number_of_keys(answer, rng):
    """Any number of keys: none outside is touched, and none counts."""
    for keys in (KEYS + 5, 1):
        require_no_problem(flash_of(answer, rng, 3, keys, False, ["walk"]))


@question(
    "q3",
    points=1,
    hints=[
        "`scores = tl.where(columns[None, :] < limits[:, None], scores, float('-inf'))`, before "
        "the maximum is taken."
    ],
)
def each_query_has_its_limit(answer, rng):
    """A query sees the keys before its limit, and no other."""
    flash_of(answer, rng, KEYS, KEYS + 4, True, ["walk"])


def require_tiles(found, queries: int, keys: int) -> None:
    """Hold the bytes of keys and values to the tiles that some query sees."""
    seen = 0
    for row in range(0, queries, QUERIES):
        end = min(keys, row + QUERIES + keys - queries)
        seen += sum(min(KEYS, keys - start) for start in range(0, end, KEYS))
    for name in ("k_ptr", "v_ptr"):
        most, moved = seen * DIM * FP32_BYTES, found.moved[name]
        how = f"it loads {moved:,} bytes of {name}; the tiles that some query sees have {most:,}"
        require(moved <= most, how, found.output)


OF = ["causal_walk", "walk"]


@question(
    "q4",
    points=1,
    hints=[
        "Call `walk`, once. What are its `last` and its `limits` here?",
        "The program's queries are `row + tl.arange(0, QUERIES)`. A query at position p sees the "
        "keys up to p, those before p + 1.",
    ],
)
def no_token_sees_those_after_it(answer, rng):
    """Every token sees itself and those before it, and none after it."""
    for tokens in (QUERIES, QUERIES + 4):
        require_no_problem(flash_of(answer, rng, tokens, tokens, True, OF))


@question(
    "q4",
    points=1,
    hints=["The last query is the last key's token: add `keys - queries` to get a position."],
)
def queries_are_the_last_tokens(answer, rng):
    """With fewer queries than keys, the queries are the last of the tokens."""
    require_no_problem(flash_of(answer, rng, QUERIES + 2, QUERIES + 9, True, OF))


@question(
    "q4",
    points=2,
    hints=[
        "`walk` loads every tile that begins before `last`. Which is the last key that any query "
        "of this program sees?",
        "The program's last query is `row + QUERIES - 1`. Let `last` be its position plus one, "
        "and `keys` where that is less: `tl.minimum`.",
    ],
)
def tiles_that_none_sees_are_not_loaded(answer, rng):
    """Of keys and values, only the tiles that some query sees are loaded."""
    for queries, keys in ((2 * QUERIES, 2 * QUERIES), (QUERIES + 3, QUERIES + 4)):
        require_tiles(flash_of(answer, rng, queries, keys, True, OF), queries, keys)


# -- q5 ------------------------------------------------------------------------------------------


BLOCK = 16


def value_gradient_of(answer, rng: np.random.Generator, tokens: int) -> None:
    """Check the gradient of the values, and that no order of the programs changes it."""
    p, do = draw(rng, tokens, tokens).softmax(1), draw(rng, tokens, DIM)
    arguments = {"p_ptr": p, "do_ptr": do, "dv_ptr": torch.zeros(tokens, DIM), "tokens": tokens}
    arguments |= {"DIM": DIM, "BLOCK": BLOCK}
    grid = (-(-tokens // BLOCK),)
    found = launch(answer, "value_gradient_kernel", grid, arguments, output="dv_ptr")
    expect(found.output, (p.double().T @ do.double()).float(), **FP32)
    require_no_problem(found)


@question(
    "q5",
    points=2,
    hints=[
        "Who else writes to the same elements of dV? No sum may need to be loaded, changed and "
        "stored by several programs.",
        "Either `tl.atomic_add(dv_at, ..., mask)` in the place of the load, the sum and the store; "
        "or let the program's block be keys, and its loop go over the queries.",
        "The owner of a block of keys begins with `dv = tl.zeros([BLOCK, DIM], tl.float32)`, adds "
        "`tl.dot(tl.trans(p), do)` for each block of queries, and stores once, after the loop.",
    ],
)
def programs_may_run_in_any_order(answer, rng):
    """The sum is right, whatever the order in which the programs run."""
    value_gradient_of(answer, rng, 2 * BLOCK)


@question(
    "q5",
    points=1,
    hints=["The last block is not full: mask what you load and what you write, as is done above."],
)
def any_number_of_tokens(answer, rng):
    """The number of tokens need not be a multiple of the block."""
    value_gradient_of(answer, rng, BLOCK + 3)
