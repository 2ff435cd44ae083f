"""`Bits` in JupyterLab: the reader's choice reaches Python, and Python's the reader."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
import torch
from toolkit.kernels.quant_gemm import roundings
from toolkit.viz import Bits

weight = 0.05 * torch.randn(16, 128, generator=torch.Generator().manual_seed(5))
weight[0, 16] = 0.31
widget = Bits(weight, roundings(weight))
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
names = ["method", "bits", "group", "packing", "value", "revealed"]
def hear(_):
    heard.value = "Python has " + " ".join(f"{name}={getattr(widget, name)}" for name in names)
widget.observe(hear, names)
back = ipywidgets.Button(description="From Python")
def go_back(_):
    widget.method = 0
    widget.group = 128
back.on_click(go_back)
ipywidgets.VBox([heard, back])
"""


@pytest.fixture
def lab(lab_on):
    return lab_on(DRAW, LISTEN)


def test_choices_reach_python_and_come_back(lab, chromium, shot):
    page = lab.open(chromium, viewport={"width": 1100, "height": 1800})
    lab.run_all(page)

    widget = page.locator(".tk-widget").first
    expect(widget.locator(".tk-weights circle").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="Compare", exact=True).click()
    expect(widget.locator(".tk-remark")).to_contain_text("You guessed 50")
    expected = "Python has method=0 bits=4 group=32 packing=0 value=16 revealed=True"
    expect(page.get_by_text(expected)).to_be_visible()
    widget.get_by_role("radio", name="AWQ").check()
    widget.get_by_role("combobox", name="method").select_option(label="NF4")
    expected = "Python has method=2 bits=4 group=32 packing=1 value=16 revealed=True"
    expect(page.get_by_text(expected)).to_be_visible()
    shot(page, "bits-jupyterlab-light")

    page.get_by_role("button", name="From Python").click()
    picture = widget.locator(".tk-weights > svg")
    expected = re.compile("128 weights, nearest level, symmetric, 4 bits, 128 to a scale: 4.125")
    expect(picture).to_have_attribute("aria-label", expected)
    widget.locator(".tk-weights").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expected = "Python has method=0 bits=3 group=128 packing=1 value=17 revealed=True"
    expect(page.get_by_text(expected)).to_be_visible()

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    expect(widget.locator(".tk-off").first).to_have_css("fill", "rgb(255, 138, 76)")
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "bits-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
