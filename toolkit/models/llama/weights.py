"""Weights by the names that files give them, fused into ours and taken apart again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.models.positions import to_halves, to_interleaved

from .config import LlamaConfig
from .model import Llama


@dataclass(frozen=True, slots=True)
class Names:
    """What a kind of file calls each weight; ``{}`` is the layer.

    Attributes:
        halves: whether queries and keys are laid out for RoPE on halves of a head, and not on
            neighbouring numbers as here.
        ignored: weights that say nothing new: an output that is tied to the embedding.
    """

    embed: str
    norm: str
    output: str
    attention_norm: str
    q: str
    k: str
    v: str
    out: str
    ffn_norm: str
    gate: str
    up: str
    down: str
    halves: bool
    ignored: frozenset[str] = frozenset()


GGUF = Names(
    embed="token_embd.weight",
    norm="output_norm.weight",
    output="output.weight",
    attention_norm="blk.{}.attn_norm.weight",
    q="blk.{}.attn_q.weight",
    k="blk.{}.attn_k.weight",
    v="blk.{}.attn_v.weight",
    out="blk.{}.attn_output.weight",
    ffn_norm="blk.{}.ffn_norm.weight",
    gate="blk.{}.ffn_gate.weight",
    up="blk.{}.ffn_up.weight",
    down="blk.{}.ffn_down.weight",
    halves=False,
)
TRANSFORMERS = Names(
    embed="model.embed_tokens.weight",
    norm="model.norm.weight",
    output="lm_head.weight",
    attention_norm="model.layers.{}.input_layernorm.weight",
    q="model.layers.{}.self_attn.q_proj.weight",
    k="model.layers.{}.self_attn.k_proj.weight",
    v="model.layers.{}.self_attn.v_proj.weight",
    out="model.layers.{}.self_attn.o_proj.weight",
    ffn_norm="model.layers.{}.post_attention_layernorm.weight",
    gate="model.layers.{}.mlp.gate_proj.weight",
    up="model.layers.{}.mlp.up_proj.weight",
    down="model.layers.{}.mlp.down_proj.weight",
    halves=True,
    ignored=frozenset({"lm_head.weight"}),
)


def assemble(
    config: LlamaConfig,
    names: Names,
    read: Callable[[str], Float[Tensor, ...]],
    there: Collection[str],
) -> Llama:
    """The model whose weights ``read`` gives by their names, which must be all that are there.

    Raises:
        ValueError: a weight has not the shape that the sizes ask for, is missing, or is one that
            this architecture has no place for, such as a bias.
    """
    expected = set(_expected(config, names))
    if missing := sorted(expected - set(there)):
        raise ValueError(f"there is no weight {missing[0]!r}: this is no whole model")
    if more := sorted(set(there) - expected - names.ignored):
        raise ValueError(f"there is a weight {more[0]!r}, which this LLaMA has no place for")

    def turned(name: str) -> Tensor:
        weight = read(name)
        return to_interleaved(weight, config.head_dim) if names.halves else weight

    held = {"embed.weight": read(names.embed), "norm.weight": read(names.norm)}
    if not config.tied:
        held["output.weight"] = read(names.output)
    for i in range(config.layers):
        q, k, v = turned(names.q.format(i)), turned(names.k.format(i)), read(names.v.format(i))
        gate, up = read(names.gate.format(i)), read(names.up.format(i))
        held |= {
            f"layers.{i}.attention_norm.weight": read(names.attention_norm.format(i)),
            f"layers.{i}.attention.qkv.weight": torch.cat([q, k, v]),
            f"layers.{i}.attention.out.weight": read(names.out.format(i)),
            f"layers.{i}.ffn_norm.weight": read(names.ffn_norm.format(i)),
            f"layers.{i}.ffn.gate_up.weight": torch.cat([gate, up]),
            f"layers.{i}.ffn.down.weight": read(names.down.format(i)),
        }
    with torch.device("meta"):  # shapes without memory: the weights are there already
        model = Llama(config)
    for name, weight in model.named_parameters():
        if weight.shape != held[name].shape:
            raise ValueError(
                f"the weight {name} is {list(held[name].shape)}, and must be "
                f"{list(weight.shape)} by the model's sizes"
            )
    model.load_state_dict(held, assign=True)
    return model


def _expected(config: LlamaConfig, names: Names) -> Iterator[str]:
    yield from (names.embed, names.norm)
    if not config.tied:
        yield names.output
    each = (names.attention_norm, names.q, names.k, names.v, names.out)
    for name in (*each, names.ffn_norm, names.gate, names.up, names.down):
        yield from (name.format(i) for i in range(config.layers))


def take_apart(model: Llama, names: Names) -> Iterator[tuple[str, Float[Tensor, ...]]]:
    """A model's weights by the names and in the layout of a kind of file."""
    config = model.config
    query, shared = config.heads * config.head_dim, config.kv_heads * config.head_dim

    def turned(weight: Tensor) -> Tensor:
        return to_halves(weight, config.head_dim) if names.halves else weight

    held = model.state_dict()
    yield names.embed, held["embed.weight"]
    yield names.norm, held["norm.weight"]
    if not config.tied:
        yield names.output, held["output.weight"]
    for i in range(config.layers):
        q, k, v = held[f"layers.{i}.attention.qkv.weight"].split([query, shared, shared])
        gate, up = held[f"layers.{i}.ffn.gate_up.weight"].chunk(2)
        yield names.attention_norm.format(i), held[f"layers.{i}.attention_norm.weight"]
        yield names.q.format(i), turned(q)
        yield names.k.format(i), turned(k)
        yield names.v.format(i), v
        yield names.out.format(i), held[f"layers.{i}.attention.out.weight"]
        yield names.ffn_norm.format(i), held[f"layers.{i}.ffn_norm.weight"]
        yield names.gate.format(i), gate
        yield names.up.format(i), up
        yield names.down.format(i), held[f"layers.{i}.ffn.down.weight"]
