"""Dynamic SplitFuse, of DeepSpeed-FastGen: every forward pass carries the same number of tokens.

Long prompts are split over several passes, short ones are composed into one, until the budget is
full to the token. A pass so costs always the same, and the card is always saturated.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from toolkit.arguments import at_least_one

from ..state import Batch, State
from .plan import Plan


@dataclass(frozen=True, slots=True)
class SplitFuse:
    """First decodes, then prompts, first come, first served, all within the budget.

    It differs from Sarathi-Serve in what the budget is for: the tokens that saturate the card, not
    those that keep a target of latency. And in what it does when blocks run out: a decode
    that has none sits the pass out, and when nobody has any, all begin anew.

    Args:
        token_budget: tokens in a pass.
        max_sequences: requests in a pass.
    Source:
        Holmes et al. 2024, DeepSpeed-FastGen, section 3, and MII's ``ragged_batching.py``: a
        prompt is taken up only where the rest of it fits.
    """

    token_budget: int = 768
    max_sequences: int = 512

    def __post_init__(self) -> None:
        at_least_one(token_budget=self.token_budget, max_sequences=self.max_sequences)

    def next_batch(self, state: State) -> Batch:
        """See ``Policy``."""
        plan, memory = Plan(state), state.memory
        prompts = []
        for request in state.running:
            if not request.decoding:
                prompts.append(request)
            else:
                plan.take(request, 1)

        for request in chain(prompts, state.waiting):
            room = self.token_budget - plan.tokens
            if not room or len(plan.batch.chunks) == self.max_sequences:
                break
            if memory.needs(request, request.known) > plan.free:
                break
            # of one that has begun nothing is to be had but what it holds
            hit = 0 if request.computed else memory.hit(request)
            plan.take(request, min(request.left - hit, room), hit=hit)

        if not plan.batch.chunks:
            while plan.running:
                plan.preempt_last()
        return plan.batch
