"""Mend what docutils says to screen readers about a list of references.

It marks the list ``role="list"`` but its entries with another role, which leaves the list empty for
a screen reader. Without the role it is plain text, as it looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def drop_role(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = context["body"].replace(
            ' role="list" class="citation-list"', ' class="citation-list"'
        )


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", drop_role)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
