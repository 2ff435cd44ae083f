"""`Heads` in JupyterLab: the reader's choice reaches Python, and Python's the reader."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
from toolkit.models.attention import MODELS
from toolkit.viz import Heads

widget = Heads(MODELS, "Llama-3-70B")
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    shape = widget.shape
    heard.value = (
        f"Python has {shape.name} {shape.kind} heads={shape.heads} kv_heads={shape.kv_heads} "
        f"latent={shape.latent} context={widget.context}"
    )
widget.observe(hear, ["preset", "heads", "kv_heads", "latent", "context"])
back = ipywidgets.Button(description="From Python")
def go_back(_):
    widget.latent = 0
    widget.kv_heads = 16
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
    expect(widget.locator(".tk-sharing > svg > rect").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("slider", name="your guess").fill("8")
    widget.get_by_role("button", name="Compare", exact=True).click()
    expect(widget.locator(".tk-remark")).to_contain_text("You guessed 8×; it is 8 times smaller")
    widget.get_by_role("radio", name="MQA").check()
    expected = "Python has Llama-3-70B MQA heads=64 kv_heads=1 latent=0 context=32768"
    expect(page.get_by_text(expected)).to_be_visible()
    widget.get_by_role("combobox", name="model").select_option(label="Falcon-7B")
    expected = "Python has Falcon-7B MQA heads=71 kv_heads=1 latent=0 context=32768"
    expect(page.get_by_text(expected)).to_be_visible()
    widget.get_by_role("combobox", name="model").select_option(label="DeepSeek-V3")
    widget.get_by_role("slider", name="tokens").fill("0")
    expected = "Python has DeepSeek-V3 MLA heads=128 kv_heads=128 latent=512 context=1024"
    expect(page.get_by_text(expected)).to_be_visible()
    shot(page, "heads-jupyterlab-light")

    page.get_by_role("button", name="From Python").click()
    heading = widget.locator(".tk-heading")
    expect(heading).to_have_text("128 query heads share 16 KV heads, 8 to each (GQA).")
    widget.locator(".tk-sharing").focus()
    page.keyboard.press("ArrowRight")
    expected = "Python has DeepSeek-V3 GQA heads=128 kv_heads=8 latent=0 context=1024"
    expect(page.get_by_text(expected)).to_be_visible()

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    expect(widget.locator(".tk-kept").first).to_have_css("fill", "rgb(45, 212, 167)")
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "heads-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
