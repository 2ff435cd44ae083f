"""The numbers that make a model of the LLaMA architecture what it is."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.arguments import whole_number
from toolkit.models.attention import AttentionShape
from toolkit.models.attention.cost import check_shared


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """Sizes and constants of a model.

    Attributes:
        vocab_size: tokens.
        width: numbers of a token's state, between layers.
        layers: blocks of attention and feed-forward.
        heads: query heads; kv_heads: key and value heads, of which each is shared by as many
            query heads; head_dim: numbers of a head.
        ffn_width: numbers inside the feed-forward.
        context: the longest text in tokens that its rotations are prepared for.
        rope_base: RoPE's base.
        norm_eps: what keeps RMSNorm from dividing by zero.
        tied: whether the embedding is also what turns states into logits.
        bos: the token that a text begins with, if the chat template asks for one.
        eos: the tokens that end an answer.
    Raises:
        ValueError, TypeError: the sizes don't fit each other.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_width: int
    context: int
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = True
    bos: int | None = None
    eos: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "layers", "heads", "kv_heads", "ffn_width", "context"):
            if whole_number(name, getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        check_shared(self.heads, self.kv_heads)
        if self.head_dim < 2 or self.head_dim % 2:
            raise ValueError(f"head_dim must be even, for RoPE turns pairs, got {self.head_dim!r}")
        if not (self.norm_eps > 0 and self.rope_base > 1):
            raise ValueError(
                f"norm_eps must be over 0 and rope_base over 1, "
                f"got {self.norm_eps!r} and {self.rope_base!r}"
            )
        for token in (*self.eos, *(() if self.bos is None else (self.bos,))):
            if not 0 <= whole_number("a token", token) < self.vocab_size:
                raise ValueError(f"there is no token {token}: ids are 0 to {self.vocab_size - 1}")

    @classmethod
    def tiny(cls, vocab_size: int = 256, context: int = 256) -> LlamaConfig:
        """A model of about 100,000 numbers that learns something in seconds."""
        return cls(
            vocab_size=vocab_size,
            width=64,
            layers=2,
            heads=4,
            kv_heads=2,
            head_dim=16,
            ffn_width=160,
            context=context,
        )

    @property
    def shape(self) -> AttentionShape:
        """What of it decides the size of a cache."""
        return AttentionShape("", self.layers, self.heads, self.kv_heads, self.head_dim)
