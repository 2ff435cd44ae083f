"""A batch while it is put together, and the blocks that it may still take."""

from __future__ import annotations

from ..state import Batch, LiveRequest, State


class Plan:
    """What a policy has decided so far.

    Attributes:
        batch: of those taken so far.
        tokens: that it computes.
        free: blocks that are left for others.
        running: those that keep their blocks; the one that began last is the first to lose them.
    """

    def __init__(self, state: State) -> None:
        self.memory = state.memory
        self.batch = Batch()
        self.tokens = 0
        self.free = state.memory.free
        self.running = list(state.running)

    def take(self, request: LiveRequest, tokens: int, *, hit: int = 0, spare: int = 0) -> bool:
        """Compute the request's next tokens, if there are blocks for them.

        Args:
            request: that runs, or waits.
            tokens: how many.
            hit: of one that waits, those before them that the memory holds already.
            spare: blocks that must stay free.
        """
        if not request.has_room(tokens, self.memory.block_size):
            needed = self.memory.needs(request, request.computed + hit + tokens)
            if needed > self.free - spare:
                return False
            self.free -= needed
        self.batch.chunks[request.id] = tokens
        self.tokens += tokens
        return True

    def take_or_preempt(self, request: LiveRequest, tokens: int) -> bool:
        """Compute a running request's next tokens, if need be at the cost of those begun later.

        Where none are left but itself, it loses its own blocks, and the answer is no.
        """
        while not self.take(request, tokens):
            if self.preempt_last() is request:
                return False
        return True

    def preempt_last(self) -> LiveRequest:
        """The request that began last loses its blocks, and is the answer."""
        request = self.running.pop()
        self.batch.preempted.append(request.id)
        self.free -= self.memory.needs(request, 0)
        return request
