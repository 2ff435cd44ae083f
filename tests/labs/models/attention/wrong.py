"""Plausible wrong answers of the attention lab, each with the hint that mends it."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from toolkit.classroom import wrong


def softmax(scores, dim=-1):
    powers = (scores - scores.amax(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)


def scaled(q, k, scale=None):
    return q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)


def hide(scores, mask, with_score=-math.inf):
    return scores if mask is None else scores.masked_fill(~mask, with_score)


def seen(queries, keys):
    return torch.ones(queries, keys).tril(keys - queries).bool()


def plain(q, k, v, mask=None, scale=None):
    return softmax(hide(scaled(q, k, scale), mask)) @ v


# -- q1 ------------------------------------------------------------------------------------------


@wrong("q1", hint="The scores are not scaled: the longer a key, the greater they are. `* scale`.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return plain(q, k, v, mask, 1.0 if scale is None else scale)


@wrong("q1", hint="You divide by d. A sum of d products grows with the **root** of d.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return plain(q, k, v, mask, 1 / q.shape[-1] if scale is None else scale)


@wrong("q1", hint="The root is of the numbers in a key, `q.shape[-1]`, not of how many keys.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return plain(q, k, v, mask, k.shape[-2] ** -0.5 if scale is None else scale)


@wrong("q1", hint="You multiply with the root of d: divide by it.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return plain(q, k, v, mask, q.shape[-1] ** 0.5 if scale is None else scale)


@wrong("q1", hint="`scale` makes no difference. Where it is given, it stands for 1 / sqrt(d).")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return plain(q, k, v, mask)


@wrong("q1", hint="`scale` is applied on top of 1 / sqrt(d). It stands in its place.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return plain(q, k, v, mask, (1.0 if scale is None else scale) / math.sqrt(q.shape[-1]))


@wrong(
    "q1",
    hint="Your softmax runs over the queries: each **key's** weights add up to 1. Each query's "
    "must, along the last dimension.",
)
def attention_plain(q, k, v, *, mask=None, scale=None):
    return softmax(hide(scaled(q, k, scale), mask), dim=-2) @ v


@wrong("q1", hint="The weights of a query don't add up to 1: divide them by their sum.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return hide(scaled(q, k, scale), mask).exp() @ v


@wrong("q1", hint="`q @ k` multiplies queries with numbers of keys. Turn the keys: `q @ k.mT`.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return softmax(q @ k) @ v


@wrong("q1", hint="A score of 0 hides nothing: e^0 is 1. Hide with `-math.inf`, e^-inf is 0.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return softmax(hide(scaled(q, k, scale), mask, 0.0)) @ v


@wrong(
    "q1",
    hint="Hidden weights are 0, but the others no longer add up to 1. Hide **scores**, before the "
    "softmax.",
)
def attention_plain(q, k, v, *, mask=None, scale=None):
    return hide(softmax(scaled(q, k, scale)), mask, 0.0) @ v


@wrong("q1", hint="True means that a query may look. You hid what it may see: `~mask`.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return plain(q, k, v, None if mask is None else ~mask, scale)


@wrong("q1", hint="The mask makes no difference. Hide scores where it is False.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    return plain(q, k, v, None, scale)


@wrong("q1", hint="Adding the mask adds 1 to a score, or 0. It says where to put `-math.inf`.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    scores = scaled(q, k, scale)
    return softmax(scores if mask is None else scores + mask) @ v


@wrong(
    "q1",
    hint="e^1000 is infinite to a computer, and e^-1000 is 0. First take each row's greatest "
    "score off.",
)
def attention_plain(q, k, v, *, mask=None, scale=None):
    powers = hide(scaled(q, k, scale), mask).exp()
    return powers / powers.sum(-1, keepdim=True) @ v


@wrong(
    "q1",
    hint="One greatest score was taken off all rows: a row far below it becomes 0 / 0. Each row "
    "has its own, `amax(-1, keepdim=True)`.",
)
def attention_plain(q, k, v, *, mask=None, scale=None):
    scores = hide(scaled(q, k, scale), mask)
    powers = (scores - scores.max()).exp()
    return powers / powers.sum(-1, keepdim=True) @ v


@wrong("q1", hint="You took the mean of a row off. A score far above it still overflows: the max.")
def attention_plain(q, k, v, *, mask=None, scale=None):
    scores = scaled(q, k, scale)
    powers = hide(scores - scores.mean(-1, keepdim=True), mask).exp()
    return powers / powers.sum(-1, keepdim=True) @ v


# -- q2 ------------------------------------------------------------------------------------------


@wrong(
    "q2",
    hint="Your mask lies along the first keys, as if query 0 were token 0. With 2 queries and 5 "
    "keys it is token 3.",
)
def causal_mask(queries, keys):
    return torch.arange(keys) <= torch.arange(queries)[:, None]


@wrong("q2", hint="No token sees itself, and the first sees nothing. Its own counts: `<=`.")
def causal_mask(queries, keys):
    return torch.arange(keys) < torch.arange(keys - queries, keys)[:, None]


@wrong("q2", hint="Every query sees one token too many: the one it is to foretell.")
def causal_mask(queries, keys):
    return torch.arange(keys) <= torch.arange(keys - queries, keys)[:, None] + 1


@wrong("q2", hint="True is where a query **may** look. Yours is True at what it must not see.")
def causal_mask(queries, keys):
    return ~seen(queries, keys)


@wrong("q2", hint="Each token sees itself and those **after** it. Turn the comparison round.")
def causal_mask(queries, keys):
    return torch.arange(keys) >= torch.arange(keys - queries, keys)[:, None]


@wrong("q2", hint="A row for each query, a column for each **key**: those in the cache count too.")
def causal_mask(queries, keys):
    return seen(queries, queries)


@wrong("q2", hint="A row for each query only: the cached tokens are keys, but ask nothing.")
def causal_mask(queries, keys):
    return seen(keys, keys)


@wrong("q2", hint="These are scores to add, 0 and -inf. A mask of True and False is asked for.")
def causal_mask(queries, keys):
    return torch.zeros(queries, keys).masked_fill(~seen(queries, keys), -math.inf)


@wrong("q2", hint="Ones and zeros are numbers. Make them True and False: `.bool()`.")
def causal_mask(queries, keys):
    return torch.ones(queries, keys).tril(keys - queries)


@wrong("q2", hint="All queries see the same: all that is cached, and no new token.")
def causal_mask(queries, keys):
    return (torch.arange(keys) < keys - queries).expand(queries, keys)


# -- q3 ------------------------------------------------------------------------------------------


def group_of(q, k):
    return q.shape[1] // k.shape[1]


def shared(q, k, v, mask=None, scale=None):
    k, v = (x.repeat_interleave(group_of(q, x), dim=1) for x in (k, v))
    return plain(q, k, v, mask, scale)


def mask_of(q, k, causal):
    return seen(q.shape[2], k.shape[2]) if causal else None


@wrong(
    "q3",
    hint="Your heads come in the order 0, 1, 0, 1: query head i reads KV head i % g. Neighbours "
    "share, 0, 0, 1, 1: `repeat_interleave`.",
)
def attention(q, k, v, *, causal=False, scale=None):
    k, v = (x.repeat(1, group_of(q, x), 1, 1) for x in (k, v))
    return plain(q, k, v, mask_of(q, k, causal), scale)


@wrong("q3", hint="All query heads read the first KV head. Only with one KV head is that so.")
def attention(q, k, v, *, causal=False, scale=None):
    return plain(q, k[:, :1], v[:, :1], mask_of(q, k, causal), scale)


@wrong("q3", hint="You averaged the KV heads. Nothing is averaged here: each serves its own group.")
def attention(q, k, v, *, causal=False, scale=None):
    k, v = k.mean(1, keepdim=True), v.mean(1, keepdim=True)
    return plain(q, k, v, mask_of(q, k, causal), scale)


@wrong("q3", hint="You averaged each group's queries. Every query head keeps its own output.")
def attention(q, k, v, *, causal=False, scale=None):
    q = q.unflatten(1, (k.shape[1], -1)).mean(2)
    return plain(q, k, v, mask_of(q, k, causal), scale)


@wrong(
    "q3",
    hint="Each KV head is repeated g times. A group has h / g query heads: "
    "`q.shape[1] // k.shape[1]`.",
)
def attention(q, k, v, *, causal=False, scale=None):
    k, v = (x.repeat_interleave(x.shape[1], dim=1) for x in (k, v))
    return plain(q, k, v, mask_of(q, k, causal), scale)


@wrong("q3", hint="There are fewer KV heads than query heads: repeat both for their group.")
def attention(q, k, v, *, causal=False, scale=None):
    return plain(q, k, v, mask_of(q, k, causal), scale)


@wrong(
    "q3",
    hint="The queries come head by head, the rows of your mask query by query. "
    "`mask.repeat(group, 1)` puts the whole mask under itself.",
)
def attention(q, k, v, *, causal=False, scale=None):
    group = group_of(q, k)
    mask = mask_of(q, k, causal)
    stacked = q.unflatten(1, (-1, group)).flatten(2, 3)
    mask = None if mask is None else mask.repeat_interleave(group, 0)
    return plain(stacked, k, v, mask, scale).unflatten(2, (group, -1)).flatten(1, 2)


@wrong(
    "q3",
    hint="A group's queries are under one another, but the result is not taken apart again: a "
    "head for each query head.",
)
def attention(q, k, v, *, causal=False, scale=None):
    mask = mask_of(q, k, causal)
    stacked = q.unflatten(1, (k.shape[1], -1)).flatten(2, 3)
    mask = None if mask is None else mask.repeat(group_of(q, k), 1)
    return plain(stacked, k, v, mask, scale)


@wrong("q3", hint="`scale` gets lost on the way: hand it on to `attention_plain`.")
def attention(q, k, v, *, causal=False, scale=None):
    return shared(q, k, v, mask_of(q, k, causal))


@wrong("q3", hint="`causal` makes no difference: queries see tokens after their own.")
def attention(q, k, v, *, causal=False, scale=None):
    return shared(q, k, v, None, scale)


@wrong(
    "q3",
    hint="Your mask lies along the first keys, as torch's `is_causal` does. The queries are the "
    "last tokens: `causal_mask` knows.",
)
def attention(q, k, v, *, causal=False, scale=None):
    return functional.scaled_dot_product_attention(
        q, k, v, is_causal=causal, scale=scale, enable_gqa=True
    )


# -- q4 ------------------------------------------------------------------------------------------


@wrong("q4", hint="The heads are added up. Keys of twice the size give scores of twice: average.")
def share_heads(weight, kv_heads, shared):
    return weight.unflatten(0, (shared, kv_heads // shared, -1)).sum(1).flatten(0, 1)


@wrong("q4", hint="One head of each group is kept, and the others are thrown away. Average them.")
def share_heads(weight, kv_heads, shared):
    return weight.unflatten(0, (shared, kv_heads // shared, -1))[:, 0].flatten(0, 1)


@wrong(
    "q4",
    hint="You averaged heads that stand far apart, such as 0 and 2 of 4. Query heads share with "
    "their neighbours: 0 with 1, 2 with 3.",
)
def share_heads(weight, kv_heads, shared):
    return weight.unflatten(0, (kv_heads // shared, shared, -1)).mean(0).flatten(0, 1)


@wrong(
    "q4",
    hint="You averaged neighbouring **rows**. Row 0 of one head belongs with row 0 of the next.",
)
def share_heads(weight, kv_heads, shared):
    return weight.unflatten(0, (-1, kv_heads // shared)).mean(1)


@wrong("q4", hint="That makes `kv_heads // shared` heads, which is how many each **group** has.")
def share_heads(weight, kv_heads, shared):
    return weight.unflatten(0, (kv_heads // shared, shared, -1)).mean(1).flatten(0, 1)


@wrong(
    "q4", hint="The heads are averaged but still apart: put their rows together, `flatten(0, 1)`."
)
def share_heads(weight, kv_heads, shared):
    return weight.unflatten(0, (shared, kv_heads // shared, -1)).mean(1)


@wrong("q4", hint="Rows and columns ran together: only the heads, the first dimension, change.")
def share_heads(weight, kv_heads, shared):
    return weight.reshape(shared, kv_heads // shared, -1).mean(1)


@wrong("q4", hint="All heads became one, the same again and again. Each group has its own mean.")
def share_heads(weight, kv_heads, shared):
    mean = weight.unflatten(0, (kv_heads, -1)).mean(0)
    return torch.cat([mean] * shared)


@wrong("q4", hint="Averaged, and put back for every old head. Each group leaves one head.")
def share_heads(weight, kv_heads, shared):
    means = weight.unflatten(0, (shared, kv_heads // shared, -1)).mean(1)
    return means.repeat_interleave(kv_heads // shared, 0).flatten(0, 1)


# -- q5 ------------------------------------------------------------------------------------------


def numbers(shape):
    """What a layer keeps of a token."""
    if shape.latent:
        return shape.latent + shape.rope_dim
    return 2 * shape.kv_heads * shape.head_dim


@wrong("q5", hint="You counted the query heads. Queries are not kept: count `shape.kv_heads`.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    per_layer = numbers(shape) if shape.latent else 2 * shape.heads * shape.head_dim
    return shape.layers * per_layer * bytes_per_value


@wrong("q5", hint="Half of it is missing: a key **and** a value are kept.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    per_layer = numbers(shape) if shape.latent else shape.kv_heads * shape.head_dim
    return shape.layers * per_layer * bytes_per_value


@wrong("q5", hint="That is one layer. Each layer keeps its own.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    return numbers(shape) * bytes_per_value


@wrong("q5", hint="You counted bits. A value of 2 bytes takes 2.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    return 8 * shape.layers * numbers(shape) * bytes_per_value


@wrong("q5", hint="Those are numbers. Each takes `bytes_per_value` bytes.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    return shape.layers * numbers(shape)


@wrong(
    "q5",
    hint="You counted the query heads of a group. What is kept is one key and value for each "
    "group: `shape.kv_heads`.",
)
def kv_bytes_per_token(shape, bytes_per_value=2):
    group = shape.heads // shape.kv_heads
    per_layer = numbers(shape) if shape.latent else 2 * group * shape.head_dim
    return shape.layers * per_layer * bytes_per_value


@wrong("q5", hint="The result is a float. Bytes are whole numbers.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    return float(shape.layers * numbers(shape) * bytes_per_value)


@wrong("q5", hint="MLA keeps no key of any head. Where there is a latent, count that instead.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    return shape.layers * 2 * shape.kv_heads * shape.head_dim * bytes_per_value


@wrong("q5", hint="The rotated key is one for all heads, and is kept once.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    per_layer = numbers(shape)
    if shape.latent:
        per_layer = shape.latent + shape.heads * shape.rope_dim
    return shape.layers * per_layer * bytes_per_value


@wrong("q5", hint="The rotated key is missing. The latent alone knows no positions.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    return shape.layers * (shape.latent or numbers(shape)) * bytes_per_value


@wrong("q5", hint="Keys and values are made of the **same** latent: it is kept once, not twice.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    per_layer = numbers(shape) + shape.latent
    return shape.layers * per_layer * bytes_per_value


@wrong("q5", hint="Twice too much: the values are made of the same latent, and are not rotated.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    per_layer = numbers(shape) * (2 if shape.latent else 1)
    return shape.layers * per_layer * bytes_per_value


@wrong("q5", hint="You kept a latent for each head. All heads are made of the same one.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    per_layer = numbers(shape)
    if shape.latent:
        per_layer = shape.heads * shape.latent + shape.rope_dim
    return shape.layers * per_layer * bytes_per_value


@wrong("q5", hint="Every number takes 2 bytes, whatever is asked. Use `bytes_per_value`.")
def kv_bytes_per_token(shape, bytes_per_value=2):
    return shape.layers * numbers(shape) * 2


# -- q6 ------------------------------------------------------------------------------------------


def to_latents(q_c, q_r, c_kv, k_r, w_uk, scale=None):
    """The weighted sums of latents, before the values are made of them."""
    if scale is None:
        scale = 1 / math.sqrt(q_c.shape[-1] + q_r.shape[-1])
    q, k = torch.cat((q_c @ w_uk, q_r), -1), torch.cat((c_kv, k_r), -1)
    return plain(q, k[:, None], c_kv[:, None], seen(q.shape[2], k.shape[1]), scale)


@wrong(
    "q6",
    hint="W^UK is applied the wrong way round. The query goes up to the latents by the transpose, "
    "which as a row is `q_c @ w_uk`.",
)
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    return to_latents(q_c, q_r, c_kv, k_r, w_uk.mT, scale) @ w_uv.mT


@wrong("q6", hint="You gave back the sum of latents. Make each head's value of it: W^UV.")
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    return to_latents(q_c, q_r, c_kv, k_r, w_uk, scale)


@wrong(
    "q6",
    hint="W^UV is applied the wrong way round. W c with the latents as rows is `o @ w_uv.mT`.",
)
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    return to_latents(q_c, q_r, c_kv, k_r, w_uk, scale) @ w_uv


@wrong("q6", hint="The values are made by W^UV, `w_uv`; you used the keys' matrix again.")
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    return to_latents(q_c, q_r, c_kv, k_r, w_uk, scale) @ w_uk.mT


@wrong("q6", hint="W^UK is nowhere: the query goes to the latents as it is. First `q_c @ w_uk`.")
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    scale = 1 / math.sqrt(q_c.shape[-1] + q_r.shape[-1]) if scale is None else scale
    q, k = torch.cat((q_c, q_r), -1), torch.cat((c_kv, k_r), -1)
    mask = seen(q.shape[2], k.shape[1])
    return plain(q, k[:, None], c_kv[:, None], mask, scale) @ w_uv.mT


@wrong("q6", hint="The rotated part is missing from the scores: q^R and k^R say where tokens are.")
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    return to_latents(q_c, 0 * q_r, c_kv, k_r, w_uk, scale) @ w_uv.mT


@wrong("q6", hint="The rotated part counts for the scale too: sqrt(head_dim + rope_dim).")
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    scale = 1 / math.sqrt(q_c.shape[-1]) if scale is None else scale
    return to_latents(q_c, q_r, c_kv, k_r, w_uk, scale) @ w_uv.mT


@wrong("q6", hint="All heads got the same query, the sum over heads. `w_uk[i]` is for head i.")
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    scale = 1 / math.sqrt(q_c.shape[-1] + q_r.shape[-1]) if scale is None else scale
    q_latent = (q_c @ w_uk).sum(1, keepdim=True).expand(-1, q_c.shape[1], -1, -1)
    q, k = torch.cat((q_latent, q_r), -1), torch.cat((c_kv, k_r), -1)
    mask = seen(q.shape[2], k.shape[1])
    return plain(q, k[:, None], c_kv[:, None], mask, scale) @ w_uv.mT


@wrong(
    "q6",
    hint="That is the scale of keys as long as the latent. No such key was trained: divide by "
    "sqrt(head_dim + rope_dim).",
)
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    scale = 1 / math.sqrt(c_kv.shape[-1] + k_r.shape[-1]) if scale is None else scale
    return to_latents(q_c, q_r, c_kv, k_r, w_uk, scale) @ w_uv.mT


@wrong("q6", hint="`scale` makes no difference. Where it is given, it stands for yours.")
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    return to_latents(q_c, q_r, c_kv, k_r, w_uk) @ w_uv.mT


@wrong("q6", hint="Queries see tokens after their own: `causal=True`.")
def absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, *, scale=None):
    scale = 1 / math.sqrt(q_c.shape[-1] + q_r.shape[-1]) if scale is None else scale
    q, k = torch.cat((q_c @ w_uk, q_r), -1), torch.cat((c_kv, k_r), -1)
    return plain(q, k[:, None], c_kv[:, None], None, scale) @ w_uv.mT
