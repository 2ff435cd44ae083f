"""JupyterLab on the course: quiet, with its kernel, and with pages that open as notebooks.

What is set here is passed to this one server; the user's own Jupyter settings are neither written
nor ignored. The committed folder ``.jupyter`` holds the defaults of the user interface.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from toolkit.course import CourseError


def open_lab(notebook: Path, root: Path, *, port: int | None, browser: bool) -> int:
    """Start JupyterLab with a notebook open, and wait until it is stopped (Ctrl-C).

    Args:
        notebook: the notebook to open.
        root: the course's root, which the file browser shows; a notebook that lies elsewhere is
            shown in its own folder.
        port: the port to listen on; ``None`` for 8888, or the next one that is free.
        browser: whether to open a browser window. The address is printed in any case.
    Returns:
        JupyterLab's exit status.
    Raises:
        CourseError: the port is taken, or may not be used.
    """
    if port is not None:
        _require_free(port)
    try:
        server = subprocess.Popen(command(notebook, root, port, browser), env=environment(root))
    except OSError as error:
        raise CourseError(f"{sys.executable} can't be started ({error}): run `make lab`") from None
    with server:
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:  # JupyterLab got it too, and is shutting its kernels down
                continue


def command(notebook: Path, root: Path, port: int | None, browser: bool) -> list[str]:
    """The command that starts JupyterLab on a notebook; see ``open_lab`` for the arguments."""
    notebook, root = notebook.resolve(), root.resolve()
    shown = root if root in notebook.parents else notebook.parent
    arguments = [
        f"--ServerApp.root_dir={shown}",
        f"--LabApp.default_url=/lab/tree/{quote(notebook.relative_to(shown).as_posix())}",
        "--LabApp.extension_manager=readonly",
        "--ServerApp.contents_manager_class=toolkit.classroom.contents.Contents",
        "--KernelManager.transport_encryption=auto",
        "--ServerApp.answer_yes=True",  # Ctrl-C stops at once
        "--log-level=ERROR",
        "--LabApp.log_level=ERROR",
        f"--ServerApp.open_browser={browser}",
    ]
    if port is not None:
        arguments += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in containers
        arguments.append("--ServerApp.allow_root=True")
    return [sys.executable, "-m", "jupyterlab", *arguments]


def environment(root: Path) -> dict[str, str]:
    """The environment variables of that command: our defaults, and this environment's kernel."""
    folders = [str(root / ".jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    return {
        # How long threads that wait for each other spin. Beside other programs a page that took ten
        # times as long takes twice as long; alone it takes what it took.
        "GOMP_SPINCOUNT": "10000",
        **os.environ,
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, folders)),
        "JUPYTER_PREFER_ENV_PATH": "1",  # a python3 kernel of the user's own does not win
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _require_free(port: int) -> None:
    if not 0 < port < 65536:
        raise CourseError(f"a port is a number from 1 to 65535, got {port}")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        if os.name == "posix":  # as the server does: a port that was just left counts as free
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            raise CourseError(
                f"port {port} can't be used ({error.strerror}): give another with --port, or none "
                "to have a free one chosen"
            ) from None
