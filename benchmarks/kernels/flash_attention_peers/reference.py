"""``flash_attention`` on a CPU without the interpreter, its formula, beside torch's kernel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from toolkit.bench import Case
from toolkit.kernels.engine import engine
from toolkit.kernels.flash_attention import flash_attention

HEADS, HEAD_DIM = 8, 64


def on_a_cpu(tokens: int) -> Case:
    """Causal attention of random queries, keys and values in fp32."""
    random = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, HEADS, tokens, HEAD_DIM, generator=random) for _ in range(3))

    def quality(output: Tensor) -> dict[str, float]:
        exact = scaled_dot_product_attention(*(x.double() for x in (q, k, v)), is_causal=True)
        return {"error_millionths": (output - exact).abs().max().item() * 1e6}

    return Case(
        f"on a CPU, {tokens:,} tokens",
        {
            "ours": f"flash_attention, by its {engine(q)}", "tokens": tokens, "heads": HEADS,
            "head_dim": HEAD_DIM, "causal": 1, "dtype": "fp32",
            "threads": torch.get_num_threads(),
        },
        torch.inference_mode()(lambda: flash_attention(q, k, v, causal=True)),
        {
            "SDPA": torch.inference_mode()(
                lambda: scaled_dot_product_attention(q, k, v, is_causal=True)
            )
        },
        quality,
        rounds=9,
    )  # fmt: skip
