"""Continuous batching (连续批处理) as in Orca: after each iteration others may join.

n_rsrv  +  what the request may need  <=  n_slots      or it waits, and all behind it
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.arguments import at_least_one

from ..state import Batch, State
from .plan import Plan


@dataclass(frozen=True, slots=True)
class Continuous:
    """Scheduling by iteration, first come, first served.

    A request leaves as soon as it has ended, and the next one in the queue begins with its whole
    prompt in the same batch in which others decode. Memory is reserved when a request begins for
    the longest answer that it may have: nobody ever runs out, and most of it stays empty.

    Args:
        max_batch_size: requests in a batch.
    Source:
        Yu et al. 2022, Orca, algorithm 1.
    """

    max_batch_size: int = 64

    def __post_init__(self) -> None:
        at_least_one(max_batch_size=self.max_batch_size)

    def next_batch(self, state: State) -> Batch:
        """See ``Policy``."""
        plan, memory = Plan(state), state.memory
        for request in state.running:
            plan.take(request, request.left)
        if not state.waiting or len(state.running) >= self.max_batch_size:
            return plan.batch

        reserved = sum(memory.needs(request, request.longest) for request in state.running)
        for request in state.waiting:
            reserved += memory.needs(request, request.longest)
            if len(plan.batch.chunks) == self.max_batch_size or reserved > memory.free:
                break
            hit = memory.hit(request)
            plan.take(request, request.left - hit, hit=hit)
        return plan.batch
