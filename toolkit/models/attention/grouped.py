"""Multi-head, grouped-query and multi-query attention: one layer, by its number of KV heads.

Source:
    Shazeer 2019, Fast Transformer Decoding: One Write-Head is All You Need; Ainslie et al. 2023,
    GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.models.positions import Rope, rotate, turns

from .caches import HeadCache
from .cost import check_shared
from .softmax import attention


class GroupedAttention(nn.Module):
    """Causal attention in which groups of query heads share a key and a value.

    As many KV heads as query heads make it multi-head attention, one makes it multi-query. Keys
    are rotated by RoPE, in pairs of neighbours, before they are cached.

    Args:
        width: numbers of a token, d.
        heads: query heads.
        kv_heads: heads of keys and values; divides heads.
        rope: of the head's numbers, which are twice its pairs.
        seed: of the weights, normal with variance 1 over the inputs.
    Raises:
        ValueError: kv_heads doesn't divide heads.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, rope: Rope, *, seed: int = 0) -> None:
        super().__init__()
        check_shared(heads, kv_heads)
        self.heads, self.kv_heads, self.rope = heads, kv_heads, rope
        self.head_dim = 2 * len(rope.frequencies)
        generator = torch.Generator().manual_seed(seed)
        self.w_q = projection(width, heads * self.head_dim, generator)
        self.w_k = projection(width, kv_heads * self.head_dim, generator)
        self.w_v = projection(width, kv_heads * self.head_dim, generator)
        self.w_o = projection(heads * self.head_dim, width, generator)

    def forward(
        self, h: Float[Tensor, "batch new width"], cache: HeadCache | None = None
    ) -> Float[Tensor, "batch new width"]:
        """Attend from new tokens to the cached ones and to each other.

        Args:
            h: the new tokens.
            cache: those before them; the new ones are added to it.
        Raises:
            ValueError: the new tokens don't fit into the cache.
        """
        start = cache.length if cache is not None else 0
        positions = torch.arange(start, start + h.shape[1], device=h.device)
        turned = turns(self.rope, positions)
        # q = RoPE(W^Q h), k = RoPE(W^K h), v = W^V h
        q = rotate(in_heads(self.w_q(h), self.heads), turned)
        k = rotate(in_heads(self.w_k(h), self.kv_heads), turned)
        v = in_heads(self.w_v(h), self.kv_heads)
        if cache is not None:
            k, v = cache.append(k, v)
        # u = W^O [o_1; ...; o_h]
        o = attention(q, k, v, causal=True)
        return self.w_o(o.transpose(1, 2).flatten(2))


def share_heads(
    weight: Float[Tensor, "kv_heads*head_dim ..."], kv_heads: int, shared: int
) -> Float[Tensor, "shared*head_dim ..."]:
    """The projection to keys or values, with neighbouring KV heads averaged into fewer.

    The first step of turning a trained model's attention into grouped- or multi-query attention;
    the second, more training, makes good most of what it loses.

    Args:
        weight: the weight, or the bias, of all KV heads one after another.
        kv_heads: how many those are.
        shared: how many they become; divides kv_heads.
    Raises:
        ValueError: the rows are not kv_heads heads, or shared doesn't divide kv_heads.
    Source:
        Ainslie et al. 2023, section 2.1.
    """
    if kv_heads < 1 or weight.shape[0] % kv_heads:
        raise ValueError(
            f"kv_heads must divide the {weight.shape[0]} rows of the weight, got {kv_heads}"
        )
    if shared < 1 or kv_heads % shared:
        raise ValueError(
            f"as many of the {kv_heads} KV heads must be averaged into each: shared must divide "
            f"{kv_heads}, got {shared}"
        )
    return weight.unflatten(0, (shared, kv_heads // shared, -1)).mean(1).flatten(0, 1)


def in_heads(
    x: Float[Tensor, "batch tokens heads*dim"], heads: int
) -> Float[Tensor, "batch heads tokens dim"]:
    """A projection's output, cut into its heads."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def projection(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A matrix of random weights, normal with variance 1 / inputs."""
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False)
    nn.init.normal_(linear.weight, std=inputs**-0.5, generator=generator)
    return linear
