"""toolkit.kernels.roofline: the roof against its two limits, the cards against their clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.kernels.roofline import CARDS, Point, attainable, ridge

CLOCKS = {
    "H200 SXM": (1.83e9, 4096),
    "H100 SXM": (1.83e9, 4096),
    "A100 80GB SXM": (1.41e9, 2048),
    "RTX 4090": (2.52e9, 512),
    "T4": (1.59e9, 1024),
}
"""Boost clock, and dense 16-bit FLOP with fp32 accumulation a clock and multiprocessor."""

cards = st.sampled_from(list(CARDS.values()))
positive = st.floats(1e-3, 1e6)


@pytest.mark.parametrize("name", CARDS)
def test_a_peak_is_what_its_units_do_at_boost_clock(name: str) -> None:
    clock, flops = CLOCKS[name]
    card = CARDS[name]
    rounded_as_published = 0.003
    expected = card.multiprocessors * flops * clock
    assert card.peaks["16-bit"] == pytest.approx(expected, rel=rounded_as_published)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("H200 SXM", 206), ("H100 SXM", 295), ("A100 80GB SXM", 153), ("RTX 4090", 164), ("T4", 203)],
)
def test_the_ridge_of_each_card(name: str, expected: float) -> None:
    assert ridge(CARDS[name]) == pytest.approx(expected, abs=0.5)
    assert CARDS[name].source


@given(cards, positive, st.sampled_from(["16-bit", "fp32"]))
def test_no_kernel_beats_the_memory_or_the_peak(card, intensity, dtype) -> None:
    best = attainable(card, intensity, dtype)
    assert best <= card.peaks[dtype]
    assert best <= intensity * card.bandwidth
    bound = intensity * card.bandwidth if intensity < ridge(card, dtype) else card.peaks[dtype]
    assert best == pytest.approx(bound)


def test_the_roof_counted_by_hand() -> None:
    assert attainable(CARDS["H200 SXM"], 100) == 480e12
    assert attainable(CARDS["H200 SXM"], 1000) == 989.4e12
    assert attainable(CARDS["T4"], 10, "fp32") == 3.2e12


def test_a_point_knows_its_intensity_and_speed() -> None:
    flops = 4 * 16 * 4096**2 * 128
    point = Point("flash", flops, 2 * 4 * 16 * 4096 * 128, 4e-4, "H100 SXM")
    assert point.intensity == 2048
    assert point.achieved == pytest.approx(343.6e12, rel=1e-3)
    assert Point("flash", flops, 1).achieved is None


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_a_dtype_without_a_peak_is_refused(dtype: str) -> None:
    for count in (lambda card: attainable(card, 1, dtype), lambda card: ridge(card, dtype)):
        with pytest.raises(ValueError, match=f"T4 has a peak for 16-bit, fp32, not for '{dtype}'"):
            count(CARDS["T4"])


@pytest.mark.parametrize("intensity", [0, -1, float("nan")])
def test_an_intensity_that_can_not_be_is_refused(intensity: float) -> None:
    with pytest.raises(ValueError, match="intensity must be positive, in FLOP a byte"):
        attainable(CARDS["T4"], intensity)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flops": 0}, "flops of 'add' must be positive, got 0"),
        ({"bytes": -1}, "bytes of 'add' must be positive, got -1"),
        ({"seconds": float("inf"), "card": "T4"}, "seconds of 'add' must be positive, got inf"),
        ({"seconds": 1.0}, "give both or neither"),
        ({"card": "T4"}, "give both or neither"),
    ],
)
def test_a_point_that_can_not_be_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Point(**{"name": "add", "flops": 1, "bytes": 12} | changes)
