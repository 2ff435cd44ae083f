"""`LogitLens` in JupyterLab: what is typed reaches Python, and its lens comes back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
import numpy as np
from toolkit.models.llama import Lens
from toolkit.viz import LogitLens

def look(text):
    # a model of four layers that says the next letter of the alphabet, from layer 2 on
    if "!" in text:
        raise ValueError("no exclamation marks, please")
    n = len(text)
    vocabulary = tuple(dict.fromkeys(text)) + tuple(chr(ord(letter) + 1) for letter in text)
    first = np.array([[[vocabulary.index(letter), len(vocabulary) - n + at]
                       for at, letter in enumerate(text)]] * 5, np.int32)
    first[2:] = first[2:, :, ::-1]
    ranks = np.repeat([[1], [1], [0], [0], [0]], n, 1).astype(np.int32)
    chances = np.tile(np.float32([0.75, 0.25]), (5, n, 1))
    said = np.where(ranks, np.float32(0.25), np.float32(0.75))
    return Lens(tuple(text), vocabulary, first, chances, said, ranks)

widget = LogitLens(look("abc"), look)
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    heard.value = (
        f"Python has token={widget.token} depth={widget.depth} "
        f"text={''.join(widget.lens.tokens)!r} first={widget.first_choice}"
    )
widget.observe(hear, ["token", "depth", "record"])
heard
"""


@pytest.fixture
def lab(lab_on):
    return lab_on(DRAW, LISTEN)


def test_what_is_typed_is_looked_at_by_python(lab, chromium, shot):
    page = lab.open(chromium, viewport={"width": 1100, "height": 1300})
    lab.run_all(page)

    widget = page.locator(".tk-widget").first
    expect(widget.locator(".tk-grid .tk-cell").first).to_be_visible(timeout=90_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="Compare", exact=True).click()
    told = "Right: the first depth to say “d” is layer 2."
    expect(widget.locator(".tk-remark")).to_have_text(told)
    widget.get_by_role("slider", name="depth").fill("1")
    expect(
        page.get_by_text("Python has token=2 depth=1 text='abc' first=2", exact=True)
    ).to_be_visible()

    field = widget.get_by_role("textbox", name="your own text, at most 64 tokens")
    field.fill("x y猫")
    field.press("Enter")
    expect(
        page.get_by_text("Python has token=3 depth=4 text='x y猫' first=2", exact=True)
    ).to_be_visible()
    expect(widget.locator(".tk-given text")).to_have_text(list("x␣y猫"))
    expect(widget.locator(".tk-remark")).to_be_empty()

    field.fill("oh!")
    widget.get_by_role("button", name="Look", exact=True).click()
    expect(widget.locator(".tk-remark")).to_have_text("no exclamation marks, please")
    field.fill("a" * 65)
    widget.get_by_role("button", name="Look", exact=True).click()
    refused = "a text has 1 to 64 tokens, and this one 65"
    expect(widget.locator(".tk-remark")).to_have_text(refused)
    expect(widget.locator(".tk-given text")).to_have_text(list("x␣y猫"))

    field.fill("abc")  # the first text again is an answer too
    field.press("Enter")
    expect(widget.locator(".tk-given text")).to_have_text(list("abc"))
    expect(widget.locator(".tk-remark")).to_be_empty()

    widget.locator(".tk-cell[data-depth='1'][data-token='0']").click()
    widget.locator(".tk-grid").focus()
    page.keyboard.press("ArrowDown")
    expect(
        page.get_by_text("Python has token=0 depth=0 text='abc' first=2", exact=True)
    ).to_be_visible()
    shot(page, "logit-lens-jupyterlab-light")

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    same = widget.locator(".tk-grid .tk-same").first
    expect(same).to_have_css("stroke", "rgb(45, 212, 167)")
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "logit-lens-jupyterlab-dark")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
