"""Long prompts in a cache that is full: by hashes, and by a radix tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from time import perf_counter

import numpy as np

from toolkit.bench import Case
from toolkit.serving.batching import LiveRequest
from toolkit.serving.kv_cache import PrefixBlocks, RadixMemory

PROMPT, BLOCK_SIZE, HELD = 32_768, 16, 1_000_000
CALLS = 8
MOST_CALLS = 8
VOCABULARY = 150_000

Cache = PrefixBlocks | RadixMemory
Quality = dict[str, float]
ids = count()


def arriving(tokens: list[int]) -> LiveRequest:
    """A request with a prompt."""
    return LiveRequest(next(ids), 0.0, len(tokens), 64, len(tokens), tokens=tokens)


def serve(cache: Cache, request: LiveRequest) -> tuple[float, float]:
    """Let it find, compute and leave its blocks; tokens found, and seconds of the insert alone."""
    cache.hit(request)
    began = perf_counter()
    found = cache.admit(request)
    cache.grow(request, request.known)
    request.computed = request.known
    cache.wrote(request)
    seconds = perf_counter() - began
    cache.release(request)
    return found, seconds


@cache
def full(kind: type[Cache]) -> tuple[Cache, list[list[int]]]:
    """A cache that holds a million blocks, and the prompts that came last."""
    held, dice = kind(HELD, BLOCK_SIZE), np.random.default_rng(0)
    last: list[list[int]] = []
    for _ in range(HELD * BLOCK_SIZE // PROMPT):
        prompt = dice.integers(0, VOCABULARY, PROMPT).tolist()
        serve(held, arriving(prompt))
        last = [*last[1 - CALLS :], prompt]
    return held, last


def _case(name: str, call: Callable[[type[Cache]], Quality]) -> Case:
    return Case(
        name,
        {
            "ours": "hashes",
            "tokens": PROMPT,
            "block_size": BLOCK_SIZE,
            "held": HELD,
            "calls": CALLS,
        },
        lambda: call(PrefixBlocks),
        {"radix tree": lambda: call(RadixMemory)},
        lambda found: found,
        rounds=3,
    )


def looking_up() -> Case:
    """How much of a prompt that was served before is there; each time a request of its own."""

    def call(kind: type[Cache]) -> Quality:
        held, prompts = full(kind)
        return {"tokens_found": float(np.mean([held.hit(arriving(one)) for one in prompts]))}

    return _case("lookup of 32,768 tokens", call)


def serving() -> Case:
    """Prompts that nobody has sent before are looked up, put in and released; as many others go."""

    @cache
    def new(kind: type[Cache]) -> Iterator[list[int]]:
        drawn = np.random.default_rng(1).integers(0, VOCABULARY, (MOST_CALLS * CALLS, PROMPT))
        return iter(drawn.tolist())

    def call(kind: type[Cache]) -> Quality:
        held, _ = full(kind)
        found, seconds = zip(
            *(serve(held, arriving(next(new(kind)))) for _ in range(CALLS)), strict=True
        )
        return {"tokens_found": float(np.mean(found)), "insert_ms": 1e3 * float(np.median(seconds))}

    return _case("lookup, insert and release of 32,768 tokens", call)
