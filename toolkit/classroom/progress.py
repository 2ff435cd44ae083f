"""What a learner has done, kept in one small JSON file in their workspace."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from toolkit import course


def workspace() -> Path:
    """Where the learner's notebooks live: ``TOOLKIT_WORKSPACE``, or ``workspace`` in the course."""
    return Path(os.environ.get("TOOLKIT_WORKSPACE") or course.root() / "workspace")


def read(chapter: str) -> dict[str, Any]:
    """What is recorded of a lab: ``{"questions": {...}, "hints": {...}, "predictions": {...}}``."""
    empty: dict[str, Any] = {"questions": {}, "hints": {}, "predictions": {}}
    return {**empty, **_load().get(chapter, {})}


def record(chapter: str, kind: str, key: str, value: Any) -> None:
    """Record one thing about a lab, such as the points of a question; the file appears whole."""
    workspace().mkdir(parents=True, exist_ok=True)
    with FileLock(workspace() / ".progress.lock"):
        everything = _load()
        everything.setdefault(chapter, {}).setdefault(kind, {})[key] = value
        with tempfile.NamedTemporaryFile(
            "w", dir=workspace(), delete=False, encoding="utf-8"
        ) as file:
            json.dump(everything, file, indent=1)
        os.replace(file.name, workspace() / ".progress.json")


def _load() -> dict[str, Any]:
    path = workspace() / ".progress.json"
    if not path.exists():
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        loaded = None
    if not isinstance(loaded, dict):
        raise course.CourseError(
            f"{path} is not readable JSON: mend it, or delete it to start afresh"
        )
    return loaded
