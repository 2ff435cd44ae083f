"""MiniLM, whose weights are fp32 as trained: its layers' outputs and what it retrieves, in 4 bits.

Texts are licences, one of each name, so that few are the same. Some calibrate; of the others one
stretch of words is a passage, and a later one asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as product
from torch.nn.functional import normalize

from toolkit import assets
from toolkit.bench import Case
from toolkit.kernels.quant_gemm import (
    QuantizedWeight,
    awq,
    gptq,
    hessian,
    nf4,
    round_to_nearest,
    w8a8_matmul,
)

GROUP, NF4_GROUP = 128, 64
CALIBRATION, PASSAGES = 100, 200
MEASURED = 40  # passages on which the layers' outputs are compared
BATCH = 20


@dataclass(frozen=True, slots=True)
class Layer:
    """x times a weight as a method keeps it, and the bytes of that."""

    multiply: Callable[[Tensor], Tensor]
    nbytes: int


Method = Callable[[Tensor, Tensor], Layer]
Layers = dict[str, Layer]


def _plain(quantized: QuantizedWeight, column_scales: Tensor | None = None) -> Layer:
    weight, extra = quantized.dequantize(), 0
    if column_scales is not None:
        weight, extra = weight / column_scales, 2 * len(column_scales)
    return Layer(lambda x: product(x, weight), quantized.nbytes + extra)


def _by_rounding(weight: Tensor, _: Tensor, *, symmetric: bool = True) -> Layer:
    return _plain(round_to_nearest(weight, GROUP, symmetric=symmetric))


def _by_gptq(
    weight: Tensor, x: Tensor, *, symmetric: bool = True, act_order: bool = False
) -> Layer:
    return _plain(gptq(weight, hessian(x), GROUP, symmetric=symmetric, act_order=act_order))


def _in_eight_bits(weight: Tensor, _: Tensor) -> Layer:
    quantized = round_to_nearest(weight, -1, bits=8)
    return Layer(lambda x: w8a8_matmul(x, quantized), quantized.nbytes)


METHODS: dict[str, Method] = {
    "GPTQ, symmetric": _by_gptq,
    "GPTQ, symmetric, activation order": partial(_by_gptq, act_order=True),
    "GPTQ, asymmetric, activation order": partial(_by_gptq, symmetric=False, act_order=True),
    "AWQ, asymmetric": lambda weight, x: _plain(*awq(weight, x, GROUP)),
    "to nearest, symmetric": _by_rounding,
    "to nearest, asymmetric": partial(_by_rounding, symmetric=False),
    f"NF4, groups of {NF4_GROUP}": lambda weight, _: _plain(nf4(weight, NF4_GROUP)),
    "W8A8": _in_eight_bits,
    "fp32, as trained": lambda weight, _: Layer(lambda x: product(x, weight), weight.nbytes),
}
"""What each makes of a weight and of the inputs that calibrate it."""


@cache
def texts() -> tuple[list[str], list[str], list[str]]:
    """Calibration, passages, and a query for each passage."""
    corpus = assets.texts("license-texts")
    first: dict[str, list[str]] = {}
    for text, name in zip(corpus.texts, corpus.labels, strict=True):
        words = text.split()
        if len(words) >= 150:
            first.setdefault(name, words)
    names = sorted(first)
    step = len(names) // (CALIBRATION + PASSAGES)
    chosen = [first[name] for name in names[::step]][: CALIBRATION + PASSAGES]
    calibration, held_out = chosen[::3], [words for i, words in enumerate(chosen) if i % 3]
    return (
        [" ".join(words[:80]) for words in calibration],
        [" ".join(words[40:90]) for words in held_out],
        [" ".join(words[90:110]) for words in held_out],
    )


@cache
def model() -> tuple[Any, Any]:
    """The tokenizer and the model, by transformers, without a network."""
    from transformers import AutoModel, AutoTokenizer

    path = assets.get("minilm-l6-v2")
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    return tokenizer, AutoModel.from_pretrained(path, local_files_only=True).eval()


@cache
def linears() -> dict[str, nn.Linear]:
    """The matrices of the six blocks."""
    _, bert = model()
    return {
        name: layer for name, layer in bert.encoder.named_modules() if isinstance(layer, nn.Linear)
    }


@torch.inference_mode()
def embed(given: list[str]) -> Tensor:
    """Sentences as vectors of length 1: the mean over their tokens."""
    tokenizer, bert = model()
    vectors = []
    for start in range(0, len(given), BATCH):
        batch = tokenizer(given[start : start + BATCH], return_tensors="pt", padding=True)
        seen = batch["attention_mask"][..., None]
        states = bert(**batch).last_hidden_state
        vectors.append(normalize((states * seen).sum(1) / seen.sum(1)))
    return torch.cat(vectors)


def inputs(given: list[str]) -> dict[str, Tensor]:
    """What each layer of the model as trained is given for some texts, (tokens, in)."""
    tokenizer, bert = model()
    found: dict[str, list[Tensor]] = {name: [] for name in linears()}
    handles = []
    for name, layer in linears().items():

        def note(_: nn.Module, seen: tuple, name: str = name) -> None:
            found[name].append(seen[0][0])

        handles.append(layer.register_forward_pre_hook(note))
    with torch.no_grad():
        for text in given:  # one at a time, without padding
            bert(**tokenizer(text, return_tensors="pt"))
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


@cache
def calibration_inputs() -> dict[str, Tensor]:
    return inputs(texts()[0])


@cache
def held_out_inputs() -> dict[str, Tensor]:
    return inputs(texts()[1][:MEASURED])


def quantised(method: str) -> Layers:
    """Every layer of the blocks by a method."""
    given = calibration_inputs()
    return {
        name: METHODS[method](layer.weight.detach(), given[name])
        for name, layer in linears().items()
    }


@contextmanager
def instead(layers: Layers) -> Iterator[None]:
    """The model multiplies by these."""
    with ExitStack() as changes:
        for name, layer in linears().items():

            def forward(
                x: Tensor, multiply: Any = layers[name].multiply, bias: Any = layer.bias
            ) -> Any:
                return multiply(x) + bias

            changes.enter_context(patch.object(layer, "forward", forward))
        yield


def errors(layers: Layers) -> dict[str, float]:
    """|y' - y| / |y| of each layer's outputs, its inputs being those of the model as trained."""
    found = {}
    for name, layer in linears().items():
        x = held_out_inputs()[name]
        y = product(x, layer.weight.detach())
        found[name] = ((layers[name].multiply(x) - y).norm() / y.norm()).item()
    return found


@cache
def nearest() -> Tensor:
    """For each query the ten nearest passages, by the model as trained."""
    _, passages, queries = texts()
    return (embed(queries) @ embed(passages).T).topk(10).indices


@cache
def errors_of_rounding(*, symmetric: bool) -> dict[str, float]:
    return errors(quantised(f"to nearest, {'' if symmetric else 'a'}symmetric"))


def quality(layers: Layers) -> dict[str, float]:
    """Layer error, agreement of retrieval with the model as trained, and bytes.

    ``worse_layers`` are those with a larger error than by symmetric rounding to nearest.
    """
    found, plain = errors(layers), errors_of_rounding(symmetric=True)
    before = nearest()
    _, passages, queries = texts()
    with instead(layers):
        after = (embed(queries) @ embed(passages).T).topk(10).indices
    shared = (before[:, :, None] == after[:, None]).any(-1).float().mean()
    return {
        "layer_error": sum(found.values()) / len(found),
        "worse_layers": float(sum(found[name] > plain[name] for name in found)),
        "same_top_1": (before[:, 0] == after[:, 0]).float().mean().item(),
        "shared_top_10": shared.item(),
        "megabytes": sum(layer.nbytes for layer in layers.values()) / 1e6,
    }


def retrieving() -> Case:
    """Each method on the same layers; the seconds are those of quantising.

    The first one's have the calibration texts' way through the model in them.
    """
    ours, *peers = METHODS
    return Case(
        "MiniLM, quantised",
        {
            "ours": ours, "group": GROUP, "calibration_texts": CALIBRATION,
            "passages": PASSAGES, "queries": PASSAGES,
        },
        lambda: quantised(ours),
        {name: partial(quantised, name) for name in peers},
        quality,
        rounds=0,
    )  # fmt: skip
