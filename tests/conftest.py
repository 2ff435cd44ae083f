"""Fixtures and rules that every test shares."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from toolkit.doctor import CHROMIUM_COMMANDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Before anything loads OpenMP, and for every process that a test starts: threads that wait for each
# other spin, and beside other tests a page takes ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_finish() -> None:
    """What collecting has imported is garbage at no time: no later collection looks at it."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the slow tests out unless ``SLOW=1``, and those for a GPU where there is none."""
    slow = pytest.mark.skip(reason="takes over 10 s; runs with SLOW=1")
    gpu = pytest.mark.skip(reason="no CUDA GPU on this machine")
    for item in items:
        if item.get_closest_marker("slow") and os.environ.get("SLOW") != "1":
            item.add_marker(slow)
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(gpu)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A Chromium that Playwright drives; where a browser is required, its absence is a failure."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM_COMMANDS)), None)
    if path is None:
        reason = "there is no Chromium on PATH: install Debian's package `chromium`"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace of the test's own, so that no learner's progress is touched."""
    monkeypatch.setenv("TOOLKIT_WORKSPACE", str(tmp_path / "workspace"))
    return tmp_path / "workspace"


class JupyterLab:
    """A running JupyterLab: ``url`` opens its notebook, ``hosts`` are those its page asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.hosts: set[str] = set()

    def open(self, chromium: Browser, **options) -> Page:
        page = chromium.new_page(**options)
        page.set_default_timeout(60_000)
        page.on("request", lambda request: self._note(request.url))
        page.goto(self.url)
        page.locator(".jp-NotebookPanel").first.wait_for()
        self.wait_for_kernels(page, 1)
        return page

    def wait_for_kernels(self, page: Page, count: int) -> None:
        """Wait until the kernels are idle, with a page connected: before that Run asks for one."""
        address, _, query = self.url.partition("?")
        api = address.split("/lab")[0] + "/api/kernels?" + query
        kernels: list = []
        for _ in range(480):
            # An error of the server's is its own race with a kernel that is starting.
            with suppress(urllib.error.HTTPError), urllib.request.urlopen(api) as answer:
                kernels = json.load(answer)
            ready = [k for k in kernels if k["connections"] and k["execution_state"] == "idle"]
            if len(ready) == count:
                return
            page.wait_for_timeout(250)
        pytest.fail(f"kernels not ready: {kernels}")

    def run_all(self, page: Page) -> None:
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()

    def _note(self, url: str) -> None:
        if url.startswith("http"):
            self.hosts.add(url.split("/")[2].split(":")[0])


@pytest.fixture
def jupyterlab(tmp_path: Path) -> Iterator[Callable[..., JupyterLab]]:
    """Starts JupyterLab by a command, for a user with an empty home, and stops it at the end."""
    home = tmp_path / "home"
    own = {
        "HOME": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
    }

    @contextmanager
    def running(command: list[str], environment: dict[str, str]) -> Iterator[JupyterLab]:
        server = subprocess.Popen(
            command,
            env={**environment, **{name: str(path) for name, path in own.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        said: list[str] = []
        try:
            for line in server.stdout or ():
                said.append(line)
                if found := re.search(r"http://(?:localhost|127\.0\.0\.1):\S+", line):
                    yield JupyterLab(found.group())
                    return
            pytest.fail("JupyterLab did not start: " + "".join(said))
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.communicate()

    with ExitStack() as stack:
        yield lambda command, environment: stack.enter_context(running(command, environment))


@pytest.fixture
def shot() -> Callable[..., None]:
    """``shot(page, name)`` keeps a screenshot in ``$TOOLKIT_SHOTS``, or in ``shots`` if SLOW=1."""

    def keep(page: Page, name: str, **options) -> None:
        default = Path(__file__).parent.parent / "shots" if os.environ.get("SLOW") == "1" else None
        if folder := os.environ.get("TOOLKIT_SHOTS") or default:
            page.screenshot(path=Path(folder) / f"{name}.png", **options)

    return keep
