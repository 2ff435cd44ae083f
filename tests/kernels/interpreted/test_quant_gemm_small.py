"""The lab's kernel: right, of the bytes that its tiles have, and without a race."""

from __future__ import annotations

import pytest
import torch

from toolkit.kernels.quant_gemm import pack_nibbles
from toolkit.kernels.quant_gemm.small_kernels import w4a16_kernel
from toolkit.kernels.trace import trace

SUMS_IN_FP32 = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize(
    ("rows", "columns", "groups", "group"),
    [(1, 1, 1, 128), (16, 32, 2, 128), (17, 33, 1, 256), (3, 70, 4, 64)],
)
def test_w4a16(rows, columns, groups, group):
    generator = torch.Generator().manual_seed(0)
    depth = groups * group
    codes = torch.randint(0, 16, (columns, depth), generator=generator, dtype=torch.uint8)
    zeros = torch.randint(0, 16, (groups, columns), generator=generator, dtype=torch.uint8)
    scales = (torch.rand(groups, columns, generator=generator) / 64 + 1 / 64).half()
    x = torch.randn(rows, depth, generator=generator)
    y = torch.full((rows, columns), torch.nan)
    tiles = -(-rows // 16), -(-columns // 32)
    with trace() as launches:
        w4a16_kernel[tiles](
            x, pack_nibbles(codes), scales, zeros, y, rows, columns, depth,
            GROUP=group, ROWS=16, COLUMNS=32,
        )  # fmt: skip
    steps = codes.double().unflatten(1, (groups, group)) - zeros.double().T[..., None]
    exact = x.double() @ (scales.double().T[..., None] * steps).flatten(1).T
    torch.testing.assert_close(y, exact.float(), **SUMS_IN_FP32)
    assert launches[0].problems == ()
    weight = columns * depth // 2 + groups * columns * (2 + 1)
    counted = tiles[0] * weight + tiles[1] * x.nbytes + y.nbytes
    assert launches[0].hbm_bytes == counted
