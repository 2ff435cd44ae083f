"""What hostile notebooks do to the graders: those of the tests, and a few made for each peer.

Ours grades them as it grades anybody. The peers limit neither time nor memory by themselves, so
here each of their runs is in a jail with 3 GiB and the 120 s that ours allows
a notebook, for this machine's safety.

========  =========================================================================================
right     the points it deserves
forged    more
robbed    fewer
lost      no result: the grader hung until the jail's limit, ended, or wrote nothing
escaped   it reached what is not its own (other files, processes), or left a process running
========  =========================================================================================
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.classroom.peers import ByNbgrader, ByOtter, Peer
from benchmarks.classroom.submissions import LAB
from benchmarks.classroom.usage import used
from toolkit import course
from toolkit.classroom.grading import watch
from toolkit.classroom.grading.confine import UNPRIVILEGED, bubblewrap
from toolkit.classroom.grading.limits import Limits

HOSTILE = course.root() / "tests" / "classroom" / "hostile"
SECONDS, LIMITS = 120.0, Limits(memory_mib=3072, processes=300)
AT_ONCE = 3
USERS = itertools.count(UNPRIVILEGED + 100)
"""One a run: the kernel counts a user's processes."""

APPLY = (
    "array_of_objects", "array_without_entries", "base_exception_of_its_own", "connects",
    "equal_to_everything", "false_for_zero", "fork_bomb_in_function",
    "gil_never_given_back", "honest_for_the_most_part", "huge_integer", "huge_text",
    "imports_library", "keyboard_interrupt", "kills_everything", "kills_its_parent",
    "knows_public_inputs", "loop_catches_everything", "loop_in_function", "lying_array",
    "lying_float", "lying_int", "lying_set_of_str", "memory_in_one_process",
    "nan_is_never_too_far", "no_answer_but_one", "os_exit_in_cell", "os_exit_in_function",
    "outlives_by_double_fork", "output_without_end", "patches_builtins", "patches_json",
    "patches_main", "patches_numpy", "patches_oracle", "patches_random", "patches_test_tools",
    "prints_points_and_exits", "reads_checks", "reads_other_processes", "reads_solution",
    "searches_calls", "searches_memory", "segmentation_fault", "sleep_in_cell",
    "spoils_its_arguments", "syntax_error", "sys_exit_in_cell", "watches_calls", "writes_outside",
    "writes_toolkit",
)  # fmt: skip
"""Those of the tests that mean something to any grader: none needs our line or ``lab.given``, and
few are of one kind. That some look for files and names of ours is in the peers' favour."""

FOUND = "right only if the attack failed"
"""What an attack says whose q2 is wrong where it got what it was after."""

RIGHT_Q2 = """
def jaccard(a, b):
    union = len(a | b)
    return len(a & b) / union if union else 0.0
"""
ADAPTED = {
    "replaces the tests' own helper": "import lab_checks\n\nlab_checks.passes = lambda *_: True",
    "takes the answer to q1 from the oracle that the tests import": (
        "import re\nimport lab_checks\n\ndef shingles(text, n=5):\n"
        "    return lab_checks.runs(re.findall(r'\\w+', text.casefold()), n)"
    ),
    "patches doctest.DocTestRunner.run": (
        "import doctest\n\ndoctest.DocTestRunner.run = lambda *_, **__: doctest.TestResults(0, 1)"
    ),
    "takes the answer to q1 from the instructor's copy": (
        "import json, re\nfrom pathlib import Path\n\nfor folder in Path.cwd().parents:\n"
        "    for path in folder.glob('source/dedup/*.ipynb'):\n"
        "        for cell in json.loads(path.read_text())['cells']:\n"
        "            source = ''.join(cell['source'])\n"
        "            if re.search('^(def words|def shingles)', source, re.M):\n"
        "                exec(source)"
    ),
}
"""What is done in the cell of q1 by those that know the peers; q2 is right, so it deserves 3."""

WITNESS = """
import json, os, subprocess, sys, time

def others():
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and int(process) not in (1, os.getpid()):
            found.append(process)
    return found

subprocess.call(sys.argv[2:])
time.sleep(1)
with open(sys.argv[1], "w") as file:
    json.dump(len(others()), file)
"""
"""Runs a grader in the jail, then tells how many processes are left there."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A hostile notebook.

    Attributes:
        name: what it does.
        file: among the tests; None for one made here.
        notebook: the content of an ``.ipynb``.
        deserves: points by question.
    """

    name: str
    file: str | None
    notebook: dict[str, Any]
    deserves: dict[str, int]


def attacks() -> list[Attack]:
    """All of them."""
    import jupytext

    found = []
    for name in APPLY:
        notebook = jupytext.read(HOSTILE / f"{name}.md")
        about = notebook.metadata["hostile"]
        written = json.loads(jupytext.writes(notebook, fmt="ipynb"))
        found.append(Attack(about["attack"], f"{name}.md", written, dict(about["deserves"])))
    for name, source in ADAPTED.items():
        found.append(Attack(name, None, _made(source), {"q2": 3}))
    return found


def forged(otter: Peer, nbgrader: Peer, seed: int) -> list[dict[str, str | None]]:
    """The outcome of each attack for each grader: ``[{"attack", "file", "ours", ...}]``."""
    everyone = attacks()

    def row(attack: Attack, ours: str) -> dict[str, str | None]:
        found = {"ours": ours, "otter": by_peer(attack, ByOtter, otter, seed)}
        found |= {"nbgrader": by_peer(attack, ByNbgrader, nbgrader, seed)}
        print(f"{attack.file or attack.name:<60}", *found.values(), flush=True)
        return {"attack": attack.name, "file": attack.file} | found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(row, everyone, by_ours(everyone, seed)))


def by_ours(everyone: list[Attack], seed: int) -> list[str]:
    """The outcomes by ``toolkit grade``, all in one run."""
    with tempfile.TemporaryDirectory(prefix="attacks-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for number, attack in enumerate(everyone):
            (folder / "in" / f"{number:03}.ipynb").write_text(json.dumps(attack.notebook))
        toolkit = str(Path(sys.executable).with_name("toolkit"))
        command = [toolkit, "grade", LAB, str(folder / "in"), "-o", str(folder / "out")]
        run = used([*command, "--seed", str(seed)])
        outcomes = []
        for number, attack in enumerate(everyone):
            path = folder / "out" / "students" / f"{number:03}.json"
            grade = json.loads(path.read_text())["points"] if path.exists() else None
            outcomes.append(outcome(attack, grade, run.left > 0))
    return outcomes


def by_peer(
    attack: Attack, kind: Callable[..., ByOtter | ByNbgrader], peer: Peer, seed: int
) -> str:
    """The outcome by a peer, in the jail."""
    with tempfile.TemporaryDirectory(prefix="attacks-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        graded = kind(peer, folder, {"mallory": attack.notebook}, seed)
        jail = Jail(peer, folder, next(USERS))
        graded.grade(jail.run)
        try:
            grade = graded.grades().get("mallory")
        except (subprocess.CalledProcessError, ValueError):  # what it wrote can't be read
            grade = None
        return outcome(attack, grade, jail.escaped)


def outcome(attack: Attack, grade: dict[str, int] | None, escaped: bool) -> str:
    """What a grade says of a grader."""
    if escaped:
        return "escaped"
    if grade is None:
        return "lost"
    surplus = {q: points - attack.deserves.get(q, 0) for q, points in grade.items()}
    if FOUND in json.dumps(attack.notebook) and surplus["q2"] < 0:
        return "escaped"
    if any(points > 0 for points in surplus.values()):
        return "forged"
    return "robbed" if any(points < 0 for points in surplus.values()) else "right"


def _made(source: str) -> dict[str, Any]:
    """A notebook with this in the cell of q1, and the right answer to q2."""
    import nbformat

    cells = [
        nbformat.v4.new_code_cell(text, metadata={"tags": [tag]})
        for tag, text in (("q1", source), ("q2", RIGHT_Q2.strip()))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "toolkit": {"lab": LAB, "version": 1}}
    made: dict[str, Any] = nbformat.v4.new_notebook(cells=cells, metadata=about)
    return made


class Jail:
    """Runs a peer's command shut off from this machine, with limits.

    Args:
        peer: whose it is.
        folder: the only one of the machine's that it may write to.
        user: whom it runs as, where this is root.
    Attributes:
        escaped: whether a process outlived the command, or the witness beside it was killed.
    """

    def __init__(self, peer: Peer, folder: Path, user: int) -> None:
        self._peer, self._folder, self._user = peer, folder, user
        self.escaped = False

    def run(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        """See ``peers.Run``; ends it when it breaks a limit."""
        report = self._folder / "left.json"
        python = str(self._peer.python)
        jailed = [*self._shut_in(folder), python, "-c", WITNESS, str(report), *command]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        environment = os.environ | environment | {"HOME": "/tmp", "TMPDIR": "/tmp"}
        process = subprocess.Popen(jailed, env=environment, stderr=subprocess.DEVNULL, **quiet)
        deadline = time.monotonic() + SECONDS
        while process.poll() is None:
            if time.monotonic() > deadline or watch.excess(process.pid, LIMITS):
                watch.end(process.pid)
                process.wait()
                return
            time.sleep(0.1)
        self.escaped = not report.exists() or report.read_text() != "0"

    def _shut_in(self, folder: Path) -> list[str]:
        command = [
            str(bubblewrap()), "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
            "--die-with-parent", "--new-session", "--cap-drop", "ALL",
            "--proc", "/proc", "--dev", "/dev",
        ]  # fmt: skip
        for place in ("/dev/shm", "/tmp"):
            command += ["--perms", "1777", "--size", str(256 * 2**20), "--tmpfs", place]
        system = [Path(name) for name in ("/etc", "/usr", "/bin", "/lib", "/lib64")]
        python = [Path(sys.base_prefix), self._peer.python.parents[1], self._peer.library]
        for path in filter(Path.exists, [*system, *python, self._folder]):
            if path.is_symlink() and path in system:
                command += ["--symlink", os.readlink(path), str(path)]
                continue
            for parent in reversed(path.parents[:-1]):  # or only root could pass through it
                command += ["--perms", "0755", "--dir", str(parent)]
            how = "--bind" if path == self._folder else "--ro-bind"
            command += [how, str(path), str(path)]
        command += ["--chdir", str(folder)]
        limits = ["prlimit", f"--nproc={LIMITS.processes}", "--core=0", f"--fsize={512 * 2**20}"]
        if os.getuid():
            return [*command, "--unshare-user", *limits]
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        become = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups"]
        return [*command, *become, *limits]
