"""Four layouts of a 4-bit weight, against packers written from each format's definition."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.kernels.quant_gemm.layouts import LAYOUTS, Packed
from toolkit.kernels.quant_gemm.nibbles import ORDER, to_words, unpack_pairs
from toolkit.kernels.quant_gemm.packing import convert, pack, unpack
from toolkit.kernels.quant_gemm.record import QuantizedWeight
from toolkit.kernels.quant_gemm.zero_points import zero_convention

INTERLEAVED = [0, 2, 4, 6, 1, 3, 5, 7]


def random_weight(
    seed: int, out: int, inside: int, group_size: int, *, zeros=(1, 15), g_idx=False
) -> QuantizedWeight:
    """Codes, scales and zeros of no meaning; ``zeros`` are the lowest and highest, or None."""
    rng = np.random.default_rng(seed)
    groups = inside // group_size
    scales = torch.from_numpy(rng.uniform(1e-3, 2, (out, groups)).astype(np.float16))
    order = rng.permutation(inside) // group_size
    low, high = zeros or (8, 8)
    return QuantizedWeight(
        codes=torch.from_numpy(rng.integers(0, 16, (out, inside), np.uint8)),
        scales=scales.float(),
        zeros=torch.from_numpy(rng.integers(low, high + 1, (out, groups), np.uint8))
        if zeros
        else None,
        codebook=None,
        group_size=group_size,
        g_idx=torch.from_numpy(order.astype(np.int32)) if g_idx else None,
    )


def word(nibbles: list[int]) -> int:
    """Eight nibbles, the first lowest, as the signed 32-bit number that has these bits."""
    total = sum(nibble << 4 * i for i, nibble in enumerate(nibbles))
    return total - 2**32 if total >= 2**31 else total


def assert_same(one, other) -> None:
    """Two records of the same type, field by field and bit by bit."""
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, torch.Tensor):
            assert a.dtype == b.dtype, field.name
            assert torch.equal(a, b), field.name
        else:
            assert a == b, field.name


# By hand. Row n of an 8 x 8 weight has the codes n, n + 1, ... n + 7 (mod 16) and the zero n + 1.
#   GPTQ, column n: nibble i is code (n, i), so word 0 has 0 1 2 .. 7 from the lowest: 0x76543210,
#   and word 7 has 7 8 .. 14: 0xEDCBA987. v2's zeros are 1 2 .. 8: 0x87654321; v1's 0x76543210.
#   AWQ, row k = 0 of its transpose: codes 0 1 .. 7, nibbles 0 2 4 6 1 3 5 7: 0x75316420;
#   zeros 1 3 5 7 2 4 6 8: 0x86427531.
def counting_weight() -> QuantizedWeight:
    n = torch.arange(8, dtype=torch.uint8)
    return QuantizedWeight(
        codes=n[:, None] + n, scales=torch.ones(8, 1), zeros=n[:, None] + 1, codebook=None,
        group_size=8, g_idx=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "first", "last", "zeros"),
    [
        ("gptq_v1", 0x76543210, 0xEDCBA987 - 2**32, 0x76543210),
        ("gptq_v2", 0x76543210, 0xEDCBA987 - 2**32, 0x87654321 - 2**32),
        ("awq", 0x75316420, 0xECA8DB97 - 2**32, 0x86427531 - 2**32),
    ],
)
def test_words_worked_out_by_hand(layout, first, last, zeros):
    packed = pack(counting_weight(), layout)
    words = packed.qweight.flatten().tolist()
    assert (words[0], words[-1], packed.qzeros.tolist()) == (first, last, [[zeros]])


# By hand. Lane 0 of Marlin's warp takes, of its first tile, column 0 and column 8 at rows (along
# K) 0 1 8 9. With codes 0 1 2 3 at (0 1 8 9, column 0) and 4 5 6 7 at (0 1 8 9, column 8), its
# word interleaves them to nibbles 0 2 4 6 1 3 5 7: 0x75316420. Lane 5 takes column 5 // 4 = 1 and
# row 2 (5 % 4) = 2: of its third tile, columns 33 and 41 at rows 2 3 10 11. Its word is the one
# after lanes 0 to 4, four tiles each, and two tiles: number 22.
def test_marlins_words_worked_out_by_hand():
    codes = torch.zeros(256, 128, dtype=torch.uint8)
    for columns, rows in (((0, 8), (0, 1, 8, 9)), ((33, 41), (2, 3, 10, 11))):
        for code, (column, row) in enumerate(product(columns, rows)):
            codes[column, row] = code
    weight = QuantizedWeight(codes, torch.ones(256, 1), None, None, 128, None)
    row = pack(weight, "marlin").qweight[0]
    assert row.nonzero().flatten().tolist() == [0, 22]
    assert row[[0, 22]].tolist() == [0x75316420] * 2


def test_marlins_scales_worked_out_by_hand():
    scales = torch.arange(256.0)[:, None]
    codes = torch.zeros(256, 256, dtype=torch.uint8)
    column = pack(QuantizedWeight(codes, scales, None, None, 256, None), "marlin").scales[0]
    assert column[:12].tolist() == [0, 1, 8, 9, 16, 17, 24, 25, 2, 3, 10, 11]
    grouped = QuantizedWeight(codes, scales.repeat(1, 2), None, None, 128, None)
    group = pack(grouped, "marlin").scales[1]
    assert group[:12].tolist() == [0, 8, 16, 24, 32, 40, 48, 56, 1, 9, 17, 25]


def gptq_by_definition(weight: QuantizedWeight, less: int) -> dict[str, list]:
    codes, zeros = weight.codes.tolist(), zeros_of(weight)
    out, inside = weight.shape
    return {
        "qweight": [
            [word([codes[n][8 * k + i] for i in range(8)]) for n in range(out)]
            for k in range(inside // 8)
        ],
        "qzeros": [
            [word([zeros[8 * n + i][g] - less for i in range(8)]) for n in range(out // 8)]
            for g in range(weight.groups)
        ],
    }


def awq_by_definition(weight: QuantizedWeight) -> dict[str, list]:
    codes, zeros = weight.codes.tolist(), zeros_of(weight)
    out, inside = weight.shape
    return {
        "qweight": [
            [word([codes[8 * n + i][k] for i in INTERLEAVED]) for n in range(out // 8)]
            for k in range(inside)
        ],
        "qzeros": [
            [word([zeros[8 * n + i][g] for i in INTERLEAVED]) for n in range(out // 8)]
            for g in range(weight.groups)
        ],
    }


def marlin_by_definition(weight: QuantizedWeight) -> dict[str, list]:
    """Walks lanes and tiles as the kernel does, and asks which weight each nibble is."""
    codes, (out, inside) = weight.codes.tolist(), weight.shape
    qweight = []
    for tile_row in range(inside // 16):
        words = []
        for chunk, lane, tile in product(range(out // 64), range(32), range(4)):
            left = 64 * chunk + 16 * tile + lane // 4
            top = 16 * tile_row + 2 * (lane % 4)
            mine = [codes[left + c][top + r] for c in (0, 8) for r in (0, 1, 8, 9)]
            words.append(word([mine[i] for i in INTERLEAVED]))
        qweight.append(words)
    scales = weight.scales.T.tolist()
    if weight.groups > 1:
        order = [64 * a + i + 8 * j for a in range(out // 64) for i in range(8) for j in range(8)]
    else:
        pairs = (0, 1, 8, 9, 16, 17, 24, 25)
        order = [32 * a + 2 * i + j for a in range(out // 32) for i in range(4) for j in pairs]
    return {"qweight": qweight, "scales": [[row[i] for i in order] for row in scales]}


def zeros_of(weight: QuantizedWeight) -> list[list[int]]:
    return (
        [[8] * weight.groups] * weight.shape[0] if weight.zeros is None else weight.zeros.tolist()
    )


@pytest.mark.parametrize(
    ("out", "inside", "group_size"), [(8, 8, 8), (16, 24, 12), (24, 64, 16), (8, 40, 1)]
)
@pytest.mark.parametrize("zeros", [(1, 15), None])
def test_gptq_and_awq_are_their_definitions(out, inside, group_size, zeros):
    weight = random_weight(0, out, inside, group_size, zeros=zeros)
    found = {layout: pack(weight, layout) for layout in ("gptq_v1", "gptq_v2", "awq")}
    expected = {
        "gptq_v1": gptq_by_definition(weight, less=1),
        "gptq_v2": gptq_by_definition(weight, less=0),
        "awq": awq_by_definition(weight),
    }
    for layout, arrays in expected.items():
        for name, array in arrays.items():
            assert getattr(found[layout], name).tolist() == array, (layout, name)
        assert found[layout].scales.tolist() == weight.scales.T.tolist()
    plain = [k // group_size for k in range(inside)]
    assert found["gptq_v1"].g_idx.tolist() == found["gptq_v2"].g_idx.tolist() == plain


@pytest.mark.parametrize(
    ("out", "inside", "group_size"), [(256, 128, 128), (512, 256, 128), (256, 256, 256)]
)
def test_marlin_is_its_definition(out, inside, group_size):
    weight = random_weight(1, out, inside, group_size, zeros=None)
    found = pack(weight, "marlin")
    for name, array in marlin_by_definition(weight).items():
        assert getattr(found, name).tolist() == array, name
    assert (found.qzeros, found.g_idx) == (None, None)


@st.composite
def weights(draw) -> QuantizedWeight:
    large = draw(st.booleans())
    out = draw(st.sampled_from([256, 512])) if large else 8 * draw(st.integers(1, 4))
    inside = 128 * draw(st.integers(1, 2)) if large else 8 * draw(st.integers(1, 12))
    sizes = [size for size in range(1, inside + 1) if inside % size == 0]
    group_size = draw(st.sampled_from([128, inside, 32] if large else sizes))
    zeros = draw(st.sampled_from([None, None, (0, 15), (1, 15), (8, 8)]))
    seed, g_idx = draw(st.integers(0, 2**32 - 1)), draw(st.booleans())
    return random_weight(seed, out, inside, group_size, zeros=zeros, g_idx=g_idx)


def holders(weight: QuantizedWeight) -> set[str]:
    """The layouts that can hold it, as the formats say."""
    out, inside = weight.shape
    zeros = {zero for row in zeros_of(weight) for zero in row}
    ordered = weight.g_idx is not None and weight.g_idx.tolist() != sorted(weight.g_idx.tolist())
    found = {"gptq_v2"}
    if 0 not in zeros:
        found.add("gptq_v1")
    if not ordered:
        found.add("awq")
        fits = out % 256 == 0 and inside % 128 == 0 and weight.group_size in (128, inside)
        if zeros == {8} and fits:
            found.add("marlin")
    return found


@settings(max_examples=60, deadline=None)
@given(weights())
def test_every_pair_of_layouts_converts_without_loss(weight):
    same = unpack(pack(weight, "gptq_v2"))
    torch.testing.assert_close(same.dequantize(), weight.dequantize(), rtol=0, atol=0)
    assert torch.equal(same.codes, weight.codes)
    packed = {layout: pack(weight, layout) for layout in holders(weight)}
    for one, other in product(packed, LAYOUTS):
        if other in packed:
            assert_same(convert(packed[one], other), packed[other])
            assert_same(unpack(packed[one]), same)
        else:
            with pytest.raises(ValueError, match=r"zero of 0|activation order|marlin"):
                convert(packed[one], other)


def test_a_weight_comes_back_as_it_was():
    for weight in (
        random_weight(2, 16, 32, 8, zeros=(0, 15), g_idx=True),
        random_weight(3, 16, 32, 32, zeros=None),
    ):
        assert_same(unpack(pack(weight, "gptq_v2")), weight)


def test_zeros_that_are_all_8_are_no_zeros():
    weight = random_weight(4, 256, 128, 128, zeros=(8, 8))
    assert unpack(pack(weight, "awq")).zeros is None
    assert_same(pack(weight, "marlin"), pack(replace(weight, zeros=None), "marlin"))


def test_pairs_of_every_sixteen_bits():
    low = torch.arange(2**16)
    high = low.flip(0)  # every value in the sign's half too
    words = (low + (high << 16)).to(torch.int32)
    pairs = unpack_pairs(words)
    assert pairs.dtype == torch.float16
    for j in range(4):
        assert torch.equal(pairs[2 * j :: 8].long(), low >> 4 * j & 15)
        assert torch.equal(pairs[2 * j + 1 :: 8].long(), high >> 4 * j & 15)


def test_pairs_put_interleaved_codes_in_order():
    weight = random_weight(5, 16, 8, 8)
    assert torch.equal(unpack_pairs(pack(weight, "awq").qweight), weight.codes.T.half())
    plain = torch.arange(8, dtype=torch.uint8)
    assert unpack_pairs(to_words(plain)).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert unpack_pairs(to_words(plain[list(ORDER)])).tolist() == plain.tolist()


def rounded(mean: float, out: int, inside: int, group_size: int = 32) -> QuantizedWeight:
    """Normal weights of that mean, in standard deviations, to the nearest of 16 codes."""
    rng = np.random.default_rng(6)
    weight = rng.standard_normal((out, inside // group_size, group_size)) + mean
    low, high = np.minimum(weight.min(-1), 0), np.maximum(weight.max(-1), 0)
    scales = ((high - low) / 15).astype(np.float16).astype(np.float64)
    zeros = np.clip(np.rint(-low / scales), 1, 15)  # 1: for gptq_v1's sake
    codes = np.clip(np.rint(weight / scales[..., None]) + zeros[..., None], 0, 15)
    return QuantizedWeight(
        codes=torch.from_numpy(codes.reshape(out, inside).astype(np.uint8)),
        scales=torch.from_numpy(scales.astype(np.float32)),
        zeros=torch.from_numpy(zeros.astype(np.uint8)),
        codebook=None,
        group_size=group_size,
        g_idx=None,
    )


@pytest.mark.parametrize("true", ["gptq_v1", "gptq_v2"])
@pytest.mark.parametrize("label", ["gptq_v1", "gptq_v2"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_mislabelled_checkpoint_is_found_out(true, label, symmetric):
    weight = random_weight(7, 8, 8, 8, zeros=None) if symmetric else rounded(0.02, 64, 128)
    assert zero_convention(replace(pack(weight, true), layout=label)) == true


def test_zeros_that_wrapped_do_not_mislead_it():
    packed = pack(rounded(0, 64, 128), "gptq_v1")
    packed.qzeros[:, ::4] = -1  # a quarter of the zeros overwritten by 15, as AutoGPTQ does
    assert zero_convention(packed) == "gptq_v1"


def test_it_says_when_it_cannot_tell():
    assert zero_convention(pack(rounded(0.2, 64, 128), "gptq_v2")) is None  # 0.7 of a step
    assert zero_convention(pack(rounded(0, 8, 32), "gptq_v2")) is None  # too few
    everything = pack(rounded(0, 64, 128), "gptq_v2")
    everything.qzeros.fill_(-1)
    assert zero_convention(everything) is None
    assert zero_convention(pack(rounded(0, 64, 128), "awq")) is None


SYMMETRIC = random_weight(8, 256, 256, 128, zeros=None)
NF4 = replace(SYMMETRIC, codebook=torch.linspace(-1, 1, 16))


@pytest.mark.parametrize(
    ("weight", "layout", "message"),
    [
        (SYMMETRIC, "exl2", "layout must be one of gptq_v1, gptq_v2, awq, marlin, got 'exl2'"),
        (NF4, "gptq_v2", "codebook"),
        (replace(SYMMETRIC, bits=8), "awq", "4 bits a code, got 8"),
        (replace(SYMMETRIC, scales=SYMMETRIC.scales * 1e5), "awq", "numbers that fp16 holds"),
        (replace(SYMMETRIC, scales=SYMMETRIC.scales / 3), "awq", "numbers that fp16 holds"),
        (random_weight(9, 16, 32, 8, zeros=(0, 0)), "gptq_v1", "zero of 0, and the weight has 64"),
        (random_weight(9, 16, 32, 8, g_idx=True), "awq", "no activation order"),
        (random_weight(9, 256, 128, 64, zeros=None), "marlin", "groups of 128 or one.*got 64"),
        (random_weight(9, 256, 256, 128, zeros=None, g_idx=True), "marlin", "no activation order"),
        (random_weight(9, 256, 128, 128, zeros=(3, 3)), "marlin", "zeros from 3 to 3"),
        (random_weight(9, 128, 128, 128, zeros=None), "marlin", "multiples of 256.*got 128 and"),
        (random_weight(9, 256, 64, 64, zeros=None), "marlin", "got 256 and 64"),
        (random_weight(9, 12, 32, 8), "awq", "got 12 and 32"),
        (random_weight(9, 8, 12, 12), "gptq_v2", "got 8 and 12"),
        (random_weight(9, 8, 0, 8), "gptq_v2", "got 8 and 0"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused(weight, layout, message):
    with pytest.raises(ValueError, match=message):
        pack(weight, layout)


def test_a_zero_that_wrapped_around_is_refused():
    packed = pack(random_weight(10, 16, 32, 8, zeros=(15, 15)), "gptq_v2")
    with pytest.raises(ValueError, match="this one has 64 of 15"):
        unpack(replace(packed, layout="gptq_v1"))


def test_arrays_that_are_not_the_layouts_are_refused():
    packed = pack(random_weight(11, 16, 32, 8), "gptq_v2")
    for wrong in (
        {"qweight": packed.qweight.T},
        {"qweight": packed.qweight.long()},
        {"qzeros": None},
        {"scales": packed.scales.float()},
        {"g_idx": packed.g_idx[:-1]},
        {"layout": "awq", "qweight": torch.zeros(32, 2, dtype=torch.int32)},  # it has no g_idx
    ):
        with pytest.raises(TypeError, match=r"of a .* weight of \(16, 32\) in groups of 8 must"):
            replace(packed, **wrong)
    with pytest.raises(ValueError, match="g_idx must be from 0 to 3, the last group, got 1 to 4"):
        replace(packed, g_idx=packed.g_idx + 1)
    for size in (-1, 24):
        with pytest.raises(ValueError, match=f"divide in_features, 32, got {size}"):
            replace(packed, group_size=size)


def test_awq_takes_any_number_of_rows():
    weight = random_weight(12, 8, 7, 7)
    assert isinstance(pack(weight, "awq"), Packed)
    assert_same(unpack(pack(weight, "awq")), weight)
