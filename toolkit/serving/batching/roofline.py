"""How long a batch takes at best, from a model's sizes and a card's data sheet.

    linear layers   max(2 weights tokens / peak,          2 bytes weights / bandwidth)
    attention       max(4 heads head_dim pairs / peak,    KV bytes (context + tokens) / bandwidth)
    all-reduce      2 a layer, of 2 (t - 1) / t of the tokens' states

In decoding each weight is read for few tokens, and memory sets the pace: one token more costs next
to nothing. In prefill the units set it. A batch of both uses what the other leaves over.

Source:
    Agrawal et al. 2024, Sarathi-Serve, section 3.1; NVIDIA, NCCL: a ring's all-reduce.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.arguments import at_least_one
from toolkit.kernels.roofline import Card

from .memory import Blocks
from .sizes import BYTES, ModelSizes
from .work import Work

MEMORY = {
    "H200 SXM": 141e9,
    "H100 SXM": 80e9,
    "A100 80GB SXM": 80e9,
    "RTX 4090": 24e9,
    "T4": 16e9,
}
"""Bytes on a card, of the data sheets that ``CARDS`` cites."""

USED = 0.9
"""Share of a card's memory for weights and cache, as in vLLM; the rest is for what passes by."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """A model on some cards.

    Args:
        model: its sizes.
        card: of which there are tensor * stages.
        tensor: cards that share each layer.
        stages: of the pipeline, each with an equal number of layers.
        link: bytes a second that a card sends to others; by default NVLink 3 of an A100.
    Raises:
        ValueError, TypeError: a number out of range.
    """

    model: ModelSizes
    card: Card
    tensor: int = 1
    stages: int = 1
    link: float = 300e9

    def __post_init__(self) -> None:
        at_least_one(tensor=self.tensor, stages=self.stages)
        layers = self.model.attention.layers
        if layers % self.stages:
            raise ValueError(
                f"stages must divide the {layers} layers of {self.model.name}, got {self.stages}"
            )
        if not self.link > 0:
            raise ValueError(f"link must be positive, in bytes a second, got {self.link!r}")

    def memory(self, block_size: int = 16) -> Blocks:
        """An empty cache for one of the stages' batches, in what the weights leave of the memory.

        Raises:
            ValueError: the weights alone don't fit, or it is not known how much the card has.
        """
        at_least_one(block_size=block_size)
        if self.card.name not in MEMORY:
            raise ValueError(
                f"the memory of {self.card.name!r} is not known, only that of "
                f"{', '.join(MEMORY)}: make Blocks of as many as fit"
            )
        cards = self.tensor * self.stages
        room = USED * MEMORY[self.card.name] * cards
        weights = BYTES * self.model.weights
        blocks = int((room - weights) // (self.model.kv_bytes * block_size * self.stages))
        if blocks < 1:
            raise ValueError(
                f"{self.model.name} has {weights / 1e9:,.0f} GB of weights, and {cards} x "
                f"{self.card.name} hold {room / 1e9:,.0f} GB: take more cards, tensor or stages"
            )
        return Blocks(blocks, block_size)

    @property
    def peak(self) -> float:
        """FLOP a second of all cards together."""
        return self.card.peaks["16-bit"] * self.tensor * self.stages

    @property
    def bandwidth(self) -> float:
        """Bytes a second of all cards together."""
        return self.card.bandwidth * self.tensor * self.stages

    def flops(self, work: Work) -> float:
        """Multiplications and additions of a batch, in all stages; elementwise for arrays."""
        return self._linear_flops(work) + self._attention_flops(work)

    def bytes(self, work: Work) -> float:
        """Bytes that a batch reads and writes, in all stages; elementwise for arrays."""
        return self._linear_bytes + self._attention_bytes(work)

    def seconds(self, work: Work[int]) -> float:
        """See ``Cost``."""
        linear = max(self._linear_flops(work) / self.peak, self._linear_bytes / self.bandwidth)
        attention = max(
            self._attention_flops(work) / self.peak, self._attention_bytes(work) / self.bandwidth
        )
        return linear + attention + self._sent(work) / self.link

    def _linear_flops(self, work: Work) -> float:
        return 2 * (
            self.model.layer_weights * work.tokens + self.model.head_weights * work.sequences
        )

    @property
    def _linear_bytes(self) -> float:
        return BYTES * (self.model.layer_weights + self.model.head_weights)

    def _attention_flops(self, work: Work) -> float:
        shape = self.model.attention
        return 4 * shape.layers * shape.heads * shape.head_dim * work.pairs

    def _attention_bytes(self, work: Work) -> float:
        return self.model.kv_bytes * (work.context + work.tokens)

    def _sent(self, work: Work) -> float:
        """Bytes that a card of a stage sends: all-reduces in each layer, and to the next stage."""
        states = BYTES * self.model.width * work.tokens
        layers = self.model.attention.layers / self.stages
        reduced = 2 * layers * 2 * (self.tensor - 1) / self.tensor
        return states * (reduced + (self.stages > 1))
