"""Offer every executed page as a notebook: the page's source, converted by jupytext."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jupytext
import nbformat

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx


def write_notebook(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Write ``_sources/PAGE.ipynb`` and tell the theme's download button about it."""
    if doctree is None or "kernelspec" not in app.env.metadata.get(page, {}):
        return
    notebook = jupytext.read(Path(app.env.doc2path(page)), fmt="md:myst")
    target = Path(app.outdir) / "_sources" / f"{page}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    context["ipynb_source"] = f"{page}.ipynb"


def setup(app: Sphinx) -> dict[str, bool]:
    # Before the theme (priority 501) lays out its buttons.
    app.connect("html-page-context", write_notebook, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
