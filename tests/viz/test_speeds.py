"""A benchmark's case as a table: the figures of the JSON, ours first, bars in proportion."""

from __future__ import annotations

import json
import re

from toolkit.viz import Speeds

CASE = {
    "name": "signatures & co",
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
        ["seconds", "times", "ours", "recall"],
        ["ours", "0.25", "1", "0.980"],
        ["<peer>", "1", "4.1", "(3.9", "to", "4.25)", "1.000"],
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
