"""Take the members that an asset keeps out of its wheel, zip or tar, and nothing else."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO

from toolkit.assets.registry import AssetError, Entry


def unpack(archive: Path, entry: Entry, folder: Path) -> list[Path]:
    """Write the members that ``entry`` keeps below ``folder``.

    A kept file lands under its own name; what is below a kept folder, under its path from there.
    Links and other special members are never followed nor made.

    Args:
        archive: the file that the entry's source gave, under whatever name.
        entry: says which members are kept; its ``filename`` says which kind of archive it is.
        folder: an existing, empty folder.
    Returns:
        The files written, sorted.
    Raises:
        AssetError: a kept member is not in the archive, or would land outside ``folder``.
    """
    found = set()
    written = []
    for name, content in _files(archive, entry):
        for member in entry.members:
            if name != member and not name.startswith(member + "/"):
                continue
            found.add(member)
            relative = PurePosixPath(name).relative_to(member)
            target = folder / (PurePosixPath(name).name if name == member else relative)
            if not target.resolve().is_relative_to(folder.resolve()):
                raise AssetError(
                    f"{entry.filename} of {entry.name} holds {name!r}, which would land outside "
                    f"the asset folder: it was refused, don't use that archive"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            written.append(target)
    if missing := sorted(set(entry.members) - found):
        raise AssetError(
            f"{entry.filename} holds no {missing[0]!r}: correct the members of {entry.name} "
            f"in registry.toml"
        )
    return sorted(written)


def _files(archive: Path, entry: Entry) -> Iterator[tuple[str, IO[bytes]]]:
    """Each regular file of the archive: its name and its open content."""
    if entry.filename.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if not info.is_dir():
                    with wheel.open(info) as content:
                        yield info.filename, content
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and (file := tar.extractfile(member)):
                    with closing(file):
                        yield member.name, file
