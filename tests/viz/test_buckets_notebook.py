"""`Buckets` in JupyterLab: a notebook opens and runs, the widget draws, a click reaches Python."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
import numpy as np
from toolkit.data.dedup import Bands, PairSample
from toolkit.viz import Buckets

jaccard = np.linspace(0.02, 1, 50)
agree = np.random.default_rng(1).random((50, 128)) < jaccard[:, None]
sample = PairSample(
    method="minhash", jaccard=jaccard, agree=np.packbits(agree, axis=1), stands_for=np.ones(50),
    documents=np.stack([np.arange(50), np.arange(50) + 50], axis=1),
    positions=128, threshold=0.8, total_pairs=50,
)
widget = Buckets(sample, Bands(14, 8))
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    heard.value = f"Python has b={widget.b} r={widget.r} selected={widget.selected}"
widget.observe(hear, ["b", "r", "selected"])
heard
"""


@pytest.fixture
def lab(lab_on):
    return lab_on(DRAW, LISTEN)


def test_a_click_in_the_widget_reaches_python(lab, chromium, shot):
    page = lab.open(chromium, viewport={"width": 1100, "height": 1300})
    lab.run_all(page)

    widget = page.locator(".tk-widget").first
    expect(widget.locator("canvas.tk-marks")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="Skip", exact=True).click()
    widget.get_by_role("slider", name="rows r").fill("7")
    expect(page.get_by_text("Python has b=14 r=7 selected=-1")).to_be_visible()

    widget.get_by_role("slider", name="pair", exact=True).fill("49")
    expect(page.get_by_text("Python has b=14 r=7 selected=49")).to_be_visible()
    canvas = widget.locator("canvas.tk-marks")
    page.wait_for_timeout(600)
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})  # no mark is there
    expect(page.get_by_text("Python has b=14 r=7 selected=-1")).to_be_visible()
    shot(page, "buckets-jupyterlab-light")

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    found = widget.locator(".tk-mark-found")
    expect(found).to_have_css("fill", "rgb(45, 212, 167)")
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "buckets-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
