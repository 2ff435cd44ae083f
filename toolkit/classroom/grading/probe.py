"""Which protections hold here: each is tried from inside a sandbox before anybody is graded."""

from __future__ import annotations

import os
import socket
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.classroom.answer import Answer, LearnerError
from toolkit.classroom.grading import watch
from toolkit.classroom.grading.confine import Confinement, bubblewrap, seccomp_filter
from toolkit.classroom.grading.limits import Limits
from toolkit.classroom.grading.sandbox import Sandbox, SandboxError
from toolkit.course import CourseError

NEEDED = ("time", "memory", "processes")

ATTEMPTS = textwrap.dedent(
    """
    import os, socket, time

    def forks(most):
        children = []
        try:
            for _ in range(most):
                child = os.fork()
                if child == 0:
                    time.sleep(60)
                    os._exit(0)
                children.append(child)
        except OSError:
            pass
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
        return len(children)

    def takes(size):
        try:
            return len(bytearray(size))
        except MemoryError:
            return 0

    def loops():
        while True:
            pass

    def reads(paths):
        found = []
        for path in paths:
            try:
                os.listdir(path) if os.path.isdir(path) else open(path).close()
                found.append(path)
            except OSError:
                pass
        return found

    def writes(folders):
        found = []
        for folder in folders:
            try:
                path = os.path.join(folder, ".probe")
                open(path, "w").close()
                os.remove(path)
                found.append(folder)
            except OSError:
                pass
        return found

    def reaches(port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            return False

    def signals(process):
        try:
            os.kill(process, 0)
            return True
        except OSError:
            return False

    def traces():
        import ctypes
        return ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0

    user = os.getuid() if hasattr(os, "getuid") else -1
    """
)


@dataclass(frozen=True, slots=True)
class Protection:
    """Something that notebooks can't do here, or can.

    Attributes:
        name: such as "network".
        on: whether it was refused when tried.
        says: what that means, in a few words.
    """

    name: str
    on: bool
    says: str


def choose(library: Path, given: Path, limits: Limits) -> tuple[Confinement, Confinement]:
    """The strongest confinement that starts here, for notebooks and for what is given to them.

    Raises:
        CourseError: none starts; the sentence says why the last did not.
    """
    if sys.platform not in ("linux", "darwin"):
        raise CourseError("notebooks are graded on Linux or macOS; here, use the devcontainer")
    drop_user = os.getuid() == 0
    seccomp = seccomp_filter() if sys.platform == "linux" else None
    reasons = []
    for kind in _kinds():
        confinement = Confinement(kind, library, seccomp, drop_user)
        try:
            Sandbox(confinement, 0, limits).close()
        except SandboxError as error:
            reasons.append(f"{kind}: {error}")
            continue
        return confinement, replace(confinement, library=given)
    raise CourseError(
        f"no sandbox starts here ({'; '.join(reasons)}): run the grader as an ordinary user, "
        "on a machine where user namespaces or Landlock are allowed"
    )


def measure(confinement: Confinement, limits: Limits, secret: list[Path]) -> list[Protection]:
    """Try everything that a notebook must not do.

    Args:
        confinement: how it is shut in.
        limits: what a notebook may use.
        secret: files and folders that it must not read.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    limits = replace(limits, call_seconds=5.0)
    with listening, Sandbox(confinement, 0, limits) as sandbox:
        notebook = _attempts_of(sandbox)
        watched = bool(watch.descendants(os.getpid()))
        places = ["/", "/usr", str(confinement.library), str(Path.home())]
        user = notebook.get("user")
        forked = notebook.forks(2 * limits.processes)
        found = [
            ("processes", forked < 2 * limits.processes, f"at most {limits.processes}"),
            ("reading", not notebook.reads([str(path) for path in secret]), "only libraries"),
            ("writing", not notebook.writes(places), f"{limits.disk_mib} MiB of its own"),
            ("network", not notebook.reaches(listening.getsockname()[1]), "none"),
            ("signals", not notebook.signals(os.getpid()), "none to other processes"),
            ("kernel", not notebook.traces(), "what labs need, by seccomp"),
            ("user", user != 0, f"{user}, not root"),
        ]
        took = notebook.takes((limits.memory_mib + 64) * 2**20)
        found.insert(0, ("memory", not took or watched, f"at most {limits.memory_mib:,} MiB"))
    with Sandbox(confinement, 0, replace(limits, call_seconds=0.2)) as sandbox:
        stopped = False
        try:
            _attempts_of(sandbox).loops()
        except (LearnerError, SandboxError):
            stopped = True
        found.insert(0, ("time", stopped, f"at most {limits.notebook_seconds:g} s"))
    return [Protection(*protection) for protection in found]


def require(found: list[Protection]) -> None:
    """Refuse to grade where time, memory or processes have no limit.

    Raises:
        CourseError: it names what is missing.
    """
    on = {protection.name for protection in found if protection.on}
    if missing := [name for name in NEEDED if name not in on]:
        raise CourseError(
            f"nothing limits {' and '.join(missing)} here, so nobody is graded: "
            "use Linux with user namespaces, or the devcontainer"
        )


def _kinds() -> list[str]:
    if sys.platform != "linux":
        return ["limits"]
    return [*(["bubblewrap"] if bubblewrap() else []), "landlock", "limits"]


def _attempts_of(sandbox: Sandbox) -> Answer:
    sandbox.run_cell(ATTEMPTS, seconds=30.0)
    return Answer(sandbox.ask)
