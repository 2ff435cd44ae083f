"""The record, rounding, NF4 and int8, each against what numpy makes of the definition."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from toolkit.kernels.quant_gemm import (
    QuantizedWeight,
    awq,
    gptq,
    hessian,
    nf4,
    round_to_nearest,
    roundings,
    w4a16_matmul,
    w8a8_matmul,
)
from toolkit.kernels.quant_gemm.rounding import nf4_levels
from toolkit.kernels.quant_gemm.w8a8 import int_matmul, quantize_activations

FP16_EPS, FP16_LEAST = 2.0**-11, 2.0**-24
"""fp16's relative rounding, and its smallest number."""

QLORA_LEVELS = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip
"""QLoRA's appendix E."""


@st.composite
def weights(draw) -> torch.Tensor:
    """Weights of any size that fp16 has, in columns that 1, 2 and 4 divide."""
    largest = draw(st.sampled_from([1e-9, 1e-5, 1e-2, 1.0, 6e4]))
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=5))
    values = arrays(np.float32, (shape[0], 4 * shape[1]), elements=st.floats(-1, 1, width=32))
    return torch.from_numpy(draw(values)) * largest


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_loops(weight: QuantizedWeight) -> np.ndarray:
    """What a record stands for, one number at a time."""
    out = np.empty(tuple(weight.shape), np.float32)
    for n, k in np.ndindex(*out.shape):
        group = k // weight.group_size if weight.g_idx is None else weight.g_idx[k]
        code = int(weight.codes[n, k])
        if weight.codebook is not None:
            level = weight.codebook[code].item()
        else:
            level = code - (2 ** (weight.bits - 1) if weight.zeros is None else 0)
            level -= 0 if weight.zeros is None else int(weight.zeros[n, group])
        out[n, k] = weight.scales[n, group].item() * level
    return out


def record(**changes) -> QuantizedWeight:
    """Eight columns in groups of 2, with codes, scales and zeros of every kind."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 16, (3, 8), generator=generator).to(torch.uint8)
    scales = (1 + torch.rand(3, 4, generator=generator)).half().float()
    return replace(QuantizedWeight(codes, scales, None, None, 2, None), **changes)


ZEROS = torch.arange(12).view(3, 4).to(torch.uint8)
ORDER = torch.tensor([3, 1, 0, 2, 2, 0, 1, 3], dtype=torch.int32)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"zeros": ZEROS},
        {"codebook": torch.linspace(-1, 1, 16)},
        {"g_idx": ORDER},
        {"zeros": ZEROS, "g_idx": ORDER},
        {"bits": 8},
    ],
)
def test_a_record_dequantises_by_its_definition(changes):
    np.testing.assert_array_equal(record(**changes).dequantize(), by_loops(record(**changes)))


def test_bytes_are_those_once_packed():
    square = round_to_nearest(torch.zeros(256, 256), 128)
    assert square.nbytes * 8 / 256**2 == 4.125  # the 0.125 bit of a scale for 128 weights
    assert round_to_nearest(torch.zeros(256, 256), 128, symmetric=False).nbytes == (
        square.nbytes + 256 * 2 // 2
    )
    assert replace(square, g_idx=torch.zeros(256, dtype=torch.int32)).nbytes == (
        square.nbytes + 256 * 4
    )
    assert nf4(torch.zeros(256, 256)).nbytes == 256 * 256 // 2 + 256 * 4 * 2 + 16 * 4
    assert round_to_nearest(torch.zeros(1, 3), -1, bits=8).nbytes == 3 + 2
    assert round_to_nearest(torch.zeros(1, 3), -1).nbytes == 2 + 2  # the last half byte is whole


def test_arrays_that_do_not_fit_each_other_are_no_weight():
    weight = round_to_nearest(torch.ones(4, 64), 32)
    with pytest.raises(ValueError, match="2 groups of 16 columns must make up the weight's 64"):
        replace(weight, group_size=16)
    for wrong in (
        {"codes": weight.codes.int()},
        {"scales": weight.scales[:3]},
        {"zeros": weight.codes},
        {"codebook": torch.zeros(15)},
        {"g_idx": torch.zeros(63, dtype=torch.int32)},
    ):
        (name,) = wrong
        with pytest.raises(TypeError, match=f"{name} of a weight of 64 columns must be"):
            replace(weight, **wrong)


@given(weight=weights(), size=st.sampled_from([1, 2, 4, -1]), symmetric=st.booleans(),
       bits=st.integers(2, 8))  # fmt: skip
def test_rounding_is_to_the_nearest_code_of_the_groups_range(weight, size, symmetric, bits):
    quantized = round_to_nearest(weight, size, symmetric=symmetric, bits=bits)
    size = weight.shape[1] if size == -1 else size
    steps = 2**bits - 1
    groups = weight.numpy().reshape(len(weight), -1, size)
    low, high = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    scales = np.maximum((high - low) / np.float32(steps), FP16_LEAST)
    scales = scales.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(quantized.scales, scales)
    assert (quantized.group_size, quantized.bits, quantized.g_idx) == (size, bits, None)
    if symmetric:
        assert quantized.zeros is None
        zeros = np.full_like(scales, 2 ** (bits - 1))
    else:
        zeros = quantized.zeros.numpy().astype(np.float32)
        # As near as a code can be to where 0 lies, unless the scale's rounding pushed it outside.
        assert np.all(np.abs(zeros - np.clip(-low / scales, 0, steps)) <= 0.5 + 1e-4)
    codes = np.arange(steps + 1, dtype=np.float32)
    grid = scales[..., None] * (codes - zeros[..., None])
    errors = np.abs(groups[..., None] - grid[:, :, None])
    chosen = np.take_along_axis(
        errors, quantized.codes.numpy().reshape(groups.shape).astype(int)[..., None], -1
    )[..., 0]
    assert np.all(chosen <= errors.min(-1) + 1e-4 * scales[..., None])
    scale_rounding = steps * np.maximum(scales * FP16_EPS, FP16_LEAST / 2)
    assert np.all(chosen <= (scales / 2 + scale_rounding)[..., None] * (1 + 1e-4))


@given(weight=weights(), size=st.sampled_from([1, 2, 4, -1]))
def test_nf4_is_the_nearest_level_of_the_groups_largest(weight, size):
    quantized = nf4(weight, size)
    groups = weight.numpy().reshape(len(weight), -1, weight.shape[1] if size == -1 else size)
    largest = np.maximum(np.abs(groups).max(-1), FP16_LEAST).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(quantized.scales, largest)
    errors = np.abs(groups[..., None] - largest[..., None, None] * np.float32(QLORA_LEVELS))
    chosen = np.abs(groups - quantized.dequantize().numpy().reshape(groups.shape))
    assert np.all(chosen <= errors.min(-1) + 1e-5 * largest[..., None])


def test_nf4s_levels_are_the_published_ones():
    np.testing.assert_allclose(nf4_levels(), QLORA_LEVELS, rtol=0, atol=2.0**-22)
    assert nf4_levels()[7] == 0


def test_nf4_changes_codes_halfway_between_levels():
    weight = gaussian(1, 20_000)
    quantized = nf4(weight, -1)
    levels = quantized.scales.item() * np.float32(QLORA_LEVELS)
    nearest = np.abs(weight.numpy()[..., None] - levels).argmin(-1)
    np.testing.assert_array_equal(quantized.codes, nearest)
    assert len(quantized.codes.unique()) == 16


def test_a_zero_stays_a_code_where_fp16_has_no_scale_that_small():
    weight = torch.tensor([[-22.0, 0.0]]) * FP16_LEAST  # 22 steps of the only scale there is
    quantized = round_to_nearest(weight, 2, symmetric=False)
    assert (quantized.scales.item(), quantized.zeros.item()) == (FP16_LEAST, 15)
    assert quantized.dequantize().tolist() == [[-15 * FP16_LEAST, 0.0]]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_constant_group(value, symmetric):
    quantized = round_to_nearest(torch.full((2, 32), value), 32, symmetric=symmetric)
    exact = value == 0 or not symmetric
    step = 2 * 3 / 15 if symmetric else 3 / 15
    tolerance = 3 * FP16_EPS if exact else step / 2 + 15 * step * FP16_EPS
    assert (quantized.dequantize() - value).abs().max() <= (0 if value == 0 else tolerance)
    assert len(quantized.codes.unique()) == 1


def test_weights_of_a_scale_are_found_again():
    """Codes that use the whole range come back, whatever the group's scale."""
    codes = torch.arange(16).repeat(3, 2).to(torch.uint8)
    scales = torch.tensor([[0.5, 2.0**-14], [1.0, 1024.0], [2.0**-10, 3.0]])
    zeros = torch.tensor([[0, 15], [7, 8], [3, 12]], dtype=torch.uint8)
    held = QuantizedWeight(codes, scales, zeros, None, 16, None)
    again = round_to_nearest(held.dequantize(), 16, symmetric=False)
    for name in ("codes", "scales", "zeros"):
        assert torch.equal(getattr(again, name), getattr(held, name)), name


def test_half_precision_weights_are_rounded_as_they_are():
    weight = gaussian(4, 64).half()
    assert torch.equal(
        round_to_nearest(weight, 32).codes, round_to_nearest(weight.float(), 32).codes
    )
    assert torch.equal(nf4(weight, 32).codes, nf4(weight.float(), 32).codes)


@pytest.mark.parametrize("quantiser", [round_to_nearest, nf4])
@pytest.mark.parametrize(
    ("weight", "size", "kind", "message"),
    [
        (torch.zeros(4), 1, ValueError, "(out_features, in_features), got (4,)"),
        (torch.zeros(0, 4), 1, ValueError, "got (0, 4)"),
        (torch.zeros(4, 4, dtype=torch.int8), 4, TypeError, "floating point, got torch.int8"),
        (torch.zeros(4, 576), 128, ValueError, "multiple of group_size, got 576 and 128"),
        (torch.zeros(4, 4), 0, ValueError, "at least 1, or -1 for a whole row, got 0"),
        (torch.zeros(4, 4), -2, ValueError, "at least 1, or -1 for a whole row, got -2"),
        (torch.tensor([[1.0, torch.nan]]), 1, ValueError, "finite, got NaN or inf"),
        (torch.tensor([[1.0, torch.inf]]), 1, ValueError, "finite, got NaN or inf"),
        (torch.tensor([[1.0, -7e4]]), 1, ValueError, "within fp16's 65,504"),
    ],
)
def test_what_is_no_weight_is_refused(quantiser, weight, size, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        quantiser(weight, size)


@pytest.mark.parametrize("bits", [1, 9])
def test_codes_of_one_bit_or_nine_are_refused(bits):
    with pytest.raises(ValueError, match=f"2 to 8, got {bits}"):
        round_to_nearest(torch.zeros(4, 4), 4, bits=bits)


@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 1, 1), (5, 33, 7), (17, 576, 64)])
def test_integers_add_up_exactly(rows, inner, columns):
    generator = torch.Generator().manual_seed(rows)
    a = torch.randint(-128, 128, (rows, inner), generator=generator).to(torch.int8)
    b = torch.randint(-128, 128, (columns, inner), generator=generator).to(torch.int8)
    assert torch.equal(int_matmul(a, b).long(), a.long() @ b.long().T)


@pytest.mark.parametrize("shape", [(48,), (1, 48), (7, 48), (2, 3, 48), (0, 48)])
def test_w8a8_is_the_product_of_what_is_rounded(shape):
    x = gaussian(*shape) * (1 + 1e3 * gaussian(*shape[:-1], 1, seed=1).abs())
    weight = gaussian(20, 48, seed=2)
    tokens, token_scales = int8(x.numpy())
    rows, row_scales = int8(weight.numpy(), np.float16)
    exact = token_scales * (tokens @ rows.T) * row_scales[:, 0]
    y = w8a8_matmul(x, round_to_nearest(weight, -1, bits=8))
    assert y.shape == (*shape[:-1], 20)
    assert y.dtype == torch.float32
    two_products_in_fp32 = 2 * 2.0**-24
    np.testing.assert_allclose(y, exact, rtol=two_products_in_fp32)


def int8(values: np.ndarray, kept=np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Integers from -128 to 127 for each row, and its scale, as fp64."""
    scales = np.abs(values).max(-1, keepdims=True) / np.float32(127.5)
    scales = scales.astype(kept).astype(np.float32)
    return np.clip(np.round(values / scales), -128, 127).astype(float), scales.astype(float)


def test_the_largest_integers_neither_wrap_nor_saturate():
    row = torch.full((1, 2**17 - 1), -127.5)  # -128 by a scale of 1
    assert w8a8_matmul(row, round_to_nearest(row, -1, bits=8)).item() == torch.tensor(
        (2**17 - 1) * 128.0 * 128.0
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_w8a8_gives_back_xs_dtype(dtype):
    x, weight = gaussian(3, 64).to(dtype), round_to_nearest(gaussian(8, 64, seed=1), -1, bits=8)
    assert torch.equal(w8a8_matmul(x, weight), w8a8_matmul(x.float(), weight).to(dtype))


def test_tokens_of_zeros_and_nan_keep_to_themselves():
    x, weight = gaussian(4, 64), round_to_nearest(gaussian(8, 64, seed=1), -1, bits=8)
    alone = w8a8_matmul(x, weight)
    x[1], x[2, 5] = 0, torch.nan
    y = w8a8_matmul(x, weight)
    assert torch.equal(y[[0, 3]], alone[[0, 3]])
    assert (y[1] == 0).all()
    assert y[2].isnan().all()
    assert quantize_activations(x)[1][1] > 0  # 0 / 0 has no integer


@pytest.mark.parametrize(
    ("x", "weight", "message"),
    [
        (torch.zeros(2, 64), round_to_nearest(torch.zeros(8, 64), -1), "got 4 bits, 1 groups"),
        (torch.zeros(2, 64), round_to_nearest(torch.zeros(8, 64), 32, bits=8), "2 groups"),
        (
            torch.zeros(2, 64),
            round_to_nearest(torch.zeros(8, 64), -1, bits=8, symmetric=False),
            "1 groups and zeros",
        ),
        (torch.zeros(2, 63), round_to_nearest(torch.zeros(8, 64), -1, bits=8), "64, got (2, 63)"),
        (torch.tensor(1.0), round_to_nearest(torch.zeros(8, 1), -1, bits=8), "1, got ()"),
        (
            torch.zeros(2, 64, device="meta"),
            round_to_nearest(torch.zeros(8, 64), -1, bits=8),
            "device, cpu, got meta",
        ),
        (
            torch.zeros(1, 2**17),
            round_to_nearest(torch.zeros(1, 2**17), -1, bits=8),
            "below 131,072",
        ),
    ],
)
def test_what_w8a8_cannot_multiply_is_refused(x, weight, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        w8a8_matmul(x, weight)


def test_a_layers_own_weight_is_taken_without_its_gradient():
    layer = torch.nn.Linear(64, 16)
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    made = [round_to_nearest(layer.weight, 32), nf4(layer.weight, 32)]
    made += [gptq(layer.weight, hessian(x), 32), awq(layer.weight, x, 32)[0]]
    for weight in made:
        assert not weight.scales.requires_grad
        assert w4a16_matmul(x.detach(), weight).shape == (40, 16)
    eight = round_to_nearest(layer.weight, -1, bits=8)
    assert not w8a8_matmul(x, eight).requires_grad
    with pytest.raises(TypeError, match=r"float32, float16 or bfloat16, got torch\.float64"):
        w8a8_matmul(x.double(), eight)


def test_roundings_are_each_methods_own():
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    found = roundings(weight)
    assert len(found) == (2 * 7 + 1) * 2
    for (method, bits, size), one in found.items():
        if method == "nf4":
            wanted = nf4(weight, size)
        else:
            wanted = round_to_nearest(weight, size, symmetric=method == "symmetric", bits=bits)
        assert (one.bits, one.group_size) == (bits, size)
        assert torch.equal(one.dequantize(), wanted.dequantize())
    with pytest.raises(ValueError, match="must be finite"):
        roundings(weight.fill_(torch.nan))
