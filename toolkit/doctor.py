"""What this machine has; for each thing it lacks, what that disables and how to get it."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from toolkit import assets
from toolkit.assets.store import home

CHROMIUM_COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOW_DISK_BYTES = 1e9
MARKS = {"ok": "[green]ok[/]", "absent": "[yellow]absent[/]", "missing": "[red]missing[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked for.
        state: "ok"; "absent", without which the rest works; "missing", without which it doesn't.
        value: what was found.
        disables: what can't be done while it is lacking.
        remedy: how to get it.
        problem: what is wrong with it, where that is more than its state.
    """

    name: str
    state: Literal["ok", "absent", "missing"]
    value: str
    disables: str = ""
    remedy: str = ""
    problem: str = ""

    @property
    def sentence(self) -> str:
        """What is wrong, what that disables, and what to do."""
        disabled = f", which disables {self.disables}" if self.disables else ""
        return f"{self.name} {self.problem or f'is {self.state}'}{disabled}: {self.remedy}"


def doctor() -> int:
    """Print the report; return 1 if something is missing that the course can't do without."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    results = findings()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in results:
        table.add_row(finding.name, MARKS[finding.state], escape(finding.value))
    console.print(table, highlight=False)
    lacking = [finding for finding in results if finding.state != "ok"]
    if lacking:
        console.print()
    for finding in lacking:
        console.print(finding.sentence, soft_wrap=True, highlight=False, markup=False)
    return int(any(finding.state == "missing" for finding in results))


def findings() -> list[Finding]:
    """Examine this machine; a probe that fails becomes a finding, never an exception."""
    return [finding for probe in PROBES for finding in _examine(probe)]


def _examine(probe: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from probe()
    except Exception as error:
        yield Finding(
            probe.__name__.strip("_"),
            "missing",
            _first_line(error),
            remedy="mend that, then run `toolkit doctor` again",
            problem=f"could not be examined ({_first_line(error)})",
        )


def _python() -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})")


def _machine() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    yield Finding("system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield Finding("CPU", "ok", f"{_usable_cores()} cores")
    free, total = memory.available / 1e9, memory.total / 1e9
    yield Finding("memory", "ok", f"{free:.1f} of {total:.1f} GB free")


def _disk() -> Iterator[Finding]:
    folder = next(path for path in (home(), *home().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    yield Finding(
        "disk",
        "ok" if free >= LOW_DISK_BYTES else "absent",
        f"{free / 1e9:.1f} GB free for assets in {home()}",
        "fetching the larger assets",
        "free some space, or set TOOLKIT_ASSETS to a folder on another disk",
        problem="is nearly full",
    )


def _torch() -> Iterator[Finding]:
    found = _imported("torch", "models, training and kernels")
    yield found
    if found.state != "ok":
        return
    import torch

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        yield Finding("GPU", "ok", f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}")
    else:
        cpu_build = torch.version.cuda is None and shutil.which("nvidia-smi")
        yield Finding(
            "GPU",
            "absent",
            "this torch is built for CPU only" if cpu_build else "none that torch can use",
            "measuring the speed of kernels, which are interpreted on the CPU",
            "install the GPU build of torch (README)"
            if cpu_build
            else "the rest of the course needs none",
        )
    yield from _triton(on_gpu)


def _triton(on_gpu: bool) -> Iterator[Finding]:
    if platform.system() != "Linux":
        remedy = "open the course in its devcontainer, which is a Linux"
        yield Finding("triton", "absent", "not on this platform", "Triton kernels", remedy)
    else:
        mode = "on the GPU" if on_gpu else "by its interpreter on the CPU (TRITON_INTERPRET=1)"
        yield _imported("triton", "Triton kernels", f", {mode}")


def _numba() -> Iterator[Finding]:
    yield _imported("numba", "the chapters' fast loops")


def _imported(package: str, disables: str, detail: str = "") -> Finding:
    try:
        module = importlib.import_module(package)
    except Exception as error:
        reason = f"does not import: {_first_line(error)}"
        remedy = "delete .venv and run `make lab`, which installs it anew"
        return Finding(package, "missing", reason, disables, remedy, problem="does not import")
    return Finding(package, "ok", f"{module.__version__}{detail}")


def _chromium() -> Iterator[Finding]:
    path = next(filter(None, map(shutil.which, CHROMIUM_COMMANDS)), None)
    yield Finding(
        "Chromium",
        "ok" if path else "absent",
        path or "not on PATH",
        "the browser tests of the site and its widgets",
        "install your system's package `chromium`",
    )


def _node() -> Iterator[Finding]:
    path = shutil.which("node")
    yield Finding(
        "Node",
        "ok" if path else "absent",
        path or "not on PATH",
        "the test that Jupyter Book 2 reads every page",
        "install your system's package `nodejs`, version 20 or newer",
    )


def _assets() -> Iterator[Finding]:
    for entry in assets.entries():
        here = assets.status(entry.name)
        yield Finding(
            entry.name,
            "ok" if here.path else "absent",
            str(here.path or ("damaged" if here.state == "damaged" else "not here yet")),
            entry.purpose,
            f"run `toolkit assets get {entry.name}` ({entry.size / 1e6:.0f} MB)",
            problem="is damaged" if here.state == "damaged" else "",
        )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


PROBES = (_python, _machine, _disk, _torch, _numba, _chromium, _node, _assets)
