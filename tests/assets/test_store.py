"""One home for each asset, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from toolkit.assets import store
from toolkit.assets.registry import AssetError

pytestmark = pytest.mark.usefixtures("cache")
CONTENT = bytes(range(256)) * 2000


def test_the_first_get_fetches_and_the_second_finds(cache, server, served):
    entry = served(CONTENT)
    path = store.get(entry)
    assert path.read_bytes() == CONTENT
    assert path == cache / "sample" / "sample.bin" == store.get(entry)
    assert server.requests == ["sample.bin"]
    assert list((cache / ".partial").iterdir()) == []


def test_a_verified_file_is_not_hashed_again(served, monkeypatch):
    entry = served(CONTENT)
    path = store.get(entry)
    monkeypatch.setattr(store, "sha256_of", lambda path: pytest.fail(f"hashed {path}"))
    assert store.get(entry) == path


def test_a_touched_file_is_hashed_once_and_trusted_again(server, served, monkeypatch):
    entry = served(CONTENT)
    path = store.get(entry)
    os.utime(path, (1, 1))
    assert store.get(entry) == path
    monkeypatch.setattr(store, "sha256_of", lambda path: pytest.fail(f"hashed {path}"))
    assert store.get(entry) == path
    assert len(server.requests) == 1


@pytest.mark.parametrize("damage", [b"short", CONTENT[:-1] + b"?"], ids=["cut", "same size"])
def test_a_corrupt_file_is_fetched_again(server, served, damage):
    entry = served(CONTENT)
    path = store.get(entry)
    path.write_bytes(damage)
    os.utime(path, (1, 1))
    assert store.status_of(entry) == ("damaged", None)
    assert store.get(entry).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_corrupt_file_that_cannot_be_fetched_again_is_refused(cache, server, served):
    entry = served(CONTENT)
    store.get(entry).write_bytes(b"short")
    server.files.clear()
    with pytest.raises(AssetError) as error:
        store.get(entry)
    assert f"the copy in {cache / 'sample'} is damaged, and sample could not be" in str(error.value)
    assert "TOOLKIT_ASSETS_PATH" in str(error.value)


@pytest.mark.parametrize("receipt", [b"", b"[]", b'{"sha256": 1}', b"\xff", b'{"files": [1]}'])
def test_an_unreadable_receipt_means_fetching_again(cache, server, served, receipt):
    entry = served(CONTENT)
    store.get(entry)
    (cache / "sample" / store.RECEIPT).write_bytes(receipt)
    assert store.get(entry).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_new_version_in_the_registry_replaces_the_old(cache, served):
    store.get(served(b"old", filename="old.bin"))
    path = store.get(served(b"new", filename="new.bin"))
    assert path.read_bytes() == b"new"
    assert sorted(os.listdir(cache / "sample")) == [store.RECEIPT, "new.bin"]


def test_verify_finds_what_size_and_time_do_not_show(server, served):
    entry = served(CONTENT)
    path = store.get(entry)
    assert store.verify(entry) == path
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(CONTENT[:-1] + b"?")
    os.utime(path, ns=times)
    assert store.get(entry) == path
    with pytest.raises(AssetError, match=r"sample\.bin has sha256 .*toolkit assets get sample"):
        store.verify(entry)
    assert store.get(entry).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_verify_says_when_it_is_not_here(served):
    with pytest.raises(AssetError, match="sample is not here: `toolkit assets get sample`"):
        store.verify(served(CONTENT))


def test_only_the_members_are_kept_and_the_archive_is_not(cache, served, archives):
    for filename, make in archives.items():
        archive = make({"a/b/one.txt": b"1", "a/b/c/two.txt": b"2", "a/three.txt": b"3"})
        folder = store.get(served(archive, filename, members=("a/b",), name="folder"))
        assert folder == cache / "folder"
        files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        assert files == {Path("one.txt"), Path("c/two.txt"), Path(store.RECEIPT)}
        file = store.get(served(archive, filename, members=("a/b/c/two.txt",), name="file"))
        assert (file.name, file.read_bytes()) == ("two.txt", b"2")
        shutil.rmtree(cache)


def test_a_deleted_member_is_fetched_again(server, served, archives):
    archive = archives["sample.whl"]({"a/one.txt": b"1", "a/two.txt": b"2"})
    entry = served(archive, "sample.whl", members=("a",))
    folder = store.get(entry)
    (folder / "two.txt").unlink()
    assert (store.get(entry) / "two.txt").read_bytes() == b"2"
    assert len(server.requests) == 2


# Folders that are only read


def test_a_listed_folder_serves_by_sha256_whatever_the_name(
    cache, tmp_path, server, served, monkeypatch
):
    entry = served(CONTENT)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (first / "sample.bin").write_bytes(CONTENT[:-1] + b"?")  # right name and size, wrong bytes
    (second / "anything").write_bytes(CONTENT)
    monkeypatch.setenv("TOOLKIT_ASSETS_PATH", os.pathsep.join(map(str, (first, second))))
    assert store.status_of(entry) == ("supplied", second / "anything")
    assert store.get(entry) == store.verify(entry) == second / "anything"
    assert server.requests == []
    assert not cache.exists()
    (second / "anything").write_bytes(CONTENT[:-1] + b"!")
    assert store.get(entry) == cache / "sample" / "sample.bin"


def test_an_archive_in_a_listed_folder_is_unpacked_and_stays(
    cache, tmp_path, server, served, archives, monkeypatch
):
    archive = archives["sample.tar.gz"]({"a/one.txt": b"1"})
    entry = served(archive, "sample.tar.gz", members=("a/one.txt",))
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "anything").write_bytes(archive)
    monkeypatch.setenv("TOOLKIT_ASSETS_PATH", str(tmp_path / "listed"))
    assert store.get(entry) == cache / "sample" / "one.txt"
    assert (tmp_path / "listed" / "anything").read_bytes() == archive
    assert server.requests == []


def test_a_listed_file_of_another_size_is_not_hashed(tmp_path, served, monkeypatch):
    entry = served(CONTENT)
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "sample.bin").write_bytes(CONTENT + b"!")
    monkeypatch.setenv("TOOLKIT_ASSETS_PATH", f"{tmp_path / 'listed'}{os.pathsep}")
    monkeypatch.setattr(store, "sha256_of", lambda path: pytest.fail(f"hashed {path}"))
    assert store.status_of(entry).state == "absent"


def test_a_listed_file_is_hashed_once_but_verify_hashes_again(tmp_path, served, monkeypatch):
    entry = served(CONTENT)
    path = tmp_path / "listed" / "sample.bin"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    monkeypatch.setenv("TOOLKIT_ASSETS_PATH", str(path.parent))
    assert store.get(entry) == path
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(CONTENT[:-1] + b"?")
    os.utime(path, ns=times)
    assert store.get(entry) == path
    with pytest.raises(AssetError, match="sample is not here"):
        store.verify(entry)


def test_a_listed_folder_that_is_not_there_is_said(tmp_path, served, monkeypatch):
    monkeypatch.setenv("TOOLKIT_ASSETS_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(AssetError, match=r"lists .*nowhere, which is not a folder"):
        store.get(served(CONTENT))


# More than one process


def test_two_processes_download_once_and_the_second_says_that_it_waits(server, served, child):
    entry = served(CONTENT)
    server.release.clear()
    read, write = os.pipe()
    children = [child(entry, stderr=write) for _ in range(2)]
    os.close(write)
    said = b""
    with open(read, "rb", buffering=0) as stderr:
        while b"waiting for another process that fetches sample" not in said:
            said += stderr.read(4096) or pytest.fail(f"nobody waited: {said!r}")
        server.release.set()
        paths = {process.communicate(timeout=120)[0] for process in children}
    assert [process.returncode for process in children] == [0, 0]
    assert paths == {f"{store.get(entry)}\n"}
    assert server.requests == ["sample.bin"]


def test_a_process_killed_half_way_leaves_nothing_under_the_final_name(
    cache, server, served, child
):
    entry = served(CONTENT)
    server.release.clear()
    process = child(entry, stderr=subprocess.DEVNULL)
    assert server.half_sent.wait(60)
    process.kill()
    process.wait()
    server.release.set()
    assert not (cache / "sample").exists()
    assert list((cache / ".partial").iterdir()) != []
    assert store.status_of(entry).state == "absent"
    assert store.get(entry).read_bytes() == CONTENT
    assert list((cache / ".partial").iterdir()) == []


# Disks that refuse


def in_namespace(mount: str, folder: Path) -> list[str]:
    """The command line that runs what follows it where ``mount`` was done over ``folder``."""
    unshare = ["unshare", "--mount", "--map-root-user"]
    prefix = [*unshare, "sh", "-c", f'{mount} && exec "$@"', str(folder)]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("this system does not let a test mount a file system of its own")
    return prefix


def test_a_full_disk(cache, served, child):
    cache.mkdir()
    prefix = in_namespace('mount -t tmpfs -o size=256k none "$0"', cache)
    process = child(served(CONTENT), *prefix, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"AssetError: the disk that holds {cache} is too full for sample (1 MB" in said
    assert "set TOOLKIT_ASSETS to a folder on another disk" in said


def test_a_full_disk_under_pip(cache, wheel, index, child):
    assert (index / wheel.filename).stat().st_size > 250_000
    cache.mkdir()
    prefix = in_namespace('mount -t tmpfs -o size=200k none "$0"', cache)
    process = child(wheel, *prefix, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"AssetError: the disk that holds {cache} is too full for sample" in said


def test_a_read_only_cache(cache, served, child):
    cache.mkdir()
    prefix = in_namespace('mount -t tmpfs -o ro none "$0"', cache)
    process = child(served(CONTENT), *prefix, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"AssetError: sample can't be written to {cache} (Read-only file system)" in said
    assert "set TOOLKIT_ASSETS to a folder that you can write to" in said


def test_a_read_only_cache_still_serves_what_it_holds(cache, server, served, child):
    entry = served(CONTENT)
    path = store.get(entry)
    os.utime(path, (1, 1))  # so that the receipt would be written anew
    bind = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    process = child(entry, *in_namespace(bind, cache), stderr=subprocess.PIPE)
    said = process.communicate(timeout=120)
    assert said == (f"{path}\n", "")
    assert len(server.requests) == 1


def test_a_cache_below_a_file(tmp_path, served, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TOOLKIT_ASSETS", str(tmp_path / "file" / "cache"))
    with pytest.raises(AssetError, match=r"sample can't be written to .*: set TOOLKIT_ASSETS"):
        store.get(served(CONTENT))


def test_a_disk_that_fills_while_unpacking(cache, served, archives, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("toolkit.assets.archives.shutil.copyfileobj", full)
    archive = archives["sample.whl"]({"a/one.txt": b"1"})
    with pytest.raises(AssetError, match="too full for sample"):
        store.get(served(archive, "sample.whl", members=("a",)))
    assert not (cache / "sample").exists()
    assert list((cache / ".partial").iterdir()) == []


def test_the_cache_is_the_platforms_unless_told(monkeypatch):
    monkeypatch.delenv("TOOLKIT_ASSETS")
    assert store.home().is_absolute()
    assert store.home().parts[-2:] == ("llm-systems-by-hand", "assets")
    monkeypatch.setenv("TOOLKIT_ASSETS", "~/elsewhere")
    assert store.home() == Path.home() / "elsewhere"
