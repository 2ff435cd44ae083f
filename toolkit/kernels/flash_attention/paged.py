"""Attention over a paged cache, as a user calls it: refusals and the choice of engine."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.kernels.engine import engine

from .reference import attention_reference
from .refusals import MOST_SPLITS, check_cache, check_rules


@torch.no_grad()
def flash_decode(
    q: Float[Tensor, "batch heads dim"],
    k_cache: Float[Tensor, "blocks block_size kv_heads dim"],
    v_cache: Float[Tensor, "blocks block_size kv_heads dim"],
    block_table: Int[Tensor, "batch most_blocks"],
    context_lens: Int[Tensor, " batch"],
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    num_splits: int | None = None,
    return_lse: bool = False,
) -> Any:
    """Attention of one new token a sequence over a paged cache that holds its key and value too.

    For inference: no gradients flow. What the tables hold is checked on a CPU; on a GPU, where to
    look would be to wait, blocks that aren't there are read from wherever they would lie.

    Args:
        q: fp32, fp16 or bf16, head_dim 16 to 256.
        block_table: int32, the blocks of each sequence in order; entries past a context's end
            are not read.
        context_lens: int32, tokens of each sequence in the cache; 0 gives zeros.
        num_splits: programs that share a sequence, by default what fills the GPU.
    Returns:
        Outputs (batch, heads, dim) in q's dtype; with ``return_lse`` also fp32 log-sum-exps
        (batch, heads).
    Raises:
        ValueError, TypeError: shapes, dtypes, devices or strides that don't fit, in a sentence.
    """
    check_cache(q, k_cache, v_cache, block_table, context_lens)
    check_rules(scale, window, softcap)
    if num_splits is not None and not 1 <= num_splits <= MOST_SPLITS:
        raise ValueError(f"num_splits must be 1 to {MOST_SPLITS}, got {num_splits}")
    if window is not None and window >= block_table.shape[1] * k_cache.shape[1]:
        window = None  # no key is that far back
    rules: dict[str, Any] = {"window": window, "softcap": softcap}
    rules["scale"] = q.shape[-1] ** -0.5 if scale is None else scale
    given = (q, k_cache, v_cache, block_table, context_lens)
    if engine(q) == "reference":
        output, lse = _reference(*given, **rules)
    else:
        from .decode import launch_decode

        if engine(q) == "interpreter" and q.dtype == torch.bfloat16:
            given = (q.float(), k_cache.float(), v_cache.float(), block_table, context_lens)
        output, lse = launch_decode(*given, **rules, num_splits=num_splits)
    output = output.to(q.dtype)
    return (output, lse) if return_lse else output


def _reference(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, context_lens: Tensor,
    **rules: Any,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    outputs, lses = torch.empty_like(q), q.new_empty(q.shape[:2], dtype=torch.float32)
    for sequence, context in enumerate(context_lens.tolist()):
        blocks = block_table[sequence, : -(-context // k_cache.shape[1])].long()
        # (blocks, block_size, kv_heads, dim) -> (1, kv_heads, context, dim)
        k, v = (cache[blocks].flatten(0, 1)[:context] for cache in (k_cache, v_cache))
        k, v = (x.transpose(0, 1)[None] for x in (k, v))
        found = attention_reference(q[sequence, None, :, None], k, v, causal=True, **rules)
        outputs[sequence], lses[sequence] = found[0][0, :, 0], found[1][0, :, 0]
    return outputs, lses
