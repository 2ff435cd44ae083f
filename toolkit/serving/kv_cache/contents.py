"""What is in the blocks of a request: its tokens, or the hashes that a trace has instead.

A public trace shows nobody's tokens. Mooncake's gives, for each 512 tokens of a prompt, a number
that is the same where these and all before are the same. What the model writes is not told.
"""

from __future__ import annotations

from reprlib import repr as short
from typing import Any

import numpy as np
from jaxtyping import Int64

from toolkit.serving.batching.memory import blocks_for
from toolkit.serving.batching.state import LiveRequest, Request

LOOKED_AT = 128
"""Requests whose keys or pages are remembered between two looks at the queue."""


def trace_blocks(request: Request | LiveRequest, block_size: int) -> tuple[int, ...]:
    """The hashes of a prompt's blocks, the last of which may not be full.

    Raises:
        ValueError: there are none, not one for each ``block_size`` tokens, or one is there twice.
    """
    if request.blocks is None:
        raise ValueError(
            f"request {request.id} has no hashes of its blocks: load a trace that has, "
            "such as mooncake-conversation"
        )
    full = request.prompt_tokens // block_size
    if len(request.blocks) not in (full, blocks_for(request.prompt_tokens, block_size)):
        raise ValueError(
            f"request {request.id} has {len(request.blocks):,} hashes for "
            f"{request.prompt_tokens:,} tokens, which is not one for each {block_size}: "
            "block_size must be the trace's, 512 for Mooncake's"
        )
    if len(set(request.blocks)) < len(request.blocks):
        raise ValueError(
            f"request {request.id} has a hash twice: each must stand for a block and all before it"
        )
    return request.blocks


def pages(tokens: list[int], page_size: int) -> Int64[np.ndarray, "pages tokens"]:
    """The full pages of a text, a row each; what is left over is left out."""
    full = len(tokens) // page_size
    return np.array(tokens[: full * page_size], dtype=np.int64).reshape(full, page_size)


def whole_numbers(name: str, values: Any) -> Int64[np.ndarray, " *shape"]:
    """Numbers, or rows of them, as an array: none is rounded, and none wraps round.

    Raises:
        TypeError: they are no whole numbers of 64 bits, or rows of several lengths.
    """
    try:
        array = np.asarray(values)
    except ValueError:  # rows of several lengths
        array = np.array(None)
    if array.size and (array.dtype.kind not in "iu" or not np.can_cast(array.dtype, np.int64)):
        raise TypeError(
            f"{name} must be whole numbers below 2**63, or rows of one length, got {short(values)}"
        )
    return array.astype(np.int64, copy=False)
