"""Keys and values in blocks, and what one forward pass over many requests sees of them.

The chunks of all requests lie end to end as one row of tokens, without padding: matrices don't care
whose token a row is. Only attention does, and asks the block tables.

    request 4, at 30:  t t t t      |
    request 7, at 51:          t    |   one row:  t t t t t t     positions  30 31 32 33 51 12
    request 9, at 12:            t  |

Source:
    Ragged batches: Yu et al. 2022, Orca, "selective batching"; blocks, Kwon et al. 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from toolkit.models.attention import attention
from toolkit.models.llama import LlamaConfig

from .paged_attention import paged_attention

SHORT = 8
"""Tokens of a chunk up to which its queries are quicker one by one."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The tokens of one request that a forward pass computes.

    Attributes:
        table: the request's blocks, in order, with room for these tokens.
        start: how many of its tokens are kept already.
        tokens: how many follow them now, at least 1.
    """

    table: Sequence[int]
    start: int
    tokens: int


class Pages:
    """The tensors: room for so many blocks in every layer.

    Args:
        config: of the model.
        blocks: how many.
        block_size: tokens of each.
        dtype: of the model's weights.
    """

    def __init__(
        self, config: LlamaConfig, blocks: int, block_size: int, dtype: torch.dtype = torch.float32
    ) -> None:
        size = (config.layers, blocks, block_size, config.kv_heads, config.head_dim)
        self.keys: Float[Tensor, "layers blocks block_size kv_heads dim"]
        self.values: Float[Tensor, "layers blocks block_size kv_heads dim"]
        self.keys, self.values = torch.empty(size, dtype=dtype), torch.empty(size, dtype=dtype)

    @property
    def nbytes(self) -> int:
        """What they take once all are written."""
        return self.keys.nbytes + self.values.nbytes


class RaggedBatch:
    """The cache of a single forward pass: see ``toolkit.models.llama.Cache``.

    Args:
        pages: where keys and values are kept.
        chunks: in the order in which they lie in the row of tokens; no block that one of them
            writes is in the table of another.
    """

    def __init__(self, pages: Pages, chunks: Sequence[Chunk]) -> None:
        self._pages = pages
        size = pages.keys.shape[2]
        tables = [np.asarray(chunk.table, dtype=np.int64) for chunk in chunks]
        positions = [np.arange(chunk.start, chunk.start + chunk.tokens) for chunk in chunks]
        slots = [
            table[place // size] * size + place % size
            for table, place in zip(tables, positions, strict=True)
        ]
        self._positions = torch.from_numpy(np.concatenate(positions))
        self._slots = torch.from_numpy(np.concatenate(slots))
        ends = np.cumsum([chunk.tokens for chunk in chunks])
        fp32 = pages.keys.dtype == torch.float32
        short = np.array([fp32 and chunk.tokens <= SHORT for chunk in chunks])
        self._long = [
            _LongChunk.of(chunk, table, int(end), size)
            for chunk, table, end, is_short in zip(chunks, tables, ends, short, strict=True)
            if not is_short
        ]
        # Each token of a short chunk is a query by itself, and sees itself and all before.
        lengths = [chunk.tokens for chunk in chunks]
        rows = np.flatnonzero(np.repeat(short, lengths))
        self._rows = torch.from_numpy(rows)
        self._tables = np.concatenate(tables)
        begins = np.cumsum([0, *map(len, tables[:-1])])
        self._begins = np.repeat(begins, lengths)[rows]
        self._contexts = np.concatenate(positions)[rows] + 1

    def reserve(self, batch: int, tokens: int) -> Int64[Tensor, "1 tokens"]:
        """See ``Cache``; the batch is one row."""
        if (batch, tokens) != (1, len(self._positions)):
            raise ValueError(
                f"the chunks are one row of {len(self._positions)} tokens, got {batch} of {tokens}"
            )
        return self._positions[None]

    def attend(
        self,
        layer: int,
        queries: Float[Tensor, "1 heads tokens dim"],
        keys: Float[Tensor, "1 kv_heads tokens dim"],
        values: Float[Tensor, "1 kv_heads tokens dim"],
    ) -> Float[Tensor, "1 heads tokens dim"]:
        """See ``Cache``."""
        kept_keys, kept_values = self._pages.keys[layer], self._pages.values[layer]
        # (tokens, kv_heads, dim) into the slots, which are the blocks' rows
        kept_keys.flatten(0, 1)[self._slots] = keys[0].transpose(0, 1)
        kept_values.flatten(0, 1)[self._slots] = values[0].transpose(0, 1)
        q = queries[0].transpose(0, 1)
        output = torch.empty(q.shape, dtype=q.dtype)
        if len(self._rows):
            output[self._rows] = paged_attention(
                q[self._rows], kept_keys, kept_values, self._tables, self._begins, self._contexts
            )
        for chunk in self._long:
            chunk.attend(q, kept_keys, kept_values, output)
        return output.transpose(0, 1)[None]


@dataclass(frozen=True, slots=True)
class _LongChunk:
    """Its queries as one matrix, for which its request's keys and values are gathered."""

    rows: slice
    blocks: Int64[Tensor, " held"]
    context: int
    mask: Bool[Tensor, "tokens context"] | None

    @classmethod
    def of(cls, chunk: Chunk, table: Int64[np.ndarray, " held"], end: int, size: int) -> _LongChunk:
        context = chunk.start + chunk.tokens
        mask = None
        if chunk.start:  # key n is seen from position m if n <= m
            keys = torch.arange(context)
            mask = keys <= keys[chunk.start :, None]
        blocks = torch.from_numpy(table[: -(-context // size)])
        return cls(slice(end - chunk.tokens, end), blocks, context, mask)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, output: Tensor) -> None:
        # (blocks, block_size, kv_heads, dim) -> (1, kv_heads, context, dim)
        k, v = (
            kept[self.blocks].flatten(0, 1)[: self.context].transpose(0, 1)[None]
            for kept in (keys, values)
        )
        q = queries[self.rows].transpose(0, 1)[None]
        seen = attention(q, k, v, mask=self.mask, causal=self.mask is None)
        output[self.rows] = seen[0].transpose(0, 1)
