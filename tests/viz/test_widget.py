"""The base of every widget, in each of its homes."""

from __future__ import annotations

import base64
import json
import re

import matplotlib
import pytest
import traitlets

from toolkit.data.dedup import Bands
from toolkit.viz import COLORS, Buckets, static_files
from toolkit.viz.widget import STATE_LIMIT, _script_safe


def test_a_notebook_gets_the_live_view_and_a_picture(buckets):
    data, _ = buckets._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == buckets.model_id
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == buckets.summary()
    assert "text/html" not in data


@pytest.mark.usefixtures("on_site")
def test_the_site_gets_html_that_needs_no_kernel(buckets):
    data, _ = buckets._repr_mimebundle_()
    assert set(data) == {"text/html", "text/plain"}
    html = data["text/html"]
    state = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert json.loads(state[1]) == buckets.state()
    assert f'aria-label="{buckets.summary()}"' in html
    assert html.count("<svg") == 1
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]+"', "", html)


def test_state_is_the_widgets_own_and_nothing_of_the_notebooks(buckets):
    assert set(buckets.state()) == {"record", "words", "b", "r", "k", "selected", "revealed"}


def test_state_can_not_end_its_script_nor_open_a_comment():
    text = json.dumps({"a": "</script><!-- <script>", "b": "a < b & c"})
    safe = _script_safe(text)
    assert "<" not in safe
    assert json.loads(safe) == json.loads(text)


def test_too_much_state_is_refused_with_a_way_out(draw):
    pairs = 1 + STATE_LIMIT // 60
    with pytest.raises(ValueError, match=r"^Buckets would put [\d,]+ bytes .* smaller sample"):
        Buckets(draw(pairs), Bands(14, 8))
    assert len(Buckets(draw(1000), Bands(14, 8))._json()) < STATE_LIMIT / 2


def test_each_widget_of_a_page_has_its_own_name(sample):
    first, second = Buckets(sample, Bands(14, 8)), Buckets(sample, Bands(9, 13))
    number = int(first.id.removeprefix("buckets-"))
    assert second.id == f"buckets-{number + 1}"


def test_in_a_notebook_the_module_holds_the_shared_parts_and_imports_nothing(buckets):
    assert "import " not in re.sub(r"//.*|/\*.*?\*/", "", buckets._esm, flags=re.DOTALL)
    assert buckets._esm.count("export default") == 1
    shared = (static_files() / "widget.js").read_text(encoding="utf-8")
    for name in re.findall(r"^export function (\w+)", shared, re.MULTILINE):
        assert re.search(rf"^function {name}\b", buckets._esm, re.MULTILINE)


def test_scripts_stay_small():
    sizes = {path.name: path.stat().st_size for path in static_files().glob("*.js")}
    assert sizes["buckets.js"] + sizes["widget.js"] + sizes["site.js"] <= 40_000


def test_a_widget_asks_of_its_model_only_what_the_page_offers():
    for path in static_files().glob("*.js"):
        asked = set(re.findall(r"\bmodel\.(\w+)", path.read_text(encoding="utf-8")))
        assert asked <= {"get", "set", "on", "off", "save_changes"}


def test_the_picture_on_the_site_follows_the_theme(buckets):
    html = buckets.html()
    colors = set(re.findall(r"(?<!, )#[0-9a-fA-F]{6}\b", html.split("</svg>")[0]))
    assert colors == set()
    assert f"var(--tk-missed, {COLORS['missed'].lower()})" in html


def test_pictures_leave_matplotlibs_settings_alone(buckets):
    before = dict(matplotlib.rcParams)
    buckets._repr_mimebundle_()
    assert dict(matplotlib.rcParams) == before


def test_the_reader_can_not_be_given_a_cut_that_does_not_fit(buckets):
    with pytest.raises(
        traitlets.TraitError, match="32 bands of 8 rows don't fit a signature of 128"
    ):
        buckets.b = 32
    buckets.r = 4
    buckets.b = 32
    assert (buckets.b, buckets.r) == (32, 4)
