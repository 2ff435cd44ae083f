"""vLLM's first scheduler: prompts before answers, and blocks as they are needed."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.arguments import at_least_one

from ..state import Batch, State
from .plan import Plan


@dataclass(frozen=True, slots=True)
class VllmV0:
    """An iteration computes whole prompts, or, where none can begin, one token of each answer.

    New requests so have their first token soon, and while their prompts are computed everyone
    else's answer stands still. Nothing is reserved. When blocks run out the latest to arrive
    loses its own, and is computed again later.

    Args:
        max_num_seqs: requests that run at once.
        max_num_batched_tokens: of prompts in an iteration. No request may ever have more: when it
            has lost its blocks, its answer so far is computed at once with its prompt.
        watermark: share of all blocks that a request leaves free when it begins while others run,
            so that it isn't thrown out again at once.
    Raises:
        ValueError: a number out of range; from ``next_batch``, a request that may not fit.
    Source:
        Kwon et al. 2023, PagedAttention, section 4.5; vLLM 0.2, ``core/scheduler.py``.
    """

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 16_384
    watermark: float = 0.01

    def __post_init__(self) -> None:
        at_least_one(
            max_num_seqs=self.max_num_seqs, max_num_batched_tokens=self.max_num_batched_tokens
        )
        if not 0 <= self.watermark < 1:
            raise ValueError(f"watermark must be at least 0 and under 1, got {self.watermark!r}")

    def next_batch(self, state: State) -> Batch:
        """See ``Policy``."""
        plan, memory = Plan(state), state.memory
        spare = int(self.watermark * memory.blocks) if state.running else 0
        for request in state.waiting:
            if len(state.running) + len(plan.batch.chunks) >= self.max_num_seqs:
                break
            if request.longest - 1 > self.max_num_batched_tokens:
                raise ValueError(
                    f"request {request.id} may have {request.longest - 1:,} tokens to compute at "
                    f"once, and max_num_batched_tokens is {self.max_num_batched_tokens:,}: raise it"
                )
            hit = memory.hit(request)
            tokens = request.left - hit
            if plan.tokens + tokens > self.max_num_batched_tokens:
                break
            if not plan.take(request, tokens, hit=hit, spare=spare):
                break
        if plan.batch.chunks:
            return plan.batch

        for request in plan.running:  # which ends early when its tail is pre-empted
            if not plan.take_or_preempt(request, request.left):
                break
        return plan.batch
