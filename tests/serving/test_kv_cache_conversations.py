"""Drawn conversations: each turn begins with what was said before, and all with one prompt."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from toolkit.serving.kv_cache import conversations, hit_rate

COUNT, TURNS, SIZE, SYSTEM = 2000, 3.0, 64, 2
FIVE_ERRORS = 5  # standard errors of a mean: false alarms under 1e-6


@pytest.fixture(scope="module")
def trace():
    return conversations(COUNT, 2.0, turns=TURNS, system_blocks=SYSTEM, block_size=SIZE, seed=0)


def test_a_prompt_fills_its_blocks_but_perhaps_the_last(trace):
    for request in trace:
        count = len(request.blocks)
        assert (count - 1) * SIZE < request.prompt_tokens <= count * SIZE
        assert request.blocks[:SYSTEM] == tuple(range(SYSTEM))
        assert 1 <= request.output_tokens < SIZE <= trace.max_tokens


@pytest.mark.parametrize("size", [2, SIZE])
def test_a_turn_begins_with_all_that_was_said(size):
    several = 0
    for seed in range(300):
        turns = conversations(1, 2.0, turns=TURNS, block_size=size, seed=seed)
        for before, after in pairwise(turns):
            assert after.prompt_tokens > before.prompt_tokens + before.output_tokens
            full = before.prompt_tokens // size
            assert after.blocks[:full] == before.blocks[:full]
            # what was not full has more in it now, and is another block
            assert not set(before.blocks[full:]) & set(after.blocks)
            several += 1
    assert several > 300


def test_there_are_as_many_turns_as_asked_for_on_average(trace):
    spread = np.sqrt(TURNS * (TURNS - 1) / COUNT)
    assert len(trace) / COUNT == pytest.approx(TURNS, abs=FIVE_ERRORS * spread)
    assert (np.diff(trace.arrival) >= 0).all()


def test_who_comes_back_is_known_and_who_does_not_has_the_system_prompt_alone():
    often = conversations(300, 1.0, turns=6, seed=1)
    once = conversations(300, 1.0, turns=1, seed=1)
    assert hit_rate(often).blocks > 0.6
    assert len(once) == 300
    shared = 299 / sum(len(request.blocks) for request in once)
    assert hit_rate(once).blocks == pytest.approx(shared)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"rate": 0.0}, "rate must be positive, got 0.0"),
        ({"turns": 0.5}, "turns must be at least 1, got 0.5"),
        ({"pause": -1.0}, "pause must be positive, got -1.0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"system_blocks": -1}, "system_blocks must be at least 0, got -1"),
        ({"block_size": 1}, "block_size must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        conversations(**({"count": 3, "rate": 1.0, "seed": 0} | wrong))
