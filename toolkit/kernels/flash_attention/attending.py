"""Attention as a user calls it: refusals, the choice of engine, gradients, packed sequences."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from toolkit.kernels.engine import engine

from .reference import attention_reference
from .refusals import check_dense, check_packed, check_rules


def attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch kv_heads keys dim"],
    v: Float[Tensor, "batch kv_heads keys dim"],
    causal: bool = False,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
) -> Float[Tensor, "batch heads queries dim"]:
    """What ``flash_attention`` gives, by torch's operators and with all scores in memory."""
    check_dense(q, k, v)
    check_rules(scale, window, softcap)
    rules: dict[str, Any] = {"causal": causal, "window": window, "softcap": softcap}
    return attention_reference(q, k, v, scale=_scale(q, scale), **rules)[0]


def flash_attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch kv_heads keys dim"],
    v: Float[Tensor, "batch kv_heads keys dim"],
    causal: bool = False,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    return_lse: bool = False,
) -> Any:
    """Exact attention, tile by tile, that never holds the scores of more than a tile.

    ``toolkit.kernels.engine.engine(q)`` says what runs it: the Triton kernels, compiled for a
    GPU's tensors; the same kernels in Triton's interpreter, where that is on; else the reference.
    Gradients flow to q, k and v, also through the log-sum-exps, and are the same bit for bit in
    every run; second derivatives are not there. The interpreter takes bf16 as fp32, since it
    computes wrongly in bf16.

    Args:
        q, k, v: fp32, fp16 or bf16; head_dim 16 to 256; query head i reads KV head
            i // (heads / kv_heads). The last dimension is contiguous.
        causal: query i, at position keys - queries + i, sees the keys up to its own position.
        scale: of the scores, 1/sqrt(head_dim) by default.
        window: W >= 1: key j is seen from position i when i - W < j.
        softcap: c > 0: scores become c * tanh(score / c).
        return_lse: whether to return the log-sum-exp of each query's scores too.
    Returns:
        Outputs in q's dtype; with ``return_lse`` also fp32 log-sum-exps (batch, heads, queries).
        A query that sees no key gets zeros, and -inf.
    Raises:
        ValueError, TypeError: shapes, dtypes, devices or strides that don't fit, in a sentence.
    """
    check_dense(q, k, v)
    check_rules(scale, window, softcap)
    rules: dict[str, Any] = {"causal": causal, "window": window, "softcap": softcap}
    if engine(q) == "reference":
        output, lse = attention_reference(q, k, v, scale=_scale(q, scale), **rules)
    else:
        output, lse = _run(q, k, v, _scale(q, scale), rules)
    return (output, lse) if return_lse else output


def flash_attention_varlen(
    q: Float[Tensor, "total_q heads dim"],
    k: Float[Tensor, "total_k kv_heads dim"],
    v: Float[Tensor, "total_k kv_heads dim"],
    cu_seqlens_q: Int[Tensor, " sequences_plus_1"],
    cu_seqlens_k: Int[Tensor, " sequences_plus_1"],
    causal: bool = False,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    return_lse: bool = False,
) -> Any:
    """``flash_attention`` of sequences of unequal lengths, packed one behind another, unpadded.

    Args:
        cu_seqlens_q, cu_seqlens_k: int32, the sums of the lengths, from 0 to the total: sequence b
            has the rows from cu_seqlens[b] up to cu_seqlens[b + 1].
    Returns:
        Outputs (total_q, heads, dim); with ``return_lse`` also log-sum-exps (heads, total_q).
    Raises:
        ValueError, TypeError: as ``flash_attention``, and starts that don't rise from 0 to the
            total.
    """
    lengths = check_packed(q, k, v, cu_seqlens_q, cu_seqlens_k)
    check_rules(scale, window, softcap)
    rules: dict[str, Any] = {"causal": causal, "window": window, "softcap": softcap}
    # (total, heads, dim) -> (1, heads, total, dim), without a copy
    dense = [x.transpose(0, 1)[None] for x in (q, k, v)]
    if engine(q) == "reference":
        parts = zip(
            dense[0].split(lengths[0], 2), dense[1].split(lengths[1], 2),
            dense[2].split(lengths[1], 2), strict=True,
        )  # fmt: skip
        done = [attention_reference(*part, scale=_scale(q, scale), **rules) for part in parts]
        output, lse = (torch.cat(pieces, 2) for pieces in zip(*done, strict=True))
    else:
        packed = {
            "starts_q": cu_seqlens_q, "starts_k": cu_seqlens_k,
            "longest_q": max(lengths[0]), "longest_k": max(lengths[1]),
        }  # fmt: skip
        output, lse = _run(dense[0], dense[1], dense[2], _scale(q, scale), rules | packed)
    output, lse = output[0].transpose(0, 1), lse[0]
    return (output, lse) if return_lse else output


def _scale(q: Tensor, scale: float | None) -> float:
    return q.shape[-1] ** -0.5 if scale is None else scale


def _run(
    q: Tensor, k: Tensor, v: Tensor, scale: float, rules: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Bring what is asked into the form that the kernels take, all of it differentiable."""
    from .launch import Options

    dtype, dim = q.dtype, q.shape[-1]
    if scale <= 0:  # the kernels take the largest score before they scale it
        q, scale = q * scale, 1.0
    if rules["window"] is not None and rules["window"] >= rules.get("longest_k", k.shape[2]):
        rules = rules | {"window": None}  # no key is that far back
    if engine(q) == "interpreter" and dtype == torch.bfloat16:
        q, k, v = q.float(), k.float(), v.float()
    q, k, v = (_wide_loads(x) for x in (q, k, v))
    output, lse = _Flash.apply(q, k, v, Options(scale, **rules))
    return output[..., :dim].to(dtype), lse


def _wide_loads(x: Tensor) -> Tensor:
    """Rows that begin at multiples of 16 numbers, so that a GPU loads 16 bytes at once."""
    if x.shape[-1] % 16:
        return functional.pad(x, (0, -x.shape[-1] % 16))
    return x.contiguous() if any(step % 16 for step in x.stride()[:3]) else x


class _Flash(torch.autograd.Function):
    """Keeps q, k, v, the outputs and the log-sum-exps, and no scores."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, options: Any) -> tuple[Tensor, Tensor]:
        from .launch import launch_forward

        output, lse = launch_forward(q, k, v, options)
        # the starts too, so that torch notices if they are changed before the backward
        ctx.save_for_backward(q, k, v, output, lse, options.starts_q, options.starts_k)
        ctx.options = options
        return output, lse

    @staticmethod
    def backward(ctx: Any, d_output: Tensor, d_lse: Tensor) -> tuple:
        from .launch import launch_backward

        if torch.is_grad_enabled():
            raise RuntimeError(
                "flash_attention has no second derivatives, and create_graph=True asks for them: "
                "use toolkit.kernels.flash_attention.attention, which has"
            )
        q, k, v, output, lse, *_ = ctx.saved_tensors
        return (*launch_backward(q, k, v, output, lse, d_output, d_lse, ctx.options), None)
