"""What this machine has; for each thing it lacks, what that disables and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from toolkit import assets
from toolkit.assets.store import home

CHROMIUM_COMMANDS = ("chromium", "google-chrome", "chrome")
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
    """

    name: str
    state: Literal["ok", "absent", "missing"]
    value: str
    disables: str = ""
    remedy: str = ""


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
        line = f"{finding.name} is {finding.state}, which disables {finding.disables}: "
        line += finding.remedy
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return int(any(finding.state == "missing" for finding in results))


def findings() -> list[Finding]:
    """Examine this machine; a probe that fails becomes a finding, never an exception."""
    return [finding for probe in PROBES for finding in _examine(probe)]


def _examine(probe: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from probe()
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        name = probe.__name__.strip("_")
        yield Finding(name, "missing", reason, "what needs it", "mend what the report says of it")


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
    )


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        yield Finding(
            "torch",
            "missing",
            f"does not import: {error}",
            "models, training and kernels",
            "run `make lab` again, which installs it",
        )
        return
    yield Finding("torch", "ok", torch.__version__)
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
            else "nothing to do where there is none",
        )
    yield from _triton(on_gpu)


def _triton(on_gpu: bool) -> Iterator[Finding]:
    found = _version("triton")
    if platform.system() != "Linux":
        remedy = "open the course in its devcontainer, which is a Linux"
        yield Finding("triton", "absent", "not on this platform", "Triton kernels", remedy)
    elif found is None:
        remedy = "run `make lab` again, which installs it"
        yield Finding("triton", "missing", "not installed", "Triton kernels", remedy)
    else:
        mode = "on the GPU" if on_gpu else "by its interpreter on the CPU (TRITON_INTERPRET=1)"
        yield Finding("triton", "ok", f"{found}, {mode}")


def _numba() -> Iterator[Finding]:
    found = _version("numba")
    state: Literal["ok", "missing"] = "ok" if found else "missing"
    remedy = "run `make lab` again, which installs it"
    yield Finding("numba", state, found or "not installed", "the chapters' fast loops", remedy)


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
        )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


PROBES = (_python, _machine, _disk, _torch, _numba, _chromium, _node, _assets)
