"""`Buckets` in JupyterLab: a notebook opens and runs, the widget draws, a click reaches Python."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAW = """
import numpy as np
from toolkit.data.dedup import Bands, PairSample
from toolkit.viz import Buckets

jaccard = np.linspace(0.02, 1, 50)
agree = np.random.default_rng(1).random((50, 128)) < jaccard[:, None]
sample = PairSample(
    jaccard=jaccard, agree=np.packbits(agree, axis=1), stands_for=np.ones(50),
    documents=np.stack([np.arange(50), np.arange(50) + 50], axis=1),
    num_perm=128, threshold=0.8, total_pairs=50,
)
widget = Buckets(sample, Bands(14, 8))
widget
"""

LISTEN = """
import ipywidgets
heard = ipywidgets.Label("nothing yet")
def hear(_):
    heard.value = f"Python has b={widget.b} r={widget.r} selected={widget.selected}"
widget.observe(hear, ["b", "r", "selected"])
heard
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ask(url: str) -> object:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def wait_for(ready, what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{what} did not come within {seconds:g} s")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """A JupyterLab with settings of its own, on a folder with the notebook."""
    work = tmp_path / "work"
    work.mkdir()
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in (DRAW, LISTEN)]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), work / "t.ipynb")
    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    port = free_port()
    own = {
        "JUPYTER_CONFIG_DIR": tmp_path / "config",
        "JUPYTER_DATA_DIR": tmp_path / "data",
        "JUPYTERLAB_SETTINGS_DIR": tmp_path / "settings",
        "IPYTHONDIR": tmp_path / "ipython",
    }
    environment = os.environ | {name: str(path) for name, path in own.items()}
    environment.pop("TOOLKIT_SITE", None)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token="]
    command += [f"--ServerApp.root_dir={work}", "--LabApp.news_url=null"]
    command += ["--LabApp.expose_app_in_browser=True"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=work)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: ask(f"{url}/api"), "JupyterLab")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def connected(lab: str) -> bool:
    kernels = ask(f"{lab}/api/kernels")
    return any(one["connections"] and one["execution_state"] == "idle" for one in kernels)


def test_a_click_in_the_widget_reaches_python(lab, chromium, shot):
    page = chromium.new_page(viewport={"width": 1100, "height": 1300})
    page.set_default_timeout(60_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{lab}/lab/tree/t.ipynb?reset")
    wait_for(lambda: connected(lab), "the kernel")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).first.click()

    widget = page.locator(".tk-widget").first
    expect(widget.locator("canvas.tk-marks")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("nothing yet", exact=True)).to_be_visible()
    widget.get_by_role("button", name="Skip", exact=True).click()
    widget.get_by_role("slider", name="rows r").fill("7")
    expect(page.get_by_text("Python has b=14 r=7 selected=-1")).to_be_visible()

    widget.get_by_role("slider", name="pair", exact=True).fill("49")
    expect(page.get_by_text("Python has b=14 r=7 selected=49")).to_be_visible()
    canvas = widget.locator("canvas.tk-marks")
    page.wait_for_timeout(600)
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})  # no mark is there
    expect(page.get_by_text("Python has b=14 r=7 selected=-1")).to_be_visible()
    shot(page, "buckets-jupyterlab-light")

    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    found = widget.locator(".tk-mark-found")
    expect(found).to_have_css("fill", "rgb(45, 212, 167)")
    expect(page.locator("#jupyterlab-splash")).to_be_hidden()
    shot(page, "buckets-jupyterlab-dark")
    outside = [url for url in asked if not url.startswith((lab, "data:", "blob:"))]
    page.close()
    assert outside == []
