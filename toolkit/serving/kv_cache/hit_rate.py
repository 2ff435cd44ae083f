"""How much of a trace's prompts a cache would have had, without serving anyone.

Requests come one after another, each with the hashes of its blocks. A block is hit if it and all
before it are in the cache. Then the request's blocks are all put in, and while there are too many
the one with the lowest rank goes. Blocks that rank the same go from the end of the prompt.

There are no locks and no time: every request has ended when the next one comes.

Source:
    Qin et al. 2025, Mooncake: the trace. Belady 1966: what is needed again last is the best choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import takewhile
from math import inf
from typing import Literal, get_args

from toolkit.arguments import at_least_one, whole_number
from toolkit.serving.batching.state import Request

from .contents import trace_blocks

Policy = Literal["lru", "lfu", "fifo", "best"]
Rank = tuple[float, float, int]


@dataclass(frozen=True, slots=True)
class HitRate:
    """What share of a trace's prompts was in the cache.

    Attributes:
        blocks: of their blocks.
        tokens: of their tokens.
    """

    blocks: float
    tokens: float


def hit_rate(
    trace: Iterable[Request],
    capacity: int | None = None,
    policy: Policy = "lru",
    *,
    block_size: int = 512,
) -> HitRate:
    """Share of a trace's prompts that a cache of ``capacity`` blocks has when they come.

    Args:
        trace: requests with hashes of their blocks, in the order of their arrival.
        capacity: blocks that the cache holds; any number if left out.
        policy: which block goes first: "lru", the least recently used; "lfu", the least often
            used since it came in; "fifo", the one that came in first; "best", the one that is
            needed again last, which nobody can know at the time.
        block_size: tokens that a hash of the trace stands for.
    Returns:
        HitRate(blocks, tokens), each from 0 to 1.
    Raises:
        ValueError: no such policy, a capacity or ``block_size`` below 1, no requests, or one whose
            hashes are not one for each ``block_size`` tokens.
    """
    if policy not in get_args(Policy):
        raise ValueError(f"policy must be one of {', '.join(get_args(Policy))}, got {policy!r}")
    if capacity is not None and whole_number("capacity", capacity) < 1:
        raise ValueError(f"capacity must be at least 1 block, or None, got {capacity}")
    at_least_one(block_size=block_size)
    requests = [(trace_blocks(request, block_size), request.prompt_tokens) for request in trace]
    if not requests:
        raise ValueError("the trace has no requests: there is nothing to hit")
    cache = _Cache(capacity, policy, [blocks for blocks, _ in requests])
    hit_blocks = hit_tokens = 0
    for blocks, tokens in requests:
        hits = cache.hits(blocks)
        hit_blocks += hits
        hit_tokens += min(hits * block_size, tokens)
        cache.put(blocks)
    return HitRate(
        hit_blocks / max(1, sum(len(blocks) for blocks, _ in requests)),
        hit_tokens / sum(tokens for _, tokens in requests),
    )


class _Cache:
    """Blocks with a rank each, and a heap to find the lowest."""

    def __init__(
        self, capacity: int | None, policy: Policy, requests: list[tuple[int, ...]]
    ) -> None:
        self.capacity, self.policy = capacity, policy
        self.time = 0
        self.ranks: dict[int, Rank] = {}
        self.uses: dict[int, int] = {}
        self.heap: list[tuple[Rank, int]] = []
        self.next_use = _next_uses(requests) if policy == "best" else []

    def hits(self, blocks: tuple[int, ...]) -> int:
        return sum(1 for _ in takewhile(self.ranks.__contains__, blocks))

    def put(self, blocks: tuple[int, ...]) -> None:
        for place, block in enumerate(blocks):
            old = self.ranks.get(block)
            self.uses[block] = 1 if old is None else self.uses[block] + 1
            rank = self._rank(block, place, old)
            if rank != old:
                self.ranks[block] = rank
                if self.capacity is not None:
                    heappush(self.heap, (rank, block))
        self.time += 1
        while self.capacity is not None and len(self.ranks) > self.capacity:
            rank, block = heappop(self.heap)
            if self.ranks.get(block) == rank:  # else it has another rank by now
                del self.ranks[block]

    def _rank(self, block: int, place: int, old: Rank | None) -> Rank:
        if self.policy == "lru":
            return (self.time, 0, -place)
        if self.policy == "lfu":
            return (self.uses[block], self.time, -place)
        if self.policy == "fifo":
            return old or (self.time, 0, -place)
        return (-self.next_use[self.time][place], 0, -place)


def _next_uses(requests: list[tuple[int, ...]]) -> list[list[float]]:
    """When each block of each request is used again, in requests; infinity if it is not."""
    coming: dict[int, int] = {}
    uses: list[list[float]] = []
    for time in range(len(requests) - 1, -1, -1):
        uses.append([coming.get(block, inf) for block in requests[time]])
        coming.update(dict.fromkeys(requests[time], time))
    return uses[::-1]
