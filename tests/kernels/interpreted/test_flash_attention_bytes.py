"""The bytes that the kernels ask for, counted by the microscope, are those of the formulas."""

from __future__ import annotations

import pytest
import torch

from toolkit.kernels.flash_attention import (
    Tiles,
    attention_bytes,
    flash_bytes,
    flash_decode,
)
from toolkit.kernels.flash_attention.launch import Options, launch_backward, launch_forward
from toolkit.kernels.flash_attention.naive import naive_attention
from toolkit.kernels.trace import trace


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("queries", "keys"), [(128, 128), (100, 150), (150, 100), (64, 0)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 40])
def test_the_forward_kernel(queries, keys, causal, window):
    q, k, v = draw(0, 2, 4, queries, 32), draw(1, 2, 2, keys, 32), draw(2, 2, 2, keys, 32)
    tiles = Tiles(64, 32, 4, 1)
    with trace() as launches:
        launch_forward(q, k, v, Options(scale=1.0, causal=causal, window=window), tiles)
    (launch,) = launches
    assert launch.hbm_bytes == flash_bytes(
        2, 4, queries, keys, 32, tiles=tiles, causal=causal, window=window, itemsize=4
    )
    assert launch.bytes_of("q_ptr") == q.nbytes
    assert launch.bytes_of("o_ptr") == q.nbytes
    assert not launch.problems


def test_two_products_for_each_tile_that_is_visited():
    q, k, v = (draw(n, 1, 1, 256, 32) for n in range(3))
    tiles = Tiles(64, 64, 4, 1)
    with trace() as launches:
        launch_forward(q, k, v, Options(scale=1.0, causal=True), tiles)
    # 1 + 2 + 3 + 4 of 16 tiles, each with Q K^T and P V
    assert launches[0].dot_flops == 10 * 2 * (2 * 64 * 64 * 32)


@pytest.mark.parametrize(("queries", "keys"), [(128, 128), (100, 150)])
def test_the_formula_in_three_kernels(queries, keys):
    q, k, v = draw(0, 2, queries, 32), draw(1, 2, keys, 32), draw(2, 2, keys, 32)
    tiles = Tiles(64, 32, 4, 1)
    with trace() as launches:
        naive_attention(q, k, v, tiles)
    counted = sum(launch.hbm_bytes for launch in launches)
    assert counted == attention_bytes(1, 2, queries, keys, 32, tiles=tiles, itemsize=4)
    assert not any(launch.problems for launch in launches)


@pytest.mark.parametrize("rules", [{}, {"causal": True}, {"causal": True, "window": 30}])
def test_the_backward_kernels_own_what_they_write(rules):
    q, k, v = draw(0, 1, 4, 100, 32), draw(1, 1, 2, 130, 32), draw(2, 1, 2, 130, 32)
    options = Options(scale=1.0, **rules)
    output, lse = launch_forward(q, k, v, options)
    with trace() as launches:
        launch_backward(q, k, v, output, lse, output, torch.zeros_like(lse), options)
    assert [launch.kernel for launch in launches] == [
        "row_products", "flash_backward_keys", "flash_backward_queries",
    ]  # fmt: skip
    assert not any(launch.problems for launch in launches)
    _, keys_kernel, queries_kernel = launches
    assert keys_kernel.bytes_of("dk_ptr") == keys_kernel.bytes_of("dv_ptr") == k.nbytes
    assert queries_kernel.bytes_of("dq_ptr") == q.nbytes


def test_decoding_reads_a_cache_once():
    k_cache, v_cache = draw(1, 8, 16, 2, 32), draw(2, 8, 16, 2, 32)
    table = torch.tensor([[7, 1, 4], [0, 2, 0]], dtype=torch.int32)
    lens = torch.tensor([45, 20], dtype=torch.int32)
    with trace() as launches:
        flash_decode(draw(0, 2, 8, 32), k_cache, v_cache, table, lens, num_splits=2)
    split, join = launches
    assert split.bytes_of("k_ptr") == split.bytes_of("v_ptr") == (45 + 20) * 2 * 32 * 4
    assert not split.problems
    assert not join.problems
