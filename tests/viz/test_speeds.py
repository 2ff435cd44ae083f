"""A benchmark's case as a table: the figures of the JSON, ours first, bars in proportion."""

from __future__ import annotations

import json
import re

import pytest

from toolkit.viz import Speeds
from toolkit.viz.text import GAP

CASE = {
    "name": "signatures & co",
    "params": {"threads": 1},
    "ours": 0.25,
    "quality": {"recall": 0.98},
    "peers": {
        "<peer>": {"seconds": 1.0, "ratio": 4.1, "spread": [3.9, 4.25], "quality": {"recall": 1.0}},
        "fast": {"seconds": 0.125, "ratio": 0.5, "spread": [0.4, 0.6], "quality": {}},
    },
}


def results(tmp_path):
    machine = {"cpu": "Abacus", "cores": 2}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"machine": machine, "date": "2001-02-03", "cases": [CASE]}))
    return path


def test_the_text_has_every_figure_where_ours_loses_too(tmp_path):
    (speeds,) = Speeds.read(results(tmp_path))
    *rows, measured = repr(speeds).splitlines()
    assert [row.split() for row in rows] == [
        ["seconds", "recall", "times", "ours"],
        ["ours", "0.25", "0.980", "1"],
        ["<peer>", "1", "1.000", "4.1", "(3.9", "to", "4.25)"],
        ["fast", "0.125", "0.5", "(0.4", "to", "0.6)"],
    ]
    assert measured.startswith("signatures & co: ")
    assert measured.endswith("Abacus, 2 cores, 2001-02-03")


def test_bars_are_in_proportion_and_names_are_escaped(tmp_path):
    (speeds,) = Speeds.read(results(tmp_path))
    html = speeds._repr_html_()
    assert re.findall(r'tk-bar tk-(\w+)" style="width:([\d.]+)%', html) == [
        ("ours", "25.0"),
        ("peer", "100.0"),
        ("peer", "12.5"),
    ]
    assert "&lt;peer&gt;" in html
    assert "<peer>" not in html


def test_the_quartiles_stand_below_the_ratio_in_small_type(tmp_path):
    (speeds,) = Speeds.read(results(tmp_path))
    assert "<td>4.1<small>(3.9 to 4.25)</small></td>" in speeds._repr_html_()
    assert "<td>1<small></small></td></tr>" in speeds._repr_html_()


def test_settings_of_ours_are_named_and_large_figures_have_three_digits():
    case = {**CASE, "params": {"ours": "17 x 7"}, "quality": {"recall": 1.0, "candidates": 91138}}
    speeds = Speeds(case, "Abacus, 2 cores", "2001-02-03")
    assert speeds.rows[0][:4] == ("17 x 7", "0.25", "1.000", f"91.1{GAP}k")
    assert 'tk-ours" style="width:25.0%' in speeds._repr_html_()
    assert (speeds.name, list(speeds.quality)) == ("signatures & co", ["17 x 7", "<peer>", "fast"])
    assert speeds.quality["17 x 7"]["candidates"] == 91138
    assert speeds.quality["<peer>"] == {"recall": 1.0}


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1280])
def test_no_column_is_off_the_screen(publish, visit, shot, width):
    case = {
        **CASE,
        "quality": {"recall": 0.9876, "precision": 1.0},
        "peers": {
            name: {
                "seconds": 0.0123,
                "ratio": 12.34,
                "spread": [10.15, 13.25],
                "quality": {"recall": 0.8, "precision": 0.999},
            }
            for name in ("scikit-learn", "rensa (cosine)", "datasketch 1 process")
        },
    }
    page = visit(publish(Speeds(case, "Abacus, 2 cores", "2001-02-03")._repr_html_()), width=width)
    inside, columns = page.locator(".tk-scroll").evaluate(
        """(box) => [box.getBoundingClientRect().right,
            [...box.querySelectorAll("th, td")].map((one) => one.getBoundingClientRect().right)]"""
    )
    assert inside <= width
    assert max(columns) <= inside + 0.5
    bar, number = (
        page.locator(f".tk-time > {part}").first.bounding_box()
        for part in (".tk-bar", "span:not(.tk-bar)")
    )
    assert bar["y"] >= number["y"] + number["height"]
    shot(page, f"speeds-{width}")
