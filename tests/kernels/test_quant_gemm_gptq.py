"""GPTQ against its closed form in float64, and what it does to a layer's outputs."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from toolkit.kernels.quant_gemm import QuantizedWeight, gptq, hessian, round_to_nearest


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def correlated(tokens: int, columns: int) -> torch.Tensor:
    """Activations as layers have them: few directions, and some columns much larger."""
    directions = columns // 4
    x = gaussian(tokens, directions) @ gaussian(directions, columns, seed=1)
    x += 0.3 * gaussian(tokens, columns, seed=2)
    x[:, ::13] *= 10
    return x


def error(weight: torch.Tensor, quantized: QuantizedWeight, x: torch.Tensor) -> float:
    """|X W^T - X Q^T|^2."""
    return (x @ (weight - quantized.dequantize()).T).square().sum().item()


def brain_surgeon(weight, hessian, size, *, symmetric, damping):
    """Codes and weights, a column and one matrix inverse at a time (Optimal Brain Compression)."""
    weight, free = weight.double().numpy().copy(), hessian.double().numpy().copy()
    free += damping * free.diagonal().mean() * np.eye(len(free))
    codes = np.empty(weight.shape, int)
    out = np.empty(weight.shape)
    for q in range(weight.shape[1]):
        if q % size == 0:
            group = weight[:, q : q + size]
            low, high = group.min(1).clip(max=0), group.max(1).clip(min=0)
            if symmetric:
                high = np.maximum(-low, high)
                low = -high
            scale = ((high - low) / 15).astype(np.float16).astype(float)
            zero = np.full(len(scale), 8) if symmetric else np.round(-low / scale)
        codes[:, q] = (np.round(weight[:, q] / scale) + zero).clip(0, 15)
        out[:, q] = scale * (codes[:, q] - zero)
        inverse = np.linalg.inv(free[q:, q:])
        step = (weight[:, q] - out[:, q]) / inverse[0, 0]
        weight[:, q:] -= step[:, None] * inverse[0]
    return codes, out


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [1, 4, 12, -1])
def test_the_update_is_the_closed_form(size, symmetric, act_order):
    weight, x = gaussian(7, 24, seed=3), correlated(100, 24)
    h = hessian(x)
    quantized = gptq(weight, h, size, symmetric=symmetric, act_order=act_order, block=5)
    size = 24 if size == -1 else size
    order = h.diagonal().argsort(descending=True) if act_order else torch.arange(24)
    codes, out = brain_surgeon(
        weight[:, order], h[order][:, order], size, symmetric=symmetric, damping=0.01
    )
    np.testing.assert_array_equal(quantized.codes[:, order], codes)
    np.testing.assert_array_equal(quantized.dequantize()[:, order], out)
    assert quantized.group_size == size
    assert (quantized.zeros is None) == symmetric
    if act_order and size < 24:
        assert quantized.g_idx.dtype == torch.int32
        assert quantized.g_idx[order].tolist() == [k // size for k in range(24)]
    else:
        assert quantized.g_idx is None


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [32, 64, 128, -1])
def test_outputs_are_closer_than_rounding_leaves_them(size, symmetric):
    weight, x = gaussian(48, 256, seed=3), correlated(1024, 256)
    plain = error(weight, round_to_nearest(weight, size, symmetric=symmetric), x)
    in_order = error(weight, gptq(weight, hessian(x), size, symmetric=symmetric), x)
    by_size = error(weight, gptq(weight, hessian(x), size, symmetric=symmetric, act_order=True), x)
    assert by_size < in_order < 0.7 * plain


@pytest.mark.parametrize("symmetric", [True, False])
def test_where_columns_do_not_correlate_it_is_plain_rounding(symmetric):
    weight = gaussian(16, 64, seed=3)
    alone = torch.diag(torch.rand(64, generator=torch.Generator().manual_seed(0)) + 0.1)
    quantized = gptq(weight, alone, 32, symmetric=symmetric)
    plain = round_to_nearest(weight, 32, symmetric=symmetric)
    assert torch.equal(quantized.codes, plain.codes)
    assert torch.equal(quantized.dequantize(), plain.dequantize())


def test_a_large_damping_is_plain_rounding_and_a_small_one_is_not():
    weight, h = gaussian(16, 64, seed=3), hessian(correlated(200, 64))
    plain = round_to_nearest(weight, 32)
    assert torch.equal(gptq(weight, h, 32, damping=1e9).codes, plain.codes)
    assert not torch.equal(gptq(weight, h, 32).codes, plain.codes)


@pytest.mark.parametrize("block", [1, 24, 1000])
def test_blocks_change_nothing_but_the_speed(block):
    weight, h = gaussian(16, 128, seed=3), hessian(correlated(300, 128))
    one, other = gptq(weight, h, 64, block=128), gptq(weight, h, 64, block=block)
    assert torch.equal(one.codes, other.codes)
    assert torch.equal(one.scales, other.scales)


def test_columns_that_are_never_used_become_zero_and_are_as_if_not_there():
    weight, x = gaussian(8, 32, seed=3), correlated(200, 32)
    weight[:, 5] = 1000
    x[:, [5, 20]] = 0
    used = torch.tensor([k for k in range(32) if k not in (5, 20)])
    for act_order in (False, True):
        quantized = gptq(weight, hessian(x), -1, act_order=act_order, damping=0)
        assert (quantized.dequantize()[:, [5, 20]] == 0).all()
        alone = gptq(weight[:, used], hessian(x[:, used]), -1, act_order=act_order, damping=0)
        assert torch.equal(quantized.codes[:, used], alone.codes)
        assert torch.equal(quantized.scales, alone.scales)


def test_hessians_add_up_and_their_scale_does_not_matter():
    x = correlated(200, 32)
    np.testing.assert_allclose(hessian(x), 2 * x.double().T @ x.double(), rtol=1e-4, atol=1e-2)
    fp32_sums = 200 * 2.0**-24 * hessian(x).abs().max()
    halves = hessian(x[:80]) + hessian(x[80:])
    torch.testing.assert_close(halves, hessian(x), rtol=0, atol=fp32_sums.item())
    weight, h = gaussian(8, 32, seed=3), hessian(x)
    assert torch.equal(gptq(weight, h, 16).codes, gptq(weight, 2.0**-20 * h, 16).codes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_of_other_dtypes_are_taken_and_left_as_they_were(dtype):
    weight, h = gaussian(8, 32, seed=3).half(), hessian(correlated(200, 32))
    given = weight.to(dtype)
    assert torch.equal(gptq(given, h, 16).codes, gptq(weight.float(), h, 16).codes)
    assert torch.equal(given, weight.to(dtype))


def test_one_row_one_column_and_zeros():
    assert gptq(torch.tensor([[3.0]]), torch.tensor([[2.0]]), -1).codes.tolist() == [[15]]
    assert not gptq(torch.zeros(2, 8), hessian(correlated(50, 8)), 4).dequantize().any()


def test_fewer_tokens_than_columns_need_damping():
    weight, h = gaussian(4, 32, seed=3), hessian(gaussian(8, 32))
    assert gptq(weight, h, 16).dequantize().isfinite().all()
    with pytest.raises(ValueError, match="positive definite with a damping of 0: raise it"):
        gptq(weight, h - 1e-3 * torch.eye(32), 16, damping=0)


H = torch.eye(4)


@pytest.mark.parametrize(
    ("weight", "h", "options", "message"),
    [
        (torch.full((2, 4), torch.nan), H, {}, "weight must be finite"),
        (torch.zeros(2, 4), H, {"group_size": 3}, "multiple of group_size, got 4 and 3"),
        (torch.zeros(2, 4), torch.eye(5), {}, "(4, 4), in_features twice, got (5, 5)"),
        (torch.zeros(2, 4), H * torch.inf, {}, "hessian must be finite"),
        (torch.zeros(2, 4), 0 * H, {}, "must not be all zeros"),
        (torch.zeros(2, 4), H, {"damping": -0.1}, "got -0.1 and 128"),
        (torch.zeros(2, 4), H, {"block": 0}, "got 0.01 and 0"),
    ],
)
def test_what_it_cannot_work_with_is_refused(weight, h, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        gptq(weight, h, **{"group_size": 4, **options})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4), "(tokens, in_features), got (4,)"),
        (torch.zeros(0, 4), "got (0, 4)"),
        (torch.tensor([[torch.nan]]), "finite, got NaN or inf"),
    ],
)
def test_activations_that_say_nothing_are_refused(x, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        hessian(x)
