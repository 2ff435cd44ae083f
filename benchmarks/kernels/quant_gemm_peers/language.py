"""SmolLM2 in 4 bits, judged by its weights as shipped, and how fast it writes.

Its file is Q4_1: groups of 32 that have a scale and a least weight, 5 bits a weight in all. Other
grids round these weights a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from toolkit import assets
from toolkit.bench import Case
from toolkit.kernels.quant_gemm import Int4Linear, quantize_model, round_to_nearest
from toolkit.models.llama import Llama, load

GROUP = 64
TEXTS, LENGTH = 16, 256
SHIPPED_GROUP, SHIPPED_BYTES = 32, 20  # of Q4_1: 32 codes, and two fp16 numbers
NEW_TOKENS = 64
PROMPT = "Once upon a time, in a village by the sea,"


@dataclass(frozen=True, slots=True)
class Quantised:
    """A model, and the bytes of its blocks' matrices in the form that they would be stored in."""

    model: Llama
    nbytes: int


@cache
def shipped() -> Llama:
    """As in the file, widened to fp32; without an end token, so that no text ends early."""
    model = load("smollm2-135m-instruct")
    model.config = replace(model.config, eos=())
    return model


def _rows(text: str, count: int) -> Tensor:
    ids = shipped().tokenizer.encode(text)
    return torch.tensor(ids[: count * LENGTH]).view(count, LENGTH)


@cache
def calibration() -> Tensor:
    """Tokens of licences."""
    corpus = assets.texts("license-texts")
    long = [text for text in corpus.texts[::50] if len(text) > 6 * LENGTH]
    return torch.cat([_rows(text, 1) for text in long[:TEXTS]])


@cache
def held_out() -> Tensor:
    """Tokens of another kind of text, Python's own help."""
    return _rows("\n".join(topics.values())[:60_000], TEXTS // 2)


def by_library(method: str) -> Quantised:
    model = quantize_model(shipped(), method, GROUP, calibration())
    layers = [layer for layer in model.modules() if isinstance(layer, Int4Linear)]
    return Quantised(model, sum(layer.nbytes for layer in layers))


def by_asymmetric_rounding(group: int) -> Quantised:
    model, nbytes = deepcopy(shipped()).requires_grad_(requires_grad=False), 0
    for layer in model.layers.modules():
        if isinstance(layer, nn.Linear):
            weight = round_to_nearest(layer.weight, group, symmetric=False)
            layer.weight.copy_(weight.dequantize())
            nbytes += weight.nbytes
    return Quantised(model, nbytes)


def as_shipped() -> Quantised:
    layers = [layer for layer in shipped().layers.modules() if isinstance(layer, nn.Linear)]
    weights = sum(layer.weight.numel() for layer in layers)
    return Quantised(shipped(), weights * SHIPPED_BYTES // SHIPPED_GROUP)


@torch.inference_mode()
def read(model: Llama) -> tuple[float, Tensor]:
    """Perplexity of the held-out text, and the likeliest token after each of its tokens."""
    losses, likeliest = [], []
    for row in held_out():
        (logits,) = model(row[None])
        losses.append(cross_entropy(logits[:-1], row[1:]))
        likeliest.append(logits.argmax(-1))
    return torch.stack(losses).mean().exp().item(), torch.cat(likeliest)


@cache
def read_by_shipped() -> tuple[float, Tensor]:
    return read(shipped())


def quality(made: Quantised) -> dict[str, float]:
    """``same_greedy``: where the likeliest next token is that of the weights as shipped."""
    perplexity, likeliest = read(made.model)
    return {
        "perplexity": perplexity,
        "same_greedy": (likeliest == read_by_shipped()[1]).float().mean().item(),
        "megabytes": made.nbytes / 1e6,
    }


METHODS: dict[str, Callable[[], Quantised]] = {
    "GPTQ, symmetric": partial(by_library, "gptq"),
    "AWQ, asymmetric": partial(by_library, "awq"),
    "NF4": partial(by_library, "nf4"),
    "to nearest, symmetric": partial(by_library, "rtn"),
    "to nearest, asymmetric": partial(by_asymmetric_rounding, GROUP),
    "to nearest, asymmetric, groups of 32": partial(by_asymmetric_rounding, 32),
    "Q4_1, as shipped": as_shipped,
}


def reading() -> Case:
    """Each method on the blocks' matrices; the seconds are those of quantising."""
    ours, *peers = METHODS
    return Case(
        "SmolLM2, quantised",
        {"ours": ours, "group": GROUP, "calibration_tokens": TEXTS * LENGTH,
         "held_out_tokens": TEXTS // 2 * LENGTH},
        METHODS[ours],
        {name: METHODS[name] for name in peers},
        quality,
        rounds=0,
    )  # fmt: skip


@cache
def in_four_bits() -> Llama:
    return by_library("rtn").model


def writing(batch: int) -> Case:
    """The likeliest tokens after a prompt, by 4-bit blocks and by the same model in fp32.

    Embedding and head, one matrix of 28 million numbers, are fp32 in both.
    """

    def write(model: Callable[[], Llama]) -> Callable[[], list[list[int]]]:
        return lambda: model().generate([PROMPT] * batch, NEW_TOKENS).run()

    return Case(
        f"SmolLM2 writing, batch {batch}",
        {"ours": "4-bit blocks, to nearest", "batch": batch, "new_tokens": NEW_TOKENS,
         "group": GROUP, "threads": torch.get_num_threads()},
        write(in_four_bits),
        {"fp32": write(shipped)},
        lambda rows: {"tokens": float(sum(map(len, rows)))},
        rounds=3,
    )  # fmt: skip
