"""What a policy is given, and what it gives back.

    Request -> LiveRequest -> State -> policy -> Batch

A request in the system has ``known`` tokens, its prompt and what it has written, and of the first
``computed`` of them keys and values are kept. A batch says how many more of whose tokens to
compute. Once all that are known are computed, the model has said what comes next, and one more is
known. So a prefill, a chunk of one, a decode and a recomputation are the same thing, more or less
of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends, and how much it will have been given in the end.

    Attributes:
        id: of this request; no other has it.
        arrival: seconds.
        prompt_tokens: at least 1.
        output_tokens: how many it will write, at least 1: no policy knows.
        max_tokens: the most it may write, which a policy may know; at least ``output_tokens``.
        tokens: the prompt's, where they are known.
        blocks: what each block of the prompt has in it, and in all before, as one number; where
            only that is known.
    Raises:
        ValueError: a number outside its range, or not as many tokens as the prompt has.
    """

    id: int
    arrival: float
    prompt_tokens: int
    output_tokens: int
    max_tokens: int
    tokens: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isfinite(self.arrival):
            raise ValueError(f"arrival must be a number of seconds, got {self.arrival!r}")
        if self.prompt_tokens < 1:
            raise ValueError(f"prompt_tokens must be at least 1, got {self.prompt_tokens}")
        if not 1 <= self.output_tokens <= self.max_tokens:
            raise ValueError(
                f"output_tokens must be at least 1 and at most max_tokens, which is "
                f"{self.max_tokens}, got {self.output_tokens}"
            )
        if self.tokens is not None and len(self.tokens) != self.prompt_tokens:
            raise ValueError(
                f"tokens must be as many as prompt_tokens, which is {self.prompt_tokens}, "
                f"got {len(self.tokens)}"
            )


@dataclass(slots=True, eq=False)
class LiveRequest:
    """A request in the system, as a policy sees it. A policy looks and changes nothing.

    Attributes:
        id, arrival, prompt_tokens, max_tokens: see ``Request``.
        known: tokens of its prompt, and those it has written.
        computed: of these, the first so many have their keys and values kept.
        preemptions: how often its blocks were taken away.
        tokens: the known ones, where they are known.
        blocks: see ``Request``.
    """

    id: int
    arrival: float
    prompt_tokens: int
    max_tokens: int
    known: int
    computed: int = 0
    preemptions: int = 0
    tokens: list[int] | None = None
    blocks: tuple[int, ...] | None = None

    @classmethod
    def of(cls, request: Request) -> LiveRequest:
        """It has arrived, and nothing of it is computed."""
        return cls(
            request.id,
            request.arrival,
            request.prompt_tokens,
            request.max_tokens,
            known=request.prompt_tokens,
            tokens=None if request.tokens is None else list(request.tokens),
            blocks=request.blocks,
        )

    @property
    def left(self) -> int:
        """Tokens to compute until it writes another: 1 while it is decoding."""
        return self.known - self.computed

    @property
    def decoding(self) -> bool:
        """Whether only its newest token is left to compute."""
        return self.known - self.computed == 1 and self.computed > 0

    @property
    def longest(self) -> int:
        """Tokens it can have in the end."""
        return self.prompt_tokens + self.max_tokens

    def has_room(self, tokens: int, block_size: int) -> bool:
        """Whether so many more fit the last block that it has, as nearly always in decoding."""
        return 0 < self.computed % block_size <= block_size - tokens


class Memory(Protocol):
    """Who holds which blocks of the KV cache. A policy asks ``free``, ``needs`` and ``hit``.

    Attributes:
        block_size: tokens in a block.
        blocks: how many there are.
    """

    block_size: int
    blocks: int

    @property
    def free(self) -> int:
        """Blocks that can be had now."""

    def needs(self, request: LiveRequest, tokens: int) -> int:
        """By how much ``free`` falls if the request is to hold so many tokens, all in all.

        To hold 0 is to lose its blocks: minus the number of those that nobody else has.
        """

    def hit(self, request: LiveRequest) -> int:
        """Of a waiting request's known tokens those that are kept already, from the first on.

        Never all of them: the last has to be computed for the model to say what comes next.
        """

    def admit(self, request: LiveRequest) -> int:
        """Take what ``hit`` counts for a request that begins; as many tokens as it counts."""

    def grow(self, request: LiveRequest, tokens: int) -> None:
        """Let a request that has begun hold so many tokens, all in all; ``needs`` are free."""

    def wrote(self, request: LiveRequest) -> None:
        """The request's ``computed`` tokens are in its blocks now, and may serve others."""

    def release(self, request: LiveRequest) -> None:
        """Give back a request's blocks."""


@dataclass(slots=True)
class State:
    """What there is to decide on.

    Attributes:
        time: seconds.
        waiting: those not begun, and those that lost their blocks, which stand in front.
        running: those that have blocks, in the order in which they began.
        memory: for its questions.
    """

    time: float
    waiting: Sequence[LiveRequest]
    running: Sequence[LiveRequest]
    memory: Memory


@dataclass(slots=True)
class Batch:
    """What to compute in one iteration.

    Attributes:
        chunks: how many tokens of which request, by id, in the order in which they lie in the
            batch. Waiting ones among them begin, in the order of the queue.
        preempted: running requests that lose their blocks first. They go back to the front of the
            queue, the last of these first.
        padding: tokens that are computed for nothing, to fill up a rectangle.
    """

    chunks: dict[int, int] = field(default_factory=dict)
    preempted: list[int] = field(default_factory=list)
    padding: int = 0


class Policy(Protocol):
    """Who is next. It keeps no memory of its own between two calls."""

    def next_batch(self, state: State) -> Batch:
        """The batch to compute now; an empty one to wait for the next arrival."""
