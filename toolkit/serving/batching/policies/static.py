"""Static batching: a batch runs until the last of its members has ended, then the next begins."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.arguments import at_least_one

from ..state import Batch, State
from .plan import Plan


@dataclass(frozen=True, slots=True)
class Static:
    """Those that wait begin together, and nobody joins them.

    What is computed is a rectangle: prompts are padded to the longest, and the row of a member that
    has ended is computed on until all have. Its blocks are for the longest answers that may come.

    Args:
        batch_size: rows of the rectangle. While decoding all are computed, filled or not.
    Source:
        The baseline of Yu et al. 2022, Orca, section 3; FasterTransformer batches so.
    """

    batch_size: int = 8

    def __post_init__(self) -> None:
        at_least_one(batch_size=self.batch_size)

    def next_batch(self, state: State) -> Batch:
        """See ``Policy``."""
        plan = Plan(state)
        if state.running:
            for request in state.running:
                plan.take(request, request.left)
            plan.batch.padding = self.batch_size - len(state.running)
            return plan.batch

        reserved, longest = 0, 0
        for request in state.waiting:
            reserved += state.memory.needs(request, request.longest)
            if len(plan.batch.chunks) == self.batch_size or reserved > state.memory.free:
                break
            hit = state.memory.hit(request)
            plan.take(request, request.left - hit, hit=hit)
            longest = max(longest, request.left - hit)
        plan.batch.padding = len(plan.batch.chunks) * longest - plan.tokens
        return plan.batch
