"""Stands by in a jail while ``naive.py`` grades a notebook, and says what it saw.

    python witness.py FOLDER USER

FOLDER holds ``mallory.ipynb``, which is graded, and ``alice.ipynb``, which lies beside it. USER is
whom root becomes. The first line printed is "ready"; the second, if the notebook leaves this
process alive, is JSON: whether the grader ``ended`` by itself, its ``scores``, and as ``effects``
what else happened.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
CPU_SECONDS, SECONDS = 3, 6
"""What a run may take; to start, it needs less than one of them."""
SHARE = 1024 * 2**20
"""Bytes of memory and temporary files together from which a run would bring the machine down."""
PROCESSES = 64

GRADING = Path("/grading")
MINE, ALICES = GRADING / "submissions/mallory", GRADING / "submissions/alice"
SAID = Path("/tmp/said")
TOKEN = "canary-4711"
PORT, ABSTRACT = 8888, "\0grader"


def witness(folder: Path) -> None:
    """Grade the notebook in a folder as a course would, and print what was seen as JSON."""
    lay_out(folder)
    doors = listening()
    bystander = subprocess.Popen(["sleep", "60"])
    before = files()
    print("ready", flush=True)
    with SAID.open("wb") as said:
        grader = subprocess.Popen(
            [sys.executable, "-s", str(GRADING / "course/tests/classroom/naive.py"), "dedup.ipynb"],
            cwd=MINE,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=limit,
        )
    ended = waited(grader)
    output = last_of(SAID)
    effects = [
        *(f"{name} was called" for name, door in doors.items() if was_called(door)),
        *(f"{path} was touched" for path in sorted(changes(before, files()))),
        *(["another process was killed"] if bystander.poll() is not None else []),
        *(["it lives on"] if ended and others(bystander.pid, grader.pid) else []),
        *(["a secret was read"] if TOKEN.encode() in output else []),
    ]
    scores = last_line(output) if ended else None
    print(json.dumps({"ended": ended, "scores": scores, "effects": effects}))


def lay_out(folder: Path) -> None:
    for name in ("toolkit", "solutions", "labs", "tests/labs"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, GRADING / "course" / name, ignore=skip)
    for name in ("book/_toc.yml", "tests/classroom/naive.py"):
        (GRADING / "course" / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, GRADING / "course" / name)
    for student in (MINE, ALICES):
        student.mkdir(parents=True)
        shutil.copy(folder / f"{student.name}.ipynb", student / "dedup.ipynb")
    (GRADING / "home").mkdir()
    (GRADING / "grades.csv").write_text(f"student,points\nalice,21\ntoken,{TOKEN}\n")


def environment() -> dict[str, str]:
    return {
        "GRADING_TOKEN": TOKEN,
        "HOME": str(GRADING / "home"),
        "NUMBA_CACHE_DIR": "/tmp/numba",
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(GRADING / "course"),
        "TOOLKIT_WORKSPACE": "/tmp/workspace",
    }


def listening() -> dict[str, socket.socket]:
    web, plain = socket.socket(), socket.socket(socket.AF_UNIX)
    web.bind(("127.0.0.1", PORT))
    plain.bind(ABSTRACT)
    for door in (web, plain):
        door.listen()
        door.setblocking(False)
    return {"a port": web, "a socket": plain}


def was_called(door: socket.socket) -> bool:
    try:
        door.accept()
    except BlockingIOError:
        return False
    return True


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def waited(grader: subprocess.Popen[bytes]) -> bool:
    """Whether it ended by itself, before its time and its share of the machine were used up."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and used() < SHARE:
        if grader.poll() is not None:
            return True
        time.sleep(0.02)
    return False


def used() -> int:
    pages = 0
    for path in Path("/proc").glob("[0-9]*/statm"):
        with suppress(OSError):  # it has just ended
            resident, shared = path.read_text().split()[1:3]
            pages += int(resident) - int(shared)
    places = (GRADING, "/tmp", "/dev/shm")
    stored = sum(shutil.disk_usage(place).used for place in places)
    return pages * resource.getpagesize() + stored


def files() -> dict[Path, tuple[int, int]]:
    """All in the course's folders that is not mallory's, with its mode and time of change."""
    found = {}
    for place, folders, names in os.walk(GRADING):
        for path in [Path(place, name) for name in [*folders, *names]]:
            if MINE not in (path, *path.parents):
                about = os.lstat(path)
                found[path] = (about.st_mode, about.st_mtime_ns)
    return found


def changes(before: dict[Path, Any], after: dict[Path, Any]) -> set[Path]:
    return {path for path, _ in before.items() ^ after.items()}


def others(*known: int) -> list[int]:
    """Processes that were not there before: all but the jail's first one and this."""
    there = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in there if pid not in (1, os.getpid(), *known)]


def last_of(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 2**20, 0))
        return file.read()


def last_line(output: bytes) -> Any:
    """The scores, if that is what the last line holds."""
    with suppress(ValueError, IndexError):
        scores = json.loads(output.splitlines()[-1])
        return scores if isinstance(scores, dict) else None
    return None


def drop_to(user: int) -> None:
    """Give up root; a process that starts anew afterwards is wholly the user's."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execv(sys.executable, [sys.executable, "-s", *sys.argv])


if __name__ == "__main__":
    if os.getuid() == 0:
        drop_to(int(sys.argv[2]))
    witness(Path(sys.argv[1]))
