"""The course's files as JupyterLab gets them: pages open as notebooks, and so does other text."""

from __future__ import annotations

from typing import Any

from jupytext import AsyncTextFileContentsManager


class Contents(AsyncTextFileContentsManager):
    """Jupytext's files, with the course's kernel for what names none; JupyterLab would ask."""

    async def get(self, path: str, *args: Any, **options: Any) -> dict[str, Any]:
        """The model of a file or a folder; arguments and errors are those of Jupytext's manager."""
        model = await super().get(path, *args, **options)
        if model["type"] == "notebook" and model["content"]:
            kernel = {"name": "python3", "display_name": "Python 3"}
            model["content"]["metadata"].setdefault("kernelspec", kernel)
        return model
