"""How much there is to compute in a batch, in the few numbers that its time depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from .state import Batch, LiveRequest

Number = TypeVar("Number", int, np.ndarray)


class Work(NamedTuple, Generic[Number]):
    """The work of one batch, or in arrays that of many.

    Attributes:
        prefill_tokens: of prompts, and of answers that are computed again.
        decode_tokens: the newest of an answer, one a request.
        padding: computed for nothing.
        sequences: chunks, each of another request.
        context: tokens whose keys and values are read: of each chunk all up to its last.
        pairs: of a query and a key that it attends to.
    """

    prefill_tokens: Number
    decode_tokens: Number
    padding: Number
    sequences: Number
    context: Number
    pairs: Number

    @property
    def tokens(self) -> Number:
        """All that pass through the model."""
        return self.prefill_tokens + self.decode_tokens + self.padding


def work_of(batch: Batch, running: Mapping[int, LiveRequest]) -> Work[int]:
    """The work of a batch that is planned and not computed yet.

    A chunk of t tokens after c has t queries, of which the i-th attends to c + i keys:
    t c + t (t + 1) / 2 pairs.
    """
    prefill = decode = context = pairs = 0
    for number, tokens in batch.chunks.items():
        request = running[number]
        computed = request.computed
        context += computed + tokens
        if tokens == 1:
            pairs += computed + 1
            if computed >= request.prompt_tokens:
                decode += 1
            else:
                prefill += 1
        else:
            pairs += tokens * computed + tokens * (tokens + 1) // 2
            prefill += tokens
    return Work(prefill, decode, batch.padding, len(batch.chunks), context, pairs)
