"""The peak memory of our side of a case, measured in a process of its own.

``python -m toolkit.bench.memory PART/NAME CASE`` loads the input, runs ours once and prints by how
many MiB the resident memory rose at its highest. The input itself, Python and the libraries are
not counted; what the call allocates is, in whatever language.
"""

from __future__ import annotations

import gc
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

import psutil

from toolkit.course import CourseError

from .load import load


def peak_mib(chapter: str, case: str) -> float:
    """Run ours once in a fresh process; by how many MiB its memory rose."""
    command = [sys.executable, "-m", "toolkit.bench.memory", chapter, case]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(output.split()[-1])


def check_measurable() -> None:
    """Refuse a system that does not tell a process its peak memory."""
    if importlib.util.find_spec("resource") is None:
        raise CourseError(
            f"peak memory can't be measured on {platform.system()}: "
            "run the benchmark on Linux, macOS or in WSL"
        )


def rise_mib(chapter: str, case: str) -> float:
    """Run ours once in this process; by how many MiB its memory rose."""
    ours = next(one.ours for one in load(chapter).cases() if one.name == case)  # and no further
    gc.collect()
    _forget_peak()
    before = psutil.Process().memory_info().rss
    ours()
    return max(_peak() - before, 0) / 2**20


def _forget_peak() -> None:
    """Let Linux count the peak from now on; elsewhere it counts from the start of the process."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    import resource  # Windows has none

    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024


if __name__ == "__main__":
    print(f"{rise_mib(sys.argv[1], sys.argv[2]):.1f}")
