"""Where keys and values stay between one token and the next.

A model asks its cache for two things: where the coming tokens stand, and, layer by layer, what the
new queries see of all that is kept. How it is kept is the cache's own matter: in one block set
aside beforehand, as here, or in pages, or shared between texts that begin alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from toolkit.arguments import whole_number
from toolkit.models.attention import attention

from .config import LlamaConfig


class Cache(Protocol):
    """What a model needs of a cache."""

    def reserve(self, batch: int, tokens: int) -> Int64[Tensor, "rows tokens"]:
        """Make room for so many more tokens of every text, and give their positions.

        Raises:
            ValueError: there is no room, or these are not as many texts as are kept.
        """

    def attend(
        self,
        layer: int,
        queries: Float[Tensor, "batch heads tokens dim"],
        keys: Float[Tensor, "batch kv_heads tokens dim"],
        values: Float[Tensor, "batch kv_heads tokens dim"],
    ) -> Float[Tensor, "batch heads tokens dim"]:
        """Keep a layer's keys and values of the reserved tokens; what their queries see of all.

        Keys are rotated already.
        """


class KVCache:
    """Keys and values in one block of memory that is set aside beforehand.

    Args:
        config: of the model.
        batch: texts.
        capacity: tokens of each.
        dtype, device: of the model's weights.

    ``lengths`` says how many tokens of each text are kept. Texts may differ: give all as many
    tokens, padded on the right with anything, then ``keep`` what is real.
    """

    def __init__(
        self,
        config: LlamaConfig,
        batch: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        size = (2, config.layers, batch, config.kv_heads, capacity, config.head_dim)
        self._kept: Float[Tensor, "2 layers batch kv_heads capacity dim"]
        self._kept = torch.zeros(size, dtype=dtype, device=device)
        self.capacity = capacity
        self.lengths = [0] * batch
        self._positions: Int64[Tensor, "rows tokens"]
        self._mask: Bool[Tensor, "rows 1 tokens keys"] | None = None

    @property
    def nbytes(self) -> int:
        """What it takes, full or not."""
        return self._kept.nbytes

    def reserve(self, batch: int, tokens: int) -> Int64[Tensor, "rows tokens"]:
        """See ``Cache``; one row of positions stands for all texts where they are equally long."""
        if torch.is_grad_enabled():
            raise ValueError(
                "keys and values are kept without their gradients: use a cache under "
                "torch.no_grad(), and train without one"
            )
        if batch != len(self.lengths):
            raise ValueError(f"the cache is for {len(self.lengths)} texts, got {batch}")
        longest = max(self.lengths) + tokens
        if longest > self.capacity:
            raise ValueError(
                f"the cache holds {self.capacity:,} tokens a text, and this would make "
                f"{longest:,}: make it larger, or shorten the text"
            )
        device = self._kept.device
        starts = self.lengths if len(set(self.lengths)) > 1 else self.lengths[:1]
        begin = torch.tensor(starts, device=device)
        self._positions = begin[:, None] + torch.arange(tokens, device=device)
        self.lengths = [length + tokens for length in self.lengths]
        # Key n is seen from position m if n <= m. A text's only token sees all that is kept.
        self._mask = None
        if len(starts) > 1 or (tokens > 1 and starts[0]):
            keys = torch.arange(longest, device=device)
            self._mask = (keys <= self._positions[:, :, None])[:, None]
        return self._positions

    def attend(
        self,
        layer: int,
        queries: Float[Tensor, "batch heads tokens dim"],
        keys: Float[Tensor, "batch kv_heads tokens dim"],
        values: Float[Tensor, "batch kv_heads tokens dim"],
    ) -> Float[Tensor, "batch heads tokens dim"]:
        """See ``Cache``."""
        longest = max(self.lengths)
        kept = self._kept[:, layer]
        if len(self._positions) == 1:
            place = slice(longest - keys.shape[2], longest)
            kept[0, :, :, place], kept[1, :, :, place] = keys, values
        else:
            row = torch.arange(len(keys), device=keys.device)[:, None]
            kept[0, row, :, self._positions] = keys.transpose(1, 2)
            kept[1, row, :, self._positions] = values.transpose(1, 2)
        k, v = kept[0, :, :, :longest], kept[1, :, :, :longest]
        return attention(queries, k, v, mask=self._mask, causal=longest == queries.shape[2])

    def keep(self, lengths: Sequence[int]) -> None:
        """Forget what stands after so many tokens of each text.

        Raises:
            ValueError: as many were never kept.
        """
        lengths = [whole_number("a length", length) for length in lengths]
        if len(lengths) != len(self.lengths):
            raise ValueError(f"the cache is for {len(self.lengths)} texts, got {len(lengths)}")
        for text, (asked, held) in enumerate(zip(lengths, self.lengths, strict=True)):
            if not 0 <= asked <= held:
                raise ValueError(f"text {text} has {held:,} tokens here, and not {asked:,} to keep")
        self.lengths = lengths
