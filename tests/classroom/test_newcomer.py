"""A newcomer's first minutes: the command, the lab, a wrong answer with its hint, a right one."""

from __future__ import annotations

import json
import os
import sys

import pytest

from toolkit.classroom import notebooks

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WRONG = "def jaccard(a, b):\n    return len(a & b) / max(len(a), len(b))"
RIGHT = "def jaccard(a, b):\n    return len(a & b) / len(a | b) if a | b else 0.0"


@pytest.fixture
def lab(workspace, jupyterlab):
    """The lab as ``toolkit lab`` opens it, up to question 2; the rest is cut off for speed."""
    path = notebooks.copy_to_workspace("data/dedup")
    notebook = json.loads(path.read_text())
    tags = [cell["metadata"].get("tags", []) for cell in notebook["cells"]]
    keep = [["setup"] in (tag,) or ["q2"] in (tag,) for tag in tags]
    keep[tags.index(["q2"]) + 1] = True  # its check
    cells = [cell for cell, wanted in zip(notebook["cells"], keep, strict=True) if wanted]
    path.write_text(json.dumps({**notebook, "cells": cells}))
    command = [sys.executable, "-m", "toolkit.cli", "lab", "data/dedup", "--no-browser"]
    return jupyterlab(command, dict(os.environ))


def test_a_wrong_answer_brings_its_hint_and_a_right_one_passes(lab, chromium, shot):
    from playwright.sync_api import expect

    page = lab.open(chromium, viewport={"width": 1100, "height": 900})
    cells = page.locator(".jp-CodeCell")
    expect(cells).to_have_count(3)
    said = cells.nth(2).locator(".jp-OutputArea-output")

    def answer(source: str) -> None:
        cells.nth(1).locator(".cm-content").click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(source)
        lab.run_all(page)

    answer(WRONG)
    expect(said).to_contain_text("q2 not yet")
    expect(said).to_contain_text("How many members does the union have?")
    expect(said.locator("strong").first).to_have_text("q2 not yet")
    shot(page, "failed-check")

    answer(RIGHT)
    expect(said).to_contain_text("q2 passed · 3 of 3 points")
    shot(page, "passed-check")
    page.close()
    assert lab.hosts <= {"localhost", "127.0.0.1"}
