"""The lab's kernels: right, of the bytes that the chapter counts, and without a race."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from toolkit.kernels.flash_attention import Tiles, flash_bytes
from toolkit.kernels.flash_attention.small_kernels import (
    flash_kernel,
    softmax_kernel,
    value_gradient_kernel,
)
from toolkit.kernels.trace import trace

SUMS_IN_FP32 = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(("rows", "columns", "width"), [(1, 1, 1), (3, 5, 8), (4, 16, 16)])
def test_softmax(rows, columns, width):
    x = torch.randn(rows, columns) * 100
    y = torch.full_like(x, torch.nan)
    with trace() as launches:
        softmax_kernel[(rows,)](x, y, columns, WIDTH=width)
    torch.testing.assert_close(y, x.double().softmax(1).float(), **SUMS_IN_FP32)
    assert launches[0].problems == ()
    assert launches[0].hbm_bytes == 2 * x.nbytes


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("queries", "keys", "tile_q", "tile_k"),
    [(1, 1, 16, 16), (16, 16, 16, 16), (33, 48, 16, 16), (40, 45, 32, 16), (20, 70, 16, 32)],
)
def test_flash(queries, keys, tile_q, tile_k, causal):
    q, k, v = torch.randn(queries, 16), torch.randn(keys, 16), torch.randn(keys, 16)
    o = torch.full_like(q, torch.nan)
    with trace() as launches:
        flash_kernel[(-(-queries // tile_q),)](
            q, k, v, o, queries, keys, 0.25, DIM=16, QUERIES=tile_q, KEYS=tile_k, CAUSAL=causal
        )
    mask = torch.ones(queries, keys, dtype=torch.bool)
    mask = mask.tril(keys - queries) if causal else mask
    exact = functional.scaled_dot_product_attention(
        *(x.double()[None] for x in (q, k, v)), attn_mask=mask, scale=0.25
    )
    torch.testing.assert_close(o, exact[0].float(), **SUMS_IN_FP32)
    assert launches[0].problems == ()
    tiles = Tiles(tile_q, tile_k, warps=4, stages=1)
    log_sum_exps = 4 * queries
    counted = flash_bytes(1, 1, queries, keys, 16, tiles=tiles, causal=causal, itemsize=4)
    assert launches[0].hbm_bytes == counted - log_sum_exps


@pytest.mark.parametrize("tokens", [1, 16, 35])
def test_value_gradient(tokens):
    p, do = torch.randn(tokens, tokens).softmax(1), torch.randn(tokens, 16)
    dv = torch.full_like(do, torch.nan)
    with trace() as launches:
        value_gradient_kernel[(-(-tokens // 16),)](p, do, dv, tokens, DIM=16, BLOCK=16)
    torch.testing.assert_close(dv, (p.double().T @ do.double()).float(), **SUMS_IN_FP32)
    assert launches[0].problems == ()
