"""What `Buckets` counts and draws, against counting by hand."""

from __future__ import annotations

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.data.dedup import Bands
from toolkit.viz import Buckets, style


def by_hand(sample, b, r):
    """Whether each pair shares a band: bit after bit."""
    met = []
    for packed in sample.agree:
        bits = "".join(f"{byte:08b}" for byte in packed)
        met.append(any(bits[band * r : band * r + r] == "1" * r for band in range(b)))
    return met


@given(st.integers(1, 24).flatmap(lambda b: st.tuples(st.just(b), st.integers(1, 24 // b))))
def test_a_pair_meets_if_one_band_agrees_in_every_row(small, cut):
    assert Buckets(small, Bands(*cut)).met().tolist() == by_hand(small, *cut)


@pytest.mark.parametrize(("b", "r"), [(1, 1), (24, 1), (1, 24), (5, 4), (3, 8)])
def test_outcomes_are_sums_over_the_pairs_they_stand_for(small, b, r):
    totals = Buckets(small, Bands(b, r)).outcome()
    found = missed = wasted = 0.0
    for s, weight, met in zip(small.jaccard, small.stands_for, by_hand(small, b, r), strict=True):
        if s >= small.threshold:
            found, missed = found + weight * met, missed + weight * (not met)
        else:
            wasted += weight * met
    rest = small.total_pairs - found - missed - wasted
    expected = (found, missed, wasted, rest, found + wasted, found / (found + missed))
    names = ("found", "missed", "wasted", "skipped", "candidates", "recall")
    assert [totals[name] for name in names] == pytest.approx(expected, rel=1e-12)


def test_none_of_none_is_no_number(small):
    unlike = replace(small, jaccard=small.jaccard / 2, agree=np.zeros_like(small.agree))
    totals = Buckets(unlike, Bands(3, 8)).outcome()
    assert np.isnan(totals["recall"])
    assert np.isnan(totals["precision"])
    assert "–" in Buckets(unlike, Bands(3, 8)).summary()


def test_the_summary_says_the_numbers(small):
    totals = Buckets(small, Bands(3, 8)).outcome()
    said = Buckets(small, Bands(3, 8)).summary()
    assert said.startswith("Cut into 3 bands of 8 rows, signatures find ")
    assert f"{100 * totals['recall']:.3g}" in said
    assert "0.8 meets with a chance of 42.4" in said  # 1 - (1 - 0.8**8)**3 = 0.42355


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        ((1, 24), "1 band of 24 rows,"),
        ((24, 1), "24 bands of 1 row,"),
        ((1, 1), "1 band of 1 row,"),
    ],
)
def test_one_band_and_one_row_are_singular(small, cut, said):
    assert Buckets(small, Bands(*cut)).summary().startswith(f"Cut into {said}")


def test_the_picture_puts_each_pair_above_or_below_the_curve(buckets, sample):
    met = buckets.met()
    alike = sample.jaccard >= sample.threshold
    with matplotlib.rc_context(style()):
        figure = buckets.picture()
    (axes,) = figure.axes
    marks = [line for line in axes.lines if line.get_linestyle() == "None"]
    marks = [line for line in marks if line.get_label().startswith("_")]
    drawn = {line.get_marker(): line for line in marks}
    rings = sorted(len(line.get_xdata()) for line in marks if line.get_marker() == "o")
    assert rings == sorted([(met & alike).sum(), (~met & ~alike).sum()])
    assert len(drawn["^"].get_xdata()) == (met & ~alike).sum()
    assert len(drawn["D"].get_xdata()) == (~met & alike).sum()
    assert (drawn["^"].get_ydata() > 1).all()
    assert (drawn["D"].get_ydata() < 0).all()
    assert axes.get_xlabel() == buckets.words["similarity"]


def test_bad_input_is_refused_with_the_rule(sample):
    with pytest.raises(ValueError, match="20 bands of 8 rows don't fit a signature of 128 numbers"):
        Buckets(sample, Bands(20, 8))
    none = {
        name: getattr(sample, name)[:0] for name in ("jaccard", "agree", "stands_for", "documents")
    }
    with pytest.raises(ValueError, match="the sample holds no pair"):
        Buckets(replace(sample, **none), Bands(14, 8))
