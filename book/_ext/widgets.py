"""Serve the widgets' scripts and styles from the site's own ``_static/toolkit``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.viz import static_files

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def copy_static(app: Sphinx) -> None:
    """Copy before pages are written, so that their links carry the files' checksums."""
    target = Path(app.outdir) / "_static" / "toolkit"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(static_files(), target, ignore=shutil.ignore_patterns("*.py", "__pycache__"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", copy_static)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
