"""The course's files as JupyterLab gets them: pages open as notebooks, and so does other text."""

from __future__ import annotations

from typing import Any

from jupytext import AsyncTextFileContentsManager

KEPT = (
    "all,-language_info,-widgets,-jupytext.notebook_metadata_filter,"
    "-jupytext.text_representation.jupytext_version"
)
"""What stays at the top of a page that is saved: all but what changes by itself."""


class Contents(AsyncTextFileContentsManager):
    """Jupytext's files, with the course's kernel for what names none; JupyterLab would ask.

    Text with no header of Jupytext's gets none when it is saved: Jupytext has marked it.
    """

    async def get(self, path: str, *args: Any, **options: Any) -> dict[str, Any]:
        """The model of a file or a folder; arguments and errors are those of Jupytext's manager."""
        model = await super().get(path, *args, **options)
        if model["type"] == "notebook" and model["content"]:
            metadata = model["content"]["metadata"]
            metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3"})
            if not path.endswith(".ipynb"):
                metadata.setdefault("jupytext", {}).setdefault("notebook_metadata_filter", KEPT)
        return model
