"""The grader as an ordinary user, on a machine with user namespaces and on one without.

The tests run as whoever they run as, so such a machine is made with bubblewrap: an ordinary user of
its own, and, for the second, a seccomp filter that refuses new namespaces as some systems do.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from toolkit import course
from toolkit.assets.store import home
from toolkit.classroom.grading.confine import CLONE_NEWUSER, bubblewrap

USER = 60_500
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's"),
    pytest.mark.skipif(
        hasattr(os, "getuid") and os.getuid() != 0, reason="an ordinary user runs the other tests"
    ),
]

AS_USER = f"""
import os, sys
os.setgroups([])
os.setresgid({USER}, {USER}, {USER})
os.setresuid({USER}, {USER}, {USER})
os.mkdir("/tmp/home")
os.chdir("/tmp/home")
os.execv(sys.argv[1], sys.argv[1:])
"""


def no_namespaces() -> bytes:
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    new_user = seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER)
    rules.add_rule(seccomp.ERRNO(errno.EPERM), "unshare")
    rules.add_rule(seccomp.ERRNO(errno.EPERM), "clone", new_user)
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def machine(shown: list[Path], out: Path, namespaces: bool) -> list[str]:
    """The start of a command that runs as an ordinary user, with a folder to write to."""
    command = [str(bubblewrap()), "--die-with-parent", "--cap-drop", "ALL"]
    command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    for name in ("bin", "lib", "lib64", "sbin"):
        command += ["--symlink", f"usr/{name}", f"/{name}"]
    for name in ("/usr", "/etc", "/sys"):
        command += ["--ro-bind", name, name]
    command += ["--bind", "/proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp"]
    for path in [*shown, Path(sys.base_prefix), Path(sys.prefix), course.root(), home()]:
        for parent in reversed(path.parents[:-1]):
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind", str(path), str(path)]
    command += ["--bind", str(out), "/tmp/out", "--setenv", "HOME", "/tmp/home"]
    return [*command, "--setenv", "TOOLKIT_ASSETS", str(home())]


@pytest.mark.parametrize(
    ("namespaces", "kind"), [(True, "bubblewrap"), (False, "landlock")], ids=["with", "without"]
)
def test_an_ordinary_user_grades(hand_in, made, tmp_path, namespaces, kind):
    attack = (
        "import os, subprocess, sys\n"
        "def shingles(text, n=5):\n"
        "    subprocess.Popen(['sleep', '4712'], start_new_session=True)\n"
        f"    sys.path.insert(0, {str(course.root())!r})\n"
        "    sys.modules.pop('toolkit.data', None)\n"
        "    from toolkit.data.dedup import shingles\n"
        "    return shingles(text, n)"
    )
    folder = hand_in(ada=made(), eve=made({"q1": attack}))
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    command = machine([folder], out, namespaces)
    with tempfile.TemporaryFile() as refused:
        if not namespaces:
            refused.write(no_namespaces())
            refused.seek(0)
            command += ["--seccomp", str(refused.fileno())]
        command += [sys.executable, "-c", AS_USER, sys.executable, "-m", "toolkit.cli", "grade"]
        command += ["data/dedup", str(folder), "-o", "/tmp/out/results", "--seed", "5"]
        done = subprocess.run(
            [*command, "--jobs", "2"], capture_output=True, text=True, pass_fds=[refused.fileno()]
        )
    assert done.returncode == 0, done.stderr
    recorded = json.loads((out / "results" / "run.json").read_text())
    assert recorded["confinement"] == kind
    assert not [says for says in recorded["protections"].values() if says.startswith("OFF")]
    scores = {
        name: json.loads((out / "results" / "students" / f"{name}.json").read_text())["points"]
        for name in ("ada", "eve")
    }
    assert sum(scores["ada"].values()) == 21
    assert scores["eve"] == {"q1": 0, "q2": 0, "q3": 0, "q4": 0, "q5": 0}
    left = subprocess.run(["pgrep", "-f", "sleep 4712"], capture_output=True, text=True)
    assert left.stdout == ""
