"""What a command and everything that it started used, the killed and the orphaned included.

``python usage.py COMMAND...`` puts itself into a control group of its own, where root may make one
(cgroup v2; it needs no controller for this), runs the command there and prints as JSON what the
kernel counted. ``getrusage`` would not do: it misses what dies with its process namespace, which is
every notebook in a sandbox. It also makes itself the reaper of orphans, to see who is left.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PR_SET_CHILD_SUBREAPER = 36
LEFT_SECONDS = 10.0
"""How long what a command started may take to end after it."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a command used.

    Attributes:
        code: its exit code.
        seconds: of wall time.
        cpu_seconds: of all its processes, user and system; None where no group could be made.
        left: how many processes it left running.
        said: the end of what it wrote, for a message when it failed.
    """

    code: int
    seconds: float
    cpu_seconds: float | None
    left: int
    said: str


def used(command: list[str], **settings: Any) -> Used:
    """Run a command to its end; ``settings`` are those of ``subprocess.run``."""
    run = [sys.executable, __file__, *command]
    done = subprocess.run(run, capture_output=True, text=True, check=True, **settings)
    return Used(**json.loads(done.stdout), said=done.stderr[-2000:])


def main(command: list[str]) -> None:
    """Run the command, its output on standard error, and print what it used."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    group = _group()
    started = time.perf_counter()
    code = subprocess.call(command, stdout=2)
    seconds = time.perf_counter() - started
    cpu_seconds = None if group is None else _cpu_seconds(group)
    found = {"code": code, "seconds": seconds, "cpu_seconds": cpu_seconds, "left": _left()}
    if group is not None:
        (group.parent / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()
    print(json.dumps(found))


def _group() -> Path | None:
    """Make a control group and enter it."""
    for mount in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = mount.split()
        if kind == "cgroup2":
            group = Path(place) / f"benchmark-{os.getpid()}"
            try:
                group.mkdir()
                (group / "cgroup.procs").write_text(str(os.getpid()))
            except OSError:
                return None
            return group
    return None


def _cpu_seconds(group: Path) -> float:
    name, microseconds, *_ = (group / "cpu.stat").read_text().split()
    assert name == "usage_usec"
    return int(microseconds) / 1e6


def _left() -> int:
    """End what the command left running; how many those were, after some seconds to end."""
    deadline = time.monotonic() + LEFT_SECONDS
    while (left := _running()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in left:
        process.kill()
    psutil.wait_procs(left)
    return len(left)


def _running() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


if __name__ == "__main__":
    main(sys.argv[1:])
