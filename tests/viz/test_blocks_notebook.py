"""`Blocks` in JupyterLab: the reader's step reaches Python, and Python's the reader."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
from toolkit.serving.batching import LiveRequest, Request
from toolkit.serving.kv_cache import PrefixBlocks
from toolkit.serving.kv_cache.block_history import BlockRecorder
from toolkit.viz import Blocks

memory = BlockRecorder(PrefixBlocks(8, 4))
for number in range(2):
    text = (*range(9), 50 + number)
    one = LiveRequest.of(Request(number, 0.0, 10, 2, 2, tokens=text))
    one.computed = memory.admit(one)
    memory.grow(one, 10)
    one.computed = 10
    memory.wrote(one)
widget = Blocks(memory.history())
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    heard.value = f"Python has event {widget.step}, block {widget.block}: {widget.event()}"
widget.observe(hear, ["step", "block"])
back = ipywidgets.Button(description="From Python")
def go_back(_):
    widget.step = 0
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
    expect(widget.locator("[data-block]").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="4", exact=True).click()
    expect(widget.locator(".tk-remark")).to_have_text(
        "You guessed 4; it is 6: sharing saves 2 blocks."
    )
    widget.get_by_role("button", name="Back").click()
    expect(page.get_by_text("Python has event 3, block -1: Request 1 begins.")).to_be_visible()
    widget.locator(".tk-map").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_text("Python has event 2, block 1: Request 0 has written.")).to_be_visible()
    shot(page, "blocks-jupyterlab-light")

    page.get_by_role("button", name="From Python").click()
    expect(widget.locator(".tk-now")).to_have_text("Request 0 begins. Blocks found: 0, 0 tokens.")
    widget.get_by_role("slider", name="event").fill("4")

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shared = widget.locator("[data-block='0'] .tk-is-shared")
    expect(shared).to_have_css("fill", "rgb(45, 212, 167)")
    shot(page, "blocks-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
