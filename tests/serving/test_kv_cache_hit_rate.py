"""``hit_rate`` against brute force, against both memories, and on Mooncake's trace."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from toolkit import assets
from toolkit.serving.batching import LiveRequest, Request, Trace
from toolkit.serving.kv_cache import HitRate, PrefixBlocks, RadixMemory, hit_rate


def chained(seed, count, letters=2, most=4):
    """Small requests of full blocks of 8 tokens, whose hashes are those of all before, too."""
    rng, hashes, requests = random.Random(seed), {}, []
    for number in range(count):
        text = [rng.randrange(letters) for _ in range(rng.randrange(1, most + 1))]
        prefixes = [tuple(text[: i + 1]) for i in range(len(text))]
        blocks = tuple(hashes.setdefault(prefix, len(hashes)) for prefix in prefixes)
        requests.append(Request(number, 0.0, 8 * len(blocks), 1, 1, blocks=blocks))
    return requests


def by_lists(requests, capacity, policy):
    """Hits, with the whole cache sorted whenever there is too much in it."""
    cache: dict[int, dict] = {}
    hits = 0
    for time, request in enumerate(requests):
        unbroken = True
        for block in request.blocks:
            unbroken = unbroken and block in cache
            hits += unbroken
        for place, block in enumerate(request.blocks):
            entry = cache.setdefault(block, {"made": time, "depth": place, "uses": 0})
            entry["uses"] += 1
            entry["used"] = time
        order = {
            "lru": lambda e: (e["used"], -e["depth"]),
            "fifo": lambda e: (e["made"], -e["depth"]),
            "lfu": lambda e: (e["uses"], e["used"], -e["depth"]),
        }[policy]
        keep = sorted(cache, key=lambda block: order(cache[block]))[::-1][:capacity]
        cache = {block: cache[block] for block in keep}
    return hits


@pytest.mark.parametrize("policy", ["lru", "fifo", "lfu"])
@pytest.mark.parametrize("capacity", [1, 3, 8, 1000])
def test_against_sorting_the_whole_cache(policy, capacity):
    requests = chained(seed=capacity, count=300, letters=3)
    total = sum(len(request.blocks) for request in requests)
    hits = by_lists(requests, capacity, policy)
    assert hit_rate(requests, capacity, policy, block_size=8) == HitRate(hits / total, hits / total)
    assert 0 < hits < total


def best_by_trying_all(requests, capacity):
    """The most hits of any choice of what to keep, after each request, of what there is."""
    reached = {frozenset(): 0}
    for request in requests:
        then: dict[frozenset, int] = {}
        for cache, hits in reached.items():
            for block in request.blocks:
                if block not in cache:
                    break
                hits += 1
            there = cache | set(request.blocks)
            for kept in combinations(sorted(there), min(capacity, len(there))):
                key = frozenset(kept)
                then[key] = max(then.get(key, 0), hits)
        reached = then
    return max(reached.values())


@pytest.mark.parametrize("seed", range(12))
def test_best_is_the_best_of_all_choices(seed):
    requests = chained(seed, count=9, most=3)
    total = sum(len(request.blocks) for request in requests)
    for capacity in (1, 2, 4):
        best = hit_rate(requests, capacity, "best", block_size=8).blocks
        assert round(best * total) == best_by_trying_all(requests, capacity)


@pytest.mark.parametrize("seed", range(3))
def test_no_policy_is_better_than_the_best_or_than_more_room(seed):
    requests = chained(seed, count=400, letters=3)
    for capacity in (2, 5, 20):
        best = hit_rate(requests, capacity, "best", block_size=8).blocks
        for policy in ("lru", "fifo", "lfu"):
            assert hit_rate(requests, capacity, policy, block_size=8).blocks <= best
        assert best <= hit_rate(requests, block_size=8).blocks


def test_tokens_of_a_block_that_is_not_full():
    """12 tokens are a block of 8 and one of 4; of 24 tokens, 12 hit, and 2 blocks of 4."""
    request = Request(0, 0.0, 12, 1, 1, blocks=(7, 8))
    assert hit_rate([request, request], block_size=8) == HitRate(blocks=0.5, tokens=0.5)
    longer = Request(1, 0.0, 13, 1, 1, blocks=(7, 9))
    assert hit_rate([request, longer], block_size=8) == HitRate(blocks=1 / 4, tokens=8 / 25)


def test_a_block_behind_one_that_is_missing_is_no_hit():
    """First in, first out takes a prompt's beginning, and what follows is of no use."""
    texts = [(1, 2), (1, 3), (4,), (1, 3)]
    requests = [Request(i, 0.0, 8 * len(b), 1, 1, blocks=b) for i, b in enumerate(texts)]
    # In the end 3 and 4 are in a cache of two, and 1 is not.
    assert hit_rate(requests, 2, "fifo", block_size=8).blocks == 1 / 7


@pytest.mark.parametrize("kind", [PrefixBlocks, RadixMemory])
def test_memories_hit_what_an_infinite_cache_does(kind):
    """One request after another, all of full blocks and one token more."""
    requests = [
        Request(r.id, 0.0, r.prompt_tokens + 1, 1, 1, blocks=r.blocks)
        for r in chained(5, count=300, letters=3)
    ]
    memory, hits = kind(2000, 8), 0
    for request in requests:
        live = LiveRequest.of(request)
        hits += memory.admit(live)
        memory.grow(live, live.known)
        live.computed = live.known
        memory.wrote(live)
        memory.release(live)
    tokens = sum(request.prompt_tokens for request in requests)
    assert hit_rate(requests, block_size=8).tokens == hits / tokens


@pytest.mark.parametrize(
    ("trace", "arguments", "message"),
    [
        ([], {}, "the trace has no requests"),
        ([Request(3, 0.0, 9, 1, 1)], {}, "request 3 has no hashes of its blocks"),
        ([Request(3, 0.0, 9, 1, 1, blocks=(1, 2))], {}, "2 hashes for 9 tokens, which is not one"),
        (chained(1, 2), {"policy": "mru"}, "policy must be one of lru, lfu, fifo, best, got 'mru'"),
        (chained(1, 2), {"block_size": 0}, "block_size must be at least 1, got 0"),
        (chained(1, 2), {"capacity": 0}, "capacity must be at least 1 block, or None, got 0"),
    ],
)
def test_what_is_refused(trace, arguments, message):
    with pytest.raises(ValueError, match=message):
        hit_rate(trace, **arguments)


@pytest.fixture(scope="module")
def mooncake():
    if assets.status("mooncake-conversation").path is None:
        pytest.skip("run `toolkit assets get mooncake-conversation` first")
    return list(Trace.load(assets.get("mooncake-conversation")))


def test_mooncake_with_an_infinite_cache(mooncake):
    """Known of the trace: 36.6% of blocks, 37.4% of tokens."""
    rate = hit_rate(mooncake)
    assert rate.blocks == pytest.approx(0.366, abs=0.005)
    assert rate.tokens == pytest.approx(0.374, abs=0.005)


def test_mooncake_with_ten_thousand_blocks(mooncake):
    """Known of it: 21% of blocks by least recently used."""
    rates = {
        policy: hit_rate(mooncake, 10_000, policy).blocks for policy in ("lru", "fifo", "best")
    }
    assert rates["lru"] == pytest.approx(0.21, abs=0.005)
    assert rates["fifo"] < rates["lru"] < rates["best"]


@pytest.mark.parametrize("kind", [PrefixBlocks, RadixMemory])
def test_mooncake_through_a_memory(mooncake, kind):
    """Full blocks, and never a prompt's last token, against a set of all that came before."""
    memory, hits, expected, seen = kind(60_000, 512), 0, 0, set()
    for request in mooncake[:1500]:
        live = LiveRequest.of(request)
        for block in request.blocks[: (request.prompt_tokens - 1) // 512]:
            if block not in seen:
                break
            expected += 512
        seen |= set(request.blocks[: request.prompt_tokens // 512])
        hits += memory.admit(live)
        memory.grow(live, live.known)
        live.computed = live.known
        memory.wrote(live)
        memory.release(live)
    assert hits == expected > 1_000_000
