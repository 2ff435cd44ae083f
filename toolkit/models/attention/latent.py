"""Multi-head latent attention (MLA): every head's keys and values out of one small latent.

Letters are the paper's: h_t is a token, c_t its latent, W^D compresses ("down"), W^U makes heads
of what was compressed ("up"), superscript C is a part that is not rotated and R one that is.

Source:
    DeepSeek-AI 2024, DeepSeek-V2, section 2.1.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.models.positions import Rope, rotate, turns

from .caches import LatentCache
from .grouped import in_heads, projection
from .softmax import attention, causal_mask


class LatentAttention(nn.Module):
    """Causal multi-head latent attention, as in DeepSeek-V2 and V3.

    The naive way makes keys and values of every cached latent. The absorbed way never makes them:
    W^UK goes to the query's side and W^UV behind the weighted sum, so that all heads attend to the
    latents themselves, as in multi-query attention. Both give the same, up to rounding.

    Args:
        width: numbers of a token, d.
        heads: n_h.
        head_dim: numbers of a head's value, and of its key without the rotated part, d_h.
        latent: numbers of the latent of keys and values, d_c.
        rope: of the rotated part, which has d_h^R = twice its pairs; neighbours are a pair.
        query_latent: numbers of the queries' latent, d_c'; None where queries are not compressed,
            as in DeepSeek-V2-Lite.
        seed: of the weights, normal with variance 1 over the inputs.
    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_dim: int,
        latent: int,
        rope: Rope,
        *,
        query_latent: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"heads": heads, "head_dim": head_dim, "latent": latent}
        for name, size in {**sizes, "query_latent": query_latent}.items():
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.heads, self.head_dim, self.latent = heads, head_dim, latent
        self.rope_dim = 2 * len(rope.frequencies)
        # YaRN's temperature belongs to the whole key. Only a part of it is rotated here, so that
        # the scale has it, once for the query and once for the key.
        self.rope = replace(rope, temperature=1.0)
        self.scale = rope.temperature**2 / math.sqrt(head_dim + self.rope_dim)

        generator = torch.Generator().manual_seed(seed)
        self.w_dkv = projection(width, latent, generator)
        self.norm_kv = nn.RMSNorm(latent, eps=1e-6)
        self.w_kr = projection(width, self.rope_dim, generator)
        self.w_uk = projection(latent, heads * head_dim, generator)
        self.w_uv = projection(latent, heads * head_dim, generator)
        self.w_dq: nn.Module = nn.Identity()
        self.norm_q: nn.Module = nn.Identity()
        if query_latent is not None:
            self.w_dq = projection(width, query_latent, generator)
            self.norm_q = nn.RMSNorm(query_latent, eps=1e-6)
        self.w_uq = projection(query_latent or width, heads * head_dim, generator)
        self.w_qr = projection(query_latent or width, heads * self.rope_dim, generator)
        self.w_o = projection(heads * head_dim, width, generator)

    def forward(
        self,
        h: Float[Tensor, "batch new width"],
        cache: LatentCache | None = None,
        *,
        absorbed: bool = False,
    ) -> Float[Tensor, "batch new width"]:
        """Attend from new tokens to the cached ones and to each other.

        Args:
            h: the new tokens.
            cache: those before them; the new ones are added to it.
            absorbed: attend to the latents; better for a few new tokens and many cached ones.
                Else make keys and values of all, which is better for a whole prompt.
        Raises:
            ValueError: the new tokens don't fit into the cache.
        """
        start = cache.length if cache is not None else 0
        positions = torch.arange(start, start + h.shape[1], device=h.device)
        turned = turns(self.rope, positions)

        # c_t^Q = W^DQ h_t;  q_t^C = W^UQ c_t^Q;  q_t^R = RoPE(W^QR c_t^Q)
        c_q = self.norm_q(self.w_dq(h))
        q_c = in_heads(self.w_uq(c_q), self.heads)
        q_r = rotate(in_heads(self.w_qr(c_q), self.heads), turned)

        # c_t^KV = W^DKV h_t;  k_t^R = RoPE(W^KR h_t): all that is cached
        c_kv = self.norm_kv(self.w_dkv(h))
        k_r = rotate(self.w_kr(h), turned)
        if cache is not None:
            c_kv, k_r = cache.append(c_kv, k_r)

        if absorbed:
            w_uk = self.w_uk.weight.unflatten(0, (self.heads, self.head_dim))
            w_uv = self.w_uv.weight.unflatten(0, (self.heads, self.head_dim))
            o = absorbed_attention(q_c, q_r, c_kv, k_r, w_uk, w_uv, scale=self.scale)
        else:
            o = self._naive(q_c, q_r, c_kv, k_r)
        # u_t = W^O [o_{t,1}; ...; o_{t,n_h}]
        return self.w_o(o.transpose(1, 2).flatten(2))

    def _naive(
        self,
        q_c: Float[Tensor, "batch heads new head_dim"],
        q_r: Float[Tensor, "batch heads new rope_dim"],
        c_kv: Float[Tensor, "batch tokens latent"],
        k_r: Float[Tensor, "batch tokens rope_dim"],
    ) -> Float[Tensor, "batch heads new head_dim"]:
        # k_t^C = W^UK c_t^KV;  v_t^C = W^UV c_t^KV
        k_c = in_heads(self.w_uk(c_kv), self.heads)
        v_c = in_heads(self.w_uv(c_kv), self.heads)
        # q_{t,i} = [q_{t,i}^C; q_{t,i}^R];  k_{t,i} = [k_{t,i}^C; k_t^R]
        q = torch.cat((q_c, q_r), -1)
        k = torch.cat((k_c, k_r[:, None].expand(-1, self.heads, -1, -1)), -1)
        # o_{t,i} = sum_j softmax_j(q_{t,i}^T k_{j,i} / sqrt(d_h + d_h^R)) v_{j,i}^C
        return attention(q, k, v_c, causal=True, scale=self.scale)


def absorbed_attention(
    q_c: Float[Tensor, "batch heads queries head_dim"],
    q_r: Float[Tensor, "batch heads queries rope_dim"],
    c_kv: Float[Tensor, "batch keys latent"],
    k_r: Float[Tensor, "batch keys rope_dim"],
    w_uk: Float[Tensor, "heads head_dim latent"],
    w_uv: Float[Tensor, "heads head_dim latent"],
    *,
    scale: float | None = None,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Causal attention to latents, with no head's keys or values made of them.

    Args:
        q_c: the queries' part that is not rotated.
        q_r: their rotated part.
        c_kv: the latents; the queries are the last of their tokens.
        k_r: the rotated keys, which all heads share.
        w_uk, w_uv: W^UK and W^UV of each head.
        scale: what scores are multiplied with; None for 1 / sqrt(head_dim + rope_dim).
    Raises:
        ValueError: more queries than latents.
    """
    if scale is None:
        scale = 1 / math.sqrt(q_c.shape[-1] + q_r.shape[-1])
    # q^T (W^UK c) = (W^UK^T q)^T c: the query goes to the latents
    q_latent = torch.einsum("bhqd,hdc->bhqc", q_c, w_uk)
    # scores = (q_latent^T c + q^R^T k^R) / sqrt(d_h + d_h^R)
    scores = torch.einsum("bhqc,bnc->bhqn", q_latent, c_kv)
    scores = (scores + torch.einsum("bhqr,bnr->bhqn", q_r, k_r)) * scale
    if q_c.shape[2] > 1:
        seen = causal_mask(q_c.shape[2], c_kv.shape[1], q_c.device)
        scores = scores.masked_fill(~seen, -torch.inf)
    # sum_j a_j (W^UV c_j) = W^UV (sum_j a_j c_j): values are made once, of the sum. The paper
    # multiplies W^UV into W^O, and W^UK into W^UQ; one after the other they are smaller.
    o_latent = torch.einsum("bhqn,bnc->bhqc", scores.softmax(-1), c_kv)
    return torch.einsum("bhqc,hdc->bhqd", o_latent, w_uv)
