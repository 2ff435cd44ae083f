"""From tensors to launches of the kernels: tiles, grids, strides, outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from toolkit.kernels.engine import chip, on_its_device, precision

from .backward import flash_backward_keys, flash_backward_queries, row_products
from .forward import flash_forward
from .tiles import FORWARD, KEYS_GRADIENT, QUERIES_GRADIENT, Table, Tiles, pick


@dataclass(frozen=True, slots=True)
class Options:
    """What is the same for a whole call. ``starts_*`` are set where sequences are packed."""

    scale: float
    causal: bool = False
    window: int | None = None
    softcap: float | None = None
    starts_q: Tensor | None = None
    starts_k: Tensor | None = None
    longest_q: int = 0
    longest_k: int = 0

    def sizes(self, q: Tensor, k: Tensor) -> tuple[int, int, int]:
        """Sequences, and the lengths of the longest in queries and in keys."""
        if self.starts_q is None:
            return q.shape[0], q.shape[2], k.shape[2]
        return len(self.starts_q) - 1, self.longest_q, self.longest_k

    def constants(self, q: Tensor, k: Tensor) -> dict:
        """The kernels' compile-time parameters, tiles aside."""
        return {
            "GROUP": q.shape[1] // k.shape[1],
            "DIM": q.shape[3],
            "PADDED": triton.next_power_of_2(q.shape[3]),
            "CAUSAL": self.causal,
            "WINDOW": self.window is not None,
            "SOFTCAP": self.softcap is not None,
            "PACKED": self.starts_q is not None,
            "PRECISION": precision(q),
        }

    def starts(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """The sequences' starts; any tensor will do where none are read."""
        if self.starts_q is None or self.starts_k is None:
            return q, q
        return self.starts_q, self.starts_k

    def at(self, x: Tensor) -> tuple[int, int, int]:
        """Strides of sequence, head and row; packed sequences follow each other in rows."""
        return (x.stride(0) if self.starts_q is None else 0, x.stride(1), x.stride(2))


def tiles_for(table: Table, q: Tensor, options: Options) -> Tiles:
    """The tiles that a launch takes when none are given."""
    asked = (options.window, options.softcap, options.starts_q)
    ruled = any(rule is not None for rule in asked)
    return pick(table, triton.next_power_of_2(q.shape[3]), q.element_size(), chip(q), ruled)


def sizes(tiles: Tiles) -> dict[str, int]:
    """The tiles as a launch's compile-time parameters."""
    return {
        "QUERIES": tiles.queries, "KEYS": tiles.keys, "STAGES": tiles.stages,
        "num_warps": tiles.warps, "num_stages": tiles.stages,
    }  # fmt: skip


@on_its_device
def launch_forward(
    q: Tensor, k: Tensor, v: Tensor, options: Options, tiles: Tiles | None = None
) -> tuple[Tensor, Tensor]:
    """Outputs (batch, heads, queries, dim) and log-sum-exps (batch, heads, queries) in fp32.

    Packed sequences come as a batch of one: (1, heads, total, dim).
    """
    tiles = tiles or tiles_for(FORWARD, q, options)
    batch, queries, keys = options.sizes(q, k)
    output = torch.empty_like(q)
    lse = q.new_empty(q.shape[:3], dtype=torch.float32)
    at = options.at
    grid = (triton.cdiv(queries, tiles.queries), q.shape[1], batch)
    if 0 in grid:
        return output, lse

    flash_forward[grid](
        q, k, v, output, lse, *options.starts(q),
        *at(q), *at(k), *at(v), *at(output), *at(lse)[:2],
        queries, keys, options.scale, options.window or 0, options.softcap or 0.0,
        **options.constants(q, k), **sizes(tiles),
    )  # fmt: skip
    return output, lse


@on_its_device
def launch_backward(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, d_output: Tensor, d_lse: Tensor,
    options: Options, tiles: Tiles | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of q, k and v."""
    of_keys = tiles or tiles_for(KEYS_GRADIENT, q, options)
    of_queries = tiles or tiles_for(QUERIES_GRADIENT, q, options)
    batch, queries, keys = options.sizes(q, k)
    dq, dk, dv = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    if d_output.stride(3) != 1:
        d_output = d_output.contiguous()
    at, delta = options.at, torch.empty_like(lse)
    constants = options.constants(q, k)
    padded = {name: constants[name] for name in ("DIM", "PADDED")}
    if delta.numel():
        row_products[(triton.cdiv(q.shape[2], 64), q.shape[1], q.shape[0])](
            output, d_output, d_lse.contiguous(), delta,
            *output.stride()[:3], *d_output.stride()[:3], *lse.stride()[:2],
            q.shape[2], QUERIES=64, **padded,
        )  # fmt: skip
    of_inputs = (*at(q), *at(k), *at(v), *at(d_output), *at(lse)[:2])
    asked = (options.scale, options.window or 0, options.softcap or 0.0)
    grid = (triton.cdiv(keys, of_keys.keys), k.shape[1], batch)
    if 0 not in grid:
        flash_backward_keys[grid](
            q, k, v, d_output, lse, delta, dk, dv, *options.starts(q), *of_inputs, *at(dk),
            queries, keys, *asked, **constants, **sizes(of_keys),
        )  # fmt: skip
    grid = (triton.cdiv(queries, of_queries.queries), q.shape[1], batch)
    if 0 not in grid:
        flash_backward_queries[grid](
            q, k, v, d_output, lse, delta, dq, *options.starts(q), *of_inputs, *at(dq),
            queries, keys, *asked, **constants, **sizes(of_queries),
        )  # fmt: skip
    return dq, dk, dv
