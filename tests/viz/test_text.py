"""Numbers and words of widgets."""

from __future__ import annotations

import math

import pytest

from toolkit.viz.text import GAP, percent, significant, sized, words


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (0.123456, "0.123"), (12.34, "12.3"), (999.4, "999"), (999.6, "1 k"),
        (91_138, "91.1 k"), (999_600, "1 M"), (11_599_336, "11.6 M"), (2.5e9, "2.5 G"),
        (999.4e9, "999 G"), (999.6e9, "1 T"), (989.4e12, "989 T"), (999.6e12, "1 P"),
    ],
)  # fmt: skip
def test_three_significant_digits_and_the_si_step(number, text):
    assert significant(number).replace(GAP, " ") == text


@pytest.mark.parametrize(
    ("number", "text"), [(0.25, "0.25 B/s"), (7, "7 B/s"), (1500, "1.5 kB/s"), (989e12, "989 TB/s")]
)
def test_a_unit_joins_its_si_step(number, text):
    assert sized(number, "B/s").replace(GAP, " ") == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"), (1, "100 %"), (0.5, "50 %"), (0.9243, "92.4 %"), (0.00099, "< 0.1 %"),
        (0.001, "0.1 %"), (0.999, "99.9 %"), (0.9991, "> 99.9 %"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_a_share_is_nothing_or_all_only_where_that_is_exact(share, text):
    assert percent(share).replace(GAP, " ") == text


def test_every_word_of_every_widget_is_there():
    table = words()
    assert {"see", "table"} <= set(table["shared"])
    for method in ("minhash", "simhash"):
        of_method = set(table["buckets"] | table[f"buckets_{method}"])
        assert {"title", "try", "see_text", "summary"} <= of_method
    assert all(text.strip() for part in table.values() for text in part.values())
