"""The four-bit kernels, as Triton's interpreter runs them, and the bytes that they ask for."""

from __future__ import annotations

from math import gcd

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.kernels.engine import engine
from toolkit.kernels.quant_gemm import launch
from toolkit.kernels.quant_gemm.cost import ideal_bytes, w4a16_bytes
from toolkit.kernels.quant_gemm.matmul import prepare, w4a16_matmul
from toolkit.kernels.quant_gemm.record import QuantizedWeight
from toolkit.kernels.quant_gemm.rounding import nf4
from toolkit.kernels.quant_gemm.tiles import Tiles
from toolkit.kernels.trace import trace

FP32 = 1e-6  # of a sum of magnitudes: sums of up to 512 terms in fp32
ROUNDED = {torch.float32: 0.0, torch.float16: 2**-11, torch.bfloat16: 2**-8}  # half a unit


def draw(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def random_weight(seed, rows, columns, group, zeros=False, act_order=False):
    generator = torch.Generator().manual_seed(seed)

    def nibbles(*shape):
        return torch.randint(0, 16, shape, generator=generator, dtype=torch.uint8)

    g_idx = torch.arange(columns, dtype=torch.int32) // group
    return QuantizedWeight(
        codes=nibbles(rows, columns),
        scales=draw(seed, rows, columns // group).half().float(),
        zeros=nibbles(rows, columns // group) if zeros else None,
        codebook=None,
        group_size=group,
        g_idx=g_idx[torch.randperm(columns, generator=generator)] if act_order else None,
    )


def compare(y, x, weight):
    group = torch.arange(weight.shape[1]) // weight.group_size
    group = group if weight.g_idx is None else weight.g_idx.long()
    zeros = 8 if weight.zeros is None else weight.zeros.double()[:, group]
    dense = ((weight.codes.double() - zeros) * weight.scales.double()[:, group]).T
    wanted, size = x.double() @ dense, x.double().abs() @ dense.abs()
    assert y.dtype == x.dtype
    assert y.shape == wanted.shape
    assert ((y - wanted).abs() <= FP32 * size + ROUNDED[x.dtype] * wanted.abs()).all()


def test_the_interpreter_is_what_runs_here():
    assert engine(torch.zeros(1)) == "interpreter"


@settings(deadline=None, max_examples=12)
@given(
    rows=st.integers(0, 20), out=st.integers(1, 80), groups=st.integers(1, 3),
    group=st.sampled_from([16, 32, 48, 128]), dtype=st.sampled_from(list(ROUNDED)),
    zeros=st.booleans(), act_order=st.booleans(),
)  # fmt: skip
def test_any_shape(rows, out, groups, group, dtype, zeros, act_order):
    weight = random_weight(out, out, groups * group, group, zeros, act_order)
    x = draw(rows, rows, groups * group, dtype=dtype)
    compare(w4a16_matmul(x, weight), x, weight)


@pytest.mark.parametrize(("splits", "columns"), [(1, 176), (2, 192), (3, 176), (7, 176)])
def test_any_split(splits, columns):
    weight, x = random_weight(0, 40, columns, 16, zeros=True), draw(1, 10, columns)
    plan = launch.Plan(Tiles(16, 32, 64, 4, 1), splits)
    compare(launch.launch(x, prepare(weight), plan), x, weight)


def test_a_long_walk_is_split_by_itself():
    weight, x = random_weight(0, 40, 2048, 128), draw(1, 3, 2048)
    prepared = prepare(weight)
    assert launch._by_table(x, prepared).splits > 1
    compare(w4a16_matmul(x, prepared), x, weight)
    # of many rows the parts would be more bytes than the codes
    assert launch._by_table(draw(1, 200, 2048), prepared).splits == 1


def test_columns_that_do_not_lie_together():
    weight, x = random_weight(0, 40, 64, 32), draw(1, 64, 6).T
    compare(w4a16_matmul(x, weight), x, weight)


def test_the_largest_numbers_that_codes_can_be():
    weight = random_weight(0, 32, 64, 64, zeros=True)
    weight.codes.fill_(15)
    weight.zeros.fill_(0)
    x = draw(1, 2, 64, dtype=torch.float16)
    compare(w4a16_matmul(x, weight), x, weight)
    weight.codes.zero_()
    weight.zeros.fill_(15)
    compare(w4a16_matmul(x, weight), x, weight)


def test_rows_of_x_that_lie_apart():
    weight, x = random_weight(0, 32, 64, 32), draw(1, 2, 4, 200)[:, ::2, 8:72]
    compare(w4a16_matmul(x, weight).view(4, 32), x.reshape(4, 64), weight)


def test_a_codebook_is_refused():
    with pytest.raises(ValueError, match="looks none up in a codebook"):
        prepare(nf4(draw(0, 32, 64), 32))


def test_autotuning_wants_a_gpu():
    weight = prepare(random_weight(0, 32, 64, 32))
    with pytest.raises(ValueError, match="timed on a GPU, and x is on cpu"):
        launch.autotune(draw(0, 1, 64), weight)


TILES = {1: Tiles(16, 64, 128, 4, 1), 16: Tiles(16, 128, 128, 4, 1), 40: Tiles(32, 64, 64, 4, 1)}


@pytest.mark.parametrize(("rows", "splits"), [(1, 1), (1, 2), (16, 1), (40, 2)])
@pytest.mark.parametrize(("group", "zeros"), [(32, False), (128, True), (256, False), (256, True)])
def test_bytes_are_those_of_the_formula(rows, splits, group, zeros):
    tiles, columns, depth = TILES[rows], 72, 256
    x, weight = draw(0, rows, depth).half(), random_weight(0, columns, depth, group, zeros)
    with trace() as launches:
        launch.launch(x, prepare(weight), launch.Plan(tiles, splits))
    assert sum(one.hbm_bytes for one in launches) == w4a16_bytes(
        rows, columns, depth, group, tiles=tiles, splits=splits, zeros=zeros
    )
    assert not any(one.problems for one in launches)
    assert [one.kernel for one in launches] == ["w4a16", "add_parts"][: 1 + (splits > 1)]
    once = columns * depth // gcd(group, tiles.depth) * 2
    assert launches[0].bytes_of("scales_ptr") == -(-rows // tiles.rows) * once


@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("zeros", [False, True])
def test_bytes_are_the_ideal_where_a_tile_covers_the_outputs(rows, zeros):
    x, weight = draw(0, rows, 512).half(), random_weight(0, 128, 512, 128, zeros)
    with trace() as launches:
        launch.launch(x, prepare(weight), launch.Plan(TILES[16], 1))
    ideal = ideal_bytes(rows, 128, 512, 128, zeros=zeros)
    assert launches[0].hbm_bytes == ideal
    assert ideal == x.nbytes + rows * 128 * 2 + weight.nbytes


def test_few_rows_stay_near_the_ideal_in_any_tiles():
    x, weight = draw(0, 1, 1024).half(), random_weight(0, 128, 1024, 128)
    with trace() as launches:
        launch.launch(x, prepare(weight), launch.Plan(TILES[1], 2))
    assert sum(one.hbm_bytes for one in launches) < 1.06 * ideal_bytes(1, 128, 1024, 128)
