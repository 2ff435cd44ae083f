"""Rounding beside compressed-tensors, and the file format of SmolLM2's weights.

The peer keeps scales in fp32: they are compared before that rounding, and it is given ours after.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.kernels.quant_gemm import round_to_nearest


def weight(rows: int = 96, columns: int = 768) -> torch.Tensor:
    """Normally distributed, in fp16, so that a group's largest magnitude is a scale it can have."""
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    return (drawn * 0.05).half().float()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [32, 64, 128, 768])
@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_is_that_of_compressed_tensors(bits, size, symmetric):
    # It takes seconds to import, which the other tests should not wait for.
    from compressed_tensors import quantization
    from compressed_tensors.quantization.lifecycle.forward import quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    w = weight()
    arguments = quantization.QuantizationArgs(
        num_bits=bits, type="int", symmetric=symmetric, strategy="group", group_size=size
    )
    groups = w.unflatten(1, (-1, size))
    scales, zeros = calculate_qparams(groups.amin(-1), groups.amax(-1), arguments)
    ours = round_to_nearest(w, size, symmetric=symmetric, bits=bits)
    assert torch.equal(ours.scales, scales.half().float())
    middle = 2 ** (bits - 1)
    held = torch.zeros_like(zeros) if symmetric else (ours.zeros.int() - middle).to(torch.int8)
    if not symmetric:
        # Their zero is that of the scale in fp32, so it may fall to the next code at a half.
        zero = -groups.amin(-1) / scales
        fp16_scale = 2**bits * 2.0**-11
        assert halves(zero)[held != zeros].max(initial=0) < fp16_scale
    codes = quantize(w, ours.scales, held, arguments, dtype=torch.int8).int() + middle
    # They round after the zero is added, so a weight halfway between two codes may go either way.
    steps = (groups / ours.scales[..., None]).flatten(1)
    fp32_sum = 2**bits * 2.0**-24
    assert halves(steps)[codes != ours.codes].max(initial=0) <= fp32_sum
    assert (codes - ours.codes).abs().max() <= 1


def halves(values: torch.Tensor) -> np.ndarray:
    """How far each is from halfway between two integers."""
    return (values % 1 - 0.5).abs().numpy()


@pytest.mark.slow
def test_smollms_file_has_the_same_codes_at_group_32_and_only_its_minima_move():
    """Q4_1 is scale * code + min with the min a free number; here 0 is a code.

    So w' - w is the same for a whole group: the min's distance from a multiple of the scale.
    """
    from toolkit.models.llama import load

    w = load("smollm2-135m-instruct").layers[0].ffn.down.weight.detach()
    ours = round_to_nearest(w, 32, symmetric=False)
    groups, scales = w.unflatten(1, (-1, 32)), ours.scales[..., None]
    least = groups.amin(-1, keepdim=True)
    file_codes = ((groups - least) / scales).round()
    assert torch.equal(scales * file_codes + least, groups)
    # One group in a thousand has its 0 halfway between two codes, and then rounding is by evens.
    halfway = (least / scales % 1 == 0.5)[..., 0]
    assert halfway.float().mean() < 0.002
    assert torch.equal(ours.codes.unflatten(1, (-1, 32))[~halfway], file_codes[~halfway])
    moved = (ours.dequantize().unflatten(1, (-1, 32)) - groups) / scales
    assert torch.equal(moved.amax(-1)[~halfway], moved.amin(-1)[~halfway])
    # By any part of a step up to half of it: as much as rounding loses of any weight.
    assert moved.abs().max() <= 0.5
    assert moved.square().mean().item() == pytest.approx(1 / 12, rel=0.02)
