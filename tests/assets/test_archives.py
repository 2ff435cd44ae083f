"""Only the members that are kept leave an archive, and none leaves the asset's folder."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from toolkit.assets.archives import unpack
from toolkit.assets.registry import AssetError, Entry


def entry(filename: str, *members: str) -> Entry:
    return Entry("sample", "", "MIT", "x==1", filename, "", 0, "", members)


@pytest.fixture(params=["sample.whl", "sample.tar.gz"])
def make(request, archives, tmp_path):
    """Write an archive of these files; return its path and the entry that keeps ``members``."""

    def write(files: dict[str, bytes], *members: str) -> tuple[Path, Entry]:
        path = tmp_path / "archive"
        path.write_bytes(archives[request.param](files))
        return path, entry(request.param, *members)

    return write


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_files_and_folders(make, folder):
    archive = make({"a/x": b"1", "a/b/y": b"2", "a/bc/z": b"3", "q": b"4"}, "a/b", "q")
    assert unpack(*archive, folder) == [folder / "q", folder / "y"]
    assert (folder / "y").read_bytes() == b"2"


@pytest.mark.parametrize("name", ["a/../../escaped", "a//escaped/../../../escaped"])
def test_a_path_out_of_the_folder_is_refused(make, folder, name):
    archive = make({name: b"bad"}, "a")
    with pytest.raises(AssetError, match="would land outside"):
        unpack(*archive, folder)
    assert not (folder.parent / "escaped").exists()


def test_a_missing_member_is_said(make, folder):
    archive = make({"a/x": b"1"}, "a/x", "a/gone")
    with pytest.raises(AssetError, match="holds no 'a/gone'"):
        unpack(*archive, folder)


def test_links_are_not_made(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with tarfile.open(tmp_path / "archive", "w:gz") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo(f"a/link{kind!r}")
            link.type, link.linkname = kind, str(secret)
            tar.addfile(link)
        info = tarfile.TarInfo("a/file")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"1"))
    unpack(tmp_path / "archive", entry("sample.tar.gz", "a"), folder)
    assert os.listdir(folder) == ["file"]
