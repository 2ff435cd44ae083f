"""Answer calls on stdin: ``python child.py FILE`` makes FILE's ``Session`` and calls its methods.

A peer runs in a process of its own, since it needs other packages, or so that its memory can be
told from others'. The process has started and has its input before anything is timed. One line
asks and one answers, as JSON; the answer says by how many MiB the memory rose meanwhile at its
highest. Nothing here or in FILE may need what the peer's environment lacks.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_mib(what: str) -> float:
    """VmRSS, the memory now, or VmHWM, its peak; what only Linux tells is 0 elsewhere."""
    if not STATUS.exists():
        return 0.0
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(what)]
    return int(line.split()[1]) / 1024


def answer(session: Any, method: str, arguments: list[Any]) -> dict[str, Any]:
    gc.collect()
    if REFERENCES.exists():
        REFERENCES.write_text("5")  # the peak counts from here on
    before = resident_mib("VmRSS")
    value = getattr(session, method)(*arguments)
    return {"value": value, "rise_mib": resident_mib("VmHWM") - before}


def serve(path: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    session = runpy.run_path(path)["Session"]()
    for line in sys.stdin:
        answers.write(json.dumps(answer(session, *json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
