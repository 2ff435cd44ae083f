"""AWQ against a search by hand, and what it does to a layer's outputs."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from toolkit.kernels.quant_gemm import awq, round_to_nearest


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def outliers(tokens: int, columns: int) -> torch.Tensor:
    """Activations of which a few columns are much larger than the rest."""
    x = gaussian(tokens, columns)
    x[:, ::17] *= 30
    return x


def error(weight, x, quantized, scales=1.0) -> float:
    """|x W^T - (x / s) Q^T|^2."""
    y = (x / scales).double() @ quantized.dequantize().double().T
    return (x.double() @ weight.double().T - y).square().sum().item()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [32, 64, -1])
def test_outlier_columns_keep_the_outputs_closer_than_rounding_does(size, symmetric):
    weight, x = gaussian(48, 256, seed=3), outliers(512, 256)
    quantized, scales = awq(weight, x, size, symmetric=symmetric)
    plain = round_to_nearest(weight, size, symmetric=symmetric)
    assert error(weight, x, quantized, scales) < 0.65 * error(weight, x, plain)
    assert (quantized.zeros is None) == symmetric
    assert scales[::17].min() > 1.5 * scales[1::17].max()


def test_activations_whose_squares_overflow_are_still_compared():
    weight, x = gaussian(16, 64, seed=3), outliers(128, 64)
    _, scales = awq(weight, x, 32)
    assert scales.max() > 2 * scales.min()
    _, of_huge_ones = awq(weight, x * 2.0**70, 32)
    torch.testing.assert_close(of_huge_ones, scales)


@pytest.mark.parametrize("grid", [1, 7, 20])
def test_it_is_the_best_of_the_grid(grid):
    weight, x = gaussian(16, 64, seed=3), outliers(128, 64)
    quantized, scales = awq(weight, x, 16, grid=grid)
    mean = np.abs(x.double().numpy()).mean(0)
    tried = []
    for alpha in np.linspace(0, 1, grid + 1):
        power = mean**alpha
        s = torch.from_numpy(power / np.sqrt(power.max() * power.min())).float()
        q = round_to_nearest(weight * s, 16, symmetric=False)
        tried.append((error(weight, x, q, s), s))
    least, best = min(tried, key=lambda row: row[0])
    # A code or two at a tie may fall the other way, as the scales are rounded otherwise.
    assert error(weight, x, quantized, scales) == pytest.approx(least, rel=1e-3)
    torch.testing.assert_close(scales, best, rtol=1e-5, atol=0)
    assert len({round(row[0], 6) for row in tried}) == grid + 1


@pytest.mark.parametrize("seed", range(5))
def test_it_is_never_worse_than_rounding(seed):
    weight, x = gaussian(16, 64, seed=seed), gaussian(100, 64, seed=seed + 100)
    least = error(weight, x, *awq(weight, x, 32))
    assert least <= error(weight, x, round_to_nearest(weight, 32, symmetric=False)) * (1 + 1e-5)


def test_columns_alike_are_plain_rounding():
    weight, x = gaussian(16, 64, seed=3), gaussian(100, 64).sign()
    quantized, scales = awq(weight, x, 32)
    assert torch.equal(scales, torch.ones(64))
    assert torch.equal(quantized.codes, round_to_nearest(weight, 32, symmetric=False).codes)


def test_a_column_that_is_never_used_keeps_a_finite_scale():
    weight, x = gaussian(16, 64, seed=3), outliers(100, 64)
    x[:, 3] = 0
    quantized, scales = awq(weight, x, 32)
    assert (scales > 0).all()
    assert (quantized.dequantize() / scales).isfinite().all()


@pytest.mark.parametrize(
    ("weight", "x", "options", "message"),
    [
        (torch.full((2, 4), torch.nan), torch.ones(1, 4), {}, "weight must be finite"),
        (torch.zeros(2, 4), torch.ones(1, 4), {"group_size": 3}, "multiple of group_size"),
        (torch.zeros(2, 4), torch.ones(4), {}, "(tokens, in_features), got (4,)"),
        (torch.zeros(2, 4), torch.ones(1, 5), {}, "in_features, 4, got 5"),
        (torch.zeros(2, 4), torch.full((1, 4), torch.inf), {}, "activations must be finite"),
        (torch.zeros(2, 4), torch.zeros(1, 4), {}, "must not be all zeros"),
        (torch.zeros(2, 4), torch.ones(1, 4), {"grid": 0}, "at least 1 step, got 0"),
    ],
)
def test_what_it_cannot_work_with_is_refused(weight, x, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        awq(weight, x, **{"group_size": 4, **options})
