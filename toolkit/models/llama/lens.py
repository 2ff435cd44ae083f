"""The logit lens: what a model would say if it ended after each of its layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int32

from toolkit.arguments import whole_number

from .model import Llama


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """What each depth would say next, at each token of a text.

    Depth 0 is the embedding, depth d the state after d blocks.

    Attributes:
        tokens: the text's, as text.
        vocabulary: the tokens that ``top`` names, as text.
        top: of each depth and token the likeliest next tokens, likeliest first, by their places in
            ``vocabulary``.
        probabilities: theirs.
        said: the probability, at each depth, of the token that the last depth finds likeliest.
        ranks: how many tokens are likelier at that depth than that one.
    """

    tokens: tuple[str, ...]
    vocabulary: tuple[str, ...]
    top: Int32[np.ndarray, "depths tokens k"]
    probabilities: Float32[np.ndarray, "depths tokens k"]
    said: Float32[np.ndarray, "depths tokens"]
    ranks: Int32[np.ndarray, "depths tokens"]


@torch.inference_mode()
def lens(model: Llama, text: str, k: int = 5) -> Lens:
    """Read a text, and turn the states after every block into logits as if it were the last.

    Args:
        model: with a tokenizer.
        text: at least one token.
        k: how many of the likeliest next tokens to keep.
    Raises:
        ValueError: the text is empty, or longer than the context; k is less than 1.
    Source:
        nostalgebraist 2020.
    """
    if not 1 <= whole_number("k", k) <= model.config.vocab_size:
        raise ValueError(f"k must be 1 to {model.config.vocab_size}, got {k}")
    ids = model.tokenizer.encode(text)
    batch = model.as_ids(ids).to(model.device)
    states = [depth[0] for depth in model.states(batch)]
    final = model.logits(states[-1]).argmax(-1, keepdim=True)
    tops, likely, said, ranks = [], [], [], []
    for depth in states:
        probs = model.logits(depth).float().softmax(-1)
        best = probs.topk(k)
        tops.append(best.indices)
        likely.append(best.values)
        said.append(probs.gather(-1, final)[:, 0])
        ranks.append((probs > said[-1][:, None]).sum(-1))
    named, top = np.unique(torch.stack(tops).cpu().numpy(), return_inverse=True)
    return Lens(
        tokens=tuple(model.tokenizer.decode([token]) for token in ids),
        vocabulary=tuple(model.tokenizer.decode([token]) for token in named.tolist()),
        top=top.reshape(len(states), len(ids), k).astype(np.int32),
        probabilities=torch.stack(likely).cpu().numpy(),
        said=torch.stack(said).cpu().numpy(),
        ranks=torch.stack(ranks).cpu().numpy().astype(np.int32),
    )
