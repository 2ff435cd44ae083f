"""Where a KV cache's memory goes: to tokens, or to what is set aside, unused, or of no use.

Three ways to give memory to a request whose length nobody knows yet:

    contiguous   one extent for the longest text it may become
    reserved     one extent for the text it will become, which only an oracle knows
    paged        a block when the last one is full

All requests queue from the start and begin in order, each as soon as its memory is there. Every
running one writes a token in every iteration. With pages memory can run out on the way: then the
one that began last gives its blocks back, and begins again at the head of the queue.

Source:
    Kwon et al. 2023, PagedAttention, section 3 and figure 2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from toolkit.arguments import at_least_one
from toolkit.serving.batching.state import Request

from .extents import FirstFit

Method = Literal["contiguous", "reserved", "paged"]


@dataclass(frozen=True, slots=True)
class Fragmentation:
    """What memory was used for, as shares of it, on average while requests waited for it.

    Attributes:
        tokens: it holds a token.
        reserved: set aside for a token that will come.
        internal: set aside, and no token will come; or the rest of a last block.
        external: free, and the next request does not fit into it.
        running: requests that ran at once.
        iterations: how many were averaged over.
    """

    tokens: float
    reserved: float
    internal: float
    external: float
    running: float
    iterations: int


def fragmentation(
    trace: Iterable[Request], slots: int, *, block_size: int = 16
) -> dict[Method, Fragmentation]:
    """Serve a trace with memory for ``slots`` tokens, in each of three ways.

    Args:
        trace: requests; when they arrive makes no difference.
        slots: tokens that the memory holds, a multiple of ``block_size``.
        block_size: tokens in a block of the paged way.
    Returns:
        A ``Fragmentation`` each for "contiguous", "reserved" and "paged".
    Raises:
        ValueError: ``slots`` is no multiple of ``block_size``, there are no requests, one may
            become longer than the memory, or none ever has to wait.
    """
    at_least_one(slots=slots, block_size=block_size)
    if slots % block_size:
        raise ValueError(f"slots must be a multiple of {block_size}, the block size, got {slots:,}")
    requests = list(trace)
    if not requests:
        raise ValueError("the trace has no requests: there is nothing to serve")
    for request in requests:
        longest = request.prompt_tokens + request.max_tokens
        if longest > slots:
            raise ValueError(
                f"request {request.id} may have {longest:,} tokens, and there are {slots:,} slots: "
                "give more of them, or leave it out"
            )
    memories: dict[Method, _Memory] = {
        "contiguous": _Extents(slots, lambda text: text.longest),
        "reserved": _Extents(slots, lambda text: text.final),
        "paged": _Pages(slots, block_size),
    }
    return {method: _serve(requests, memory, slots) for method, memory in memories.items()}


@dataclass(slots=True)
class _Text:
    """A request and its tokens; ``held`` slots are its own, from ``start`` on if in one piece."""

    tokens: int
    final: int
    longest: int
    held: int = 0
    start: int = 0


class _Memory(Protocol):
    def begin(self, text: _Text) -> bool:
        """Give a text what it begins with, if that is there."""

    def grow(self, text: _Text) -> bool:
        """Let it have one more token, if there is a slot."""

    def end(self, text: _Text) -> None:
        """Take all back."""

    def reserved(self, text: _Text) -> int:
        """Slots that are its own, and that it will need."""


class _Extents:
    def __init__(self, slots: int, length: Callable[[_Text], int]) -> None:
        self._holes, self._length = FirstFit(slots), length

    def begin(self, text: _Text) -> bool:
        start = self._holes.take(self._length(text))
        if start is None:
            return False
        text.start, text.held = start, self._length(text)
        return True

    def grow(self, text: _Text) -> bool:
        return True

    def end(self, text: _Text) -> None:
        self._holes.give_back(text.start, text.held)

    def reserved(self, text: _Text) -> int:
        return text.final - text.tokens


class _Pages:
    def __init__(self, slots: int, block_size: int) -> None:
        self._free, self._block_size = slots, block_size

    def begin(self, text: _Text) -> bool:
        first = (text.tokens // self._block_size + 1) * self._block_size  # one token to write
        if first > self._free:
            return False
        self._free -= first
        text.held = first
        return True

    def grow(self, text: _Text) -> bool:
        if text.tokens < text.held:
            return True
        if not self._free:
            return False
        self._free -= self._block_size
        text.held += self._block_size
        return True

    def end(self, text: _Text) -> None:
        self._free += text.held

    def reserved(self, text: _Text) -> int:
        return 0


def _serve(requests: list[Request], memory: _Memory, slots: int) -> Fragmentation:
    waiting = deque(
        _Text(
            tokens=request.prompt_tokens,
            final=request.prompt_tokens + request.output_tokens,
            longest=request.prompt_tokens + request.max_tokens,
        )
        for request in requests
    )
    running: list[_Text] = []
    tokens = reserved = held = at_once = iterations = 0
    while waiting or running:
        _grow(running, waiting, memory)
        while waiting and memory.begin(waiting[0]):
            running.append(waiting.popleft())
        for text in running:
            text.tokens += 1
        if waiting:
            tokens += sum(text.tokens for text in running)
            reserved += sum(memory.reserved(text) for text in running)
            held += sum(text.held for text in running)
            at_once += len(running)
            iterations += 1
        for text in running:
            if text.tokens == text.final:
                memory.end(text)
        running = [text for text in running if text.tokens < text.final]
    if not iterations:
        raise ValueError(f"no request has to wait for one of {slots:,} slots: give fewer of them")
    share = slots * iterations
    return Fragmentation(
        tokens=tokens / share,
        reserved=reserved / share,
        internal=(held - reserved - tokens) / share,
        external=1 - held / share,
        running=at_once / iterations,
        iterations=iterations,
    )


def _grow(running: list[_Text], waiting: deque[_Text], memory: _Memory) -> None:
    """Give each a slot for its next token; if there is none, the last to begin gives up its own."""
    i = 0
    while i < len(running):
        if memory.grow(running[i]):
            i += 1
        else:
            last = running.pop()
            memory.end(last)
            waiting.appendleft(last)
