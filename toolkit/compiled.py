"""Loops compiled by numba, kept on disk between runs where there is a disk to keep them on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop to machine code the first time it is called.

    It runs without Python's lock. The code is cached beside the module or in the user's cache
    folder; where neither can be written, each process compiles it anew.
    """
    drop_outdated(Path(inspect.getfile(loop)).parent)
    try:
        return numba.njit(loop, cache=True, nogil=True)
    except RuntimeError:  # numba's word for "no folder to cache in"
        return numba.njit(loop, nogil=True)


@cache
def drop_outdated(folder: Path) -> None:
    """Delete what is cached of a folder's loops and older than any of its modules.

    numba looks at the module that defines a loop, and not at those whose loops it calls, although
    their code is in it.
    """
    with suppress(OSError):  # another process does the same, or it is not ours to delete
        changed = max(path.stat().st_mtime_ns for path in folder.glob("*.py"))
        for path in folder.glob("__pycache__/*.nbi"):
            if path.stat().st_mtime_ns < changed:
                path.unlink()
