"""The sizes of published models that decide what a batch costs: weights, and bytes of the cache."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.models.attention import AttentionShape
from toolkit.models.attention.cost import kv_bytes_per_token

BYTES = 2
"""Of a weight, a key or a value: bf16."""


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """A decoder of equal layers, of which each is attention and a feed-forward.

    Attributes:
        attention: its layers, heads and their width.
        width: of a token's state.
        ffn_width: inside the feed-forward.
        ffn_matrices: of the feed-forward: 3 where it is gated, as in SwiGLU, else 2.
        vocab_size: rows of the matrix that turns states into logits, the head.
        tied: whether the embedding is the head, too.
    """

    attention: AttentionShape
    width: int
    ffn_width: int
    ffn_matrices: int
    vocab_size: int
    tied: bool = False

    @property
    def name(self) -> str:
        """The model's."""
        return self.attention.name

    @property
    def layer_weights(self) -> int:
        """Numbers in the matrices of all layers."""
        shape = self.attention
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        attention = self.width * (2 * queries + 2 * keys)
        feed_forward = self.ffn_matrices * self.width * self.ffn_width
        return shape.layers * (attention + feed_forward)

    @property
    def head_weights(self) -> int:
        """Numbers in the matrix that turns states into logits."""
        return self.width * self.vocab_size

    @property
    def weights(self) -> int:
        """Numbers in all matrices, the embedding's too."""
        return self.layer_weights + self.head_weights * (1 if self.tied else 2)

    @property
    def kv_bytes(self) -> int:
        """Bytes that a token leaves in the cache."""
        return kv_bytes_per_token(self.attention, BYTES)


def _sizes(
    name: str,
    *,
    layers: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    width: int,
    ffn: int,
    matrices: int = 3,
    vocab: int,
    tied: bool = False,
    source: str,
) -> ModelSizes:
    shape = AttentionShape(
        name, layers, heads, kv_heads, head_dim, source=f"huggingface.co/{source}, config.json"
    )
    return ModelSizes(shape, width, ffn, matrices, vocab, tied)


MODELS = {
    model.name: model
    for model in (
        _sizes(
            "SmolLM2-135M",
            layers=30,
            heads=9,
            kv_heads=3,
            head_dim=64,
            width=576,
            ffn=1536,
            vocab=49_152,
            tied=True,
            source="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
        _sizes(
            "Llama-2-7B",
            layers=32,
            heads=32,
            kv_heads=32,
            head_dim=128,
            width=4096,
            ffn=11_008,
            vocab=32_000,
            source="meta-llama/Llama-2-7b-hf",
        ),
        _sizes(
            "Mistral-7B",
            layers=32,
            heads=32,
            kv_heads=8,
            head_dim=128,
            width=4096,
            ffn=14_336,
            vocab=32_000,
            source="mistralai/Mistral-7B-v0.1",
        ),
        _sizes(
            "OPT-13B",
            layers=40,
            heads=40,
            kv_heads=40,
            head_dim=128,
            width=5120,
            ffn=20_480,
            matrices=2,
            vocab=50_272,
            tied=True,
            source="facebook/opt-13b",
        ),
        _sizes(
            "Yi-34B",
            layers=60,
            heads=56,
            kv_heads=8,
            head_dim=128,
            width=7168,
            ffn=20_480,
            vocab=64_000,
            source="01-ai/Yi-34B",
        ),
        _sizes(
            "Llama-2-70B",
            layers=80,
            heads=64,
            kv_heads=8,
            head_dim=128,
            width=8192,
            ffn=28_672,
            vocab=32_000,
            source="meta-llama/Llama-2-70b-hf",
        ),
        _sizes(
            "Falcon-180B",
            layers=80,
            heads=232,
            kv_heads=8,
            head_dim=64,
            width=14_848,
            ffn=59_392,
            matrices=2,
            vocab=65_024,
            source="tiiuae/falcon-180B",
        ),
    )
}
"""Models by name."""
