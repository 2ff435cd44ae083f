"""What a process and all that it started use, for limits that no kernel setting gives."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psutil

from toolkit.classroom.grading.limits import MIB, Limits

ROUNDS = 100
"""How often what multiplies is killed again; a limit on processes ends it long before."""


def excess(judge: int, limits: Limits) -> str | None:
    """Which limit a judge and the processes below it break together; None if they keep them.

    What a reply makes of the judge's own memory counts as the notebook's.
    """
    below = descendants(judge)
    if _total(below, lambda process: process.num_threads()) > 2 * limits.processes:
        return f"it ran more than {limits.processes} processes"
    most, everyone = limits.memory_mib * MIB, [*_itself(judge), *below]
    resident = _total(everyone, lambda process: process.memory_info().rss)
    if resident > most and _total(everyone, _own_bytes) > most:  # the second takes far longer
        return f"it used more than {limits.memory_mib:,} MiB of memory"
    return None


def _itself(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid)] if psutil.pid_exists(pid) else []


def descendants(pid: int) -> list[psutil.Process]:
    """The processes below a process; none if it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def end(pid: int) -> None:
    """Kill all processes below a process, and then itself."""
    end_below(pid)
    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).kill()


def end_below(pid: int) -> None:
    """Kill all processes below a process, until none is left."""
    for _ in range(ROUNDS):
        alive = [process for process in descendants(pid) if _is_alive(process)]
        if not alive:
            break
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.01)


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _own_bytes(process: psutil.Process) -> int:
    """Memory, with what several processes share divided among them."""
    about = process.memory_full_info()
    return int(getattr(about, "pss", about.uss))


def _total(processes: list[psutil.Process], measure: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += measure(process)
    return total
