"""A trace, sent to a real engine by the clock: what ``simulate`` foretells, measured.

A public trace has no texts. Prompts of its lengths are cut from a text: what a model computes in a
step takes as long for one token as for another, but prompts should not be alike by accident.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pydoc_data.topics import topics

import numpy as np

from .engine import Engine
from .schedule import Schedule
from .state import Request

LOOK = 0.001
"""Seconds between two looks at the clock while nobody has anything to do."""


def replay(
    engine: Engine, trace: Iterable[Request], *, text: str | None = None, seed: int = 0
) -> Schedule:
    """Send requests when they arrive, and let each write exactly its ``output_tokens``.

    Args:
        engine: what it has done before is in the record too.
        trace: by arrival, in seconds from now.
        text: prompts are cut from it, where requests have no tokens; by default Python's own help.
        seed: of the places where they are cut.
    Returns:
        What was measured.
    Raises:
        ValueError: requests out of order, a text without tokens, or a request that is too long
            for the model's context or the memory.
        PolicyError: a batch breaks a rule.
    """
    requests = list(trace)
    for before, request in pairwise(requests):
        if request.arrival < before.arrival:
            raise ValueError(
                f"request {request.id} arrives at {request.arrival}, and stands behind request "
                f"{before.id}, at {before.arrival}: sort the requests by arrival"
            )
    if any(request.tokens is None for request in requests):
        words = engine.model.tokenizer.encode("\n".join(topics.values()) if text is None else text)
        requests = with_prompts(requests, words, seed)
    begin = engine.now
    coming = deque(replace(request, arrival=begin + request.arrival) for request in requests)
    while coming:
        if coming[0].arrival <= engine.now:
            engine.send(coming.popleft())
        elif engine.idle or not engine.step().chunks:
            time.sleep(LOOK)
    engine.run()
    return engine.schedule()


def with_prompts(requests: Iterable[Request], words: Sequence[int], seed: int) -> list[Request]:
    """Requests with tokens: those of a text, from a place that is drawn, and round its end.

    Args:
        requests: those that have tokens keep them.
        words: the text's tokens, at least one.
        seed: of the places.
    Raises:
        ValueError: the text has no tokens.
    """
    if not len(words):
        raise ValueError("the text has no tokens: give one of at least a word")
    rng, text = np.random.default_rng(seed), np.asarray(words)
    given = []
    for request in requests:
        place = rng.integers(len(text))
        cut = text.take(np.arange(place, place + request.prompt_tokens), mode="wrap")
        tokens = request.tokens or tuple(cut.tolist())
        given.append(replace(request, tokens=tokens))
    return given
