"""The chapter's ideas with nothing around them: a time, who joins, how much of whom, who must go.

    latencies, summary      what a client is told of one request, and an owner of all of them
    admit                   who joins the running batch, as Orca admits
    chunk_sizes             how many tokens of whom, as Sarathi-Serve fills its budget
    make_room               who loses its blocks, as vLLM pre-empts

The policy that is made of them is ``stall_free.StallFree``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import nan

import numpy as np

from .simulate import BLOCK_SIZE
from .state import LiveRequest


def latencies(arrival: float, times: Sequence[float]) -> tuple[float, float, float]:
    """Time to first token, time per output token, and the longest gap between two tokens.

    Args:
        arrival: of the request, in seconds.
        times: when each of its tokens was there, at least one.
    Returns:
        Seconds; the last two are nan for a request of one token.
    """
    ttft = times[0] - arrival
    if len(times) == 1:
        return ttft, nan, nan
    # TPOT = (last - first) / (tokens - 1)
    tpot = (times[-1] - times[0]) / (len(times) - 1)
    return ttft, tpot, max(_gaps(times))


def summary(
    requests: Sequence[tuple[float, Sequence[float]]], ttft: float, gap: float
) -> tuple[float, float]:
    """P99 of inter-token latency, and goodput.

    Args:
        requests: arrival and token times of each; one of them at least has two tokens.
        ttft: the most that a request may wait for its first token.
        gap: and for any other.
    Returns:
        Seconds, over the gaps of all requests; and requests a second that met both targets,
        between the first arrival and the last token.
    """
    gaps = [gap for _, times in requests for gap in _gaps(times)]
    met = sum(
        times[0] - arrival <= ttft and max(_gaps(times), default=0.0) <= gap
        for arrival, times in requests
    )
    begin, end = min(arrival for arrival, _ in requests), max(times[-1] for _, times in requests)
    return float(np.percentile(gaps, 99)), met / (end - begin)


def admit(
    running: Sequence[LiveRequest], waiting: Sequence[LiveRequest], max_batch: int, blocks: int
) -> list[int]:
    """Who joins, first come, first served, with blocks for the longest answer that it may have.

    Args:
        running: for which such blocks are set aside already.
        waiting: the queue.
        max_batch: requests that may run at once.
        blocks: of the memory, in all.
    Returns:
        Ids: the queue as far as the first that does not fit.
    """
    reserved = sum(blocks_of(request.longest) for request in running)
    joining: list[int] = []
    for request in waiting:
        reserved += blocks_of(request.longest)
        if len(running) + len(joining) == max_batch or reserved > blocks:
            break
        joining.append(request.id)
    return joining


def chunk_sizes(
    running: Sequence[LiveRequest], waiting: Sequence[LiveRequest], budget: int
) -> dict[int, int]:
    """How many tokens of whom: decodes, then prompts that have begun, then new ones.

    Args:
        running: in the order in which they began.
        waiting: those that may begin, in the order of the queue.
        budget: tokens that all of them may have together.
    Returns:
        Tokens by id, of those that have any.
    """
    decodes = [request for request in running if _decoding(request)]
    prompts = [request for request in running if not _decoding(request)]
    chunks: dict[int, int] = {}
    left = budget
    for request in [*decodes, *prompts, *waiting]:
        # chunk = min(tokens left of the request, tokens left of the budget)
        chunk = min(request.known - request.computed, left)
        if chunk:
            chunks[request.id] = chunk
            left -= chunk
    return chunks


def make_room(
    running: Sequence[LiveRequest], chunks: dict[int, int], free: int
) -> tuple[dict[int, int], list[int]]:
    """Give running requests the blocks that their chunks need, at the cost of the last to begin.

    Args:
        running: in the order in which they began, which is that in which they are served.
        chunks: tokens by id; who is not in it needs nothing, and may lose its blocks.
        free: blocks that nobody has.
    Returns:
        The chunks of those that keep their blocks, and the ids of those that lose them, the first
        to lose them first. Who finds nobody behind it loses its own.
    """
    kept, granted, lost = list(running), {}, []
    for request in running:
        if request.id in lost:
            break
        chunk = chunks.get(request.id, 0)
        needed = blocks_of(request.computed + chunk) - blocks_of(request.computed)
        while needed > free and request.id not in lost:
            last = kept.pop()
            free += blocks_of(last.computed)
            lost.append(last.id)
        if chunk and request.id not in lost:
            free -= needed
            granted[request.id] = chunk
    return granted, lost


def blocks_of(tokens: int) -> int:
    """Blocks for so many tokens."""
    return -(-tokens // BLOCK_SIZE)


def _decoding(request: LiveRequest) -> bool:
    # as ``request.decoding``, which a record that has crossed from a lab has not
    return request.known - request.computed == 1 and request.computed > 0


def _gaps(times: Sequence[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]
