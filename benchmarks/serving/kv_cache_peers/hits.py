"""Shares of a trace's prompts that caches would have had, and of memory that holds tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from toolkit import assets
from toolkit.bench import Case
from toolkit.serving.batching import Trace
from toolkit.serving.kv_cache import Fragmentation, HitRate, fragmentation, hit_rate
from toolkit.serving.kv_cache.fragmentation import Method

SLOTS = 65_536


@cache
def mooncake() -> Trace:
    """The conversation trace of FAST'25."""
    return Trace.load(assets.get("mooncake-conversation"))


def hitting(capacity: int | None) -> Case:
    """Each policy; with room for all blocks there is nothing to decide."""

    def by(policy: str) -> Callable[[], HitRate]:
        return lambda: hit_rate(mooncake(), capacity, policy)

    trace = mooncake()
    size = "any capacity" if capacity is None else f"{capacity:,} blocks"
    others = {"best": by("best")}
    if capacity is not None:
        others = {"LFU": by("lfu"), "FIFO": by("fifo")} | others
    return Case(
        f"Mooncake conversations, {size}",
        {"ours": "LRU", "capacity": capacity, "requests": len(trace), "block_size": 512},
        by("lru"),
        others,
        lambda rate: {"block_percent": 100 * rate.blocks, "token_percent": 100 * rate.tokens},
        rounds=0,
    )


def fragmented() -> Case:
    """Three ways to give out memory, on the Azure trace; the seconds are those of all three."""
    trace = Trace.load(assets.get("azure-llm-2023-conv"))

    def by(way: Method) -> Callable[[], Fragmentation]:
        return lambda: fragmentation(trace, SLOTS)[way]  # all three, each time

    def quality(f: Fragmentation) -> dict[str, float]:
        return {"tokens_percent": 100 * f.tokens, "requests_at_once": f.running}

    return Case(
        "Azure conversations, fragmentation",
        {"ours": "paged", "slots": SLOTS, "requests": len(trace), "max_tokens": trace.max_tokens},
        by("paged"),
        {"contiguous": by("contiguous"), "reserved": by("reserved")},
        quality,
        rounds=0,
    )
