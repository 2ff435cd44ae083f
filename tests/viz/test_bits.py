"""What `Bits` takes, refuses, says and draws."""

from __future__ import annotations

import json
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import torch
import traitlets
from matplotlib.colors import to_hex

from toolkit.kernels.quant_gemm.packing import pack
from toolkit.kernels.quant_gemm.record import QuantizedWeight
from toolkit.kernels.quant_gemm.rounding import nf4, round_to_nearest, roundings
from toolkit.viz import COLORS, Bits, static_files, style
from toolkit.viz.bits import LAYOUTS, METHODS, word
from toolkit.viz.text import GAP


def toy_weight(inputs: int = 128, seed: int = 5) -> torch.Tensor:
    """Most are small and few are large, as trained weights are; the largest is at 16."""
    generator = torch.Generator().manual_seed(seed)
    weight = 0.05 * torch.randn(16, inputs, generator=generator)
    weight[0, 16] = 0.31
    return weight


def made(weight: torch.Tensor, *source: str) -> Bits:
    return Bits(weight, roundings(weight), *source)


@pytest.fixture
def bits():
    return made(toy_weight())


def drawn(widget):
    """The figure and its axes."""
    with matplotlib.rc_context(style()):
        figure = widget.picture()
    return figure, *figure.axes


def quantized(weight, method, bits, group):
    if method == "nf4":
        return nf4(weight, group)
    return round_to_nearest(weight, group, symmetric=method == "symmetric", bits=bits)


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize(
    ("method", "depth"),
    [("symmetric", 2), ("symmetric", 4), ("asymmetric", 3), ("asymmetric", 8), ("nf4", 4)],
)
def test_each_choice_is_what_the_library_rounds_to(bits, method, depth, group):
    bits.method, bits.bits, bits.group = METHODS.index(method), depth, group
    weight = toy_weight()
    expected = quantized(weight, method, depth, group).dequantize()
    codes = bits.stored["codes"]
    stands = [bits.levels(k // group)[code] for k, code in enumerate(codes)]
    assert stands == pytest.approx(expected[0].tolist(), rel=1e-5, abs=1e-7)
    off = (expected - weight)[0].double()
    error = (off.pow(2).mean() / weight[0].double().pow(2).mean()).sqrt()
    assert bits.stored["error"] == pytest.approx(float(error), rel=1e-5)
    assert bits.stored["largest"] == pytest.approx(float(off.abs().max()), rel=1e-5)
    assert abs(off[bits.stored["largest_at"]]) == off.abs().max()


@pytest.mark.parametrize(
    ("method", "depth", "group", "expected"),
    [
        ("symmetric", 4, 32, 4.5),
        ("symmetric", 4, 128, 4.125),
        ("asymmetric", 4, 64, 4.3125),
        ("asymmetric", 4, 128, 4.15625),
        ("asymmetric", 8, 32, 8.75),
        ("nf4", 4, 64, 4.25),
    ],
)
def test_scales_and_zeros_count_in_the_bits_a_weight(bits, method, depth, group, expected):
    bits.method, bits.bits, bits.group = METHODS.index(method), depth, group
    assert bits.stored["bits"] == expected


def test_the_bits_a_weight_are_those_of_the_packed_bytes(bits):
    for method in METHODS:
        for group in (32, 64, 128):
            bits.method, bits.group = METHODS.index(method), group
            made = quantized(toy_weight(), method, 4, group)
            shared = 0 if made.codebook is None else 4 * len(made.codebook)  # one for a model
            assert bits.stored["bits"] == 8 * (made.nbytes - shared) / made.codes.numel()


def test_a_bit_less_costs_most_and_a_smaller_group_helps(bits):
    errors = []
    for depth in range(8, 1, -1):
        bits.bits = depth
        errors.append(bits.stored["error"])
    assert errors == sorted(errors)
    assert all(more > 1.7 * less for less, more in pairwise(errors))
    bits.bits = 4
    coarse = bits.stored["error"]
    bits.group = 32
    assert bits.stored["error"] < 0.9 * coarse


def packed_words(layout: str, n: int, k: int) -> tuple[np.ndarray, int]:
    """The words that hold a code of 1 at (n, k) and 0 elsewhere, and which bit is set."""
    codes = torch.zeros(256, 128, dtype=torch.uint8)
    codes[n, k] = 1
    zeros = None if layout == "marlin" else torch.zeros(256, 1, dtype=torch.uint8)
    weight = QuantizedWeight(codes, torch.ones(256, 1), zeros, None, 128, None)
    qweight = pack(weight, {"gptq": "gptq_v2"}.get(layout, layout)).qweight.numpy().view(np.uint32)
    place = np.argwhere(qweight)
    assert len(place) == 1
    return place[0], int(np.log2(qweight[tuple(place[0])])) // 4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_words_hold_what_the_library_packs_into_them(layout):
    for n in (0, 1, 5, 8, 15):
        for k in (0, 1, 7, 13, 16, 54, 127):
            cells = word(layout, n, k)
            assert (n, k) in cells
            places = [packed_words(layout, *cell) for cell in cells]
            assert {tuple(place) for place, _ in places} == {tuple(places[0][0])}
            assert [nibble for _, nibble in places] == list(range(8))


def test_nf4_lies_as_bitsandbytes_has_it_the_first_of_two_high():
    assert word("bitsandbytes", 3, 12) == [
        (3, 9), (3, 8), (3, 11), (3, 10), (3, 13), (3, 12), (3, 15), (3, 14),
    ]  # fmt: skip


def test_a_choice_lies_only_as_a_layout_can_have_it(bits):
    bits.packing = LAYOUTS.index("marlin")
    assert bits.packed_as == "marlin"
    bits.method = METHODS.index("asymmetric")
    assert bits.packed_as == "gptq"
    bits.method = METHODS.index("nf4")
    assert bits.packed_as == "bitsandbytes"
    bits.method, bits.packing = METHODS.index("asymmetric"), LAYOUTS.index("awq")
    assert bits.packed_as == "awq"


def test_the_summary_says_what_it_costs_and_what_is_lost(bits):
    said = bits.summary().replace(GAP, " ")
    assert said.startswith(
        "128 weights, nearest level, symmetric, 4 bits, 128 to a scale: 4.125 bits a weight in "
        "all, an error of "
    )
    bits.method, bits.bits = METHODS.index("nf4"), 7
    assert "NF4, 4 bits, 128 to a scale: 4.125 bits" in bits.summary()


def test_it_starts_with_one_scale_at_the_largest_weight(bits):
    assert (bits.method, bits.bits, bits.group, bits.value) == (0, 4, 128, 16)
    assert not bits.revealed
    small = made(toy_weight(64), "a test's")
    assert (small.group, small.record["groups"], small.record["source"]) == (
        64, [32, 64], "a test's",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("method", 3, "method must be from 0 to 2, got 3"),
        ("bits", 1, "bits must be from 2 to 8, got 1"),
        ("bits", 9, "bits must be from 2 to 8, got 9"),
        ("group", 16, "group must be one of 32, 64, 128, got 16"),
        ("packing", -1, "packing must be from 0 to 2, got -1"),
        ("value", 128, "value must be from 0 to 127, got 128"),
    ],
)
def test_a_state_that_can_not_be_is_refused(bits, trait, value, sentence):
    before = getattr(bits, trait)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(bits, trait, value)
    assert getattr(bits, trait) == before


@pytest.mark.parametrize("shape", [(16, 32), (8, 128), (128,), (16, 256), (17, 128)])
def test_weights_of_another_shape_are_refused_with_a_way_out(shape):
    with pytest.raises(ValueError, match=r"16 rows of 64 or 128 .* got \(.*weight\[:16, :128\]"):
        Bits(torch.ones(shape), roundings(toy_weight()))


@pytest.mark.parametrize("rounded", [{}, roundings(toy_weight(64))])
def test_roundings_of_something_else_are_refused(rounded):
    with pytest.raises(ValueError, match=r"rounded must be what roundings\(weight\) gives"):
        Bits(toy_weight(), rounded)


def test_weights_in_bf16_with_gradients_and_all_zeros_are_taken():
    assert made(torch.nn.Parameter(toy_weight().bfloat16())).summary()
    weight = toy_weight()
    weight[1:] = 0
    assert made(weight).summary()
    with pytest.raises(ValueError, match="first row is all zeros"):
        made(torch.zeros(16, 128))


def test_the_picture_joins_each_weight_to_its_level(bits):
    bits.group = 64
    _, upper, _ = drawn(bits)
    (dots,) = (line for line in upper.lines if line.get_marker() == "o")
    weights = dots.get_ydata()
    assert weights == pytest.approx(toy_weight()[0].tolist(), rel=1e-5)
    expected = round_to_nearest(toy_weight(), 64).dequantize()[0].tolist()
    missed = COLORS["missed"].lower()
    errors = [lines for lines in upper.collections if to_hex(lines.get_colors()[0]) == missed]
    joined = [segment for lines in errors for segment in lines.get_segments()]
    assert [one[0][0] for one in joined] == list(range(128))
    assert [one[0][1] for one in joined] == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert [one[1][1] for one in joined] == pytest.approx(list(weights))
    levels = [lines for lines in upper.collections if lines not in errors]
    assert [len(lines.get_segments()) for lines in levels] == [16, 16]
    assert [line.get_xdata()[0] for line in upper.lines if line is not dots] == [63.5]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_picture_has_the_word_of_the_weight(bits, layout):
    bits.packing = LAYOUTS.index(layout)
    _, _, lower = drawn(bits)
    codes = round_to_nearest(toy_weight(), 128).codes
    texts = [text.get_text() for text in lower.texts]
    cells = word(layout, 0, 16)
    assert texts[::2] == [f"{codes[n, k]:X}" for n, k in cells]
    assert texts[1::2] == [f"n {n}, k {k}" for n, k in cells]
    marked = [to_hex(cell.get_facecolor()) == COLORS["evicted"].lower() for cell in lower.patches]
    assert marked == [cell == (0, 16) for cell in cells]
    assert "".join(lower.get_title(loc="left").split()).startswith(bits.words[layout])


def test_without_four_bits_there_is_no_word_to_draw(bits):
    bits.bits = 3
    assert len(drawn(bits)) == 2


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_the_picture_overlaps(bits, method):
    bits.method, bits.packing = METHODS.index(method), LAYOUTS.index("marlin")
    figure, upper, lower = drawn(bits)
    figure.draw_without_rendering()
    texts = [upper.xaxis.label, *lower.texts, lower._left_title, upper._left_title]
    boxes = [text.get_window_extent() for text in texts]
    for at, one in enumerate(boxes):
        assert figure.bbox.x0 <= one.x0 < one.x1 <= figure.bbox.x1
        assert not any(one.overlaps(other) for other in boxes[:at])


def test_state_and_script_stay_small(bits):
    assert json.loads(bits._json())["record"] == bits.record
    assert len(bits._json()) < 60_000
    names = ("bits.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000
