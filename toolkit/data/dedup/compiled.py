"""Loops compiled by numba, kept on disk between runs where there is a disk to keep them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop to machine code the first time it is called.

    It runs without Python's lock. The code is cached beside the module or in the user's cache
    folder; where neither can be written, each process compiles it anew.
    """
    try:
        return numba.njit(loop, cache=True, nogil=True)
    except RuntimeError:  # numba's word for "no folder to cache in"
        return numba.njit(loop, nogil=True)
