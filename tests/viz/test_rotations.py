"""What `Rotations` takes, refuses, says and draws."""

from __future__ import annotations

import base64
import cmath
import json
import math
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import traitlets
from matplotlib.patches import Circle, Wedge

from toolkit.models.positions import dials as dials_of
from toolkit.models.positions import outside
from toolkit.viz import COLORS, Rotations, static_files, style
from toolkit.viz.widget import STATE_LIMIT

TRAINED, INTERPOLATION, NTK, YARN = range(4)


def test_the_record_holds_the_frequencies_by_columns(rotations, dials):
    record = json.loads(json.dumps(rotations.record))
    packed = np.frombuffer(base64.b64decode(record.pop("frequencies")), "<f8")
    np.testing.assert_array_equal(packed.reshape(4, 4, 32), dials.frequencies)
    assert record == {
        "trained": 8192,
        "longest": 65_536,
        "methods": ["as trained", "interpolation", "NTK-aware", "YaRN"],
        "factors": [1, 2, 4, 8],
    }


def test_at_first_sight_the_context_is_twice_the_trained(rotations):
    assert (rotations.position, rotations.method, rotations.factor) == (16_384, TRAINED, 1)
    assert rotations.summary() == (
        "Position 16,384, 2 × the trained length, as trained: 12 of 32 dials are outside of what "
        "training showed them. A step on the fastest dial is 57.3°, 100\N{NARROW NO-BREAK SPACE}% "
        "of training's."
    )


def test_the_summary_names_the_method_and_its_finer_step(rotations):
    rotations.method, rotations.factor, rotations.position = INTERPOLATION, 2, 32_768
    assert rotations.summary() == (
        "Position 32,768, 4 × the trained length, by interpolation, factor 4: 0 of 32 dials are "
        "outside of what training showed them. A step on the fastest dial is 14.3°, "
        "25\N{NARROW NO-BREAK SPACE}% of training's."
    )


@pytest.mark.parametrize("position", [1, 8191, 8192, 8193, 12_000, 16_384, 32_768, 65_536])
def test_dials_are_outside_where_the_chapter_says(rotations, dials, position):
    rotations.position = position
    expected = outside(dials, position)
    for method in range(4):
        for factor in range(4):
            rotations.method, rotations.factor = method, factor
            assert rotations.outside().tolist() == expected[method, factor].tolist()


def test_those_that_never_came_round_leave_their_arc_at_once(rotations, dials):
    never = 8192 * dials.frequencies[0, 0] < 2 * math.pi
    for position, expected in ((0, never & False), (8192, never & False), (8193, never)):
        rotations.position = position
        np.testing.assert_array_equal(rotations.outside(), expected)


def test_each_method_brings_its_own_dials_back(rotations):
    """At twice the length: all of them, none but the slowest, or all again."""
    counts = {}
    for method in (INTERPOLATION, NTK, YARN):
        rotations.method = method
        counts[method] = int(rotations.outside().sum())
    assert counts == {INTERPOLATION: 0, NTK: 11, YARN: 0}
    rotations.method = NTK
    assert not rotations.outside()[-1]


def test_hands_stand_where_a_complex_number_turns_to(rotations):
    rotations.position, rotations.method, rotations.factor = 12_345, YARN, 3
    for angle, frequency in zip(rotations.angles(), rotations.frequencies(), strict=True):
        assert 0 <= angle < 2 * math.pi
        turned = cmath.exp(1j * 12_345 * frequency)
        assert cmath.exp(1j * angle) == pytest.approx(turned, abs=1e-11)


def test_arcs_are_those_of_training_whatever_the_method(rotations, dials):
    swept = [min(2 * math.pi, 8192 * frequency) for frequency in dials.frequencies[0, 0].tolist()]
    for method in range(4):
        rotations.method = method
        assert rotations.arcs().tolist() == swept
    assert sum(arc == 2 * math.pi for arc in swept) == 20


def test_the_end_of_an_arc_is_inside_for_a_factor_that_rounds():
    """8,192 · 3 · (θ / 3) may round past 8,192 · θ, and NTK-aware's power of 3 too."""
    widget = Rotations(dials_of(64, 100_000.0, 8192, (1, 3, 7)))
    for factor, by in ((1, 3), (2, 7)):
        widget.factor, widget.position = factor, by * 8192
        for method in (INTERPOLATION, YARN):
            widget.method = method
            assert not widget.outside().any()
        widget.method = NTK
        assert not widget.outside()[-1]


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("position", -1, "position must be 0 to 65536, got -1"),
        ("position", 65_537, "position must be 0 to 65536, got 65537"),
        ("method", 4, "method must be 0 to 3, got 4"),
        ("factor", -1, "factor must be 0 to 3, got -1"),
        ("dial", 32, "dial must be -1 to 31, got 32"),
        ("dial", -2, "dial must be -1 to 31, got -2"),
    ],
)
def test_a_state_that_can_not_be_is_refused(rotations, trait, value, sentence):
    before = getattr(rotations, trait)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(rotations, trait, value)
    assert getattr(rotations, trait) == before


def test_frequencies_that_do_not_fit_are_refused(dials):
    def refused(sentence, **changed):
        with pytest.raises(ValueError, match=sentence):
            Rotations(replace(dials, **changed))

    refused(
        r"3 methods and 4 factors need .* \(3, 4, pairs\), got \(4, 4, 32\)", methods=("a",) * 3
    )
    refused(r"4 methods and 1 factors need .*, got \(4, 4, 32\)$", factors=(1.0,))
    refused(r"got \(4, 4, 0\)$", frequencies=dials.frequencies[:, :, :0])
    refused(r"got \(32,\)$", frequencies=dials.frequencies[0, 0])
    refused("positive and go from fast to slow", frequencies=dials.frequencies[:, :, ::-1])
    for bad in (0.0, -1.0, math.nan):
        spoilt = dials.frequencies.copy()
        spoilt[2, 1, -1] = bad
        refused("positive and go from fast to slow", frequencies=spoilt)
    refused("trained length must be at least 1, got 0", trained=0)


def test_one_factor_and_one_pair_are_enough(dials):
    one = Rotations(replace(dials, factors=(1.0,), frequencies=dials.frequencies[:, :1, -1:]))
    assert (one.factor, one.longest, one.position) == (0, 16_384, 16_384)
    assert one.outside().tolist() == [True]
    with matplotlib.rc_context(style()):
        one.picture()


def test_the_state_of_a_large_head_stays_small():
    large = dials_of(256, 1_000_000.0, 131_072, tuple(range(1, 17)))
    assert len(Rotations(large)._json()) < STATE_LIMIT / 2


def drawn(widget):
    with matplotlib.rc_context(style()):
        (axes,) = widget.picture().axes
    return axes


@pytest.mark.parametrize(("position", "method"), [(8192, 0), (16_384, 0), (16_384, 2), (30_000, 3)])
def test_the_picture_has_every_arc_hand_and_wavelength(rotations, position, method):
    rotations.position, rotations.method = position, method
    axes = drawn(rotations)
    assert axes.get_title(loc="left") == rotations.words["title"]
    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    seen = [w for w in wedges if matplotlib.colors.same_color(w.get_facecolor()[:3], COLORS["hit"])]
    swept = [w.theta2 - w.theta1 for w in seen]
    assert swept == pytest.approx(np.degrees(rotations.arcs()).tolist())
    new = [w for w in wedges if w not in seen]
    assert len(new) == rotations.outside().sum()
    rims = [patch for patch in axes.patches if isinstance(patch, Circle)]
    assert [rim.get_linestyle() == "--" for rim in rims] == rotations.outside().tolist()
    for line, angle, arc in zip(axes.lines, rotations.angles(), rotations.arcs(), strict=True):
        (x, tip_x), (y, tip_y) = line.get_data()
        clockwise = math.atan2(tip_x - x, tip_y - y) % (2 * math.pi)
        assert clockwise == pytest.approx(angle, abs=1e-9)
        assert (line.get_marker() == "D") == (angle > arc * (1 + 1e-9))
    turn = 2 * math.pi / rotations.frequencies()
    written = [text.get_text().replace("\N{NARROW NO-BREAK SPACE}k", "e3") for text in axes.texts]
    assert [float(number) for number in written] == pytest.approx(turn.tolist(), rel=0.005)


def test_scripts_stay_small():
    names = ("rotations.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000
