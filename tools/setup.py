"""Make or refresh ``.venv``: the one step that every ``make`` target takes first.

Standard library only, and written for any Python from 3.8 on, so that it runs before anything
is installed and can say what is missing. A stamp holds what ``.venv`` was made from; when it
still fits, nothing is run. An interrupted installation is thrown away and made again from
pip's cache of downloads.

    python3 tools/setup.py            # the versions of constraints.txt
    python3 tools/setup.py --newest   # the newest releases instead
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "setup.stamp"  # written last: the installation is whole
RUNNING = VENV / "setup.running"  # there while pip works: without the end, half an installation
LOG = VENV / "setup.log"

OLDEST = (3, 11)
NAMES = ("python3.11", "python3.12", "python3.13", "python3.14", "python3", "python")
CPU_GB = 5  # .venv with the CPU build of torch takes 3.3 GB; pip unpacks on top of that
CUDA_GB = 10  # .venv with the CUDA build takes 6.3 GB, its download 1.9 GB
SOURCES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")  # may offer the CPU build
AGAIN = "run the same command again"


class SetupError(Exception):
    """One sentence that says what is wrong and what to do."""


def main(arguments: list[str]) -> int:
    newest = arguments == ["--newest"]
    if arguments and not newest:
        return complain("usage: python3 tools/setup.py [--newest]")
    try:
        if newest or not is_current():
            with alone():
                if newest or not is_current():
                    prepare(newest)
    except SetupError as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return complain(f"interrupted; {AGAIN} to go on")
    except OSError as error:
        return complain(str(no_space(ROOT) if error.errno == errno.ENOSPC else error))
    return 0


def complain(sentence: str) -> int:
    print(f"setup: {sentence}", file=sys.stderr)
    return 1


def is_current() -> bool:
    """Whether ``.venv`` was made here, to the end, from the files as they are now."""
    try:
        if RUNNING.exists() or not PYTHON.exists():
            return False
        return STAMP.read_text(encoding="utf-8") == wanted_stamp()
    except OSError:
        return False


def wanted_stamp() -> str:
    config = (VENV / "pyvenv.cfg").read_text(encoding="utf-8")
    version = re.search(r"^version\S* *= *(\S+)", config, re.MULTILINE)
    digest = hashlib.sha256(version.group(1).encode() if version else b"")
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return f"{ROOT}\n{digest.hexdigest()}\n"


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other setup of this folder runs (where the platform has file locks)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder = os.open(str(ROOT), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def prepare(newest: bool) -> None:
    problem = platform_problem(platform.system(), platform.machine(), sys.maxsize > 2**32)
    if problem:
        raise SetupError(problem)
    if must_rebuild():
        make_venv(find_python())
    started = time.monotonic()
    print(f"Installing the course into {VENV} (pip's own words: {LOG})", flush=True)
    if newest:
        options = ["--upgrade", "--upgrade-strategy", "eager"]
    else:
        options = ["--constraint", str(ROOT / "constraints.txt")]
    RUNNING.touch()
    install([*options, "--editable", f"{ROOT}[dev]"])
    if newest:
        STAMP.unlink(missing_ok=True)  # these are no longer the versions of constraints.txt
    else:
        STAMP.write_text(wanted_stamp(), encoding="utf-8")
    RUNNING.unlink()
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)


def must_rebuild() -> bool:
    """Whether ``.venv`` is absent, half-made, without its Python, or was moved from elsewhere."""
    if not PYTHON.exists() or RUNNING.exists() or version_of(str(PYTHON)) is None:
        return True
    return STAMP.exists() and not STAMP.read_text(encoding="utf-8").startswith(f"{ROOT}\n")


def platform_problem(system: str, machine: str, is_64_bit: bool) -> str | None:
    """Why torch has no build for this machine, or None if it has one."""
    known = {"Linux": ("x86_64", "aarch64"), "Darwin": ("arm64",), "Windows": ("AMD64", "ARM64")}
    if is_64_bit and machine in known.get(system, ()):
        return None
    bits = "" if is_64_bit else " with 32-bit Python"
    return (
        f"torch has no build for {system} on {machine}{bits}: "
        "open the folder in its devcontainer, or use a 64-bit Linux machine"
    )


def needed_gb(system: str, machine: str) -> int:
    """The disk that setting up takes, which depends on the build of torch that pip will choose."""
    takes_cuda = (system, machine) == ("Linux", "x86_64")
    return CUDA_GB if takes_cuda and not any(map(os.environ.get, SOURCES)) else CPU_GB


def find_python() -> str:
    """An interpreter that is new enough: the one running, else one on the PATH."""
    own = getattr(sys, "_base_executable", None) or sys.executable
    found: dict[str, tuple[int, ...]] = {}
    for candidate in [own, *map(shutil.which, NAMES)]:
        if candidate is None or VENV in Path(candidate).parents:
            continue
        version = version_of(candidate)
        if version is not None and version >= OLDEST:
            return candidate
        if version is not None:
            found[candidate] = version
    here = ", ".join(f"{path} is {major}.{minor}" for path, (major, minor) in found.items())
    raise SetupError(
        f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed and not on the PATH"
        f"{f' ({here})' if here else ''}: {how_to_get_python()}, then {AGAIN}"
    )


def version_of(python: str) -> tuple[int, ...] | None:
    """(major, minor), or None where it is no working Python (such as an empty pyenv shim)."""
    code = "import sys; print('%d %d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60
        )
        return tuple(map(int, done.stdout.split())) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def how_to_get_python() -> str:
    return {
        "Darwin": "install it with `brew install python@3.11` or from python.org",
        "Windows": "install it with `winget install Python.Python.3.11` or from python.org",
    }.get(
        platform.system(),
        "install it with your package manager (Debian, Ubuntu: "
        "`sudo apt install python3.11 python3.11-venv`) or from python.org",
    )


def make_venv(python: str) -> None:
    free = shutil.disk_usage(ROOT).free
    if free < needed_gb(platform.system(), platform.machine()) * 1e9 and not VENV.exists():
        raise no_space(ROOT)
    print(f"Making {VENV} with {python}", flush=True)
    done = subprocess.run(
        [python, "-m", "venv", "--clear", str(VENV)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == 0:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if "No space left" in done.stdout:
        raise no_space(ROOT)
    if "ensurepip" in done.stdout or "No module named venv" in done.stdout:
        major, minor = version_of(python) or OLDEST
        raise SetupError(
            f"{python} can't make virtual environments: install its venv module (Debian, Ubuntu: "
            f"`sudo apt install python{major}.{minor}-venv`), then {AGAIN}"
        )
    last = (done.stdout.strip().splitlines() or ["it gave no reason"])[-1]
    raise SetupError(f"{python} could not make {VENV} ({last}): mend that, then {AGAIN}")


def install(arguments: list[str]) -> None:
    """Run ``pip install``: all it says goes to the log, what it is doing to the terminal."""
    command = [str(PYTHON), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", *arguments]
    pip = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    said: list[str] = []
    with LOG.open("w", encoding="utf-8") as log:
        for line in pip.stdout or ():
            said.append(line)
            log.write(line)
            tell(line)
    pip.wait()
    tell("")
    if pip.returncode:
        if not any(line.startswith("Installing collected packages") for line in said):
            RUNNING.unlink()  # nothing was touched: there is no need to make .venv again
        raise SetupError(explain("".join(said)))


def tell(line: str) -> None:
    """One line on a terminal, written over and over; elsewhere only the large downloads."""
    found = re.match(r"\s*(?:Downloading|Using cached) (\S+) \((.+? [kMG]B)\)", line)
    if found:
        text = f"{found.group(1).split('/')[-1].split('-')[0]}, {found.group(2)}"
    elif line.startswith("Installing collected packages"):
        text = "unpacking (some minutes)"
    else:
        text = None
    if sys.stdout.isatty():
        if text or not line:
            print(f"\r\033[K  {text}" if text else "\r\033[K", end="", flush=True)
    elif text and not text.endswith("kB"):
        print(f"  {text}", flush=True)


def explain(said: str) -> str:
    """Turn what pip said when it failed into one sentence."""
    if "No space left on device" in said or "[Errno 28]" in said:
        return str(no_space(ROOT))
    if re.search(
        r"NewConnectionError|NameResolutionError|Failed to establish a new connection|"
        r"ConnectTimeoutError|ReadTimeoutError|Read timed out|ProxyError|Network is unreachable|"
        r"Temporary failure in name resolution|Connection (?:refused|reset)|SSLError",
        said,
    ):
        return (
            "pip could not reach its package index: connect to the network (or set the proxy or "
            f"the index that yours asks for), then {AGAIN}; what has been downloaded is kept, "
            f"and details are in {LOG}"
        )
    missing = re.search(r"No matching distribution found for (\S+)", said)
    if missing:
        system = f"{platform.system()} on {platform.machine()}"
        version = ".".join(map(str, version_of(str(PYTHON)) or OLDEST))
        return (
            f"there is no {missing.group(1)} for Python {version}, {system}: open the folder in "
            f"its devcontainer, or use Python 3.11; details are in {LOG}"
        )
    errors = [line[7:].strip() for line in said.splitlines() if line.startswith("ERROR: ")]
    reason = errors[0] if errors else "it gave no reason"
    return f"pip failed ({reason}): see {LOG}, mend that, then {AGAIN}"


def no_space(folder: Path) -> SetupError:
    free = shutil.disk_usage(folder).free / 1e9
    needed = needed_gb(platform.system(), platform.machine())
    smaller = " or choose the smaller CPU build of torch (README)" if needed == CUDA_GB else ""
    return SetupError(
        f"there is too little disk: setting up needs about {needed} GB in {folder} "
        f"({free:.1f} GB are free) and room for temporary files in TMPDIR; "
        f"make room{smaller}, then {AGAIN}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
