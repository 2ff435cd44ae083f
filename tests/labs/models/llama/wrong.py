"""Plausible wrong answers of the llama lab, each with the hint that mends it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional

from toolkit.classroom import wrong
from toolkit.models.positions import rope, rotate, turns

# -- q1 ------------------------------------------------------------------------------------------


@wrong(
    "q1", hint="That is the mean of the numbers, not of their squares: square before you average."
)
def rms_norm(x, gain, eps=1e-5):
    return x / (x.mean(-1, keepdim=True) + eps) * gain


@wrong(
    "q1",
    hint="That is LayerNorm: it takes the mean away first. RMSNorm leaves the mean where it is.",
)
def rms_norm(x, gain, eps=1e-5):
    return functional.layer_norm(x, x.shape[-1:], eps=eps) * gain


@wrong(
    "q1",
    hint="You divided by the length, the root of the **sum** of squares. It is their mean that "
    "stands under the root.",
)
def rms_norm(x, gain, eps=1e-5):
    return x / torch.sqrt(x.square().sum(-1, keepdim=True) + eps) * gain


@wrong("q1", hint="You divided by the mean square. Its root is missing.")
def rms_norm(x, gain, eps=1e-5):
    return x / (x.square().mean(-1, keepdim=True) + eps) * gain


@wrong("q1", hint="The gain has no effect: multiply by it at the end.")
def rms_norm(x, gain, eps=1e-5):
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + eps)


@wrong(
    "q1",
    hint="You multiplied by 1 + gain. Gemma stores its gains less 1; here they are as they are.",
)
def rms_norm(x, gain, eps=1e-5):
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + eps) * (1 + gain)


@wrong(
    "q1",
    hint="The mean went over all numbers of all states, so that each state hangs on the others. "
    "Take it over the last dimension: `mean(-1, keepdim=True)`.",
)
def rms_norm(x, gain, eps=1e-5):
    return x / torch.sqrt(x.square().mean() + eps) * gain


@wrong(
    "q1",
    hint="The mean went over the states, number by number. A state's own numbers are the last "
    "dimension: -1.",
)
def rms_norm(x, gain, eps=1e-5):
    return x / torch.sqrt(x.square().mean(0, keepdim=True) + eps) * gain


@wrong("q1", hint="Without `keepdim=True` the means line up with the wrong dimension of x.")
def rms_norm(x, gain, eps=1e-5):
    return x / torch.sqrt(x.square().mean(-1) + eps) * gain


@wrong("q1", hint="You added eps to the root. It belongs under the root, to the mean square.")
def rms_norm(x, gain, eps=1e-5):
    return x / (x.square().mean(-1, keepdim=True).sqrt() + eps) * gain


@wrong("q1", hint="A state of zeros is divided by 0, and gives NaN. Add eps under the root.")
def rms_norm(x, gain, eps=1e-5):
    return x / torch.sqrt(x.square().mean(-1, keepdim=True)) * gain


# -- q2 ------------------------------------------------------------------------------------------


@wrong("q2", hint="You put silu on `up`. It belongs on the gate: silu(x @ gate.T) * (x @ up.T).")
def swiglu(x, gate, up, down):
    return ((x @ gate.T) * functional.silu(x @ up.T)) @ down.T


@wrong("q2", hint="That is a sigmoid. silu(z) is z times it.")
def swiglu(x, gate, up, down):
    return (torch.sigmoid(x @ gate.T) * (x @ up.T)) @ down.T


@wrong(
    "q2", hint="That is relu (ReGLU). silu(z) = z * sigmoid(z) bends smoothly, and dips below 0."
)
def swiglu(x, gate, up, down):
    return (functional.relu(x @ gate.T) * (x @ up.T)) @ down.T


@wrong("q2", hint="That is gelu (GEGLU, as in Gemma). Here it is silu(z) = z * sigmoid(z).")
def swiglu(x, gate, up, down):
    return (functional.gelu(x @ gate.T) * (x @ up.T)) @ down.T


@wrong("q2", hint="silu took the product of both. Only the gate goes through it, then multiply.")
def swiglu(x, gate, up, down):
    return functional.silu((x @ gate.T) * (x @ up.T)) @ down.T


@wrong("q2", hint="Both went through silu. `up` stays as it is.")
def swiglu(x, gate, up, down):
    return (functional.silu(x @ gate.T) * functional.silu(x @ up.T)) @ down.T


@wrong("q2", hint="`up` has no effect: the gate decides how much of it comes through, so multiply.")
def swiglu(x, gate, up, down):
    return functional.silu(x @ gate.T) @ down.T


@wrong("q2", hint="You added gate and up. A gate multiplies.")
def swiglu(x, gate, up, down):
    return (functional.silu(x @ gate.T) + x @ up.T) @ down.T


@wrong("q2", hint="The gate is a plain product here: silu of it is missing.")
def swiglu(x, gate, up, down):
    return ((x @ gate.T) * (x @ up.T)) @ down.T


@wrong("q2", hint="`gate` is [ffn, width], and states are rows: multiply with `gate.T`.")
def swiglu(x, gate, up, down):
    return (functional.silu(x @ gate) * (x @ up)) @ down


@wrong(
    "q2",
    hint="e^z / (1 + e^z) is infinity / infinity for great z. 1 / (1 + e^-z) is the same, and "
    "`torch.sigmoid` is safe on both sides.",
)
def swiglu(x, gate, up, down):
    z = x @ gate.T
    return (z * (torch.exp(z) / (1 + torch.exp(z))) * (x @ up.T)) @ down.T


# -- q3 ------------------------------------------------------------------------------------------


def shared(q, k, v):
    return tuple(array.repeat_interleave(len(q) // len(k), 0) for array in (k, v))


def scaled(q, k, v):
    return q @ k.mT / math.sqrt(q.shape[-1])


def over_keys(scores):
    return scores.softmax(-1)


def last_ones(queries, keys):
    """True where a key is later than a query of the last tokens."""
    return torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries + 1)


def attended(q, k, v, *, share=shared, score=scaled, later=last_ones, weigh=over_keys):
    k, v = share(q, k, v)
    scores = score(q, k, v)
    return weigh(scores.masked_fill(later(q.shape[1], k.shape[1]), -math.inf)) @ v


@wrong("q3", hint="Scores are not scaled: divide them by sqrt(d), d being the last dimension of q.")
def causal_attention(q, k, v):
    return attended(q, k, v, score=lambda q, k, v: q @ k.mT)


@wrong("q3", hint="You divided the scores by d. It is its root: `math.sqrt(q.shape[-1])`.")
def causal_attention(q, k, v):
    return attended(q, k, v, score=lambda q, k, v: q @ k.mT / q.shape[-1])


@wrong("q3", hint="You multiplied by sqrt(d). Divide by it.")
def causal_attention(q, k, v):
    return attended(q, k, v, score=lambda q, k, v: q @ k.mT * math.sqrt(q.shape[-1]))


@wrong(
    "q3",
    hint="You divided by the root of the number of keys. d is the length of a query, "
    "`q.shape[-1]`.",
)
def causal_attention(q, k, v):
    return attended(q, k, v, score=lambda q, k, v: q @ k.mT / math.sqrt(k.shape[-2]))


@wrong("q3", hint="The softmax ran over the queries. A query's weights add up over its keys: -1.")
def causal_attention(q, k, v):
    return attended(q, k, v, weigh=partial(torch.softmax, dim=-2))


@wrong("q3", hint="The softmax ran over the heads. A query's weights add up over its keys: -1.")
def causal_attention(q, k, v):
    return attended(q, k, v, weigh=partial(torch.softmax, dim=0))


@wrong("q3", hint="The weights don't add up to 1: divide each by the sum over its query's keys.")
def causal_attention(q, k, v):
    return attended(q, k, v, weigh=torch.exp)


@wrong(
    "q3",
    hint="All weights were divided by one sum. Each query has its own: `sum(-1, keepdim=True)`.",
)
def causal_attention(q, k, v):
    return attended(q, k, v, weigh=lambda scores: scores.exp() / scores.exp().sum())


@wrong(
    "q3",
    hint="KV heads 0, 1, 0, 1, ... went to query heads 0, 1, 2, 3, ... Neighbours share: "
    "`repeat_interleave`, not `repeat`.",
)
def causal_attention(q, k, v):
    def tiled(q, k, v):
        return tuple(array.repeat(len(q) // len(k), 1, 1) for array in (k, v))

    return attended(q, k, v, share=tiled)


@wrong("q3", hint="There are fewer KV heads than heads: repeat each for the query heads it serves.")
def causal_attention(q, k, v):
    return attended(q, k, v, share=lambda q, k, v: (k, v))


@wrong("q3", hint="All query heads read KV head 0. Head i reads KV head i // (heads / kv_heads).")
def causal_attention(q, k, v):
    return attended(q, k, v, share=lambda q, k, v: (k[:1], v[:1]))


@wrong("q3", hint="Tokens see later ones: they would know what they are to foretell. Hide those.")
def causal_attention(q, k, v):
    return attended(q, k, v, later=lambda queries, keys: torch.zeros(1, 1, dtype=torch.bool))


@wrong(
    "q3",
    hint="Your mask lies along the first keys: query 0 sees key 0 alone. The queries are those of "
    "the **last** tokens, and query i stands at `keys - queries + i`.",
)
def causal_attention(q, k, v):
    return attended(
        q, k, v, later=lambda queries, keys: torch.ones(queries, keys, dtype=torch.bool).triu(1)
    )


@wrong("q3", hint="A token sees itself too. You hid its own key: hide keys **after** it only.")
def causal_attention(q, k, v):
    def own_too(queries, keys):
        return torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries)

    return attended(q, k, v, later=own_too)


@wrong("q3", hint="The mask is the wrong way round: you hid the earlier keys, not the later.")
def causal_attention(q, k, v):
    def earlier(queries, keys):
        return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries - 1)

    return attended(q, k, v, later=earlier)


@wrong(
    "q3",
    hint="You hid later keys after the softmax: the other weights no longer add up to 1. "
    "Give their scores `-math.inf` before it.",
)
def causal_attention(q, k, v):
    k, v = shared(q, k, v)
    weights = scaled(q, k, v).softmax(-1)
    return weights.masked_fill(last_ones(q.shape[1], k.shape[1]), 0.0) @ v


@wrong("q3", hint="A score of 0 is not hidden: e^0 is 1. It takes `-math.inf` to weigh nothing.")
def causal_attention(q, k, v):
    k, v = shared(q, k, v)
    scores = scaled(q, k, v).masked_fill(last_ones(q.shape[1], k.shape[1]), 0.0)
    return scores.softmax(-1) @ v


@wrong(
    "q3",
    hint="e to a score of thousands is infinite, and infinity / infinity NaN. Take each query's "
    "greatest score from its scores first.",
)
def causal_attention(q, k, v):
    def naive(scores):
        return scores.exp() / scores.exp().sum(-1, keepdim=True)

    return attended(q, k, v, weigh=naive)


@wrong(
    "q3",
    hint="You took the greatest of **all** scores from each. For a query whose own are far below "
    "it, every e^s is 0: take its own, `amax(-1, keepdim=True)`.",
)
def causal_attention(q, k, v):
    def of_all(scores):
        weights = (scores - scores.max()).exp()
        return weights / weights.sum(-1, keepdim=True)

    return attended(q, k, v, weigh=of_all)


# -- q4 ------------------------------------------------------------------------------------------


def cut_k(logits, top_k):
    if top_k is None:
        return logits
    return logits.masked_fill(logits < logits.topk(top_k).values[-1], -math.inf)


def cut_p(probs, top_p, out=lambda ordered, top_p: ordered.cumsum(0) - ordered >= top_p):
    """What ``out`` says of the sorted probabilities is out; they are not scaled to 1 again."""
    if top_p is None:
        return probs
    ordered, order = probs.sort(descending=True, stable=True)
    return probs.index_fill(0, order[out(ordered, top_p)], 0.0)


def to_one(probs):
    return probs / probs.sum()


def dialled(logits, temperature, top_k, top_p, k=cut_k, p=cut_p, scale=to_one):
    return scale(p(k(logits / temperature, top_k).softmax(0), top_p))


@wrong("q4", hint="You multiplied by the temperature: at 2 the likely got likelier. Divide.")
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    return dialled(logits, 1 / temperature, top_k, top_p)


@wrong(
    "q4",
    hint="The temperature has no effect, as when probabilities are divided by it and then scaled "
    "to 1. Divide the **logits**, before all else.",
)
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    return dialled(logits, 1.0, top_k, top_p)


@wrong("q4", hint="The k-th likeliest is out too. Only what is **less** likely goes.")
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def fewer(logits, top_k):
        if top_k is None:
            return logits
        return logits.masked_fill(logits <= logits.topk(top_k).values[-1], -math.inf)

    return dialled(logits, temperature, top_k, top_p, k=fewer)


@wrong("q4", hint="Tokens as likely as the k-th stay too: compare logits with its, not places.")
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def exactly(logits, top_k):
        if top_k is None:
            return logits
        order = logits.sort(descending=True, stable=True).indices
        return logits.index_fill(0, order[top_k:], -math.inf)

    return dialled(logits, temperature, top_k, top_p, k=exactly)


@wrong("q4", hint="A logit of 0 is not out: e^0 is 1. It takes `-math.inf`.")
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def to_zero(logits, top_k):
        if top_k is None:
            return logits
        return logits.masked_fill(logits < logits.topk(top_k).values[-1], 0.0)

    return dialled(logits, temperature, top_k, top_p, k=to_zero)


@wrong("q4", hint="What top-k leaves does not add up to 1: divide by the sum.")
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    probs = dialled(logits, temperature, top_k, top_p)
    return probs if top_p else (logits / temperature).softmax(0) * (probs > 0)


@wrong("q4", hint="What top-p leaves does not add up to 1: divide by the sum.")
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    return dialled(logits, temperature, top_k, top_p, scale=lambda probs: probs)


@wrong(
    "q4",
    hint="The token with which the sum reaches p is out, and without it p is not reached. "
    "A token stays if those **before** it have less than p.",
)
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def without_it(ordered, top_p):
        out = ordered.cumsum(0) > top_p
        return out if not out[0] else out & (torch.arange(len(out)) > 0)

    return dialled(logits, temperature, top_k, top_p, p=partial(cut_p, out=without_it))


@wrong(
    "q4",
    hint="The token with which the sum reaches p is out; where the first does it alone, none is "
    "left, and 0 / 0 is NaN. A token stays if those **before** it have less than p.",
)
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def without_it(ordered, top_p):
        return ordered.cumsum(0) > top_p

    return dialled(logits, temperature, top_k, top_p, p=partial(cut_p, out=without_it))


@wrong("q4", hint="One token too many stays: once p is reached, the next one is out.")
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def one_more(ordered, top_p):
        reached = ordered.cumsum(0) - ordered >= top_p
        return torch.cat([reached.new_zeros(1), reached[:-1]])

    return dialled(logits, temperature, top_k, top_p, p=partial(cut_p, out=one_more))


@wrong("q4", hint="You began with the least likely. Sort with `descending=True`.")
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def rising(probs, top_p):
        if top_p is None:
            return probs
        ordered, order = probs.sort(stable=True)
        return probs.index_fill(0, order[ordered.cumsum(0) - ordered >= top_p], 0.0)

    return dialled(logits, temperature, top_k, top_p, p=rising)


@wrong(
    "q4",
    hint="The probabilities come back sorted. Each belongs at its token's id: `sort` also gives "
    "these, `torch.zeros_like(probs).scatter(0, order, ordered)`.",
)
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    probs = dialled(logits, temperature, top_k, top_p)
    return probs if top_p is None else probs.sort(descending=True).values


@wrong(
    "q4",
    hint="Of equally likely tokens the last stayed first: a sort that rises, turned around, does "
    "that. Use `sort(descending=True, stable=True)`.",
)
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def turned_around(probs, top_p):
        if top_p is None:
            return probs
        ordered, order = (found.flip(0) for found in probs.sort(stable=True))
        return probs.index_fill(0, order[ordered.cumsum(0) - ordered >= top_p], 0.0)

    return dialled(logits, temperature, top_k, top_p, p=turned_around)


@wrong(
    "q4",
    hint="You compared each token's own probability with p. It is what the likeliest have "
    "**together** that counts.",
)
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def its_own(ordered, top_p):
        return (ordered < 1 - top_p) & (torch.arange(len(ordered)) > 0)

    return dialled(logits, temperature, top_k, top_p, p=partial(cut_p, out=its_own))


@wrong(
    "q4",
    hint="p is a share of what top-k has left. You took it of all tokens: scale to 1 between.",
)
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    scaled = logits / temperature
    probs = cut_p(scaled.softmax(0), top_p)
    return to_one(probs.masked_fill(cut_k(scaled, top_k) == -math.inf, 0.0))


@wrong("q4", hint="Top-p was measured without the temperature. That comes first, before any cut.")
def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    stays = dialled(logits, 1.0, top_k, top_p) > 0
    return (logits / temperature).masked_fill(~stays, -math.inf).softmax(0)


# -- q5 ------------------------------------------------------------------------------------------


def normed(x, gain):
    return functional.rms_norm(x, gain.shape, gain, 1e-5)


def fed_forward(x, weights):
    return (functional.silu(x @ weights["gate"].T) * (x @ weights["up"].T)) @ weights["down"].T


def cut_into_heads(x, dim):
    return x.unflatten(-1, (-1, dim)).transpose(0, 1)


def side_by_side(seen):
    return seen.transpose(0, 1).flatten(1)


def looking(
    h,
    weights,
    turning,
    kept,
    *,
    cut: Callable = cut_into_heads,
    merge: Callable = side_by_side,
    turn: str = "qk",
    join: Callable = lambda old, new: torch.cat([old, new], 1),
    keep: Callable = lambda kept, new, joined: joined,
):
    """Attention with its projections: what it adds to the states, and what is kept."""
    new = {name: cut(h @ weights[name].T, kept[0].shape[-1]) for name in "qkv"}
    new |= {name: rotate(new[name], turning) for name in turn}
    joined = join(kept[0], new["k"]), join(kept[1], new["v"])
    seen = merge(attended(new["q"], *joined)) @ weights["out"].T
    return seen, keep(kept, (new["k"], new["v"]), joined)


def right_block(x, weights, turning, kept, **otherwise):
    seen, kept = looking(normed(x, weights["attention_norm"]), weights, turning, kept, **otherwise)
    x = x + seen
    return x + fed_forward(normed(x, weights["ffn_norm"]), weights), kept


@wrong("q5", hint="What attention found took the place of the states. Add it to them.")
def block(x, weights, turning, kept):
    x, kept = looking(normed(x, weights["attention_norm"]), weights, turning, kept)
    return x + fed_forward(normed(x, weights["ffn_norm"]), weights), kept


@wrong("q5", hint="The feed-forward's result took the place of the states. Add it to them.")
def block(x, weights, turning, kept):
    seen, kept = looking(normed(x, weights["attention_norm"]), weights, turning, kept)
    return fed_forward(normed(x + seen, weights["ffn_norm"]), weights), kept


@wrong("q5", hint="Attention read the states as they are. It reads them normalised.")
def block(x, weights, turning, kept):
    seen, kept = looking(x, weights, turning, kept)
    x = x + seen
    return x + fed_forward(normed(x, weights["ffn_norm"]), weights), kept


@wrong("q5", hint="The feed-forward read the states as they are. It reads them normalised.")
def block(x, weights, turning, kept):
    seen, kept = looking(normed(x, weights["attention_norm"]), weights, turning, kept)
    x = x + seen
    return x + fed_forward(x, weights), kept


@wrong(
    "q5",
    hint="You normalised after adding, as the first Transformers did. Here the sum stays as it "
    "is, and each part reads a normalised copy.",
)
def block(x, weights, turning, kept):
    seen, kept = looking(x, weights, turning, kept)
    x = normed(x + seen, weights["attention_norm"])
    return normed(x + fed_forward(x, weights), weights["ffn_norm"]), kept


@wrong(
    "q5",
    hint="You added to the normalised states. Keep x, and normalise into another variable.",
)
def block(x, weights, turning, kept):
    x = normed(x, weights["attention_norm"])
    seen, kept = looking(x, weights, turning, kept)
    x = normed(x + seen, weights["ffn_norm"])
    return x + fed_forward(x, weights), kept


@wrong(
    "q5",
    hint="The feed-forward read the states from before attention. It comes after: it reads what "
    "attention has added too.",
)
def block(x, weights, turning, kept):
    seen, kept = looking(normed(x, weights["attention_norm"]), weights, turning, kept)
    return x + seen + fed_forward(normed(x, weights["ffn_norm"]), weights), kept


@wrong("q5", hint="Both norms have the gain of the first: the feed-forward's is `ffn_norm`.")
def block(x, weights, turning, kept):
    return right_block(x, {**weights, "ffn_norm": weights["attention_norm"]}, turning, kept)


@wrong(
    "q5",
    hint="`view(heads, tokens, dim)` deals one token's numbers out to others. Cut the last "
    "dimension, then swap: `unflatten(-1, (-1, dim)).transpose(0, 1)`.",
)
def block(x, weights, turning, kept):
    return right_block(x, weights, turning, kept, cut=lambda x, dim: x.reshape(-1, len(x), dim))


@wrong(
    "q5",
    hint="You flattened before swapping back, which mixes tokens and heads: "
    "`seen.transpose(0, 1).flatten(1)`.",
)
def block(x, weights, turning, kept):
    return right_block(
        x, weights, turning, kept, merge=lambda seen: seen.reshape(seen.shape[1], -1)
    )


@wrong("q5", hint="Nothing was turned: without it, the order of the tokens is lost. `rotate` q, k.")
def block(x, weights, turning, kept):
    return right_block(x, weights, turning, kept, turn="")


@wrong("q5", hint="Only the queries were turned. Keys too: what counts is the angle between them.")
def block(x, weights, turning, kept):
    return right_block(x, weights, turning, kept, turn="q")


@wrong("q5", hint="Only the keys were turned. Queries too: what counts is the angle between them.")
def block(x, weights, turning, kept):
    return right_block(x, weights, turning, kept, turn="k")


@wrong("q5", hint="Values were turned too. They are what is said, not where: leave them.")
def block(x, weights, turning, kept):
    return right_block(x, weights, turning, kept, turn="qkv")


@wrong("q5", hint="The kept keys and values stand behind the new ones. They came first.")
def block(x, weights, turning, kept):
    return right_block(x, weights, turning, kept, join=lambda old, new: torch.cat([new, old], 1))


@wrong("q5", hint="What was kept is not looked at, and is lost. Join it with the new.")
def block(x, weights, turning, kept):
    return right_block(x, weights, turning, kept, join=lambda old, new: new)


@wrong("q5", hint="Only the new keys and values came back. Next time the earlier ones are needed.")
def block(x, weights, turning, kept):
    return right_block(x, weights, turning, kept, keep=lambda kept, new, joined: new)


@wrong("q5", hint="What came back as kept is what went in. Give back the new tokens' as well.")
def block(x, weights, turning, kept):
    return right_block(x, weights, turning, kept, keep=lambda kept, new, joined: kept)


# -- q6 ------------------------------------------------------------------------------------------


def whole(ids, model, cache, rope_base, first=None, norm=normed, last=lambda x: x[-1]):
    seen, dim = cache[0][0].shape[1:]
    start = seen if first is None else first
    turning = turns(rope(dim, rope_base), torch.arange(start, start + len(ids)))
    x, now = model["embed"][torch.tensor(ids)], []
    for weights, kept in zip(model["blocks"], cache, strict=True):
        x, kept = right_block(x, weights, turning, kept)
        now.append(kept)
    return last(norm(x, model["norm"])) @ model["embed"].T, now


@wrong("q6", hint="The last norm is missing: states become logits only after it.")
def next_token_logits(ids, model, cache, rope_base=100_000.0):
    return whole(ids, model, cache, rope_base, norm=lambda x, gain: x)


@wrong("q6", hint="Logits of every token came back. Only what follows the last one is asked for.")
def next_token_logits(ids, model, cache, rope_base=100_000.0):
    return whole(ids, model, cache, rope_base, last=lambda x: x)


@wrong("q6", hint="Those are the logits of what follows the **first** token. Take the last state.")
def next_token_logits(ids, model, cache, rope_base=100_000.0):
    return whole(ids, model, cache, rope_base, last=lambda x: x[0])


@wrong("q6", hint="Those are probabilities. Logits are asked for: leave the softmax to question 4.")
def next_token_logits(ids, model, cache, rope_base=100_000.0):
    logits, now = whole(ids, model, cache, rope_base)
    return logits.softmax(0), now


@wrong("q6", hint="RoPE has another base here: pass `rope_base` on to `rope`.")
def next_token_logits(ids, model, cache, rope_base=100_000.0):
    return whole(ids, model, cache, 10_000.0)


@wrong("q6", hint="Positions begin at 1. The first token that was ever read has position 0.")
def next_token_logits(ids, model, cache, rope_base=100_000.0):
    return whole(ids, model, cache, rope_base, first=cache[0][0].shape[1] + 1)


@wrong("q6", hint="The cache came back as it went in. Collect what each block has kept now.")
def next_token_logits(ids, model, cache, rope_base=100_000.0):
    return whole(ids, model, cache, rope_base)[0], list(cache)


@wrong(
    "q6",
    hint="Positions begin at 0 again in every piece. They go on from the tokens in the cache: "
    "`torch.arange(seen, seen + len(ids))`.",
)
def next_token_logits(ids, model, cache, rope_base=100_000.0):
    return whole(ids, model, cache, rope_base, first=0)
