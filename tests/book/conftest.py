"""The built site, and a server for it on this machine alone."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from toolkit import course

sys.path.insert(0, str(course.root() / "book" / "_ext"))


BUILDING = 900
"""Seconds: each page runs for a quarter of a minute, and twice as long beside other tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever of these tests comes first builds the site, and others wait for it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(BUILDING + 60))


def sphinx(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build ``source`` with the book's own configuration, warnings as errors.

    Every page is read and written anew (``-E``): Sphinx would not notice a changed extension. Only
    the execution of cells comes from the cache.
    """
    book = course.root() / "book"
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "--keep-going", "-b", "html"]
    command += ["-c", str(book), str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=BUILDING)


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site, brought up to date once a session."""
    book = course.root() / "book"
    target = book / "_build" / "html"
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")  # workers share one build
    built = target.parent / "built_by"
    target.parent.mkdir(exist_ok=True)
    with FileLock(target.parent / "lock"):
        if not run or not built.exists() or built.read_text() != run:
            done = sphinx(book, target)
            assert done.returncode == 0, done.stderr
            built.write_text(run)
    return target


@pytest.fixture(scope="session")
def build() -> Callable[[Path, Path], subprocess.CompletedProcess[str]]:
    return sphinx


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def origin(site: Path) -> Iterator[str]:
    """Where the site is served, such as ``http://127.0.0.1:40123/``."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
