"""`Roofline` in JupyterLab: the reader's choice reaches Python, and Python's the reader."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
from toolkit.kernels.roofline import Point
from toolkit.viz import Roofline

points = [
    Point("naive attention", 62e12, 1e12),
    Point("FlashAttention", 124e12, 1e12, 0.275, "H200 SXM"),
    Point("vector add", 1e9, 6e9),
]
widget = Roofline(points)
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    heard.value = f"Python has card={widget.card} point={widget.point} {widget.revealed}"
widget.observe(hear, ["card", "point", "revealed"])
back = ipywidgets.Button(description="From Python")
def go_back(_):
    widget.card = 2
back.on_click(go_back)
ipywidgets.VBox([heard, back])
"""


@pytest.fixture
def lab(lab_on):
    return lab_on(DRAW, LISTEN)


def test_choices_reach_python_and_come_back(lab, chromium, shot):
    page = lab.open(chromium, viewport={"width": 1100, "height": 1500})
    lab.run_all(page)

    widget = page.locator(".tk-widget").first
    expect(widget.get_by_role("button", name="Skip")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="20 to 50").click()
    expect(widget.locator(".tk-remark")).to_contain_text("You guessed 20 to 50")
    expect(page.get_by_text("Python has card=0 point=0 True")).to_be_visible()
    widget.get_by_role("radio", name="FlashAttention").check()
    expect(page.get_by_text("Python has card=0 point=1 True")).to_be_visible()
    widget.get_by_role("combobox", name="card").select_option(label="T4")
    expect(page.get_by_text("Python has card=4 point=1 True")).to_be_visible()
    shot(page, "roofline-jupyterlab-light")

    page.get_by_role("button", name="From Python").click()
    heading = widget.locator(".tk-heading")
    expect(heading).to_contain_text("On the A100 80GB SXM, FlashAttention is memory-bound")
    widget.locator(".tk-plot").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("Python has card=2 point=0 True")).to_be_visible()

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    expect(widget.locator(".tk-plot .tk-roof")).to_have_css("stroke", "rgb(243, 244, 246)")
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "roofline-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
