"""A sample of pairs as `sample_pairs` draws one, and a static page like the site's to put it on."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from toolkit.data.dedup import Bands, PairSample
from toolkit.viz import Buckets, static_files

PAGE = """<!doctype html>
<html lang="en" data-content_root="../" data-theme="light">
<head><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  html[data-theme="light"] {{ color-scheme: light; --pst-color-text-base: #222832;
    --pst-color-text-muted: #48566b; --pst-color-border: #d1d5da; --pst-color-background: #fff;
    --pst-color-surface: #f3f4f5; }}
  html[data-theme="dark"] {{ color-scheme: dark; --pst-color-text-base: #ced6dd;
    --pst-color-text-muted: #9ca4af; --pst-color-border: #48566b;
    --pst-color-background: #14181e; --pst-color-surface: #29313d; }}
  html {{ background: var(--pst-color-background); color: var(--pst-color-text-base); }}
  body {{ font-family: system-ui, sans-serif; margin: 0 10px; }}
</style></head>
<body><main><h1>A page</h1>{body}</main></body></html>
"""


def draw_sample(
    pairs: int = 600, positions: int = 128, threshold: float = 0.8, method: str = "minhash"
) -> PairSample:
    """Pairs that agree at each position as the method's do."""
    rng = np.random.default_rng(7)
    jaccard = np.sort(rng.random(pairs))
    jaccard[-1] = 1.0
    jaccard[np.searchsorted(jaccard, threshold)] = threshold  # exactly at it counts as alike
    chance = {"minhash": jaccard, "simhash": 1 - np.arccos(2 * jaccard / (1 + jaccard)) / np.pi}
    agree = rng.random((pairs, positions)) < chance[method][:, None]
    weight = np.exp(9 * (1 - jaccard)).round(3)
    first = np.arange(pairs)
    return PairSample(
        method=method,
        jaccard=jaccard,
        agree=np.packbits(agree, axis=1),
        stands_for=weight,
        documents=np.stack([first, first + 1 + rng.integers(0, 900, pairs)], axis=1),
        positions=positions,
        threshold=threshold,
        total_pairs=int(weight.sum()),
    )


@pytest.fixture(scope="session")
def sample() -> PairSample:
    return draw_sample()


@pytest.fixture(scope="session")
def draw() -> Callable[..., PairSample]:
    return draw_sample


@pytest.fixture(scope="session")
def small() -> PairSample:
    return draw_sample(60, positions=24)


@pytest.fixture(scope="session")
def prints() -> PairSample:
    """A sample by SimHash."""
    return draw_sample(positions=64, method="simhash")


@pytest.fixture
def buckets(sample: PairSample) -> Buckets:
    return Buckets(sample, Bands(14, 8))


@pytest.fixture
def near(prints: PairSample) -> Buckets:
    """The widget over a sample by SimHash."""
    return Buckets(prints, radius=10)


@pytest.fixture
def on_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_SITE", "1")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def publish(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Put HTML on a page one folder deep, as a chapter is, beside `_static`; give its address."""
    folder = tmp_path / "site"
    (folder / "part").mkdir(parents=True)
    shutil.copytree(static_files(), folder / "_static" / "toolkit")
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def write(body: str, name: str = "page") -> str:
            html = PAGE.format(body=body)
            (folder / "part" / f"{name}.html").write_text(html, encoding="utf-8")
            return f"http://127.0.0.1:{server.server_port}/part/{name}.html"

        yield write
        server.shutdown()


@pytest.fixture
def visit(chromium) -> Iterator[Callable]:
    """Open a page; at the end nothing has gone wrong on it or been asked of another host."""
    contexts, complaints = [], []

    def open_page(url: str, *, width: int = 820, height: int = 1000, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else 0)
        host = url.split("/part/")[0]
        page.on("request", lambda asked: _same_host(asked.url, host, complaints))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def _same_host(url: str, host: str, complaints: list[str]) -> None:
    if not url.startswith((host, "data:")):
        complaints.append(f"asked another host: {url}")
