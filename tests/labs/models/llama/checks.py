"""The checks of the llama lab. Expected values come from torch's own functions and from formulas
written another way: no cache, one query at a time, float64 throughout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from toolkit.classroom import expect, question

FP32 = 1e-4
"""For code that computes in float32, whose sums of a few dozen products are off by some 1e-6; a
mistake is off by a thousand times more."""
DEEP = 1e-3
"""Three blocks on end, each of which may double what came in wrong."""


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


def widened(value: Any) -> Any:
    """Values in float64, whatever type the learner computed in."""
    if isinstance(value, Tensor) and value.dtype.is_floating_point:
        return value.double()
    return type(value)(map(widened, value)) if type(value) in (list, tuple) else value


def agree(actual: Any, expected: Any, slack: float = FP32) -> None:
    expect(widened(actual), expected, rtol=slack, atol=slack)


# -- q1 ------------------------------------------------------------------------------------------


def draw_gain(rng: np.random.Generator, width: int) -> Tensor:
    return 1 + 0.3 * normal(rng, width)


@question(
    "q1",
    points=1,
    hints=[
        "Root mean square, read from right to left: square, then the mean, then the root.",
        "The mean is over a state's own numbers, the last dimension, and keeps it to divide by.",
        "`x.square().mean(-1, keepdim=True)` is the mean square of each state.",
    ],
)
def each_state_is_scaled_to_a_root_mean_square_of_1_times_gain(answer, rng):
    """Each state is scaled to a root mean square of 1, and multiplied by the gain."""
    for shape in ((5, 8), (2, 3, 7), (9,)):
        x, gain = 3 * normal(rng, *shape) + 1, draw_gain(rng, shape[-1])
        agree(answer.rms_norm(x, gain), functional.rms_norm(x, (shape[-1],), gain, 1e-5))


@question("q1", points=1, hints=["The eps of the formula stands under the root."])
def eps_counts_where_states_are_small(answer, rng):
    """Eps is added under the root, so that small states stay small and zeros are no trouble."""
    for eps in (1e-5, 0.1):
        size = math.sqrt(eps) * rng.uniform(0.3, 2.0, (6, 1))
        x, gain = torch.from_numpy(size) * normal(rng, 6, 8), draw_gain(rng, 8)
        x[2] = 0
        agree(answer.rms_norm(x, gain, eps), functional.rms_norm(x, (8,), gain, eps))


# -- q2 ------------------------------------------------------------------------------------------


def feed_forward(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """By the formula's sums; tanh is the sigmoid's twin that never overflows."""
    x, gate, up, down = (array.numpy() for array in (x, gate, up, down))
    z, u = (np.einsum("...w,fw->...f", x, matrix) for matrix in (gate, up))
    opened = z * (1 + np.tanh(z / 2)) / 2 * u
    return torch.from_numpy(np.einsum("...f,wf->...w", opened, down))


def draw_feed_forward(rng: np.random.Generator, width: int, ffn: int) -> tuple[Tensor, ...]:
    gate, up = (normal(rng, ffn, width) / math.sqrt(width) for _ in range(2))
    return gate, up, normal(rng, width, ffn) / math.sqrt(ffn)


@question(
    "q2",
    points=1,
    hints=[
        "Two projections of the same state, multiplied number by number, then a third.",
        "`x @ gate.T` is the gate; silu of it multiplies `x @ up.T`.",
        "silu(z) is `z * torch.sigmoid(z)`.",
    ],
)
def a_gate_decides_how_much_comes_through(answer, rng):
    """The gate, through silu, multiplies what comes up; down leads back."""
    for shape, ffn in (((4, 6), 10), ((2, 3, 5), 8), ((7,), 3)):
        x, matrices = 1.5 * normal(rng, *shape), draw_feed_forward(rng, shape[-1], ffn)
        agree(answer.swiglu(x, *matrices), feed_forward(x, *matrices))


@question("q2", points=1, hints=["e^1000 is infinite to a computer, and infinity / infinity NaN."])
def a_gate_wide_open_or_shut_is_no_trouble(answer, rng):
    """Gates of a thousand, and of minus a thousand, give numbers and not NaN."""
    gate, up, down = draw_feed_forward(rng, 6, 10)
    x, gate, up = normal(rng, 5, 6), 2000 * gate, up / 2000
    agree(answer.swiglu(x, gate, up, down), feed_forward(x, gate, up, down))


# -- q3 ------------------------------------------------------------------------------------------


def looked_back(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's attention for one query at a time, over the keys up to its own: without a mask."""
    before = k.shape[1] - q.shape[1]
    seen = [
        functional.scaled_dot_product_attention(
            q[None, :, i : i + 1],
            k[None, :, : before + i + 1],
            v[None, :, : before + i + 1],
            enable_gqa=True,
        )[0]
        for i in range(q.shape[1])
    ]
    return torch.cat(seen, 1)


def draw_heads(
    rng: np.random.Generator, heads: int, kv_heads: int, queries: int, keys: int, dim: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    q = 1.5 * normal(rng, heads, queries, dim)
    return q, normal(rng, kv_heads, keys, dim), normal(rng, kv_heads, keys, dim)


@question(
    "q3",
    points=1,
    hints=[
        "Scores first: one for each query and each key. Then weights. Then a mean of values.",
        '`q @ k.mT / math.sqrt(dim)` are the scores, "heads queries keys".',
        "Each query's weights add up to 1 over the keys, the last dimension of the scores.",
    ],
)
def a_new_token_weighs_all_that_is_kept(answer, rng):
    """A new token's query sees all keys, and weighs their values by softmax(q k / sqrt(d))."""
    for heads, keys, dim in ((2, 6, 8), (3, 4, 5)):
        q, k, v = draw_heads(rng, heads, heads, 1, keys, dim)
        agree(answer.causal_attention(q, k, v), looked_back(q, k, v))


@question(
    "q3",
    points=1,
    hints=[
        "With 6 heads and 2 KV heads, 3 neighbours share: heads 0, 1, 2 read KV head 0.",
        "`k.repeat_interleave(heads // kv_heads, 0)` repeats each KV head where it stands.",
    ],
)
def neighbouring_query_heads_share_a_kv_head(answer, rng):
    """Neighbouring query heads share a head of keys and values."""
    for heads, kv_heads in ((6, 2), (4, 1), (6, 3)):
        q, k, v = draw_heads(rng, heads, kv_heads, 1, 5)
        agree(answer.causal_attention(q, k, v), looked_back(q, k, v))


@question(
    "q3",
    points=1,
    hints=[
        "The first token sees itself alone, the second two tokens. What may the last one see?",
        "Give scores of later keys `-math.inf` before the softmax: e to that is 0.",
    ],
)
def no_token_sees_a_later_one(answer, rng):
    """A whole text at once: each token sees itself and those before it."""
    for heads, tokens in ((2, 5), (4, 1), (4, 7)):
        q, k, v = draw_heads(rng, heads, 2, tokens, tokens)
        agree(answer.causal_attention(q, k, v), looked_back(q, k, v))


@question(
    "q3",
    points=1,
    hints=[
        "3 queries, 8 keys: the queries are those of tokens 5, 6, 7. Query 0 may see key 5.",
        "Query i stands at position `keys - queries + i`.",
    ],
)
def new_tokens_stand_behind_those_that_are_kept(answer, rng):
    """Where there are fewer queries than keys, they are those of the last tokens."""
    for queries, keys in ((3, 8), (2, 3), (4, 9)):
        q, k, v = draw_heads(rng, 4, 2, queries, keys)
        agree(answer.causal_attention(q, k, v), looked_back(q, k, v))


@question("q3", points=1, hints=["Take each query's greatest score from all of its scores."])
def great_scores_do_not_overflow(answer, rng):
    """Scores in the thousands give the weights that their differences say, and not NaN."""
    # Whole numbers and sqrt(16): scores are exact, in float32 too.
    q, k = (torch.from_numpy(rng.integers(-2, 3, (2, 5, 16))).double() for _ in range(2))
    v = normal(rng, 2, 5, 16)
    q[:, :, -1], k[0, :, -1], k[1, :, -1] = 128, 128, -128
    agree(answer.causal_attention(q, k, v), looked_back(q, k, v))


# -- q4 ------------------------------------------------------------------------------------------


def drawn_from(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> tuple[list[float], float]:
    """Each token's probability by the definition, and how far the nucleus's sums are from p."""
    weights = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    if top_k is not None:
        least = sorted(logits)[-top_k]
        weights = [w if logit >= least else 0.0 for w, logit in zip(weights, logits, strict=True)]
    clear = math.inf
    if top_p is not None:
        wanted = top_p * math.fsum(weights)
        stay: list[int] = []
        for token in sorted(range(len(weights)), key=lambda token: (-weights[token], token)):
            together = math.fsum(weights[t] for t in stay)
            clear = min(clear, abs(together - wanted) / math.fsum(weights))
            if together < wanted:
                stay.append(token)
        weights = [w if token in stay else 0.0 for token, w in enumerate(weights)]
    return [w / math.fsum(weights) for w in weights], clear


def expect_probabilities(
    answer: Any,
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> None:
    expected, _ = drawn_from(logits.tolist(), temperature, top_k, top_p)
    found = answer.sampling_probabilities(logits, temperature, top_k, top_p)
    agree(found, torch.tensor(expected, dtype=torch.float64))


def draw_logits(rng: np.random.Generator, vocab: int) -> Tensor:
    return 2 * normal(rng, vocab) - 3


def draw_nucleus(rng: np.random.Generator, size: int) -> tuple[Tensor, float]:
    """Logits and a p that no rounding moves to another token, of which this many stay."""
    while True:
        logits, top_p = draw_logits(rng, 12), float(rng.uniform(0.05, 0.97))
        probs, clear = drawn_from(logits.tolist(), 1.0, None, top_p)
        if clear > 1e-3 and sum(prob > 0 for prob in probs) == size:
            return logits, top_p


@question(
    "q4",
    points=1,
    hints=[
        "Temperature first: what happens to differences of logits if all are divided by 2?",
        "`torch.softmax(logits / temperature, 0)`.",
    ],
)
def logits_are_divided_by_the_temperature(answer, rng):
    """Logits are divided by the temperature, then become probabilities."""
    for temperature in (1.0, 0.4, 2.5):
        expect_probabilities(answer, draw_logits(rng, 9), temperature)


@question(
    "q4",
    points=1,
    hints=[
        "`logits.topk(k).values[-1]` is the k-th greatest. What is less than that is out.",
        "A logit of `-math.inf` has probability 0, and softmax makes the others add up to 1.",
    ],
)
def top_k_leaves_those_as_likely_as_the_kth(answer, rng):
    """Top-k leaves the k likeliest tokens, and any that is as likely as the k-th."""
    for top_k in (1, 3, 10):
        expect_probabilities(answer, draw_logits(rng, 10), top_k=top_k)
    logits = torch.tensor([-1.0, 2.0, 0.5, 1.25, 0.5, 0.5, -2.0], dtype=torch.float64)
    logits = logits[torch.from_numpy(rng.permutation(7))]
    expect_probabilities(answer, logits, top_k=3)


@question(
    "q4",
    points=1,
    hints=[
        "Sort the probabilities, likeliest first, and add up: `cumsum`.",
        "A token stays if those **before** it have less than p: `ordered.cumsum(0) - ordered`.",
        "`probs.sort(descending=True, stable=True)` also gives the ids, to find the way back.",
    ],
)
def top_p_leaves_the_fewest_that_reach_p(answer, rng):
    """Top-p leaves the fewest likeliest tokens that reach p together, and scales them to 1."""
    for size in (1, 2, 4, 7):
        logits, top_p = draw_nucleus(rng, size)
        expect_probabilities(answer, logits, top_p=top_p)
    logits = torch.tensor([0.0, -3.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    logits = logits[torch.from_numpy(rng.permutation(5))]  # 0.2469 for each of the four
    expect_probabilities(answer, logits, top_p=0.4)


@question("q4", points=1, hints=["In order: temperature, top-k, its probabilities, then top-p."])
def the_dials_work_in_their_order(answer, rng):
    """Temperature first, then top-k, then top-p of what top-k has left."""
    # In percent of what top-k 8 leaves. Half of it are two tokens; four without the temperature,
    # five or six without top-k.
    shares = np.array([46, 30, 5, 4, 4, 4, 3.5, 3.5] + [2.4] * 32)
    for temperature in (0.2, 0.25):
        drawn = np.log(rng.permutation(shares * rng.uniform(0.99, 1.01, len(shares))))
        logits = torch.from_numpy(temperature * drawn)
        expect_probabilities(answer, logits, temperature, top_k=8, top_p=0.5)


# -- q5 ------------------------------------------------------------------------------------------

HEADS, KV_HEADS, DIM, WIDTH, BASE = 4, 2, 6, 10, 50.0


def draw_weights(rng: np.random.Generator) -> dict[str, Tensor]:
    """A block's weights; its width is not heads * dim, as it need not be."""

    def matrix(rows: int, columns: int) -> Tensor:
        return 1.5 * normal(rng, rows, columns) / math.sqrt(columns)

    return {
        "attention_norm": draw_gain(rng, WIDTH),
        "q": matrix(HEADS * DIM, WIDTH),
        "k": matrix(KV_HEADS * DIM, WIDTH),
        "v": matrix(KV_HEADS * DIM, WIDTH),
        "out": matrix(WIDTH, HEADS * DIM),
        "ffn_norm": draw_gain(rng, WIDTH),
        "gate": matrix(14, WIDTH),
        "up": matrix(14, WIDTH),
        "down": matrix(WIDTH, 14),
    }


def angles(positions: range) -> Tensor:
    """e^(i m theta) of each position m and each pair, theta = base^(-2i / dim)."""
    theta = BASE ** (-np.arange(0, DIM, 2) / DIM)
    return torch.from_numpy(np.exp(1j * np.outer(list(positions), theta)))


def turned(x: Tensor) -> Tensor:
    """Neighbouring numbers of "heads tokens dim" turned by the tokens' positions, from 0 on."""
    pairs = x.numpy()[..., 0::2] + 1j * x.numpy()[..., 1::2]
    pairs = pairs * angles(range(x.shape[1])).numpy()
    return torch.from_numpy(np.stack([pairs.real, pairs.imag], -1).reshape(x.shape))


def through(x: Tensor, weights: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A block on a whole text: its states, and all keys and values."""

    def heads(name: str) -> Tensor:
        found = torch.einsum("tw,hdw->htd", h, weights[name].view(-1, DIM, WIDTH))
        return found if name == "v" else turned(found)

    h = functional.rms_norm(x, (WIDTH,), weights["attention_norm"], 1e-5)
    k, v = heads("k"), heads("v")
    out = weights["out"].view(WIDTH, HEADS, DIM)
    x = x + torch.einsum("htd,whd->tw", looked_back(heads("q"), k, v), out)
    h = functional.rms_norm(x, (WIDTH,), weights["ffn_norm"], 1e-5)
    return x + feed_forward(h, weights["gate"], weights["up"], weights["down"]), (k, v)


def nothing() -> tuple[Tensor, Tensor]:
    return tuple(torch.zeros(KV_HEADS, 0, DIM, dtype=torch.float64) for _ in range(2))


@question(
    "q5",
    points=2,
    hints=[
        "Two halves of the same form: normalise, let something read it, add what it says to `x`.",
        '`(h @ weights["q"].T).unflatten(-1, (-1, dim)).transpose(0, 1)` are the queries by head.',
        "Turn queries and keys; values stay as they are. `torch.cat([kept[0], k], 1)` joins keys.",
        'Heads side by side again: `seen.transpose(0, 1).flatten(1) @ weights["out"].T`.',
    ],
)
def a_block_adds_what_attention_and_feed_forward_find(answer, rng):
    """A block adds what attention found to the states, then what the feed-forward made of them."""
    for tokens in (1, 5):
        x, weights = normal(rng, tokens, WIDTH), draw_weights(rng)
        turning = angles(range(tokens)).to(torch.complex64)
        agree(answer.block(x, weights, turning, nothing()), through(x, weights))


@question("q5", points=2, hints=["Old keys and values first, then the new ones: give back both."])
def a_block_goes_on_from_what_it_has_kept(answer, rng):
    """New tokens see those that are kept, and are kept behind them."""
    for before, tokens in ((3, 1), (4, 3)):
        x, weights = normal(rng, before + tokens, WIDTH), draw_weights(rng)
        states, (k, v) = through(x, weights)
        turning = angles(range(before, before + tokens)).to(torch.complex64)
        kept = (k[:, :before], v[:, :before])
        agree(answer.block(x[before:], weights, turning, kept), (states[before:], (k, v)))


# -- q6 ------------------------------------------------------------------------------------------


def draw_model(rng: np.random.Generator, vocab: int = 11, blocks: int = 3) -> dict[str, Any]:
    return {
        "embed": normal(rng, vocab, WIDTH),
        "blocks": [draw_weights(rng) for _ in range(blocks)],
        "norm": draw_gain(rng, WIDTH),
    }


def read(ids: list[int], model: dict[str, Any]) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The logits after a whole text, and all that its blocks keep."""
    x, kept = model["embed"][ids], []
    for weights in model["blocks"]:
        x, its = through(x, weights)
        kept.append(its)
    return functional.linear(
        functional.rms_norm(x[-1], (WIDTH,), model["norm"], 1e-5), model["embed"]
    ), kept


@question(
    "q6",
    points=2,
    hints=[
        "The model in five steps: turns, embedding, blocks, norm, logits.",
        '`model["embed"] @ state` is the product of every token\'s row with the last state.',
    ],
)
def the_whole_model_says_what_comes_next(answer, rng):
    """Embedding, all blocks, a last norm: the logits of the next token, and all that is kept."""
    model, ids = draw_model(rng), rng.integers(0, 11, 6).tolist()
    found = answer.next_token_logits(ids, model, [nothing()] * 3, BASE)
    agree(found, read(ids, model), DEEP)


@question(
    "q6",
    points=1,
    hints=["New tokens stand at `seen`, `seen + 1`, ... where `seen` counts those in the cache."],
)
def a_text_read_in_pieces_is_read_as_a_whole(answer, rng):
    """A text read in pieces, through the cache, gives the logits of the text read at once."""
    model, ids = draw_model(rng), rng.integers(0, 11, 7).tolist()
    cache = [nothing()] * 3
    for start, end in ((0, 3), (3, 4), (4, 7)):
        logits, cache = answer.next_token_logits(ids[start:end], model, cache, BASE)
        agree(logits, read(ids[:end], model)[0], DEEP)
