"""Forward, backward and decoding on a GPU, beside torch's kernels, FlexAttention and the formula.

A contestant does the same work ``calls`` times and waits for the GPU once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch._functorch import config as functorch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from toolkit.bench import Case
from toolkit.kernels.flash_attention import flash_attention, flash_decode

TOKENS, HIDDEN = 16_384, 2_048  # of a batch, and numbers a token, as the papers have it
CALLS = 20
FORMULA_UP_TO = 4_096  # tokens of a sequence; past it the scores take tens of GB
THOUSANDTHS = 1e3

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Step = Callable[[], Any]


def attending(direction: str, head_dim: int, sequence: int, *, causal: bool) -> Case:
    """One direction, "forward" or "backward", at one size."""
    batch, heads = TOKENS // sequence, HIDDEN // head_dim
    shape = (batch, heads, sequence, head_dim)
    q, k, v = (_draw(*shape, seed=n).requires_grad_(direction == "backward") for n in range(3))
    d_output = _draw(*shape, seed=3)

    def contestant(attend: Attend) -> Step:
        if direction == "forward":
            return _repeated(lambda: attend(q, k, v))
        graph = cache(lambda: attend(q, k, v))  # the forward runs once, in the first call
        return _repeated(
            lambda: torch.autograd.grad(graph(), (q, k, v), d_output, retain_graph=True)
        )

    def quality(answer: Any) -> dict[str, float]:
        exact = [x[:1, :1].detach().double().requires_grad_() for x in (q, k, v)]
        wanted = _formula(*exact, causal=causal)
        if direction == "forward":
            return _error([answer], [wanted])
        return _error(answer, torch.autograd.grad(wanted, exact, d_output[:1, :1].double()))

    peers: dict[str, Attend] = {
        "SDPA, flash": partial(_sdpa, SDPBackend.FLASH_ATTENTION, causal=causal),
        "SDPA, cuDNN": partial(_sdpa, SDPBackend.CUDNN_ATTENTION, causal=causal),
        "FlexAttention": _flex(sequence, causal=causal),
    }
    if sequence <= FORMULA_UP_TO:
        peers["the formula"] = partial(_formula, causal=causal)
    return Case(
        f"{direction}, head_dim {head_dim}, {'causal' if causal else 'full'}, {sequence:,} tokens",
        {
            "direction": direction, "head_dim": head_dim, "causal": int(causal),
            "tokens": sequence, "batch": batch, "heads": heads, "dtype": "bf16", "calls": CALLS,
        },
        contestant(partial(flash_attention, causal=causal)),
        {name: contestant(peer) for name, peer in peers.items()},
        quality,
    )  # fmt: skip


def decoding(batch: int = 32, context: int = 8_192) -> Case:
    """One token a sequence over a paged cache, beside a copy that moves as many bytes."""
    heads, kv_heads, head_dim, block = 32, 8, 128, 16
    blocks = context // block
    k, v = (_draw(batch * blocks, block, kv_heads, head_dim, seed=n) for n in (1, 2))
    q = _draw(batch, heads, head_dim, seed=0)
    order = torch.randperm(batch * blocks, generator=torch.Generator().manual_seed(3))
    table = order.view(batch, blocks).int().cuda()
    lens = torch.full((batch,), context, dtype=torch.int32, device="cuda")
    source = k.flatten()  # as many bytes as half the cache: each is read once and written once
    target = torch.empty_like(source)

    def unpaged() -> Step:
        keys, values = (
            x[table.long()].flatten(1, 2).transpose(1, 2).contiguous() for x in (k, v)
        )  # fmt: skip
        attend = partial(scaled_dot_product_attention, q[:, :, None], keys, values, enable_gqa=True)
        return _repeated(lambda: attend()[:, :, 0])

    def quality(answer: Tensor) -> dict[str, float]:
        if answer is target:
            return {"error_thousandths": (target - source).abs().max().item() * THOUSANDTHS}
        slots = table[0].long()
        keys, values = (x[slots].flatten(0, 1)[None, None, :, 0].double() for x in (k, v))
        return _error([answer[:, :, None]], [_formula(q[:1, :1, None].double(), keys, values)])

    return Case(
        f"decoding, batch {batch}, context {context:,}",
        {
            "direction": "decoding", "batch": batch, "context": context, "heads": heads,
            "kv_heads": kv_heads, "head_dim": head_dim, "block_size": block, "dtype": "bf16",
            "bytes": 2 * k.nbytes, "calls": CALLS,
        },
        _repeated(lambda: flash_decode(q, k, v, table, lens)),
        {
            "a copy of as many bytes": _repeated(lambda: target.copy_(source)),
            "SDPA, cache not paged": unpaged(),
        },
        quality,
    )  # fmt: skip


def _repeated(step: Step) -> Step:
    def call() -> Any:
        for _ in range(CALLS):
            answer = step()
        torch.cuda.synchronize()
        return answer

    return call


def _draw(*shape: int, seed: int) -> Tensor:
    random = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(shape, generator=random, device="cuda", dtype=torch.bfloat16)


def _formula(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(-1) @ v


def _sdpa(backend: SDPBackend, q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(q, k, v, is_causal=causal)


def _flex(sequence: int, *, causal: bool) -> Attend:
    # A backward that overwrites what it was given could run once a graph.
    functorch.donated_buffer = False
    # Past eight sizes a function would run uncompiled.
    torch._dynamo.reset()
    compiled = torch.compile(flex_attention, dynamic=False)

    @cache
    def mask() -> Any:
        if not causal:
            return None
        size = (None, None, sequence, sequence)
        return create_block_mask(lambda b, h, i, j: i >= j, *size, device="cuda")

    return lambda q, k, v: compiled(q, k, v, block_mask=mask())


def _error(found: Any, wanted: Any) -> dict[str, float]:
    """The greatest difference of the first head of the first sequence from double precision."""
    pairs = zip(found, wanted, strict=True)
    apart = max((a[:1, :1] - b).abs().max().item() for a, b in pairs)
    return {"error_thousandths": apart * THOUSANDTHS}
