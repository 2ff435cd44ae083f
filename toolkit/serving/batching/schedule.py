"""What was computed when: the record of a simulation, or of an engine's run.

Columns by iteration, and columns by request. What is of unequal length, the chunks of an iteration
and the tokens of a request, lies end to end, and ``offsets`` say where each one's begin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int32, Int64

from .work import Work


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Iterations and requests; times are in seconds.

    Attributes:
        blocks: of the memory, in all.
        entered: when each iteration's batch came to each stage of the pipeline.
        seconds: how long it was in each of them.
        prefill_tokens, decode_tokens, padding, context, pairs: see ``Work``.
        blocks_used: while it was computed.
        chunk_offsets, chunk_request, chunk_tokens: who computed how many tokens.
        preempted_iteration, preempted_request: who lost its blocks, before which iteration.
        arrival, prompt_tokens: of each request, which its row is the id of.
        began: when its first chunk entered the pipeline; nan if it never did.
        preemptions: how often it lost its blocks.
        token_offsets, token_times: when each of its tokens was there.
    """

    blocks: int
    entered: Float64[np.ndarray, "iterations stages"]
    seconds: Float64[np.ndarray, " iterations"]
    prefill_tokens: Int64[np.ndarray, " iterations"]
    decode_tokens: Int64[np.ndarray, " iterations"]
    padding: Int64[np.ndarray, " iterations"]
    context: Int64[np.ndarray, " iterations"]
    pairs: Int64[np.ndarray, " iterations"]
    blocks_used: Int64[np.ndarray, " iterations"]
    chunk_offsets: Int64[np.ndarray, " iterations+1"]
    chunk_request: Int32[np.ndarray, " chunks"]
    chunk_tokens: Int32[np.ndarray, " chunks"]
    preempted_iteration: Int32[np.ndarray, " preemptions"]
    preempted_request: Int32[np.ndarray, " preemptions"]
    arrival: Float64[np.ndarray, " requests"]
    prompt_tokens: Int64[np.ndarray, " requests"]
    began: Float64[np.ndarray, " requests"]
    preemptions: Int64[np.ndarray, " requests"]
    token_offsets: Int64[np.ndarray, " requests+1"]
    token_times: Float64[np.ndarray, " tokens"]

    @property
    def iterations(self) -> int:
        """How many there were."""
        return len(self.seconds)

    @property
    def requests(self) -> int:
        """How many there were."""
        return len(self.arrival)

    @property
    def start(self) -> Float64[np.ndarray, " iterations"]:
        """When each iteration's batch entered the pipeline."""
        return self.entered[:, 0]

    @property
    def end(self) -> Float64[np.ndarray, " iterations"]:
        """When it had left it."""
        return self.entered[:, -1] + self.seconds

    @property
    def work(self) -> Work[np.ndarray]:
        """The work of all iterations, in arrays."""
        return Work(
            self.prefill_tokens,
            self.decode_tokens,
            self.padding,
            np.diff(self.chunk_offsets),
            self.context,
            self.pairs,
        )

    @property
    def output_tokens(self) -> Int64[np.ndarray, " requests"]:
        """How many each request has written."""
        return np.diff(self.token_offsets)

    @property
    def first_token(self) -> Float64[np.ndarray, " requests"]:
        """When each request's first token was there; nan if it has none."""
        return self._token_at(self.token_offsets[:-1])

    @property
    def last_token(self) -> Float64[np.ndarray, " requests"]:
        """When each request's last token was there; nan if it has none."""
        return self._token_at(self.token_offsets[1:] - 1)

    @property
    def busy(self) -> float:
        """Seconds in which at least one batch was on its way."""
        end = self.end
        idle = np.maximum(self.start[1:] - end[:-1], 0).sum()
        return float(end[-1] - self.start[0] - idle) if self.iterations else 0.0

    @property
    def bubbles(self) -> float:
        """Share of the stages' time in which a stage waited while a batch was on its way, 0 to 1.

        A pipeline of one stage has none.
        """
        stages = self.entered.shape[1]
        return 1 - float(self.seconds.sum()) / self.busy if stages > 1 and self.busy else 0.0

    def chunks(self, iteration: int) -> dict[int, int]:
        """Who computed how many tokens in an iteration, by id."""
        here = slice(*self.chunk_offsets[iteration : iteration + 2])
        names, tokens = self.chunk_request[here].tolist(), self.chunk_tokens[here].tolist()
        return dict(zip(names, tokens, strict=True))

    def tokens(self, request: int) -> Float64[np.ndarray, " tokens"]:
        """When each token of a request was there."""
        return self.token_times[slice(*self.token_offsets[request : request + 2])]

    def window(self, first: int, last: int) -> Schedule:
        """Only the iterations from ``first`` to before ``last``; all requests, ids as they are."""
        chunks = slice(self.chunk_offsets[first], self.chunk_offsets[last])
        lost = slice(*np.searchsorted(self.preempted_iteration, (first, last)))
        by_iteration = (
            "entered",
            "seconds",
            "prefill_tokens",
            "decode_tokens",
            "padding",
            "context",
            "pairs",
            "blocks_used",
        )
        return replace(
            self,
            chunk_offsets=self.chunk_offsets[first : last + 1] - self.chunk_offsets[first],
            chunk_request=self.chunk_request[chunks],
            chunk_tokens=self.chunk_tokens[chunks],
            preempted_iteration=self.preempted_iteration[lost] - first,
            preempted_request=self.preempted_request[lost],
            **{name: getattr(self, name)[first:last] for name in by_iteration},
        )

    def between(self, start: float, end: float) -> tuple[int, int]:
        """The first iteration that is under way in a span of time, and the one after the last."""
        first = int(np.searchsorted(self.end, start, side="right"))
        return first, max(first, int(np.searchsorted(self.start, end)))

    def _token_at(self, rows: Int64[np.ndarray, " requests"]) -> Float64[np.ndarray, " requests"]:
        times = np.full(self.requests, np.nan)
        has = self.output_tokens > 0
        times[has] = self.token_times[rows[has]]
        return times
