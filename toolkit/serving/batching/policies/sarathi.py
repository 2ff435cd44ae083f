"""Sarathi-Serve: prompts in chunks that ride along with the decodes, so that nobody stalls.

chunk = min(tokens left of the prompt, chunk_size - tokens in the batch so far)
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.arguments import at_least_one

from ..state import Batch, State
from .plan import Plan


@dataclass(frozen=True, slots=True)
class Sarathi:
    """Stall-free batches: first all decodes, then prompts that have begun, then new ones.

    An iteration never has much more to compute than the budget, so that the time between two
    tokens has a bound. Smaller chunks make it tighter, and prompts slower.

    Args:
        chunk_size: tokens in a batch. The decodes are all in it, even if they alone are more.
        max_num_seqs: requests that run at once.
    Source:
        Agrawal et al. 2024, Sarathi-Serve, algorithm 3, and its ``sarathi_scheduler.py``: a
        request begins only where its whole prompt fits; when decodes run out of blocks, those
        that began last lose theirs.
    """

    chunk_size: int = 512
    max_num_seqs: int = 128

    def __post_init__(self) -> None:
        at_least_one(chunk_size=self.chunk_size, max_num_seqs=self.max_num_seqs)

    def next_batch(self, state: State) -> Batch:
        """See ``Policy``."""
        plan, memory = Plan(state), state.memory
        for request in plan.running:  # which ends early when its tail is pre-empted
            if request.decoding and not plan.take_or_preempt(request, 1):
                break

        begun = [request for request in plan.running if not request.decoding]
        # blocks that are not yet taken, and not promised to a prompt that has begun
        unpromised = plan.free - sum(memory.needs(request, request.known) for request in begun)
        for request in begun:
            chunk = min(request.left, self.chunk_size - plan.tokens)
            if chunk < 1 or not plan.take(request, chunk):
                break
        if plan.batch.preempted:  # they come first, and wait
            return plan.batch

        running = len(plan.running)
        for request in state.waiting:
            if plan.tokens >= self.chunk_size or running == self.max_num_seqs:
                break
            unpromised -= memory.needs(request, request.known)
            if unpromised < 0:
                break
            hit = memory.hit(request)
            plan.take(request, min(request.left - hit, self.chunk_size - plan.tokens), hit=hit)
            running += 1
        return plan.batch
