"""SmolLM2 past its trained length by each way to stretch RoPE; and ``rotate`` beside its peer.

Input: the longest of the licence texts, one document of 90 kB that names no other. It is read
once by each method with all 16,384 tokens before the last one; the perplexity at a length is that
of the 1,024 tokens which end there, each given everything before it. Dynamic NTK has frequencies
for each length, and so a run for each; "the last 8,192 tokens only" reads no more than training
did, and forgets what came before.

The seconds of the first case are processor seconds of one thread: each method was read in a process
of its own, while others ran.

``error_1e-7`` is the largest error of a turned number, of sizes up to 5, in units of 1e-7.

Ledger
------
Past the trained length
    Predicted: as trained the model is lost soon after 8,192 tokens; NTK-aware by 2 breaks before
    16,384, where it leaves 11 dials outside, and by 4 mends that; YaRN is best.
    Measured: as trained it holds to 10,240 tokens, and has a perplexity of 1,700 at 16,384.
    NTK-aware by 2 holds all the way, and by 4 is worse at every length. Dynamic NTK is best of
    those that stretch to 12,288 tokens, YaRN at 16,384, where alone its temperature pays.
    Interpolation is two to four times as bad at any length: it wants training.
Beside transformers
    Predicted: the same loss of every token within 1e-3. Measured: within 5e-4.
Turning queries and keys
    Predicted: as fast as transformers. Measured: 4 times in decoding and more for a prompt where
    pairs are neighbours. In halves, about twice in decoding, and alike for a prompt.
Where ours loses
    None of the methods beats forgetting all but the last 8,192 tokens, which reads no more than it
    was trained to: the next token of this text hardly ever hangs on what is further off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from toolkit import assets, course
from toolkit.bench import Case
from toolkit.models.llama import Llama, load, losses
from toolkit.models.positions import (
    Rope,
    dynamic_ntk,
    interpolation,
    ntk_aware,
    rope,
    rotate,
    turns,
    yarn,
)

sys.path.append(str(course.root()))  # the command doesn't look there

from tests.models.smollm_greedy import transformers_model

PACKAGES = ("torch", "transformers")
theirs = cache(transformers_model)
MODEL, TEXTS = "smollm2-135m-instruct", "license-texts"
LENGTHS = (2_048, 4_096, 6_144, 8_192, 9_216, 10_240, 12_288, 16_384)
WINDOW = 1_024
"""How many tokens the perplexity at a length is of, the last ones."""

Losses = dict[int, Float[Tensor, " window"]]
"""Of the window that ends at each length."""


def cases() -> list[Case]:
    """Ours and each peer on the same input, with the quality that each reaches."""
    model = load(MODEL)
    ids = model.tokenizer.encode(max(assets.texts(TEXTS).texts, key=len))
    return [
        stretching(model, ids),
        beside_transformers(model, ids, "linear", 4_096),
        beside_transformers(model, ids, "yarn", 4_096),
        beside_transformers(model, ids, "dynamic", 9_216),
        turning("decoding, batch 1", batch=1, tokens=1, calls=2_000),
        turning("decoding, batch 8", batch=8, tokens=1, calls=2_000),
        turning("a prompt of 2,048 tokens", batch=1, tokens=2_048, calls=200),
    ]


def stretching(model: Llama, ids: list[int]) -> Case:
    """The model as trained against each way to stretch it."""
    dim, base, trained = model.config.head_dim, model.config.rope_base, model.config.context
    methods = {
        "interpolation, factor 2": interpolation(dim, base, 2),
        "NTK-aware, factor 2": ntk_aware(dim, base, 2),
        "NTK-aware, factor 4": ntk_aware(dim, base, 4),
        "YaRN, factor 2": yarn(dim, base, trained, 2),
        "YaRN, factor 2, no temperature": Rope(yarn(dim, base, trained, 2).frequencies),
    }
    return Case(
        name="perplexity of SmolLM2 against context",
        params={
            "ours": "as trained",
            "text": f"the longest of {TEXTS}",
            "tokens": LENGTHS[-1],
            "window": WINDOW,
            "trained": trained,
            "threads": torch.get_num_threads(),
        },
        ours=partial(in_one_run, model, ids, rope(dim, base)),
        peers={name: partial(in_one_run, model, ids, made) for name, made in methods.items()}
        | {
            "dynamic NTK": partial(by_dynamic_ntk, model, ids),
            "the last 8,192 tokens only": partial(by_the_last_tokens, model, ids),
        },
        quality=perplexities,
        rounds=0,
    )


def in_one_run(
    model: Llama, ids: list[int], made: Rope, lengths: tuple[int, ...] = LENGTHS
) -> Losses:
    """With frequencies that are the same at every length."""
    model.stretch(made, lengths[-1] + 1)  # the token that ends the text is only foretold
    first = lengths[0] - WINDOW
    found = losses(model, ids[: lengths[-1] + 1], start=first)
    return {length: found[length - WINDOW - first : length - first] for length in lengths}


def by_dynamic_ntk(model: Llama, ids: list[int]) -> Losses:
    """With frequencies of each length, all keys turned by them."""
    dim, base, trained = model.config.head_dim, model.config.rope_base, model.config.context
    found = in_one_run(model, ids, rope(dim, base), within(trained))
    for length in beyond(trained):
        found |= in_one_run(model, ids, dynamic_ntk(dim, base, trained, length), (length,))
    return found


def by_the_last_tokens(model: Llama, ids: list[int]) -> Losses:
    """As trained, with no more tokens before the end of the window than in training."""
    trained = model.config.context
    as_trained = rope(model.config.head_dim, model.config.rope_base)
    found = in_one_run(model, ids, as_trained, within(trained))
    for length in beyond(trained):
        (kept,) = in_one_run(model, ids[length - trained :], as_trained, (trained,)).values()
        found[length] = kept
    return found


def within(trained: int) -> tuple[int, ...]:
    """The lengths that training knew."""
    return tuple(length for length in LENGTHS if length <= trained)


def beyond(trained: int) -> tuple[int, ...]:
    """The lengths that it did not."""
    return tuple(length for length in LENGTHS if length > trained)


def perplexities(found: Losses) -> dict[str, float]:
    """At each length."""
    return {f"at_{length}": float(window.mean().exp()) for length, window in found.items()}


def beside_transformers(model: Llama, ids: list[int], kind: str, length: int) -> Case:
    """One method by both, on so many tokens: the perplexity of the last of them."""
    dim, base, trained = model.config.head_dim, model.config.rope_base, model.config.context
    made = {
        "linear": lambda: interpolation(dim, base, 2),
        "yarn": lambda: yarn(dim, base, trained, 2),
        "dynamic": lambda: dynamic_ntk(dim, base, trained, length),
    }[kind]()
    parameters = {
        "rope_type": kind,
        "rope_theta": base,
        "factor": 1.0 if kind == "dynamic" else 2.0,
        "original_max_position_embeddings": trained,
    }
    peer = partial(by_transformers, ids, parameters, length)
    exact = cache(peer)  # the peer's losses, for the distance of ours from them

    def quality(found: Losses) -> dict[str, float]:
        error = (found[length] - exact()[length]).abs().max()
        return perplexities(found) | {"largest_difference": float(error)}

    return Case(
        name=f"{kind}, {length:,} tokens, beside transformers",
        params={"tokens": length, "window": WINDOW, "threads": torch.get_num_threads()},
        ours=partial(in_one_run, model, ids, made, (length,)),
        peers={"transformers": peer},
        quality=quality,
        rounds=0,
    )


@torch.inference_mode()
def by_transformers(ids: list[int], parameters: Mapping[str, Any], length: int) -> Losses:
    """The losses of the last window, with RoPE as its configuration says."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    model = theirs()
    model.config.rope_parameters = dict(parameters)
    model.model.rotary_emb = LlamaRotaryEmbedding(model.config)
    text = torch.tensor([ids[: length + 1]])
    logits = model(text[:, :-1], logits_to_keep=WINDOW, use_cache=False).logits[0]
    return {length: functional.cross_entropy(logits, text[0, -WINDOW:], reduction="none")}


def turning(name: str, batch: int, tokens: int, calls: int) -> Case:
    """Queries and keys of one layer of SmolLM2's size, turned by us and by transformers."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    heads, kv_heads, dim = 9, 3, 64
    generator = torch.Generator().manual_seed(0)
    neighbours = torch.randn(batch, heads + kv_heads, tokens, dim, generator=generator)
    halves = neighbours.unflatten(-1, (-1, 2)).mT.flatten(-2)
    at = turns(rope(dim, 100_000), torch.arange(4_000, 4_000 + tokens)[None])[:, None]
    cos, sin = (torch.cat((part, part), -1)[:, 0] for part in (at.real, at.imag))
    exact = torch.view_as_complex(neighbours.double().unflatten(-1, (-1, 2))) * at.to(torch.cdouble)

    def repeated(turn: Callable[[], Any]) -> Any:
        for _ in range(calls):
            answer = turn()
        return answer

    def quality(answer: Tensor | tuple[Tensor, Tensor], halves: bool) -> dict[str, float]:
        whole = torch.cat(answer, 1) if isinstance(answer, tuple) else answer
        parts = whole.chunk(2, -1) if halves else (whole[..., 0::2], whole[..., 1::2])
        return {"error_1e-7": 1e7 * float((torch.complex(*parts) - exact).abs().max())}

    return Case(
        name=f"turning queries and keys, {name}",
        params={
            "ours": "ours, neighbours",
            "batch": batch,
            "tokens": tokens,
            "calls": calls,
            "threads": torch.get_num_threads(),
        },
        ours=lambda: (repeated(lambda: rotate(neighbours, at)), False),
        peers={
            "ours, halves": lambda: (repeated(lambda: rotate(halves, at, "halves")), True),
            "transformers": lambda: (
                repeated(
                    lambda: apply_rotary_pos_emb(halves[:, :heads], halves[:, heads:], cos, sin)
                ),
                True,
            ),
        },
        quality=lambda found: quality(*found),
        rounds=9,
    )
