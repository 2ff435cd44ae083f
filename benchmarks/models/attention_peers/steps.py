"""One token written after many: our layers and transformers', on the same weights and cache."""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from toolkit.bench import Case
from toolkit.bench.harness import Contestant
from toolkit.models.attention import (
    GroupedAttention,
    HeadCache,
    LatentAttention,
    LatentCache,
)
from toolkit.models.positions import rope

if TYPE_CHECKING:
    from .layers import Decoder

WIDTH, HEADS, HEAD_DIM = 1024, 16, 64
KV_HEADS = {"MHA": 16, "GQA": 4, "MQA": 1}
LATENT, ROPE_DIM = 4 * HEAD_DIM, HEAD_DIM // 2  # DeepSeek-V2's proportions
DYNAMIC, STATIC, NAIVE = "transformers", "transformers, static cache", "ours, naive"


@dataclass(frozen=True, slots=True)
class Step:
    """What the layer makes of a token, and the size of the cache with that token in it."""

    output: Tensor
    cache_bytes: int


class Decoding:
    """One step of decoding, again and again at one place of one text of random numbers.

    Args:
        kind: MHA, GQA, MQA or MLA.
        context: tokens attended to, the new one among them.
        steps: how many times a contestant does the step when it is called.
    """

    def __init__(self, kind: str, context: int, steps: int) -> None:
        self.context, self.steps = context, steps
        random = torch.Generator().manual_seed(0)
        self.layer: GroupedAttention | LatentAttention
        self.cache: HeadCache | LatentCache
        if kind == "MLA":
            self.layer = LatentAttention(WIDTH, HEADS, HEAD_DIM, LATENT, rope(ROPE_DIM))
            self.cache = LatentCache(1, context, LATENT, ROPE_DIM)
            self.buffers = self.cache.latent, self.cache.rope_key
        else:
            self.layer = GroupedAttention(WIDTH, HEADS, KV_HEADS[kind], rope(HEAD_DIM))
            self.cache = HeadCache(1, KV_HEADS[kind], context, HEAD_DIM)
            self.buffers = self.cache.keys, self.cache.values
        self.layer.requires_grad_(False)
        for buffer in self.buffers:
            buffer.normal_(generator=random)
        self.h = torch.randn(1, 1, WIDTH, generator=random)

    @torch.inference_mode()
    def ours(self, **way: bool) -> Step:
        """By our layer."""
        for _ in range(self.steps):
            self.cache.length = self.context - 1
            output = self.layer(self.h, self.cache, **way)
        return Step(output, sum(buffer.nbytes for buffer in self.buffers))

    @torch.inference_mode()
    def by_transformers(self, *, static: bool) -> Step:
        """By transformers' layer, whose cache grows, or is made for so many tokens."""
        decoder = self._static if static else self._dynamic
        for _ in range(self.steps):
            output = decoder(self.h)
        return Step(output, decoder.cache_bytes())

    def quality(self, step: Step) -> dict[str, float]:
        """The greatest difference from the step in double precision; the size of the cache."""
        error = (step.output - self._exact).abs().max().item()
        return {"error_millionths": error * 1e6, "cache_mib": step.cache_bytes / 2**20}

    @cached_property
    def _exact(self) -> Tensor:
        layer, cache = deepcopy(self.layer).double(), copy(self.cache)
        for name, value in vars(self.cache).items():
            setattr(cache, name, value.double() if isinstance(value, Tensor) else value)
        cache.length = self.context - 1
        # By the absorbed way: the naive one would make all keys in double precision.
        way = {"absorbed": True} if isinstance(layer, LatentAttention) else {}
        with torch.inference_mode():
            return layer(self.h.double(), cache, **way)

    @cached_property
    def _dynamic(self) -> Decoder:
        return self._transformers(static=False)

    @cached_property
    def _static(self) -> Decoder:
        return self._transformers(static=True)

    def _transformers(self, *, static: bool) -> Decoder:
        # Here, because measuring our memory needs no transformers.
        from .layers import deepseek, llama

        self.cache.length = self.context - 1
        make = deepseek if isinstance(self.layer, LatentAttention) else llama
        return make(self.layer, self.cache, static=static)


def decoding(kind: str, context: int, *, rounds: int) -> Case:
    """A step of one kind beside transformers', with a cache that grows and one of a fixed size.

    The absorbed way has ours, naive, in place of the second.

    Args:
        kind: MHA, GQA, MQA, or MLA, naive or absorbed.
        context: tokens attended to.
        rounds: how often ours is paired with each.
    """
    family, _, way = kind.partition(", ")
    steps = max(1, 8192 // context)  # a call of some milliseconds at least
    run = Decoding(family, context, steps)
    ours: Contestant = run.ours
    peers: dict[str, Contestant] = {DYNAMIC: partial(run.by_transformers, static=False)}
    if way == "absorbed":
        ours = partial(run.ours, absorbed=True)
        peers[NAIVE] = run.ours
    else:
        peers[STATIC] = partial(run.by_transformers, static=True)
    if family == "MLA":
        sizes = {"latent": LATENT, "rope_dim": ROPE_DIM}
    else:
        sizes = {"kv_heads": KV_HEADS[kind]}
    params = {
        "context": context,
        "steps": steps,
        "width": WIDTH,
        "heads": HEADS,
        "head_dim": HEAD_DIM,
        **sizes,
        "dtype": "fp32",
        "threads": torch.get_num_threads(),
    }
    return Case(f"one step by {kind}, {context:,} tokens", params, ours, peers, run.quality, rounds)
