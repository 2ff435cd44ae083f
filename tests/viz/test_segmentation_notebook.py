"""`Segmentation` in JupyterLab: what is typed reaches Python, and its lattices come back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
import numpy as np
from toolkit.data.tokenizers import Lattice
from toolkit.viz import Segmentation

def by_pairs(kind, text, longest):
    # every run of at most `longest` bytes is a piece; the best takes the longest from the left
    text = text.encode()
    if b"!" in text:
        raise ValueError("no exclamation marks, please")
    edges = [(s, e) for e in range(1, len(text) + 1) for s in range(max(0, e - longest), e)]
    path = [(s, min(len(text), s + longest)) for s in range(0, len(text), longest)]
    return Lattice(
        kind=kind, text=text,
        starts=np.array([s for s, _ in edges], np.int32),
        ends=np.array([e for _, e in edges], np.int32),
        ids=np.arange(len(edges), dtype=np.int32), scores=np.full(len(edges), -2.0),
        best=np.array([edges.index(edge) for edge in path], np.int32),
        merges=np.array([], np.int32),
    )

def cut(text):
    return [by_pairs("Unigram", text, 2), by_pairs("BytePiece", text, 3)]

widget = Segmentation(cut("a sentence"), cut)
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    heard.value = (
        f"Python has sentence={widget.sentence} tokenizer={widget.tokenizer} "
        f"step={widget.step} alpha={widget.alpha} text={widget.lattice.text.decode()!r}"
    )
widget.observe(hear, ["sentence", "tokenizer", "step", "alpha", "record"])
heard
"""


@pytest.fixture
def lab(lab_on):
    return lab_on(DRAW, LISTEN)


def test_what_is_typed_is_cut_by_python(lab, chromium, shot):
    page = lab.open(chromium, viewport={"width": 1100, "height": 1500})
    lab.run_all(page)

    widget = page.locator(".tk-widget").first
    expect(widget.locator(".tk-lattice > svg > svg").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="BytePiece", exact=True).click()
    told = "You guessed BytePiece. The fewest are 4 tokens, by BytePiece."
    expect(widget.locator(".tk-remark")).to_have_text(told)
    widget.get_by_role("slider", name="step").fill("3")
    expected = "Python has sentence=0 tokenizer=0 step=3 alpha=-1 text='a sentence'"
    expect(page.get_by_text(expected)).to_be_visible()

    field = widget.get_by_role("textbox", name="your own text, at most 400 bytes")
    field.fill("猫 sat")
    field.press("Enter")
    expected = "Python has sentence=1 tokenizer=0 step=-1 alpha=-1 text='猫 sat'"
    expect(page.get_by_text(expected)).to_be_visible()
    expect(widget.locator(".tk-letter")).to_have_text(list("猫␣sat"))
    expect(widget.get_by_role("combobox", name="sentence")).to_have_value("1")
    expect(widget.locator(".tk-bar strong")).to_have_text(["4 tokens", "3 tokens"])
    expect(widget.locator(".tk-remark")).to_be_empty()

    field.fill("oh!")
    widget.get_by_role("button", name="Cut", exact=True).click()
    expect(widget.locator(".tk-remark")).to_have_text("no exclamation marks, please")
    field.fill("天" * 134)
    widget.get_by_role("button", name="Cut", exact=True).click()
    refused = "a text has 1 to 400 bytes, and this one 402"
    expect(widget.locator(".tk-remark")).to_have_text(refused)
    expect(widget.locator(".tk-letter")).to_have_text(list("猫␣sat"))

    widget.get_by_role("combobox", name="sentence").select_option("0")
    widget.get_by_role("radio", name="BytePiece").check()
    widget.get_by_role("slider", name="α").fill("30")
    expected = "Python has sentence=0 tokenizer=1 step=-1 alpha=30 text='a sentence'"
    expect(page.get_by_text(expected)).to_be_visible()
    expect(widget.locator(".tk-tally li").first).to_be_visible()
    shot(page, "segmentation-jupyterlab-light")

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    chosen = widget.locator(".tk-lattice .tk-chosen rect").first
    expect(chosen).to_have_css("stroke", "rgb(45, 212, 167)")
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "segmentation-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
