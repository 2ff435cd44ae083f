"""`RadixTree` in JupyterLab: the reader's step reaches Python, and Python's the reader."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
from toolkit.serving.kv_cache import RadixTree as PrefixTree
from toolkit.serving.kv_cache.tree_history import TreeRecorder
from toolkit.viz import RadixTree

log = TreeRecorder()
tree = PrefixTree(on_step=log)
for log.request, text in enumerate([[1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 9]]):
    tree.lock(tree.match(text).node)
    tree.insert(text, text)
widget = RadixTree(log.history())
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    heard.value = f"Python has step {widget.step}, node {widget.node}: {widget.event()}"
widget.observe(hear, ["step", "node"])
back = ipywidgets.Button(description="From Python")
def go_back(_):
    widget.step = 2
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
    expect(widget.locator(".tk-scroll .tk-node").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("slider", name="your guess").fill("25")
    widget.get_by_role("button", name="Compare").click()
    expect(widget.locator(".tk-remark")).to_contain_text("You guessed 25")
    expect(widget.locator(".tk-remark")).to_contain_text("is found: 5 of 11 tokens.")
    widget.get_by_role("button", name="Forward").click()
    expect(
        page.get_by_text("Python has step 4, node -1: Request 1. Found in the tree: 2")
    ).to_be_visible()
    widget.locator(".tk-scroll").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(
        page.get_by_text("Python has step 6, node -1: Request 1. Put in: 1 token,")
    ).to_be_visible()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_text("Python has step 6, node 1: Request 1.")).to_be_visible()
    shot(page, "radix-tree-jupyterlab-light")

    page.get_by_role("button", name="From Python").click()
    expect(widget.locator(".tk-now")).to_contain_text("Put in: 4 tokens, as node 1")

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    chosen = widget.locator(".tk-scroll .tk-looked > rect")
    expect(chosen).to_have_css("stroke", "rgb(243, 244, 246)")
    shot(page, "radix-tree-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
