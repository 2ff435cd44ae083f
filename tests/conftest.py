"""Fixtures and rules that every test shares."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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

    path = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
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
