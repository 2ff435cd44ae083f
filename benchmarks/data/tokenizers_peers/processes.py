"""The other side of ``child``: start a process, ask it, and make the environment it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from toolkit import course

BYTEPIECE = "0.6.3"
HERE = Path(__file__).parent
ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
WORKS = "import ahocorasick, bytepiece; assert ahocorasick.unicode == 0"


class Child:
    """A process with the ``Session`` of a file of this folder.

    Args:
        python: its interpreter.
        file: such as ``"package.py"``.
    """

    def __init__(self, python: str | Path, file: str) -> None:
        self._process = subprocess.Popen(
            [python, HERE / "child.py", HERE / file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": str(course.root())},
        )
        self.rise_mib = 0.0

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method; ``rise_mib`` is then by how much memory rose in it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self._process.args[-1]} died in {method}()")
        said = json.loads(line)
        self.rise_mib = said["rise_mib"]
        return said["value"]

    def end(self) -> None:
        """Let the process end, with all it holds."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def cache_folder() -> Path:
    """Where environments and converted vocabularies stay from one run to the next."""
    folder = user_cache_path("llm-systems-by-hand", appauthor=False) / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def python_with_bytepiece() -> Path:
    """The interpreter of an environment with the package bytepiece, made if it is not there.

    Its automaton has to be built from source to take bytes.
    """
    folder = cache_folder() / f"bytepiece-{BYTEPIECE}"
    python = folder / "bin" / "python"
    if python.exists() and subprocess.run([python, "-c", WORKS], check=False).returncode == 0:
        return python
    print(f"installing bytepiece {BYTEPIECE}: about a minute", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [python, "-m", "pip", "install", "-q", "-c", course.root() / "constraints.txt"]
    subprocess.run([*pip, "cython", "setuptools", "wheel"], check=True)
    from_source = ["--no-binary", "pyahocorasick", "--no-cache-dir", "pyahocorasick"]
    of_bytes = os.environ | {"AHOCORASICK_BYTES": "1"}
    subprocess.run([*pip, *from_source], check=True, env=of_bytes)
    subprocess.run([*pip, "--no-build-isolation", f"bytepiece=={BYTEPIECE}"], check=True)
    subprocess.run([python, "-c", WORKS], check=True)
    return python
