"""Which token comes next: the likeliest, or one drawn from those worth drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from toolkit.arguments import whole_number


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: what logits are divided by; 0 takes the likeliest token.
        top_k: draw only from tokens at least as likely as the k-th likeliest.
        top_p: draw from the fewest likeliest that have this probability together (nucleus).
    Raises:
        ValueError, TypeError: one is outside its range.
    Source:
        Nucleus: Holtzman et al. 2020.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        temperature = self.temperature
        if not isinstance(temperature, Real) or not (temperature == 0 or 1e-6 <= temperature < 1e6):
            raise ValueError(f"temperature must be 0, or 1e-6 to 1e6, got {temperature!r}")
        if self.top_k is not None and whole_number("top_k", self.top_k) < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k!r}")
        if self.top_p is not None and not (isinstance(self.top_p, Real) and 0 < self.top_p <= 1):
            raise ValueError(f"top_p must be over 0 and at most 1, got {self.top_p!r}")


def probabilities(
    logits: Float[Tensor, "... vocab"], sampling: Sampling
) -> Float[Tensor, "... vocab"]:
    """What is drawn from: softmax of the logits by temperature, with the tail cut off.

    Args:
        logits: of the next token.
        sampling: its temperature is over 0.
    """
    logits = logits.float() / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k).values[..., -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    probs = logits.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = probs.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.masked_fill(before >= sampling.top_p, 0.0)  # the first always stays
        probs = torch.zeros_like(probs).scatter(-1, order, ordered)
        probs = probs / probs.sum(-1, keepdim=True)
    return probs


def choose(
    logits: Float[Tensor, "batch vocab"],
    sampling: Sampling,
    uniform: Float64[Tensor, " batch"],
) -> Int64[Tensor, " batch"]:
    """A token for each text.

    Args:
        logits: of the next token.
        sampling: how.
        uniform: for each text a number in [0, 1), drawn evenly: the token is the first up to which
            the probabilities add up to more.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    upto = probabilities(logits, sampling).double().cumsum(-1)
    wanted = uniform.to(upto)[:, None] * upto[:, -1:]
    return torch.searchsorted(upto, wanted, right=True)[:, 0]
