"""Fewer key-value heads for a model that was trained with more."""

from __future__ import annotations

from dataclasses import replace

import torch

from toolkit.models.attention import share_heads

from .model import Llama


@torch.no_grad()
def share_kv_heads(model: Llama, kv_heads: int) -> Llama:
    """A copy whose key and value heads are averaged, so that more query heads share each.

    This is where training for multi-query or grouped-query attention begins; without that training
    the copy has lost a good deal.

    Args:
        model: left as it is.
        kv_heads: how many to leave; divides those there are.
    Raises:
        ValueError: it does not.
    Source:
        Ainslie et al. 2023, section 2.1.
    """
    old = model.config
    config = replace(old, kv_heads=kv_heads)
    held = dict(model.state_dict())
    split = [old.heads * old.head_dim, *[old.kv_heads * old.head_dim] * 2]
    for i in range(old.layers):
        name = f"layers.{i}.attention.qkv.weight"
        q, k, v = held[name].split(split)
        held[name] = torch.cat([q, *(share_heads(w, old.kv_heads, kv_heads) for w in (k, v))])
    with torch.device("meta"):
        shared = Llama(config)
    shared.load_state_dict({name: weight.clone() for name, weight in held.items()}, assign=True)
    shared.stretch(model.rope, model.context)
    shared.chat_template, shared.no_tokenizer = model.chat_template, model.no_tokenizer
    if model.has_tokenizer:
        shared.tokenizer = model.tokenizer
    return shared.eval()
