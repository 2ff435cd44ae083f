"""``.. library::`` documents the module of every chapter in the table of contents.

Listings link to the page of their module's source. Sphinx makes one of each module that it
documents; here the others of the library get theirs.
"""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

import toolkit
from toolkit import course

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


class Library(SphinxDirective):
    """A section a chapter: its module's docstring and all its public names."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        self.env.note_dependency(str(course.root() / "book" / "_toc.yml"))
        for chapter in course.chapters():
            module = course.homes(chapter).module
            lines = [f".. automodule:: {module}", "   :members:"]
            if hasattr(import_module(module), "__all__"):
                lines.append("   :imported-members:")
            section = nodes.section(ids=[nodes.make_id(chapter)])
            section += nodes.title("", "", nodes.literal("", module))
            self.state.nested_parse(StringList(lines, source=chapter), 0, section)
            found.append(section)
        return found


def escape_formulas(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings are prose with code in double backticks: there, ``|a & b|`` is no markup."""
    for number, line in enumerate(lines):
        spans = line.split("``")
        spans[::2] = [re.sub(r"([|*])", r"\\\1", span) for span in spans[::2]]
        lines[number] = "``".join(spans)


def add_sources(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Have ``sphinx.ext.viewcode`` make a page of every module, with no names to link back from."""
    if app.builder.format == "html":
        pages = env.__dict__.setdefault("_viewcode_modules", {})
        for _, module, _ in pkgutil.walk_packages(toolkit.__path__, "toolkit."):
            if not pages.get(module):
                pages[module] = (ModuleAnalyzer.for_module(module).code, {}, {}, module)
    return []


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("library", Library)
    app.connect("env-updated", add_sources)
    # Before napoleon (priority 500) turns sections into markup.
    app.connect("autodoc-process-docstring", escape_formulas, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
