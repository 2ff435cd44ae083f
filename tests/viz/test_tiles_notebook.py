"""`Tiles` in JupyterLab: the reader's step reaches Python, and Python's the reader."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
from toolkit.kernels.trace.record import Access, KernelTrace, TracedTensor
from toolkit.viz import Tiles

rows = [((at, at + 16), (0, 16)) for at in range(0, 64, 16)]
accesses = [
    Access((program, 0, 0), step, kind, tensor, rows[row], (16, 16), 256, 1024, 0, line)
    for program in range(4)
    for step, (kind, tensor, row, line) in enumerate(
        [("load", "K", row, 2) for row in range(program + 1)] + [("store", "O", program, 3)]
    )
]
source = "def kernel(K, O):\\n    k = tl.load(K + rows)\\n    tl.store(O + rows, k)\\n"
tensors = tuple(TracedTensor(name, (64, 16), "float32", 4) for name in "KO")
trace = KernelTrace("kernel", source, 1, (4, 1, 1), tensors, tuple(accesses), (), 4096)
widget = Tiles(trace)
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    access = widget.access
    heard.value = f"Python has {access.kind} {access.tensor} by {access.program} at {widget.step}"
widget.observe(hear, ["step"])
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
    expect(widget.locator(".tk-hbm .tk-frame").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="4 times", exact=True).click()
    expect(widget.locator(".tk-remark")).to_contain_text("You guessed 4 times; K is read 2.5 times")
    widget.get_by_role("button", name="Forward").click()
    expect(page.get_by_text("Python has store O by (0, 0, 0) at 1")).to_be_visible()
    widget.locator(".tk-hbm").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_text("Python has load K by (2, 0, 0) at 5")).to_be_visible()
    widget.get_by_role("slider", name="step").fill("13")
    expect(page.get_by_text("Python has store O by (3, 0, 0) at 13")).to_be_visible()
    expect(widget.locator(".tk-line code")).to_have_text("tl.store(O + rows, k)")
    shot(page, "tiles-jupyterlab-light")

    page.get_by_role("button", name="From Python").click()
    expect(widget.locator(".tk-now")).to_contain_text("Program (2, 0, 0), step 2 of 4: loads K[16")

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    expect(widget.locator(".tk-hbm .tk-is-load")).to_have_css("fill", "rgb(86, 180, 233)")
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "tiles-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
