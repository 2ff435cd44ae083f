"""`Rotations` in JupyterLab: what the reader chooses reaches Python, and Python moves the hands."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
from toolkit.models.positions import dials
from toolkit.viz import Rotations

widget = Rotations(dials(64, 100_000.0, 8192))
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    heard.value = (
        f"Python has position={widget.position} method={widget.method} factor={widget.factor} "
        f"dial={widget.dial} outside={widget.outside().sum()}"
    )
widget.observe(hear, ["position", "method", "factor", "dial"])
def tell(_):
    widget.position = 30_000
button = ipywidgets.Button(description="from Python")
button.on_click(tell)
ipywidgets.VBox([heard, button])
"""


@pytest.fixture
def lab(lab_on):
    return lab_on(DRAW, LISTEN)


def test_reader_and_python_move_the_same_hands(lab, chromium, shot):
    page = lab.open(chromium, viewport={"width": 1100, "height": 1500})
    lab.run_all(page)

    widget = page.locator(".tk-widget").first
    expect(widget.locator(".tk-dial").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="Compare").click()
    told = "You guessed 16. By position 16,384, 12 of 32 have left what training showed them."
    expect(widget.locator(".tk-remark")).to_have_text(told)
    widget.get_by_role("radio", name="NTK-aware").check()
    said = "Python has position=16384 method=2 factor=1 dial=-1 outside=11"
    expect(page.get_by_text(said)).to_be_visible()
    expect(widget.locator(".tk-past")).to_have_count(11)
    widget.locator("[data-dial='31']").click()
    said = "Python has position=16384 method=2 factor=1 dial=31 outside=11"
    expect(page.get_by_text(said)).to_be_visible()
    widget.locator(".tk-dials").focus()
    page.keyboard.press("ArrowRight")
    said = "Python has position=16385 method=2 factor=1 dial=31 outside=12"
    expect(page.get_by_text(said)).to_be_visible()

    page.get_by_role("button", name="from Python").click()
    expect(widget.locator(".tk-steps output")).to_have_text("30,000 = 3.66 × trained")
    expect(page.get_by_text("Python has position=30000")).to_be_visible()
    shot(page, "rotations-jupyterlab-light")

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    rim = widget.locator(".tk-dial.tk-past .tk-rim").first
    expect(rim).to_have_css("stroke", "rgb(255, 138, 76)")
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "rotations-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
