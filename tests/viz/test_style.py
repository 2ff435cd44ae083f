"""One visual language: the colours are those agreed, legible, and the same for matplotlib."""

from __future__ import annotations

import matplotlib
import pytest

from toolkit.viz import COLORS, static_files, style, tokens, use_style

AGREED = {
    "ours": ("#0072B2", "#56B4E9"),
    "peer": ("#6B7280", "#9CA3AF"),
    "limit": ("#111827", "#F3F4F6"),
    "prefill": ("#0072B2", "#56B4E9"),
    "decode": ("#E69F00", "#F0B429"),
    "hit": ("#009E73", "#2DD4A7"),
    "missed": ("#D55E00", "#FF8A4C"),
    "evicted": ("#CC79A7", "#E3A6CC"),
    "waiting": ("#E5E7EB", "#374151"),
}
SURFACES = (("#FFFFFF", "#F3F4F5", "#F5F5F5"), ("#14181E", "#29313D", "#212121"))
"""Behind code: the site's page and code block, JupyterLab's cell; light, then dark."""


def luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_accessibility_guidelines():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)


def test_every_meaning_has_the_agreed_colours():
    assert {name: tokens()[name] for name in AGREED} == AGREED
    assert {name: COLORS[name] for name in AGREED} == {name: v[0] for name, v in AGREED.items()}


@pytest.mark.parametrize("name", [name for name in tokens() if name.startswith("code-")])
def test_code_is_legible_in_light_and_dark(name):
    for theme, surfaces in enumerate(SURFACES):
        for surface in surfaces:
            assert contrast(tokens()[name][theme], surface) >= 4.5


@pytest.mark.parametrize("name", ["text", "muted"])
def test_words_are_legible_in_light_and_dark(name):
    for theme in (0, 1):
        for behind in ("page", "surface"):
            assert contrast(tokens()[name][theme], tokens()[behind][theme]) >= 4.5


def test_matplotlib_draws_in_the_same_colours():
    with matplotlib.rc_context():
        use_style()
        for setting, value in style().items():
            assert matplotlib.rcParams[setting] == value
        drawn = matplotlib.rcParams["axes.prop_cycle"].by_key()
    assert drawn["color"][:2] == [COLORS["ours"], COLORS["peer"]]
    assert len(set(drawn["linestyle"])) == len(drawn["color"])  # never colour alone


def test_no_style_sheet_writes_a_colour_of_its_own():
    for sheet in static_files().glob("*.css"):
        if sheet.name != "tokens.css":
            assert "#" not in sheet.read_text(encoding="utf-8")
