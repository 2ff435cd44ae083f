"""What a block is made of: RMSNorm, grouped-query attention with RoPE, SwiGLU.

Query, key and value projections are one matrix, gate and up another: a token's state is then read
once for each, which is what decoding one token at a time waits for.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex64, Float
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models.attention import attention
from toolkit.models.positions import rotate

from .cache import Cache
from .config import LlamaConfig

FEW_ROWS = 8
"""Up to so many, the weights are the left factor of a product, on a CPU in fp32."""


def linear(
    x: Float[Tensor, "... inputs"], weight: Float[Tensor, "outputs inputs"]
) -> Float[Tensor, "... outputs"]:
    """x Wᵀ, as ``functional.linear`` gives it, and faster for what a decoding step has: few rows.

    To multiply few rows is to read the weights, and torch's CPU product of fp32 reads them at a
    fraction of the memory's speed. W xᵀ is the same sum with the matrix on the left, and reads
    them at full speed; a single row is laid beside a copy of itself, since a product with a vector
    is as slow as before. (torch 2.13 on x86, SmolLM2's weights coming from memory: 2 to 4 times as
    fast up to 4 rows, and slower from 12 on. 16-bit types have products of their own.)
    """
    rows = x.shape[:-1].numel()
    if not 1 <= rows <= FEW_ROWS or x.dtype != torch.float32 or x.device.type != "cpu":
        return functional.linear(x, weight)
    columns = x.reshape(rows, -1).repeat(2 if rows == 1 else 1, 1).T
    return (weight @ columns).T[:rows].reshape(*x.shape[:-1], -1)


class Linear(nn.Linear):
    """A matrix and no bias, drawn at random at first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        draw(self.weight)

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        return linear(x, self.weight)


class Embedding(nn.Embedding):
    """A row for each token, drawn at random at first."""

    def reset_parameters(self) -> None:
        draw(self.weight)


def draw(weight: Tensor) -> None:
    """Small normal numbers, as GPT-2 begins; a weight that waits for a file's has no numbers."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=0.02)


class RMSNorm(nn.Module):
    """Scale each state to a root mean square of 1, then each number by a learnt gain.

    Source:
        Zhang and Sennrich 2019.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "... width"]) -> Float[Tensor, "... width"]:
        # x / sqrt(mean(x²) + ε) · g, the mean in fp32 or more
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * scale).to(x.dtype) * self.weight


class SwiGLU(nn.Module):
    """The feed-forward: a gate decides how much of each of its numbers comes through.

    Source:
        Shazeer 2020.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.width, 2 * config.ffn_width)
        self.down = Linear(config.ffn_width, config.width)

    def forward(self, x: Float[Tensor, "... width"]) -> Float[Tensor, "... width"]:
        # W_down (silu(W_gate x) ⊙ W_up x), where silu(z) = z · sigmoid(z)
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * up)


class Attention(nn.Module):
    """Grouped-query attention: several query heads share a head of keys and values.

    Source:
        Ainslie et al. 2023; positions, Su et al. 2021.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_dim = config.head_dim
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = Linear(config.width, rows)
        self.out = Linear(self.heads * self.head_dim, config.width)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        turns: Complex64[Tensor, "*batch tokens pairs"],
        cache: Cache | None,
        layer: int,
    ) -> Float[Tensor, "batch tokens width"]:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(batch, tokens, -1, self.head_dim).transpose(1, 2)
        turning = self.heads + self.kv_heads
        # q_m = R_m W_q x_m, k_n = R_n W_k x_n: their product knows m - n alone
        qk, v = rotate(qkv[:, :turning], turns), qkv[:, turning:]
        q, k = qk[:, : self.heads], qk[:, self.heads :]
        # softmax(q kᵀ / sqrt(d)) v, over the keys so far
        seen = attention(q, k, v, causal=True) if cache is None else cache.attend(layer, q, k, v)
        return self.out(seen.transpose(1, 2).reshape(batch, tokens, -1))


class Block(nn.Module):
    """Attention, then the feed-forward; each reads a normalised state and adds to the state."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RMSNorm(config.width, config.norm_eps)
        self.ffn = SwiGLU(config)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        turns: Complex64[Tensor, "*batch tokens pairs"],
        cache: Cache | None,
        layer: int,
    ) -> Float[Tensor, "batch tokens width"]:
        x = x + self.attention(self.attention_norm(x), turns, cache, layer)
        return x + self.ffn(self.ffn_norm(x))
