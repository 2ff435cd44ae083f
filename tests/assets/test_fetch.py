"""From the source to a verified file: by URL from a local server, by pip from a local folder."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import replace

import pytest

from toolkit.assets import store
from toolkit.assets.fetch import fetch
from toolkit.assets.registry import AssetError

CONTENT = b"the very bytes" * 1000


def one_sentence(error: BaseException) -> str:
    said = str(error)
    assert "\n" not in said
    assert not said.endswith(".")
    return said


def test_a_url(served, tmp_path):
    path = fetch(served(CONTENT), tmp_path)
    assert (path.name, path.read_bytes()) == ("sample.bin", CONTENT)


def test_a_url_that_gives_other_bytes(cache, server, served):
    entry = served(CONTENT)
    server.files["sample.bin"] = b"other bytes"
    with pytest.raises(AssetError) as error:
        store.get(entry)
    said = one_sentence(error.value)
    assert f"not {entry.sha256}, so it was thrown away: try again" in said
    assert not (cache / "sample").exists()


def test_a_url_that_is_gone(server, served, tmp_path):
    entry = served(CONTENT)
    server.files.clear()
    with pytest.raises(AssetError) as error:
        fetch(entry, tmp_path)
    assert "404" in one_sentence(error.value)


def test_a_url_that_breaks_off(server, served, tmp_path):
    entry = served(CONTENT)
    server.promised_too_much = 1
    with pytest.raises(AssetError) as error:
        fetch(entry, tmp_path)
    assert "(the answer broke off)" in one_sentence(error.value)


def test_no_network(served, tmp_path):
    entry = replace(served(CONTENT), source=f"http://127.0.0.1:{closed_port()}/sample.bin")
    with pytest.raises(AssetError) as error:
        fetch(entry, tmp_path)
    said = one_sentence(error.value)
    assert "(no connection): check the network, or put sample.bin by hand into a folder" in said


def test_no_network_for_pip(wheel, tmp_path, monkeypatch):
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed_port()}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(AssetError) as error:
        fetch(wheel, tmp_path)
    said = one_sentence(error.value)
    assert "sample could not be fetched from PyPI (sample-data 1.0) (no connection)" in said


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_wheel_without_its_requirements(cache, wheel):
    path = store.get(wheel)
    assert (path.name, path.read_bytes()) == ("words.txt", b"one two three")
    assert list((cache / ".partial").iterdir()) == []


def test_a_wheel_with_another_hash(cache, index, wheel):
    (index / wheel.filename).write_bytes((index / wheel.filename).read_bytes() + b"\0")
    with pytest.raises(AssetError) as error:
        store.get(wheel)
    said = one_sentence(error.value)
    assert f"not {wheel.sha256}, so it was thrown away" in said
    assert not (cache / "sample").exists()


def test_a_version_that_the_index_lacks(wheel, tmp_path):
    with pytest.raises(AssetError) as error:
        fetch(replace(wheel, source="sample-data==2.0"), tmp_path)
    assert "No matching distribution found for sample-data==2.0)" in one_sentence(error.value)


def test_a_source_archive_of_which_no_code_is_run(cache, index, wheel, archives, tmp_path):
    ran = tmp_path / "ran"
    content = archives["sample.tar.gz"](
        {
            "sample-data-1.0/PKG-INFO": b"Metadata-Version: 1.0\nName: sample-data\nVersion: 1.0\n",
            "sample-data-1.0/setup.py": f"open({str(ran)!r}, 'w')\n".encode(),
            "sample-data-1.0/texts/one.txt": b"1",
        }
    )
    (index / wheel.filename).unlink()
    (index / "sample-data-1.0.tar.gz").write_bytes(content)
    entry = replace(
        wheel,
        filename="sample-data-1.0.tar.gz",
        sha256=hashlib.sha256(content).hexdigest(),
        members=("sample-data-1.0/texts/one.txt",),
    )
    assert store.get(entry).read_bytes() == b"1"
    assert not ran.exists()


def test_a_python_without_pip(wheel, tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.assets.fetch.importlib.util.find_spec", lambda name: None)
    with pytest.raises(AssetError, match="-m ensurepip"):
        fetch(wheel, tmp_path)
