"""Where executed pages are cached, so that none outlives the code it ran.

myst-nb knows a cached page by its own cells alone; change the library and it would serve the old
output. So the folder's name holds a hash of everything else that a page reads.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

SOURCES = {
    "toolkit": {".py", ".js", ".css", ".mplstyle", ".toml"},
    "benchmarks": {".py", ".json"},
    "book": {".json", ".csv", ".svg", ".png"},
}
"""Folders a page may read, and the suffixes that matter there."""


def inputs(root: Path) -> Iterator[Path]:
    """Every file below ``root`` that a page's outputs may depend on, in a fixed order."""
    for folder, suffixes in SOURCES.items():
        for path in sorted((root / folder).rglob("*")):
            below = path.relative_to(root / folder).parts
            if path.suffix in suffixes and below[0] != "_build":
                yield path
    # The versions of everything else, and what the kernels are told.
    yield from filter(Path.exists, (root / "constraints.txt", root / "book" / "conf.py"))


def fingerprint(root: Path) -> str:
    """Sixteen hex digits that change whenever one of the ``inputs`` or Python's version does."""
    digest = hashlib.sha256(platform.python_version().encode())
    for path in inputs(root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"\n{path.relative_to(root).as_posix()} {content}".encode())
    return digest.hexdigest()[:16]


def cache_folder(root: Path) -> Path:
    """The cache of pages executed with the present code; caches of older code are deleted."""
    home = root / "book" / "_build" / "executed"
    current = home / fingerprint(root)
    for old in home.glob("*"):
        if old != current:
            shutil.rmtree(old, ignore_errors=True)
    return current
