"""Where assets lie on this machine, and how they get there whole.

    ASSETS/                      the platform's cache folder, or TOOLKIT_ASSETS
        NAME/                    one asset, complete since the moment it appeared
            .receipt.json        size, time and sha256 of each file
        .partial/NAME.xxxx/      a download in progress
        .NAME.lock               held by the process that fetches NAME

An asset is put together below ``.partial`` on the same disk and appears by one rename, so a
process killed half-way leaves nothing under the final name. A file whose size and time are
those of its receipt is trusted; any other is hashed again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from toolkit.assets.archives import unpack
from toolkit.assets.fetch import fetch, sha256_of
from toolkit.assets.registry import AssetError, Entry

RECEIPT = ".receipt.json"


class Status(NamedTuple):
    """How an asset stands: "cached", "supplied" (TOOLKIT_ASSETS_PATH), "damaged" or "absent"."""

    state: str
    path: Path | None


def home() -> Path:
    """The folder that assets are kept in: TOOLKIT_ASSETS, or the platform's cache folder."""
    if chosen := os.environ.get("TOOLKIT_ASSETS"):
        return Path(chosen).expanduser().absolute()
    return user_cache_path("llm-systems-by-hand", appauthor=False) / "assets"


def get(entry: Entry) -> Path:
    """The local path of an asset, which is fetched if it isn't here yet."""
    status = status_of(entry)
    if status.path and (status.state == "cached" or not entry.members):
        return status.path
    try:
        with _plain_disk_errors(entry), _alone(entry):
            return cached(entry) or _install(entry)
    except AssetError as error:
        if status.state == "damaged":
            raise AssetError(
                f"the copy in {home() / entry.name} is damaged, and {error}"
            ) from error
        raise


def status_of(entry: Entry) -> Status:
    """Where the asset is, without fetching it."""
    if path := cached(entry):
        return Status("cached", path)
    if path := supplied(entry):
        return Status("supplied", path)
    return Status("damaged" if (home() / entry.name).exists() else "absent", None)


def cached(entry: Entry) -> Path | None:
    """The asset in the cache; None if it isn't there, or not as it was put there."""
    folder = home() / entry.name
    receipt = _read_receipt(entry)
    if receipt is None:
        return None
    stamps = {name: (size, time) for name, (size, time, _) in receipt.items()}
    if stamps != {name: _stamp(folder / name) for name in receipt}:
        if any(_sha256_or_none(folder / name) != sha for name, (*_, sha) in receipt.items()):
            return None
        with suppress(OSError):  # a read-only cache is hashed each time
            _write_receipt(entry, folder, {name: sha for name, (*_, sha) in receipt.items()})
    return _path_of(entry, folder)


def supplied(entry: Entry) -> Path | None:
    """The entry's own file in a folder of TOOLKIT_ASSETS_PATH, whatever it is called there."""
    for listed in filter(None, os.environ.get("TOOLKIT_ASSETS_PATH", "").split(os.pathsep)):
        folder = Path(listed).expanduser().absolute()
        if not folder.is_dir():
            raise AssetError(
                f"TOOLKIT_ASSETS_PATH lists {listed}, which is not a folder: correct or unset it"
            )
        for path in sorted(folder.iterdir()):
            if path.is_file():
                size, time = path.stat().st_size, path.stat().st_mtime_ns
                if size == entry.size and _sha256_once(path, size, time) == entry.sha256:
                    return path
    return None


def verify(entry: Entry) -> Path:
    """Hash every byte of an asset that is here; return its path.

    Raises:
        AssetError: it isn't here, or it is damaged; a damaged one is fetched anew by the next get.
    """
    folder = home() / entry.name
    receipt = _read_receipt(entry)
    if receipt is None:
        _sha256_once.cache_clear()
        if path := supplied(entry):
            return path
        damaged = folder.exists()
        raise AssetError(
            f"{entry.name} {'is damaged' if damaged else 'is not here'}: "
            f"`toolkit assets get {entry.name}` fetches it"
        )
    for name, (*_, sha256) in receipt.items():
        if (got := _sha256_or_none(folder / name)) != sha256:
            with suppress(OSError):
                (folder / RECEIPT).unlink()
            found = f"has sha256 {got}" if got else "can't be read"
            raise AssetError(
                f"{folder / name} {found}, not {sha256}: "
                f"`toolkit assets get {entry.name}` fetches it again"
            )
    return _path_of(entry, folder)


def _install(entry: Entry) -> Path:
    """Put the asset together aside, then rename it into place. Needs the entry's lock."""
    partial = home() / ".partial"
    partial.mkdir(exist_ok=True)
    for leftover in partial.glob(f"{entry.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with TemporaryDirectory(
        dir=partial, prefix=f"{entry.name}.", ignore_cleanup_errors=True
    ) as aside:
        new = Path(aside, "new")
        new.mkdir()
        if entry.members:
            files = unpack(supplied(entry) or fetch(entry, Path(aside)), entry, new)
            hashes = {file.relative_to(new).as_posix(): sha256_of(file) for file in files}
        else:
            fetch(entry, Path(aside)).rename(new / entry.filename)
            hashes = {entry.filename: entry.sha256}
        _write_receipt(entry, new, hashes)
        final = home() / entry.name
        if final.exists():
            final.rename(Path(aside, "old"))
        new.rename(final)
    return _path_of(entry, final)


def _path_of(entry: Entry, folder: Path) -> Path:
    """What ``get`` returns: the one file that is kept, else the folder of all of them."""
    only = entry.members or (entry.filename,)
    file = folder / only[0].rsplit("/", 1)[-1]
    return file if len(only) == 1 and file.is_file() else folder


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _sha256_or_none(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None


@cache
def _sha256_once(path: Path, size: int, time: int) -> str:
    """A file's sha256, taken once a process for as long as its size and time stay."""
    return sha256_of(path)


def _read_receipt(entry: Entry) -> dict[str, tuple[int, int, str]] | None:
    """Size, time and sha256 of each kept file; None unless it is for this very entry."""
    try:
        receipt = json.loads((home() / entry.name / RECEIPT).read_bytes())
        if (receipt["sha256"], receipt["members"]) != (entry.sha256, list(entry.members)):
            return None
        return {name: (size, time, sha) for name, (size, time, sha) in receipt["files"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _write_receipt(entry: Entry, folder: Path, hashes: dict[str, str]) -> None:
    files = {name: (*(_stamp(folder / name) or ()), sha) for name, sha in hashes.items()}
    receipt = {"sha256": entry.sha256, "members": entry.members, "files": files}
    temporary = folder / f"{RECEIPT}.{os.getpid()}"
    temporary.write_text(json.dumps(receipt, indent=1), encoding="utf-8")
    temporary.replace(folder / RECEIPT)


@contextmanager
def _alone(entry: Entry) -> Iterator[None]:
    """Hold the entry's lock; say so when another process has it."""
    home().mkdir(parents=True, exist_ok=True)
    lock = FileLock(home() / f".{entry.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process that fetches {entry.name}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _plain_disk_errors(entry: Entry) -> Iterator[None]:
    """Turn what the disk refuses into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AssetError(
                f"the disk that holds {home()} is too full for {entry.name} "
                f"({entry.size / 1e6:.0f} MB to download): free some space, or set TOOLKIT_ASSETS "
                f"to a folder on another disk"
            ) from error
        raise AssetError(
            f"{entry.name} can't be written to {home()} ({error.strerror or error}): "
            f"set TOOLKIT_ASSETS to a folder that you can write to"
        ) from error
