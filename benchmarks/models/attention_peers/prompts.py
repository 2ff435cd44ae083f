"""A whole text at once: attention by torch's kernel, by its formula, and with keys copied."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.bench import Case
from toolkit.models.attention import attention, attention_plain

from .steps import HEAD_DIM, HEADS, KV_HEADS

SHARED = KV_HEADS["GQA"]
EACH = HEADS // SHARED


def prefill(tokens: int, *, rounds: int) -> Case:
    """Causal grouped-query attention of random queries, keys and values."""
    random = torch.Generator().manual_seed(0)
    q = torch.randn(1, HEADS, tokens, HEAD_DIM, generator=random)
    k, v = (torch.randn(1, SHARED, tokens, HEAD_DIM, generator=random) for _ in range(2))

    def of_copies() -> Tensor:
        copies = (x.repeat_interleave(EACH, 1) for x in (k, v))
        return functional.scaled_dot_product_attention(q, *copies, is_causal=True)

    def exact(head: int) -> Tensor:
        """One head in double precision, whose scores fit into memory."""
        shared = slice(head // EACH, head // EACH + 1)
        parts = q[:, head : head + 1], k[:, shared], v[:, shared]
        return attention_plain(*(part.double() for part in parts), causal=True)

    def quality(o: Tensor) -> dict[str, float]:
        errors = [(o[:, head : head + 1] - exact(head)).abs().max() for head in range(HEADS)]
        return {"error_millionths": max(errors).item() * 1e6}

    def without_gradients(attend: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return torch.inference_mode()(attend)

    return Case(
        f"a prompt of {tokens:,} tokens",
        {
            "tokens": tokens,
            "heads": HEADS,
            "kv_heads": SHARED,
            "head_dim": HEAD_DIM,
            "dtype": "fp32",
            "threads": torch.get_num_threads(),
        },
        without_gradients(lambda: attention(q, k, v, causal=True)),
        {
            "torch's kernel, keys copied": without_gradients(of_copies),
            "the formula": without_gradients(lambda: attention_plain(q, k, v, causal=True)),
        },
        quality,
        rounds,
    )
