"""``toolkit assets``, as typed."""

from __future__ import annotations

import os

import pytest
from typer.testing import CliRunner

from toolkit import assets
from toolkit.assets.commands import app

pytestmark = pytest.mark.usefixtures("cache")


def run(*arguments: str):
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, list(arguments))


def test_list_says_where_each_one_is(tmp_path, served, registered, monkeypatch):
    entries = [served(name.encode(), f"{name}.bin", name=name) for name in ("a", "b", "c", "d")]
    registered(*entries)
    assets.get("a")
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "anything").write_bytes(b"b")
    monkeypatch.setenv("TOOLKIT_ASSETS_PATH", str(tmp_path / "listed"))
    assets.get("c").write_bytes(b"cut")
    lines = run("list").stdout.splitlines()
    rows = {line.split()[0]: line.split("MIT")[-1].strip() for line in lines[1:5]}
    assert rows == {"a": "cached", "b": "in TOOLKIT_ASSETS_PATH", "c": "damaged", "d": "not here"}
    assert lines[5] == f"cache: {tmp_path / 'cache'}"


def test_get_prints_the_paths(cache, served, registered):
    registered(served(b"a", "a.bin", name="a"), served(b"b", "b.bin", name="b"))
    assert run("get", "b", "a").stdout == f"{cache}/b/b.bin\n{cache}/a/a.bin\n".replace("/", os.sep)


def test_get_of_an_unknown_name_is_the_one_sentence():
    assert isinstance(run("get", "nope").exception, assets.AssetError)


def test_verify_exits_with_1_when_one_is_bad(served, registered):
    registered(served(b"a", "a.bin", name="a"), served(b"b", "b.bin", name="b"))
    path = assets.get("a")
    assert run("verify").exit_code == 0
    assert run("verify").stdout == f"a: ok ({path})\n"
    path.write_bytes(b"?")
    result = run("verify")
    assert result.exit_code == 1
    assert "a.bin has sha256" in result.stderr


def test_verify_of_what_is_not_here_exits_with_1(served, registered):
    registered(served(b"a", "a.bin", name="a"))
    assert run("verify").exit_code == 0
    assert run("verify", "a").exit_code == 1
