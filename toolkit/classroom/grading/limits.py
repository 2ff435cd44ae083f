"""What a notebook may use, and how a process takes those limits upon itself."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass

MIB = 2**20
PR_SET_DUMPABLE = 4
ADDRESS_GIB = 32
"""Addresses a process may map: room enough for torch, too little for page tables to count."""
GRACE_SECONDS = 2.0
"""How long a notebook has to stop by itself once its time is over, before it is killed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one notebook may use.

    Attributes:
        call_seconds: for one call of a function, and for a cell of exploration.
        notebook_seconds: for everything, from its start to its last check.
        memory_mib: of its processes together.
        processes: how many of them, threads included.
        disk_mib: of temporary files, which lie in memory.
    """

    call_seconds: float = 10.0
    notebook_seconds: float = 120.0
    memory_mib: int = 2048
    processes: int = 64
    disk_mib: int = 256

    @property
    def item_seconds(self) -> float:
        """For a question in all, and for a cell that a question needs."""
        return 3 * self.call_seconds


def become(user: int) -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)  # or /proc/self would stay root's


def apply(limits: Limits, processes: int) -> None:
    """Limit this process and all that it starts; there is no way back.

    Args:
        limits: memory, files and CPU time.
        processes: what to limit the user's processes to.
    """
    import resource

    seconds = int(limits.notebook_seconds) + 1
    wanted = {
        resource.RLIMIT_AS: ADDRESS_GIB * 1024 * MIB,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_DATA: limits.memory_mib * MIB,
        resource.RLIMIT_FSIZE: limits.disk_mib * MIB,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_NPROC: processes,
    }
    if sys.platform == "darwin":
        wanted.pop(resource.RLIMIT_DATA)  # it refuses to set these
        wanted.pop(resource.RLIMIT_AS)
    for what, value in wanted.items():
        resource.setrlimit(what, (value, value))
