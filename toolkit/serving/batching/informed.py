"""A policy that keeps books of its own, and is told what has changed since it was last asked.

    State  ->  what changed  ->  the policy  ->  chunks, pre-empted  ->  Batch

So it may run where the state is not, at the other end of a line, and a call costs what has
happened, not what there is. How long an answer will be it is never told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .scheduler import PolicyError
from .state import Batch, Memory, State

Event = tuple[Any, ...]
"""What happened to a request: a word, its id, and numbers.

("arrived", id, prompt, longest)    tokens that it has, and the most that it can have in the end
("lost", id)                        its blocks: it stands in front of the queue, and begins anew
("computed", id, tokens)            so many more of its tokens; with the first of them it began
("wrote", id)                       a token: it has one more
("ended", id)                       its blocks are free
"""

Decide = Callable[[list[Event]], tuple[dict[int, int], list[int]]]
"""Told of events, says how many tokens of whom to compute, and who loses its blocks first."""


class Informed:
    """Makes a ``Policy`` of what is told only of changes; for one run, in one memory.

    Args:
        decide: is told of the events since its last call, in the order in which they happened.
    Raises:
        PolicyError: from ``next_batch``, ``decide`` says something else than it should.
        ValueError: from ``next_batch``, another memory's requests.
    """

    def __init__(self, decide: Decide) -> None:
        self._decide = decide
        self._computed: dict[int, int] = {}  # of each request that it knows of
        self._known: dict[int, int] = {}
        self._last = Batch()
        self._memory: Memory | None = None
        self._iteration = -1

    def next_batch(self, state: State) -> Batch:
        """See ``Policy``."""
        if self._memory is None:
            self._memory = state.memory
        if self._memory is not state.memory:
            raise ValueError(
                "Informed keeps the books of one memory, and was shown another's requests: "
                "make one for each run, with one stage"
            )
        self._iteration += 1
        said = self._decide(list(self._events(state)))
        try:
            chunks, preempted = said
            self._last = Batch(dict(chunks), list(preempted))
        except (TypeError, ValueError) as error:
            raise PolicyError(
                f"iteration {self._iteration}: decide must give chunks, a dict, and who is "
                f"pre-empted, a list, got {said!r}"
            ) from error
        return self._last

    def _events(self, state: State) -> Iterator[Event]:
        for number in self._last.preempted:
            self._computed[number] = 0
            yield "lost", number
        for request in state.running:
            if request.computed > self._computed[request.id]:
                yield "computed", request.id, request.computed - self._computed[request.id]
                self._computed[request.id] = request.computed
        here = {request.id for request in state.running}
        here.update(request.id for request in state.waiting)
        gone = [number for number in self._known if number not in here]
        for number in gone:
            if number in self._last.chunks:
                yield "computed", number, self._last.chunks[number]
        for request in state.running:
            if request.known > self._known[request.id]:
                yield "wrote", request.id
                self._known[request.id] = request.known
        for number in gone:
            del self._known[number], self._computed[number]
            yield "ended", number
        for request in state.waiting:
            if request.id not in self._known:
                self._known[request.id], self._computed[request.id] = request.known, 0
                yield "arrived", request.id, request.known, request.longest
