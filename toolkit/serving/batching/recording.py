"""Writing down what happens while it happens, to make a ``Schedule`` of it in the end."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int64

from .schedule import Schedule
from .state import Batch, LiveRequest
from .work import Work


class Recorder:
    """Writes down what happens, and makes a ``Schedule`` of it.

    Args:
        blocks: of the memory, in all.
        stages: of the pipeline.
    """

    def __init__(self, blocks: int, stages: int = 1) -> None:
        self.blocks, self.stages = blocks, stages
        self._entered, self._seconds = array("d"), array("d")
        self._work, self._blocks_used = array("q"), array("q")
        self._chunk_counts, self._written_counts = array("i"), array("i")
        self._chunk_request, self._chunk_tokens = array("i"), array("i")
        self._written = array("i")
        self._preempted_iteration, self._preempted_request = array("i"), array("i")

    def preempted(self, batch: Batch) -> None:
        """Before the iteration that comes next, these lost their blocks."""
        self._preempted_iteration.extend([len(self._seconds)] * len(batch.preempted))
        self._preempted_request.extend(batch.preempted)

    def step(
        self,
        batch: Batch,
        work: Work[int],
        writing: Sequence[LiveRequest],
        *,
        entered: Iterable[float],
        seconds: float,
        blocks_used: int,
    ) -> None:
        """An iteration was computed.

        Args:
            batch: of the iteration.
            work: of the batch.
            writing: those that wrote a token by it.
            entered: when it came to each stage.
            seconds: how long it was in each stage.
            blocks_used: while it was computed.
        """
        self._entered.extend(entered)
        self._seconds.append(seconds)
        self._work.extend(work)
        self._blocks_used.append(blocks_used)
        self._chunk_counts.append(len(batch.chunks))
        self._chunk_request.extend(batch.chunks)
        self._chunk_tokens.extend(batch.chunks.values())
        self._written_counts.append(len(writing))
        self._written.extend([request.id for request in writing])

    def schedule(
        self, arrival: Sequence[float] | np.ndarray, prompt_tokens: Sequence[int] | np.ndarray
    ) -> Schedule:
        """The record of all that happened to requests 0 to n - 1.

        Args:
            arrival: of each request.
            prompt_tokens: of each request.
        """
        requests = len(arrival)
        entered = np.array(self._entered).reshape(-1, self.stages)
        seconds = np.array(self._seconds)
        work = np.array(self._work, dtype=np.int64).reshape(-1, len(Work._fields)).T
        prefill, decode, padding, _, context, pairs = np.ascontiguousarray(work)
        chunk_request = np.array(self._chunk_request, dtype=np.int32)
        chunk_counts = np.array(self._chunk_counts, dtype=np.int64)
        written = np.array(self._written, dtype=np.int32)
        ends = np.repeat(entered[:, -1] + seconds, np.array(self._written_counts, dtype=np.int64))
        preempted = np.array(self._preempted_request, dtype=np.int32)
        began = np.full(requests, np.nan)
        first_seen, first_chunk = np.unique(chunk_request, return_index=True)
        began[first_seen] = np.repeat(entered[:, 0], chunk_counts)[first_chunk]
        return Schedule(
            blocks=self.blocks,
            entered=entered,
            seconds=seconds,
            prefill_tokens=prefill,
            decode_tokens=decode,
            padding=padding,
            context=context,
            pairs=pairs,
            blocks_used=np.array(self._blocks_used, dtype=np.int64),
            chunk_offsets=_offsets(chunk_counts),
            chunk_request=chunk_request,
            chunk_tokens=np.array(self._chunk_tokens, dtype=np.int32),
            preempted_iteration=np.array(self._preempted_iteration, dtype=np.int32),
            preempted_request=preempted,
            arrival=np.array(arrival, dtype=np.float64),
            prompt_tokens=np.array(prompt_tokens, dtype=np.int64),
            began=began,
            preemptions=np.bincount(preempted, minlength=requests),
            token_offsets=_offsets(np.bincount(written, minlength=requests)),
            # a request writes its tokens in order, and a stable sort keeps it
            token_times=ends[np.argsort(written, kind="stable")],
        )


def _offsets(counts: np.ndarray) -> Int64[np.ndarray, " counts+1"]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
