"""A trace of people who come back: each turn of a conversation begins with all that was said.

Nothing of it was recorded. It stands in for such a trace where none is at hand.
"""

from __future__ import annotations

import numpy as np

from toolkit.arguments import whole_number
from toolkit.serving.batching.memory import blocks_for
from toolkit.serving.batching.trace import Trace


def conversations(
    count: int,
    rate: float,
    *,
    turns: float = 4.0,
    pause: float = 30.0,
    system_blocks: int = 1,
    block_size: int = 512,
    seed: int,
) -> Trace:
    """Draw conversations that begin as a Poisson process, all with the same system prompt.

    Args:
        count: of conversations.
        rate: that begin in a second.
        turns: of a conversation, on average (geometrically distributed).
        pause: seconds between two turns, on average (exponentially distributed).
        system_blocks: that all prompts begin with.
        block_size: tokens of a block, at least 2.
        seed: for the random numbers.
    Returns:
        A request for each turn, with the hashes of its blocks. Its prompt is all that was said,
        and a question of less than three blocks; an answer has less than one.
    Raises:
        ValueError: a number out of range.
    """
    whole = (
        ("count", count, 1),
        ("block_size", block_size, 2),
        ("system_blocks", system_blocks, 0),
        ("seed", seed, 0),
    )
    for name, number, least in whole:
        if whole_number(name, number) < least:
            raise ValueError(f"{name} must be at least {least}, got {number}")
    for name, value in (("rate", rate), ("pause", pause)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive, got {value!r}")
    if not 1 <= turns < np.inf:
        raise ValueError(f"turns must be at least 1, got {turns!r}")
    rng = np.random.default_rng(seed)
    fresh = iter(range(system_blocks, 2**62))
    rows = []
    for begin in np.cumsum(rng.exponential(1 / rate, count)).tolist():
        full, said, time = list(range(system_blocks)), system_blocks * block_size, begin
        for _ in range(rng.geometric(1 / turns)):
            question = block_size * int(rng.integers(3)) + int(rng.integers(1, block_size))
            prompt = said + question
            answer = int(rng.integers(1, block_size))
            new = blocks_for(prompt, block_size) - len(full)
            blocks = full + [next(fresh) for _ in range(new)]
            rows.append((time, prompt, answer, tuple(blocks)))
            # A prompt's last block, where it isn't full, will hold more, and be another one.
            full, said = blocks[: prompt // block_size], prompt + answer
            time += rng.exponential(pause)
    rows.sort(key=lambda row: row[0])
    arrival, prompts, answers, hashes = zip(*rows, strict=True)
    return Trace(
        arrival=np.array(arrival) - arrival[0],
        prompt_tokens=np.array(prompts),
        output_tokens=np.array(answers),
        max_tokens=block_size,
        blocks=hashes,
    )
