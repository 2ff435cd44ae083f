"""`Timeline` in JupyterLab: the reader's step reaches Python, and Python's the reader."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
import numpy as np
from toolkit.serving.batching import Sarathi, Trace, VllmV0, simulate
from toolkit.viz import Timeline

class Cost:
    stages = 1
    def seconds(self, work):
        return 0.02 + 0.002 * work.tokens

trace = Trace(np.array([0, 0.1, 0.3]), np.array([40, 100, 60]), np.array([20, 12, 9]), 32)
policies = {"vLLM v0": VllmV0(max_num_seqs=8), "Sarathi": Sarathi(chunk_size=32)}
schedules = {name: simulate(trace, policy, Cost()) for name, policy in policies.items()}
widget = Timeline(schedules)
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    name, iteration = widget.iteration
    heard.value = f"Python has iteration {iteration} of {name} and request {widget.request}"
widget.observe(hear, ["step", "request"])
back = ipywidgets.Button(description="From Python")
def go_back(_):
    widget.step = 6
back.on_click(go_back)
ipywidgets.VBox([heard, back])
"""


@pytest.fixture
def lab(lab_on):
    return lab_on(DRAW, LISTEN)


def test_steps_reach_python_and_come_back(lab, chromium, shot):
    page = lab.open(chromium, viewport={"width": 1100, "height": 1500})
    lab.run_all(page)

    widget = page.locator(".tk-widget").first
    expect(widget.locator(".tk-axis text").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="Skip", exact=True).click()
    widget.get_by_role("button", name="Forward").click()
    expect(page.get_by_text("Python has iteration 0 of Sarathi and request 0")).to_be_visible()
    widget.locator(".tk-scroll").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_text("of Sarathi and request 2")).to_be_visible()
    widget.get_by_role("slider", name="iteration").fill("3")
    expect(page.get_by_text("Python has iteration 1 of vLLM v0 and request 2")).to_be_visible()
    shot(page, "timeline-jupyterlab-light")

    page.get_by_role("button", name="From Python").click()
    expect(widget.get_by_role("slider", name="iteration")).to_have_value("6")

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    expect(widget.locator(".tk-swatch.tk-is-prefill")).to_have_css(
        "background-color", "rgb(86, 180, 233)"
    )
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "timeline-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
