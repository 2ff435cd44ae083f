"""What attention costs: the bytes a token leaves in the cache, the work of one decoding step.

Closed forms, by the shapes of real models. A step of decoding reads the whole cache for each token
that it makes, so that both grow with the context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["MHA", "GQA", "MQA", "MLA"]


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """The numbers of a model that decide what its attention costs.

    Attributes:
        name: the model's.
        layers: how many layers attend.
        heads: query heads of a layer.
        kv_heads: heads of keys and values; divides ``heads``. MLA has as many as queries.
        head_dim: numbers of one key or value. In MLA: of the part of a key that is not rotated,
            and of a value.
        latent: MLA's compressed width d_c; 0 where keys and values are cached themselves.
        rope_dim: MLA's shared rotated key d_h^R; 0 without a latent.
        source: where the numbers come from.
    Raises:
        ValueError: a number that is too small, kv_heads that don't divide heads, or a latent
            without a rotated key, or the other way round.
    """

    name: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    latent: int = 0
    rope_dim: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        for field in ("layers", "heads", "kv_heads", "head_dim"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, got {getattr(self, field)}")
        check_shared(self.heads, self.kv_heads)
        if min(self.latent, self.rope_dim) < 0 or (self.latent > 0) != (self.rope_dim > 0):
            raise ValueError(
                "latent and rope_dim must both be 0, or for MLA both at least 1, got "
                f"{self.latent} and {self.rope_dim}"
            )
        if self.latent and self.kv_heads != self.heads:
            raise ValueError(
                "in MLA every query head has keys of its own, made of the latent: kv_heads must "
                f"equal heads, got {self.kv_heads} and {self.heads}"
            )

    @property
    def kind(self) -> Kind:
        """Multi-head, grouped-query, multi-query or multi-head latent attention."""
        if self.latent:
            return "MLA"
        if self.kv_heads == self.heads:
            return "MHA"
        return "MQA" if self.kv_heads == 1 else "GQA"


@dataclass(frozen=True, slots=True)
class StepCost:
    """The work of one decoding step for one sequence, over all layers.

    Attributes:
        flops: multiplications and additions.
        bytes_read: from memory.
    """

    flops: int
    bytes_read: int

    @property
    def intensity(self) -> float:
        """Operations for each byte read."""
        return self.flops / self.bytes_read


def check_shared(heads: int, kv_heads: int) -> None:
    """Raise ValueError where query heads can't share KV heads in equal groups."""
    if not 1 <= kv_heads <= heads or heads % kv_heads:
        raise ValueError(
            f"every KV head must serve as many query heads: kv_heads must divide {heads} heads, "
            f"got {kv_heads}"
        )


def kv_bytes_per_token(shape: AttentionShape, bytes_per_value: int = 2) -> int:
    """Bytes that one token leaves in the cache, over all layers.

    Args:
        shape: of the model.
        bytes_per_value: 2 for bf16, 4 for fp32.
    Source:
        DeepSeek-AI, DeepSeek-V2, 2024, table 1.
    """
    if shape.latent:
        # d_c + d_h^R
        per_layer = shape.latent + shape.rope_dim
    else:
        # 2 n_g d_h: a key and a value of each KV head
        per_layer = 2 * shape.kv_heads * shape.head_dim
    return shape.layers * per_layer * bytes_per_value


def decoding_step(
    shape: AttentionShape, context: int, *, absorbed: bool = True, bytes_per_value: int = 2
) -> StepCost:
    """Work of attending from one new token to ``context`` cached ones, its own among them.

    Counted are the products with the cache. For MLA that includes W^UK and W^UV, which stand
    between query and cache, and in the naive form the keys and values that they make, read once.
    Not counted are the softmax, and the projections of the new token alone.

    Args:
        shape: of the model.
        context: tokens attended to, at least 1.
        absorbed: MLA only: attend to the latents; else make every head's keys and values of them.
        bytes_per_value: of the cache and of the weights; 2 for bf16.
    Raises:
        ValueError: context < 1.
    """
    if context < 1:
        raise ValueError(f"context must be at least 1, the new token itself, got {context}")
    n, h, d = context, shape.heads, shape.head_dim
    read = kv_bytes_per_token(shape, bytes_per_value) * n
    if not shape.latent:
        # q^T k and the weighted sum of v, 2 d each, for every head and cached token
        return StepCost(shape.layers * n * h * (2 * d + 2 * d), read)

    c, r = shape.latent, shape.rope_dim
    weights = 2 * h * d * c  # W^UK and W^UV
    if absorbed:
        # W^UK^T q, and W^UV applied to the sum: once. Over the cache: (c + r) scores, c summed.
        flops = 2 * weights + n * h * (2 * (c + r) + 2 * c)
        made = 0
    else:
        # W^UK c_t and W^UV c_t: for every cached token. Then as with heads of their own.
        flops = 2 * weights * n + n * h * (2 * (d + r) + 2 * d)
        made = n * h * (2 * d + r)
    return StepCost(
        shape.layers * flops,
        read + shape.layers * (weights + made) * bytes_per_value,
    )


# Numbers of each model's config.json.
MODELS = (
    AttentionShape("Falcon-7B", 32, 71, 1, 64, source="huggingface.co/tiiuae/falcon-7b"),
    AttentionShape(
        "SmolLM2-135M", 30, 9, 3, 64, source="huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct"
    ),
    AttentionShape("Llama-2-7B", 32, 32, 32, 128, source="huggingface.co/meta-llama/Llama-2-7b-hf"),
    AttentionShape(
        "Llama-3-8B", 32, 32, 8, 128, source="huggingface.co/meta-llama/Meta-Llama-3-8B"
    ),
    AttentionShape(
        "Llama-3-70B", 80, 64, 8, 128, source="huggingface.co/meta-llama/Meta-Llama-3-70B"
    ),
    AttentionShape("Qwen2.5-72B", 80, 64, 8, 128, source="huggingface.co/Qwen/Qwen2.5-72B"),
    AttentionShape(
        "Llama-3-405B", 126, 128, 8, 128, source="huggingface.co/meta-llama/Llama-3.1-405B"
    ),
    AttentionShape(
        "DeepSeek-V2",
        60,
        128,
        128,
        128,
        latent=512,
        rope_dim=64,
        source="huggingface.co/deepseek-ai/DeepSeek-V2",
    ),
    AttentionShape(
        "DeepSeek-V3",
        61,
        128,
        128,
        128,
        latent=512,
        rope_dim=64,
        source="huggingface.co/deepseek-ai/DeepSeek-V3",
    ),
)
