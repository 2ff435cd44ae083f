"""A whole policy of small parts, which is told what has changed and keeps its own books.

    what is left of the budget and of the blocks  ->  running requests, then the head of the queue

Beside ``Sarathi`` its budget also holds for decodes, and a running prompt that finds no blocks
pre-empts those that began later, as in ``VllmV1``.
"""

from __future__ import annotations

from .informed import Event
from .small import blocks_of, chunk_sizes, make_room
from .state import LiveRequest


class StallFree:
    """Decodes first, prompts in chunks, and nobody begins whose prompt would not fit.

    Args:
        budget: tokens in a batch.
        max_batch: requests that run at once.
        blocks: of the memory, in all.

    Attributes:
        budget, max_batch, blocks: see above.
        waiting: the queue, by id.
        running: in the order in which they began, by id.
    """

    def __init__(self, budget: int, max_batch: int, blocks: int) -> None:
        self.budget, self.max_batch, self.blocks = budget, max_batch, blocks
        self.waiting: dict[int, LiveRequest] = {}
        self.running: dict[int, LiveRequest] = {}

    def next_batch(self, events: list[Event]) -> tuple[dict[int, int], list[int]]:
        """How many tokens of whom to compute, and who loses its blocks first.

        Args:
            events: since the last call; see ``informed.Event``.
        """
        self._hear(events)
        running = list(self.running.values())
        free = self.blocks - sum(blocks_of(request.computed) for request in running)
        chunks, lost = make_room(running, chunk_sizes(running, [], self.budget), free)
        if lost:
            return chunks, lost

        # blocks for all that the running ones have to compute; what is left is for others
        free = self.blocks - sum(blocks_of(request.known) for request in running)
        joining: list[LiveRequest] = []
        for request in self.waiting.values():
            free -= blocks_of(request.known)
            if free < 0 or len(running) + len(joining) == self.max_batch:
                break
            joining.append(request)
        return chunk_sizes(running, joining, self.budget), []

    def _hear(self, events: list[Event]) -> None:
        for what, number, *sizes in events:
            if what == "arrived":
                prompt, longest = sizes
                self.waiting[number] = LiveRequest(
                    number, 0.0, prompt, max_tokens=longest - prompt, known=prompt
                )
            elif what == "lost":
                self.running[number].computed = 0
                self.waiting = {number: self.running.pop(number), **self.waiting}
            elif what == "computed":
                if number in self.waiting:
                    self.running[number] = self.waiting.pop(number)
                self.running[number].computed += sizes[0]
            elif what == "wrote":
                self.running[number].known += 1
            else:
                (self.running if number in self.running else self.waiting).pop(number)
