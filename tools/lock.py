"""Write ``constraints.txt``: the newest version of all that the course installs, pinned.

Nothing is installed: pip resolves the dependencies of ``pyproject.toml``, extras included, as
for an empty environment. What only other platforms need (such as pywinpty) stays unpinned.

    make lock                                       # all at their newest
    make lock HOLD="torch==2.13.0 triton==3.7.1"   # but these held back
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "llm-systems-by-hand"
HEADER = """\
# The versions that `make lab` and CI install: pip's answer on Linux, Python 3.11.
# Written by `{command}`; then run `make test SLOW=1`.
# torch is pinned without a build (+cpu, +cu130): README.md says how to choose one.
"""


def resolve(held: list[str]) -> dict[str, str]:
    """Every distribution that an empty environment would get, and its public version."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        wanted = ["--editable", f"{ROOT}[dev,ray]", *held]
        subprocess.run([*pip, "--report", str(report), *wanted], check=True)
        installed = json.loads(report.read_text(encoding="utf-8"))["install"]
    metadata = [entry["metadata"] for entry in installed]
    return {entry["name"]: entry["version"].partition("+")[0] for entry in metadata}


def main(held: list[str]) -> int:
    pins = resolve(held)
    del pins[PROJECT]
    lines = [f"{name}=={pins[name]}" for name in sorted(pins, key=str.lower)]
    command = "make lock" + (f' HOLD="{" ".join(held)}"' if held else "")
    text = HEADER.format(command=command) + "\n".join(lines) + "\n"
    (ROOT / "constraints.txt").write_text(text, encoding="utf-8")
    print(f"constraints.txt: {len(pins)} versions pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
