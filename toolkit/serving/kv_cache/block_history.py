"""Who read which block when: a memory that is watched while a scheduler uses it.

    memory = BlockRecorder(PrefixBlocks(64))
    simulate(trace, policy, cost, lambda: memory)
    memory.history()

After each call the tables are compared with those before it. That takes time with the size of the
memory, so this is for runs that fit a page, not for a whole trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from toolkit.serving.batching.engine import PagedMemory
from toolkit.serving.batching.state import LiveRequest, Memory

Kind = Literal["begin", "grow", "keep", "release"]


@dataclass(frozen=True, slots=True)
class BlockEvent:
    """A call to a memory that may have changed something.

    Attributes:
        kind: a request "begin"s with what is found for it, it "grow"s, what it has written can be
            found ("keep"), or it "release"s what it has.
        request: which one.
        blocks: found, taken, made findable or given back.
        tokens: found.
        evicted: blocks that nobody read, and whose contents are lost by this call.
    """

    kind: Kind
    request: int
    blocks: int
    tokens: int
    evicted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BlockSpan:
    """A block while the same requests read it.

    Attributes:
        block: its number.
        start: the event from which on they do.
        end: the event that changed it, or the number of all events.
        readers: requests; none if it is only kept for whoever needs its contents.
        tokens: in it, by the end.
    """

    block: int
    start: int
    end: int
    readers: tuple[int, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class BlockHistory:
    """A pool from its first event to its last.

    Attributes:
        blocks: how many there are.
        block_size: tokens in a block.
        events: in order.
        spans: of all blocks, but not while they are free and hold nothing that can be found.
    """

    blocks: int
    block_size: int
    events: tuple[BlockEvent, ...]
    spans: tuple[BlockSpan, ...]

    def pool(self, event: int) -> list[BlockSpan]:
        """The blocks that are not empty after an event."""
        return [span for span in self.spans if span.start <= event < span.end]


class BlockRecorder:
    """A memory, and notes of what is done with it: see ``Memory``.

    Args:
        memory: empty; all calls go to it. Its ``kept``, if it has that, are the blocks whose
            contents a later request may find.
    """

    def __init__(self, memory: PagedMemory) -> None:
        self._memory = memory
        self.blocks, self.block_size = memory.blocks, memory.block_size
        self._events: list[BlockEvent] = []
        self._spans: list[BlockSpan] = []
        self._running: dict[int, LiveRequest] = {}
        self._since: dict[int, int] = {}
        self._uses: dict[int, _Use] = {}
        self._kept: set[int] = set()

    @property
    def tables(self) -> Mapping[int, Sequence[int]]:
        """The memory's."""
        return self._memory.tables

    @property
    def free(self) -> int:
        """See ``Memory``."""
        return self._memory.free

    def needs(self, request: LiveRequest, tokens: int) -> int:
        """See ``Memory``."""
        return self._memory.needs(request, tokens)

    def hit(self, request: LiveRequest) -> int:
        """See ``Memory``."""
        return self._memory.hit(request)

    def admit(self, request: LiveRequest) -> int:
        """See ``Memory``."""
        tokens = self._memory.admit(request)
        self._running[request.id] = request
        self._note("begin", request, len(self.tables[request.id]), tokens)
        return tokens

    def grow(self, request: LiveRequest, tokens: int) -> None:
        """See ``Memory``."""
        before = len(self.tables[request.id])
        self._memory.grow(request, tokens)
        self._note("grow", request, len(self.tables[request.id]) - before)

    def wrote(self, request: LiveRequest) -> None:
        """See ``Memory``."""
        before = list(self.tables[request.id])
        self._memory.wrote(request)
        kept = _kept(self._memory)
        if kept != self._kept or before != list(self.tables[request.id]):
            self._note("keep", request, len(kept - self._kept))

    def release(self, request: LiveRequest) -> None:
        """See ``Memory``."""
        blocks = len(self.tables[request.id])
        self._memory.release(request)
        self._note("release", request, blocks)
        del self._running[request.id]

    def history(self) -> BlockHistory:
        """All that was noted so far."""
        end = len(self._events)
        still = [self._span(block, end) for block in self._uses]
        return BlockHistory(
            self.blocks, self.block_size, tuple(self._events), (*self._spans, *still)
        )

    def _note(self, kind: Kind, request: LiveRequest, blocks: int, tokens: int = 0) -> None:
        now, kept = len(self._events), _kept(self._memory)
        lost = [b for b, use in self._uses.items() if not use.readers and b not in kept]
        self._events.append(BlockEvent(kind, request.id, blocks, tokens, tuple(sorted(lost))))
        uses = _uses(self.tables, kept)
        for block, use in self._uses.items():
            if uses.get(block) != use:
                self._spans.append(self._span(block, now))
        for block, use in uses.items():
            if self._uses.get(block) != use:
                self._since[block] = now
        self._uses, self._kept = uses, kept

    def _span(self, block: int, end: int) -> BlockSpan:
        use, size = self._uses[block], self.block_size
        tokens = size
        if use.readers:
            tokens = self._running[use.readers[0]].computed - use.place * size
        return BlockSpan(block, self._since[block], end, use.readers, min(max(tokens, 0), size))


@dataclass(frozen=True, slots=True)
class _Use:
    """Who reads a block, and the how manieth it is for them: the same for all, from 0."""

    readers: tuple[int, ...]
    place: int


def _uses(tables: Mapping[int, Sequence[int]], kept: set[int]) -> dict[int, _Use]:
    readers: dict[int, list[int]] = {}
    places: dict[int, int] = {}
    for request, table in tables.items():
        for place, block in enumerate(table):
            readers.setdefault(block, []).append(request)
            places[block] = place
    uses = {block: _Use(tuple(sorted(by)), places[block]) for block, by in readers.items()}
    return dict.fromkeys(kept - uses.keys(), _Use((), 0)) | uses


def _kept(memory: Memory) -> set[int]:
    """The blocks that hold what a later request may find: none in a memory that doesn't say."""
    return getattr(memory, "kept", set())
