"""How well a model foretells a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from toolkit.arguments import whole_number

from .model import Llama


@torch.no_grad()
def losses(
    model: Llama, ids: Sequence[int], chunk: int = 512, start: int = 0
) -> Float[Tensor, " tokens"]:
    """Of each token after the first: -log p(token | all tokens before it), in nats.

    The text is read in chunks through a cache, so that memory grows with its length and not with
    the length's square.

    Args:
        model: any.
        ids: the text's tokens, as a list.
        chunk: tokens read at once.
        start: leave out the losses of the first so many tokens' successors: they are read, and not
            turned into logits.
    Returns:
        len(ids) - 1 - start losses, in fp32.
    Raises:
        ValueError, TypeError: there are fewer than two tokens, or more than the context has.
    """
    if whole_number("chunk", chunk) < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    if not 0 <= whole_number("start", start) < len(ids) - 1:
        raise ValueError(
            f"{len(ids)} tokens have no losses from {start} on: give at least {start + 2}"
        )
    text = model.as_ids(ids).to(model.device)
    cache = model.cache(1, len(ids) - 1)
    found = []
    for place in range(0, len(ids) - 1, chunk):
        read = text[:, place : min(place + chunk, len(ids) - 1)]
        states = model.last_states(read, cache)
        first = max(start - place, 0)
        if first < read.shape[1]:
            logits = model.logits(states[0, first:]).float()
            follow = text[0, place + first + 1 : place + read.shape[1] + 1]
            found.append(functional.cross_entropy(logits, follow, reduction="none"))
    return torch.cat(found).cpu()


def perplexity(model: Llama, ids: Sequence[int]) -> float:
    """exp of the mean loss: between how many tokens the model wavers, if they were equally likely.

    Raises:
        ValueError: there are fewer than two tokens, or more than the context has.
    """
    return float(losses(model, ids).mean().exp())
