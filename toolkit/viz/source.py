"""``show(obj)``: the library's own code on a page, so that no page retypes it.

The code is highlighted in the course's colours, its docstrings are folded to their first line, and
it is linked to the whole module: the site's page of it, or the file and line elsewhere.
"""

from __future__ import annotations

import ast
import inspect
import os
import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pygments.token import Token, _TokenType

from toolkit.viz.style import STATIC

PACKAGE = Path(__file__).parent.parent

STYLED = {
    Token.Comment: "c",
    Token.Keyword: "k",
    Token.Literal.Number: "m",
    Token.Literal.String: "s",
    Token.Name.Class: "n",
    Token.Name.Decorator: "n",
    Token.Name.Function: "n",
    Token.Operator.Word: "k",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """Source code that shows itself: highlighted in a notebook and on the site, plain elsewhere.

    ``place`` is where it stands, such as ``toolkit/course.py:41``; ``link`` is the site's page of
    its module, relative to a chapter's page, or None where there is no such page.
    """

    code: str
    place: str
    link: str | None

    def __str__(self) -> str:
        return f"# {self.place}\n{self.code}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html()}

    def html(self) -> str:
        """The listing as HTML that needs nothing else: its style is within."""
        place = f"<code>{escape(self.place)}</code>"
        if self.link and os.environ.get("TOOLKIT_SITE"):
            place = f'<a href="{escape(self.link)}">{place}</a>'
        css = "".join((STATIC / name).read_text("utf-8") for name in ("tokens.css", "code.css"))
        return (
            f'<div class="tk tk-code"><style>{css}</style><span class="tk-from">{place}</span>'
            f'<div class="tk-lines" tabindex="0" role="region" aria-label="{escape(self.place)}">'
            f"<div>{_folded(self.code)}</div></div></div>"
        )


def show(obj: Any) -> Listing:
    """Show the source of a function, class, method or module, as the last line of a cell.

    Args:
        obj: what to show; a wrapped or compiled function shows the Python it was made from.
    Raises:
        TypeError: ``obj`` has no Python source, as for a number or a built-in.
    Example:
        >>> show(show).place.split(":")[0]
        'toolkit/viz/source.py'
    """
    # numba has a function's Python in py_func, triton in fn
    target = inspect.unwrap(getattr(obj, "py_func", getattr(obj, "fn", obj)))
    try:
        lines, first = inspect.getsourcelines(target)
        path = Path(inspect.getsourcefile(target) or "")
    except (TypeError, OSError) as error:
        raise TypeError(
            f"show() takes a function, class, method or module written in Python, got {obj!r}"
        ) from error
    code = textwrap.dedent("".join(lines)).rstrip() + "\n"
    if not path.is_relative_to(PACKAGE):
        return Listing(code, getattr(target, "__qualname__", target.__name__), None)
    place = f"{path.relative_to(PACKAGE.parent).as_posix()}:{max(first, 1)}"
    return Listing(code, place, _module_page(target))


def _module_page(target: Any) -> str:
    if inspect.ismodule(target):
        return f"../_modules/{target.__name__.replace('.', '/')}.html"
    return f"../_modules/{target.__module__.replace('.', '/')}.html#{target.__qualname__}"


class _Formatter(HtmlFormatter):
    """Pygments' classes reduced to the few that ``code.css`` colours."""

    def _get_css_class(self, ttype: _TokenType) -> str:
        while ttype is not Token:
            if ttype in STYLED:
                return STYLED[ttype]
            ttype = ttype.parent
        return ""


def _folded(code: str) -> str:
    """Highlighted lines, each docstring of several lines folded under its first one."""
    pieces = _Formatter(nowrap=True)._format_lines(PythonLexer(stripnl=False).get_tokens(code))
    lines = [line.rstrip("\n") for _, line in pieces]
    html, at = [], 0
    for first, last in _docstrings(code):
        summary, rest = lines[first], "\n".join(lines[first + 1 : last + 1])
        html.append(_pre(lines[at:first]))
        html.append(f"<details><summary>{summary}</summary><pre>{rest}</pre></details>")
        at = last + 1
    return "".join([*html, _pre(lines[at:])])


def _pre(lines: list[str]) -> str:
    return "<pre>" + "\n".join(lines) + "</pre>" if lines else ""


def _docstrings(code: str) -> list[tuple[int, int]]:
    """First and last line, from 0, of every docstring longer than a line."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    spans = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, owners) and ast.get_docstring(node) is not None:
            text = node.body[0]
            if text.end_lineno is not None and text.end_lineno > text.lineno:
                spans.append((text.lineno - 1, text.end_lineno - 1))
    return sorted(spans)
