"""The checks of the attention lab. Expected values come from the formulas, term by term, from
torch's own kernel, and from what NumPy says that an array takes.

All is in float64, whose rounding is a millionth of ``expect``'s tolerance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from toolkit.classroom import expect, question


def draw(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


def seen_by_definition(queries: int, keys: int) -> Tensor:
    """Every query is a token, every key is a token: which comes first?"""
    tokens = list(range(keys))
    rows = [[key <= query for key in tokens] for query in tokens[len(tokens) - queries :]]
    return torch.tensor(rows, dtype=torch.bool)


# -- q1 ------------------------------------------------------------------------------------------


def by_the_formula(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """One term after the other; e^1000 is no trouble to a Decimal."""
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    queries, keys, values = q.numpy(), k.numpy(), v.numpy()
    out = np.zeros((*q.shape[:3], v.shape[-1]))
    for b, h, i in np.ndindex(*q.shape[:3]):
        allowed = [j for j in range(k.shape[2]) if mask is None or mask[i, j]]
        terms = queries[b, h, i] * keys[b, h, allowed]
        powers = [Decimal(math.fsum(row) * factor).exp() for row in terms.tolist()]
        weights = [float(power / sum(powers)) for power in powers]
        out[b, h, i] = sum(w * values[b, h, j] for w, j in zip(weights, allowed, strict=True))
    return torch.from_numpy(out)


@question(
    "q1",
    points=1,
    hints=[
        "Three steps: scores, weights of each query that add up to 1, the weighted mean of values.",
        "`q @ k.mT` has a row of scores for each query: softmax goes along the row, `dim=-1`.",
        "`weights = powers / powers.sum(-1, keepdim=True)`, then `weights @ v`.",
    ],
)
def values_are_averaged_by_the_softmax_of_scaled_scores(answer, rng):
    """Each query gets the mean of the values, weighted by the softmax of its scaled scores."""
    for batch, heads, queries, keys, dim, value_dim in ((1, 1, 3, 5, 4, 2), (2, 3, 4, 3, 6, 5)):
        q, k = draw(rng, batch, heads, queries, dim), draw(rng, batch, heads, keys, dim)
        v = draw(rng, batch, heads, keys, value_dim)
        expect(answer.attention_plain(q, k, v), by_the_formula(q, k, v))


@question(
    "q1",
    points=1,
    hints=["Where `scale` is a number, it stands in the place of 1 / sqrt(d)."],
)
def a_given_scale_is_used_instead(answer, rng):
    """A scale that is given is used in place of 1 / sqrt(d)."""
    q, k, v = draw(rng, 1, 2, 3, 4), draw(rng, 1, 2, 5, 4), draw(rng, 1, 2, 5, 3)
    for scale in rng.uniform(0.7, 1.3, 2).tolist():
        expect(answer.attention_plain(q, k, v, scale=scale), by_the_formula(q, k, v, scale=scale))


@question(
    "q1",
    points=1,
    hints=["e^s must be 0 where the mask is False: which s does that? `scores.masked_fill(...)`."],
)
def what_a_mask_hides_gets_no_weight(answer, rng):
    """What a mask hides gets no weight, and the other weights add up to 1."""
    q, k, v = draw(rng, 2, 2, 4, 3), draw(rng, 2, 2, 6, 3), draw(rng, 2, 2, 6, 2)
    for hidden in (1, 3, 5):
        columns = [rng.permutation(6)[: 6 - hidden].tolist() for _ in range(4)]
        mask = torch.tensor([[j in row for j in range(6)] for row in columns])
        expect(answer.attention_plain(q, k, v, mask=mask), by_the_formula(q, k, v, mask))


@question(
    "q1",
    points=1,
    hints=["Take each row's greatest score off: `scores - scores.amax(-1, keepdim=True)`."],
)
def great_scores_do_not_overflow(answer, rng):
    """Scores of 1,000 and of -1,000 are no trouble."""
    q, k, v = draw(rng, 1, 2, 4, 3), draw(rng, 1, 2, 5, 3), draw(rng, 1, 2, 5, 2)
    # One more number, which adds 1,000 to the scores of two queries, and takes it off the others'.
    sides = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64).view(1, 1, 4, 1)
    q = torch.cat((q, sides.expand(1, 2, 4, 1)), -1)
    for keys in ([1, 1, 1, 1, 1], [1, -1, 1, -1, -1]):
        offset = 2000 * torch.tensor(keys, dtype=torch.float64).view(1, 1, 5, 1)
        large = torch.cat((k, offset.expand(1, 2, 5, 1)), -1)
        expect(answer.attention_plain(q, large, v), by_the_formula(q, large, v))


# -- q2 ------------------------------------------------------------------------------------------


@question(
    "q2",
    points=1,
    hints=[
        "Write down the number of the token that each query is, and that each key is.",
        "A query may look where the key's token is not after its own: `<=`.",
        "`torch.arange(queries)[:, None]` against `torch.arange(keys)` compares each with each.",
    ],
)
def no_token_sees_those_after_it(answer, rng):
    """In a whole text every token sees itself and those before it, and none after it."""
    for tokens in (1, 2, int(rng.integers(3, 9))):
        expect(answer.causal_mask(tokens, tokens), seen_by_definition(tokens, tokens))


@question(
    "q2",
    points=2,
    hints=["With a cache, query 0 is not token 0: which is it? The last query is the last token."],
)
def the_queries_are_the_last_of_the_tokens(answer, rng):
    """With a cache the queries are the last tokens, and see all that is kept."""
    kept = int(rng.integers(4, 9))
    for queries in (1, 2, 3):
        keys = queries + kept
        expect(answer.causal_mask(queries, keys), seen_by_definition(queries, keys))


# -- q3 ------------------------------------------------------------------------------------------


def head_by_head(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Torch's attention for one query head at a time, each KV head serving as many in turn."""
    readers = [g for g in range(k.shape[1]) for _ in range(q.shape[1] // k.shape[1])]
    heads = [
        functional.scaled_dot_product_attention(
            q[:, i : i + 1], k[:, g : g + 1], v[:, g : g + 1], attn_mask=mask, scale=scale
        )
        for i, g in enumerate(readers)
    ]
    return torch.cat(heads, 1)


@question(
    "q3",
    points=2,
    hints=[
        "With 6 query heads and 3 KV heads: which KV head does each query head read?",
        "`k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)` gives every query head its KV "
        "head, with a copy; the same for `v`, then your `attention_plain`.",
        "Without a copy: `q.unflatten(1, (kv_heads, -1)).flatten(2, 3)` has each group's queries "
        "under one another; turn the result back in the same way.",
    ],
)
def neighbouring_query_heads_share_a_kv_head(answer, rng):
    """Query head i reads KV head i // (h / g), whatever the number of KV heads."""
    for heads, kv_heads in ((6, 2), (6, 3), (6, 6), (6, 1)):
        q, k = draw(rng, 2, heads, 2, 4), draw(rng, 2, kv_heads, 5, 4)
        v = draw(rng, 2, kv_heads, 5, 3)
        expect(answer.attention(q, k, v), head_by_head(q, k, v))


@question(
    "q3",
    points=1,
    hints=[
        "`causal_mask(q.shape[2], k.shape[2])`, and once for each head where you put heads under "
        "one another: `mask.repeat(group, 1)`."
    ],
)
def shared_heads_are_causal_too(answer, rng):
    """Causal attention is so for a whole text and for its last tokens, at any scale."""
    k, v = draw(rng, 1, 2, 6, 4), draw(rng, 1, 2, 6, 3)
    for queries in (6, 3, 1):
        q = draw(rng, 1, 4, queries, 4)
        mask = seen_by_definition(queries, 6)
        expect(answer.attention(q, k, v, causal=True), head_by_head(q, k, v, mask))
    scale = float(rng.uniform(0.7, 0.9))
    found = answer.attention(q, k, v, causal=True, scale=scale)
    expect(found, head_by_head(q, k, v, mask, scale))


# -- q4 ------------------------------------------------------------------------------------------


@question(
    "q4",
    points=2,
    hints=[
        "With 6 KV heads made into 2: heads 0, 1 and 2 become one, heads 3, 4 and 5 the other.",
        "Row 0 of a new head is the mean of the rows 0 of its old heads, and so on.",
        "`weight.unflatten(0, (shared, kv_heads // shared, -1))` has groups, heads, rows: take "
        "the mean over the heads, and `flatten(0, 1)`.",
    ],
)
def neighbouring_kv_heads_are_averaged(answer, rng):
    """Fewer KV heads are the means of neighbours, row by row, for a weight and for a bias."""
    for kv_heads, shared in ((4, 2), (6, 2), (6, 3), (4, 4), (3, 1)):
        for width in ((5,), ()):
            weight = draw(rng, kv_heads * 4, *width)
            group = kv_heads // shared
            heads = [weight[4 * head : 4 * head + 4].numpy() for head in range(kv_heads)]
            means = [np.mean(heads[g * group : (g + 1) * group], axis=0) for g in range(shared)]
            found = answer.share_heads(weight, kv_heads, shared)
            expect(found, torch.from_numpy(np.concatenate(means)))


# -- q5 ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AttentionShape:
    """Crosses to the learner's class of this name."""

    name: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    latent: int = 0
    rope_dim: int = 0


DTYPES = {1: np.int8, 2: np.float16, 4: np.float32}
PUBLISHED = {
    AttentionShape("Llama-2-7B", 32, 32, 32, 128): 524_288,
    AttentionShape("Llama-3-8B", 32, 32, 8, 128): 131_072,
    AttentionShape("Llama-3-70B", 80, 64, 8, 128): 327_680,
    AttentionShape("Llama-3-405B", 126, 128, 8, 128): 516_096,
}
"""Bytes of a token in bf16."""


def draw_shape(rng: np.random.Generator, kv_heads: int, group: int, latent: int = 0):
    """A model with an odd number of layers, and no two numbers alike."""
    layers, head_dim = 2 * int(rng.integers(10, 40)) + 1, 2 * int(rng.integers(24, 80))
    rope_dim = 2 * int(rng.integers(5, 20)) if latent else 0
    return AttentionShape("drawn", layers, kv_heads * group, kv_heads, head_dim, latent, rope_dim)


def bytes_of_arrays(shape: AttentionShape, bytes_per_value: int) -> int:
    """What one token's arrays take, layer by layer, as NumPy says."""
    per_head = [(shape.kv_heads, shape.head_dim)] * 2
    kept = [(shape.latent,), (shape.rope_dim,)] if shape.latent else per_head
    arrays = [np.empty(one, DTYPES[bytes_per_value]) for one in kept]
    return sum(array.nbytes for _ in range(shape.layers) for array in arrays)


@question(
    "q5",
    points=2,
    hints=[
        "How many numbers does one layer keep of one token? Then all layers, then bytes.",
        "A key and a value for each KV head: `2 * shape.kv_heads * shape.head_dim` numbers.",
        "With a latent it is `shape.latent + shape.rope_dim` numbers, for all heads together.",
    ],
)
def every_layer_keeps_a_key_and_a_value_of_each_kv_head(answer, rng):
    """Every layer keeps a key and a value of each KV head, in numbers of 1, 2 or 4 bytes."""
    for shape, published in PUBLISHED.items():
        expect(answer.kv_bytes_per_token(shape), published)
    for kv_heads, group, size in ((7, 1, 1), (3, 5, 4), (1, 6, 4)):
        shape = draw_shape(rng, kv_heads, group)
        expect(answer.kv_bytes_per_token(shape, size), bytes_of_arrays(shape, size))


@question(
    "q5",
    points=2,
    hints=["`shape.latent` is not 0 for MLA: then no head has anything of its own in the cache."],
)
def mla_keeps_a_latent_and_a_rotated_key(answer, rng):
    """MLA keeps one latent and one rotated key, however many heads there are."""
    deepseek = {"DeepSeek-V2": (60, 69_120), "DeepSeek-V3": (61, 70_272)}
    for name, (layers, published) in deepseek.items():
        shape = AttentionShape(name, layers, 128, 128, 128, latent=512, rope_dim=64)
        expect(answer.kv_bytes_per_token(shape), published)
    for size in (1, 4):
        shape = draw_shape(rng, 5, 1, latent=int(rng.integers(100, 300)))
        expect(answer.kv_bytes_per_token(shape, size), bytes_of_arrays(shape, size))


# -- q6 ------------------------------------------------------------------------------------------


def draw_latents(
    rng: np.random.Generator, queries: int, keys: int, head_dim: int, latent: int
) -> tuple[Tensor, ...]:
    """The arguments of ``absorbed_attention``, for 3 heads with a rotated part of 5 numbers."""
    return (
        draw(rng, 2, 3, queries, head_dim),
        draw(rng, 2, 3, queries, 5),
        draw(rng, 2, keys, latent),
        draw(rng, 2, keys, 5),
        draw(rng, 3, head_dim, latent),
        draw(rng, 3, head_dim, latent),
    )


def with_keys_made(
    q_c: Tensor,
    q_r: Tensor,
    c_kv: Tensor,
    k_r: Tensor,
    w_uk: Tensor,
    w_uv: Tensor,
    scale: float | None = None,
) -> Tensor:
    """Text by text and head by head: make its keys and values, and leave the rest to torch."""
    out = torch.zeros_like(q_c)
    mask = seen_by_definition(q_c.shape[2], c_kv.shape[1])
    for b, i in np.ndindex(*q_c.shape[:2]):
        k, v = torch.cat((c_kv[b] @ w_uk[i].T, k_r[b]), -1), c_kv[b] @ w_uv[i].T
        q = torch.cat((q_c[b, i], q_r[b, i]), -1)
        # 1 / sqrt(head_dim + rope_dim) is the kernel's own scale for keys of that length
        out[b, i] = functional.scaled_dot_product_attention(
            q[None], k[None], v[None], attn_mask=mask, scale=scale
        )[0]
    return out


@question(
    "q6",
    points=2,
    hints=[
        "Everything in the score that belongs to the query and its head can go to the query first.",
        "`q_c @ w_uk` is each head's query to the latents: (queries, head_dim) by "
        "(head_dim, latent).",
        "Long queries `torch.cat((q_latent, q_r), -1)`, one KV head `torch.cat((c_kv, k_r), -1)`, "
        "the latents as values, then `w_uv`.",
    ],
)
def attending_to_latents_is_attending_to_the_keys_made_of_them(answer, rng):
    """One new token gets from the latents what it would get from keys and values made of them."""
    # Latents as long as heads, so that a matrix taken the wrong way round is no error but wrong.
    for keys in (1, 4, 6):
        given = draw_latents(rng, 1, keys, 4, 4)
        expect(answer.absorbed_attention(*given), with_keys_made(*given))


@question(
    "q6",
    points=1,
    hints=[
        "Scores are divided by the root of `head_dim + rope_dim`, not of what you cat together."
    ],
)
def the_scale_is_that_of_the_heads_keys(answer, rng):
    """The scale is that of a head's key, however long the latent is."""
    for latent in (8, 11):
        given = draw_latents(rng, 1, 5, 4, latent)
        expect(answer.absorbed_attention(*given), with_keys_made(*given))
    scale = float(rng.uniform(0.7, 0.9))
    found = answer.absorbed_attention(*given, scale=scale)
    expect(found, with_keys_made(*given, scale=scale))


@question("q6", points=1, hints=["Several queries are the last tokens: none sees what follows it."])
def several_new_tokens_do_not_see_those_after_them(answer, rng):
    """Several new tokens, or a whole prompt, attend causally."""
    for queries in (3, 6):
        given = draw_latents(rng, queries, 6, 4, 7)
        expect(answer.absorbed_attention(*given), with_keys_made(*given))
