"""A cache of its own for each test, a local server that counts, and a local index for pip."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from toolkit import assets
from toolkit.assets import registry
from toolkit.assets.registry import Entry

CHILD = """
import json, sys
from toolkit.assets import store
from toolkit.assets.registry import AssetError, Entry
fields = json.loads(sys.argv[1])
try:
    print(store.get(Entry(**{**fields, "members": tuple(fields["members"])})))
except AssetError as error:
    sys.exit(f"AssetError: {error}")
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty asset cache, and no folders beside it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TOOLKIT_ASSETS", str(folder))
    monkeypatch.delenv("TOOLKIT_ASSETS_PATH", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path and keeps the paths asked for.

    While ``release`` is clear an answer stops half-way, after setting ``half_sent``; and an
    answer is ``promised_too_much`` bytes shorter than its header says.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.half_sent = threading.Event()
        self.release = threading.Event()
        self.release.set()
        self.promised_too_much = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path[1:]
        self.server.requests.append(name)
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name]
        half = len(content) // 2
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + self.server.promised_too_much))
        self.end_headers()
        self.wfile.write(content[:half])
        self.wfile.flush()
        self.server.half_sent.set()
        self.server.release.wait(60)
        self.wfile.write(content[half:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    """A local server with no files yet."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def entry_of(source: str, filename: str, content: bytes, **changes: object) -> Entry:
    fields: dict = {
        "name": "sample",
        "description": "a sample",
        "licence": "MIT",
        "source": source,
        "filename": filename,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "purpose": "these tests",
    }
    return Entry(**(fields | changes))


@pytest.fixture
def served(server: Server) -> Callable[..., Entry]:
    """Put content on the server; return the entry whose source it is."""

    def serve(content: bytes, filename: str = "sample.bin", **changes: object) -> Entry:
        server.files[filename] = content
        return entry_of(server.url(filename), filename, content, **changes)

    return serve


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip knows of."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return folder


@pytest.fixture
def wheel(index: Path) -> Entry:
    """The entry of a wheel in the local index: one member is kept."""
    info = "sample_data-1.0.dist-info/"
    content = zip_of(
        {
            "sample_data/words.txt": b"one two three",
            "sample_data/other.bin": random.Random(0).randbytes(300_000),
            info + "METADATA": b"Metadata-Version: 2.1\nName: sample-data\nVersion: 1.0\n"
            b"Requires-Dist: nowhere-to-be-found\nRequires-Python: >=99\n",
            info + "WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            info + "RECORD": b"",
        }
    )
    filename = "sample_data-1.0-py3-none-any.whl"
    (index / filename).write_bytes(content)
    return entry_of("sample-data==1.0", filename, content, members=("sample_data/words.txt",))


def start_child(entry: Entry, *prefix: str, **options: object) -> subprocess.Popen:
    """Another process that gets ``entry`` and prints its path, or exits with the error."""
    command = [*prefix, sys.executable, "-c", CHILD, json.dumps(asdict(entry))]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen]]:
    """``start_child``; whatever still runs at the end is killed."""
    started = []

    def start(entry: Entry, *prefix: str, **options: object) -> subprocess.Popen:
        started.append(start_child(entry, *prefix, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make these entries the whole registry."""

    def register(*entries: Entry) -> None:
        for module in (registry, assets):
            monkeypatch.setattr(module, "entries", lambda: entries)

    return register


@pytest.fixture
def archives() -> dict[str, Callable[[dict[str, bytes]], bytes]]:
    """How to make each kind of archive: {filename: maker}."""
    return {"sample.whl": zip_of, "sample.tar.gz": tar_of}
