"""What `Buckets` counts and draws, against counting by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import scipy.stats
import traitlets
from hypothesis import given
from hypothesis import strategies as st

from toolkit.data.dedup import Bands, Radius
from toolkit.viz import Buckets, style
from toolkit.viz.widget import STATE_LIMIT


def bits(sample):
    """The agreement of each pair as a text of 0 and 1."""
    return ["".join(f"{byte:08b}" for byte in packed) for packed in sample.agree]


def share_a_band(sample, b, r):
    """Whether each pair shares a band: bit after bit."""
    return [
        any(pair[band * r : band * r + r] == "1" * r for band in range(b)) for pair in bits(sample)
    ]


@given(st.integers(1, 24).flatmap(lambda b: st.tuples(st.just(b), st.integers(1, 24 // b))))
def test_a_pair_meets_if_one_band_agrees_in_every_row(small, cut):
    assert Buckets(small, Bands(*cut)).met().tolist() == share_a_band(small, *cut)


@pytest.mark.parametrize("positions", [8, 32, 64])
def test_a_pair_is_within_the_radius_if_no_more_bits_differ(draw, positions):
    prints = draw(60, positions=positions, method="simhash")
    for k in range(positions // 2 + 1):
        expected = [pair.count("0") <= k for pair in bits(prints)]
        assert Buckets(prints, radius=k).met().tolist() == expected


@pytest.mark.parametrize("cut", [(1, 1), (24, 1), (1, 24), (5, 4), (3, 8), 0, 4, 12])
def test_outcomes_are_sums_over_the_pairs_they_stand_for(small, draw, cut):
    if isinstance(cut, int):
        pairs = draw(60, positions=24, method="simhash")
        candidates = [pair.count("0") <= cut for pair in bits(pairs)]
        totals = Buckets(pairs, radius=cut).outcome()
    else:
        pairs, candidates = small, share_a_band(small, *cut)
        totals = Buckets(small, Bands(*cut)).outcome()
    found = missed = wasted = 0.0
    for s, weight, met in zip(pairs.jaccard, pairs.stands_for, candidates, strict=True):
        if s >= pairs.threshold:
            found, missed = found + weight * met, missed + weight * (not met)
        else:
            wasted += weight * met
    rest = pairs.total_pairs - found - missed - wasted
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


def test_the_summary_of_a_radius_says_the_numbers(near):
    totals, said = near.outcome(), near.summary()
    assert said.startswith("With at most 10 of 64 bits different, fingerprints find ")
    assert f"{100 * totals['recall']:.3g}" in said
    assert "0.8 is compared with a chance of 62.5" in said  # 62.47 %: scipy's binom.cdf


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


@pytest.mark.parametrize("method", ["minhash", "simhash"])
def test_the_picture_puts_each_pair_above_or_below_the_curve(buckets, near, method):
    widget = {"minhash": buckets, "simhash": near}[method]
    met, record = widget.met(), widget.record
    jaccard = np.array(record["jaccard"])
    alike = jaccard >= record["threshold"]
    with matplotlib.rc_context(style()):
        figure = widget.picture()
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
    (curve,) = (line for line in axes.lines if line.get_label() == widget.words["formula"])
    s, share = curve.get_data()
    np.testing.assert_allclose(share, widget.rule.probability(s), rtol=1e-12)
    assert axes.get_xlabel() == widget.words["similarity"]
    assert axes.get_title(loc="left") == widget.words["title"]


def test_a_setting_has_the_traits_of_its_method_alone(buckets, near):
    assert (buckets.b, buckets.r, buckets.k) == (14, 8, None)
    assert (near.b, near.r, near.k) == (None, None, 10)
    assert (buckets.rule, near.rule) == (Bands(14, 8), Radius(10, 64))
    near.k = 32
    assert near.rule == Radius(32, 64)
    for trait, value in (("k", 33), ("k", -1), ("b", 1)):
        with pytest.raises(traitlets.TraitError, match="radius"):
            setattr(near, trait, value)
    with pytest.raises(traitlets.TraitError, match="take bands and no radius"):
        buckets.k = 3
    assert (near.k, near.b, buckets.k) == (32, None, None)


def test_a_radius_may_be_a_number_of_numpys(prints):
    assert Buckets(prints, radius=np.int64(3)).k == 3


def test_state_of_a_large_sample_stays_within_the_limit(draw):
    most = draw(20 * 60, positions=64, method="simhash")
    assert len(json.dumps(Buckets(most, radius=10).state())) < STATE_LIMIT / 2


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"radius": 33}, "radius must be 0 to 32, got 33: unrelated fingerprints differ in half"),
        ({"radius": -1}, "radius must be 0 to 32, got -1"),
        ({}, "SimHash fingerprints take a radius and no bands: radius=10, say"),
        ({"bands": Bands(9, 13)}, "SimHash fingerprints take a radius and no bands"),
        ({"bands": Bands(1, 1), "radius": 3}, "SimHash fingerprints take a radius and no bands"),
    ],
)
def test_a_setting_that_fingerprints_can_not_have_is_refused(prints, setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        Buckets(prints, **setting)


@pytest.mark.parametrize("setting", [{}, {"radius": 3}, {"bands": Bands(9, 13), "radius": 3}])
def test_signatures_take_bands_alone(sample, setting):
    with pytest.raises(ValueError, match="MinHash signatures take bands and no radius"):
        Buckets(sample, **setting)


def binomial(s, k, bits):
    """At most k of `bits` differ, by scipy; each with an angle's share of a half turn."""
    angle = math.acos(2 * s / (1 + s))
    return scipy.stats.binom.cdf(k, bits, angle / math.pi)


@pytest.mark.parametrize("bits", [8, 32, 64])
def test_the_chance_to_be_within_a_radius_is_the_binomials(bits):
    s = np.linspace(0, 1, 41)
    for k in (0, 1, bits // 4, bits // 2, bits - 1, bits):
        expected = [binomial(similarity, k, bits) for similarity in s.tolist()]
        np.testing.assert_allclose(Radius(k, bits).probability(s), expected, rtol=1e-9, atol=1e-300)
    assert Radius(3, bits).probability(0.8) == pytest.approx(binomial(0.8, 3, bits), rel=1e-12)
    assert Radius(0, bits).probability(1.0) == 1.0


def test_random_planes_part_sets_as_often_as_the_formula_says():
    rng = np.random.default_rng(5)
    one, other = np.zeros((2, 60))
    one[:50], other[10:] = 1, 1  # two sets of 50 that share 40: s = 40 / 60
    planes = rng.standard_normal((60, 64 * 20_000))
    apart = ((one @ planes > 0) != (other @ planes > 0)).reshape(-1, 64).sum(axis=1)
    for k in (6, 13, 20):
        expected = Radius(k).probability(2 / 3)
        error = 6 * math.sqrt(expected * (1 - expected) / 20_000)
        assert (apart <= k).mean() == pytest.approx(expected, abs=error)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((-1,), ValueError, "a radius in 64 bits is 0 to 64, got -1"),
        ((33, 32), ValueError, "a radius in 32 bits is 0 to 32, got 33"),
        ((0, 0), ValueError, "bits must be at least 1, got 0"),
        ((3.5,), TypeError, "k must be a whole number, got 3.5"),
    ],
)
def test_a_radius_that_can_not_be_is_refused(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        Radius(*arguments)


def test_bad_input_is_refused_with_the_rule(sample):
    with pytest.raises(ValueError, match="20 bands of 8 rows don't fit a signature of 128 numbers"):
        Buckets(sample, Bands(20, 8))
    none = {
        name: getattr(sample, name)[:0] for name in ("jaccard", "agree", "stands_for", "documents")
    }
    with pytest.raises(ValueError, match="the sample holds no pair"):
        Buckets(replace(sample, **none), Bands(14, 8))
