"""Attention by its formula, with all scores in memory: what every kernel here is compared with.

Query heads may share keys and values: query head i reads KV head i // (heads / kv_heads). The last
query stands at the last key: query i at position keys - queries + i.

Source:
    Vaswani et al. 2017, Attention Is All You Need; Gemma Team 2024, Gemma 2 (softcap);
    Jiang et al. 2023, Mistral 7B (window).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def visible(
    queries: int,
    keys: int,
    *,
    causal: bool = False,
    window: int | None = None,
    device: torch.device | str | None = None,
) -> Bool[Tensor, "queries keys"]:
    """True where a query sees a key.

    With ``causal``, key j is seen from position i when j <= i, and with a ``window`` W when
    i - W < j.
    """
    positions = torch.arange(keys - queries, keys, device=device)[:, None]
    seen = torch.arange(keys, device=device).expand(queries, keys)
    mask = torch.ones(queries, keys, dtype=torch.bool, device=device)
    if causal:
        mask &= seen <= positions
    if window is not None:
        mask &= seen > positions - window
    return mask


def attention_reference(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch kv_heads keys dim"],
    v: Float[Tensor, "batch kv_heads keys dim"],
    *,
    causal: bool,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> tuple[Float[Tensor, "batch heads queries dim"], Float[Tensor, "batch heads queries"]]:
    """Outputs in q's dtype and log-sum-exps in fp32 (in fp64 for fp64), by the formula."""
    with torch.autocast(q.device.type, enabled=False):
        return _by_the_formula(q, k, v, causal, scale, window, softcap)


def _by_the_formula(
    q: Tensor, k: Tensor, v: Tensor,
    causal: bool, scale: float, window: int | None, softcap: float | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    exact = torch.promote_types(q.dtype, torch.float32)
    shared_by = q.shape[1] // k.shape[1]
    keys, values = (x.to(exact).repeat_interleave(shared_by, 1) for x in (k, v))
    # s = q k^T * scale, then softcap * tanh(s / softcap)
    scores = q.to(exact) @ keys.mT * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    mask = visible(q.shape[2], k.shape[2], causal=causal, window=window, device=q.device)
    scores = scores.masked_fill(~mask, -torch.inf)
    # o = softmax(s) v. A query that sees nothing gets zeros.
    weights = scores.masked_fill(~mask.any(-1, keepdim=True), 0.0).softmax(-1).masked_fill(~mask, 0)
    log_sum_exp = torch.where(mask.any(-1), scores.logsumexp(-1), -torch.inf)
    return (weights @ values).to(q.dtype), log_sum_exp
