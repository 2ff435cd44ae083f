"""The course's files as JupyterLab gets them: pages open as notebooks, and so does other text."""

from __future__ import annotations

from typing import Any

from jupytext import AsyncTextFileContentsManager


class Contents(AsyncTextFileContentsManager):
    """Jupytext's files. A text that names no kernel gets one unasked, and keeps nothing of it."""

    async def get(self, path: str, *args: Any, **options: Any) -> dict[str, Any]:
        """The model of a file or a folder; arguments and errors are those of Jupytext's manager."""
        model = await super().get(path, *args, **options)
        if model["type"] == "notebook" and path.endswith(".md") and model["content"]:
            metadata = model["content"]["metadata"]
            if "kernelspec" not in metadata:
                metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
                metadata.setdefault("jupytext", {})["notebook_metadata_filter"] = "-all"
        return model
