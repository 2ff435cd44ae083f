"""vLLM's second scheduler: no prefill and no decode, only tokens that are not computed yet."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.arguments import at_least_one

from ..state import Batch, State
from .plan import Plan


@dataclass(frozen=True, slots=True)
class VllmV1:
    """One budget of tokens, for those that run in the order in which they began, then for others.

    A request is given as many of the tokens it has left as the budget allows: one in decoding, a
    chunk of a prompt, or the whole. If a running one finds no blocks, the last to have begun
    loses its own; only in an iteration in which nobody did may others begin.

    Args:
        max_num_batched_tokens: the budget.
        max_num_seqs: requests that run at once.
        long_prefill_token_threshold: the most that one request is given; 0 for no such limit.
    Source:
        vLLM 0.10, ``v1/core/sched/scheduler.py``.
    """

    max_num_batched_tokens: int = 2048
    max_num_seqs: int = 256
    long_prefill_token_threshold: int = 0

    def __post_init__(self) -> None:
        at_least_one(
            max_num_batched_tokens=self.max_num_batched_tokens, max_num_seqs=self.max_num_seqs
        )
        if self.long_prefill_token_threshold < 0:
            raise ValueError(
                "long_prefill_token_threshold must be at least 1, or 0 for none, "
                f"got {self.long_prefill_token_threshold}"
            )

    def next_batch(self, state: State) -> Batch:
        """See ``Policy``."""
        plan, memory = Plan(state), state.memory
        most = self.long_prefill_token_threshold or self.max_num_batched_tokens
        for request in plan.running:  # which ends early when its tail is pre-empted
            tokens = min(request.left, most, self.max_num_batched_tokens - plan.tokens)
            if not tokens or not plan.take_or_preempt(request, tokens):
                break
        if plan.batch.preempted:
            return plan.batch

        running = len(plan.running)
        for request in state.waiting:
            if running == self.max_num_seqs:
                break
            hit = memory.hit(request)
            tokens = min(request.left - hit, most, self.max_num_batched_tokens - plan.tokens)
            if not tokens or not plan.take(request, tokens, hit=hit):
                break
            running += 1
        return plan.batch
