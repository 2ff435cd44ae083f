"""The base of every widget: alive in JupyterLab, alive on the static site, a picture elsewhere.

A widget is one class and one ES module of the same name in ``static/``. It takes a plain record,
and the browser does the interaction. Where it is shown decides what it becomes:

- in a notebook: the live widget view, and a PNG for places that only draw pictures;
- while the site is built (``TOOLKIT_SITE=1``): HTML with an SVG, which a script replaces by the
  widget, with no kernel behind it. The module is imported from the site's own ``_static/toolkit``.

A module may ask of its model ``get``, ``set``, ``on``, ``off`` and ``save_changes``, all that
``static/site.js`` offers. It imports ``./widget.js``, the parts that all widgets share,
and nothing else.
"""

from __future__ import annotations

import io
import json
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from itertools import count
from typing import Any, ClassVar

import anywidget
import matplotlib
import traitlets
from matplotlib.figure import Figure

from toolkit.viz.style import STATIC, style, tokens
from toolkit.viz.text import words

STATE_LIMIT = 300_000
"""The most bytes of state, as JSON, that a widget may put on a page."""

SHARED_IMPORT = re.compile(r'^import \{[^}]*\} from "\./widget\.js";\n', re.MULTILINE)


class Widget(anywidget.AnyWidget):
    """A widget over a plain record.

    A subclass names its module with ``name``, declares its state as traits tagged ``sync=True``,
    lists in ``linked`` the whole numbers of it that a link may carry, and draws ``picture``.
    """

    name: ClassVar[str]
    linked: ClassVar[tuple[str, ...]] = ()
    _numbers: ClassVar[Iterator[int]]

    words = traitlets.Dict(help="What the widget says, in one language.").tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "name" in vars(cls):  # not in the subclass that ipywidgets makes of every instance
            sheets = ("tokens.css", "widget.css", f"{cls.name}.css")
            cls._esm = _inlined((STATIC / f"{cls.name}.js").read_text("utf-8"))
            cls._css = "".join((STATIC / sheet).read_text("utf-8") for sheet in sheets)
            cls._numbers = count(1)
        super().__init_subclass__(**kwargs)

    def __init__(self, **state: Any) -> None:
        table = words()
        super().__init__(words=table["shared"] | table[self.name], **state)
        self.id = f"{self.name}-{next(self._numbers)}"
        size = len(self._json().encode())
        if size > STATE_LIMIT:
            raise ValueError(
                f"{type(self).__name__} would put {size:,} bytes of state on the page, and "
                f"{STATE_LIMIT:,} is the most: give it a smaller sample or a shorter window"
            )

    def picture(self) -> Figure:
        """The widget's state as a matplotlib figure, for print and for pages without script."""
        raise NotImplementedError

    def summary(self) -> str:
        """The widget's state in words: the picture's text alternative, and what is read aloud."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What the browser needs to know: every synchronised trait of the widget's own."""
        own = set(self.trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names())
        return {name: getattr(self, name) for name in sorted(own) if not name.startswith("_")}

    def html(self) -> str:
        """The widget for a static page: a picture, its state, and the script that replaces it."""
        picture = f'<div class="tk-picture" role="img" aria-label="{escape(self.summary())}">'
        drawing = _themed(self._drawn("svg").decode())
        return (
            f'<div class="tk tk-home" id="{self.id}" data-linked="{" ".join(self.linked)}">'
            f"{picture}{drawing}</div>"
            f'<script type="application/json">{_script_safe(self._json())}</script>'
            '<script type="module">'
            "const root = document.documentElement.dataset.content_root ?? './';"
            "const site = new URL(`${root}_static/toolkit/site.js`, document.baseURI);"
            "const {mount} = await import(site);"
            f"await mount('{self.id}', '{self.name}');"
            "</script></div>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        if os.environ.get("TOOLKIT_SITE"):
            return {"text/html": self.html(), "text/plain": self.summary()}, {}
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        picture = b64encode(self._drawn("png")).decode()
        return data | {"image/png": picture, "text/plain": self.summary()}, metadata

    def _json(self) -> str:
        return json.dumps(self.state(), separators=(",", ":"), ensure_ascii=False)

    def _drawn(self, kind: str) -> bytes:
        file = io.BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type") if kind == "svg" else ())
        with matplotlib.rc_context(style()):
            self.picture().savefig(file, format=kind, metadata=nothing)
        return file.getvalue()


def _inlined(module: str) -> str:
    """One self-contained ES module, for where there is no site to import ``widget.js`` from."""
    shared = (STATIC / "widget.js").read_text("utf-8")
    own, found = SHARED_IMPORT.subn("", module)
    return (re.sub(r"^export ", "", shared, flags=re.MULTILINE) if found else "") + own


def _script_safe(text: str) -> str:
    """JSON that can't end the script element it stands in, nor open a comment there."""
    return text.replace("<", "\\u003c")


def _themed(svg: str) -> str:
    """The SVG element alone, with each token's light colour made to follow the page's theme."""
    names = {light.lower(): name for name, (light, _) in reversed(tokens().items())}
    return re.sub(
        "|".join(names),
        lambda color: f"var(--tk-{names[color[0].lower()]}, {color[0]})",
        svg[svg.index("<svg") :],
        flags=re.IGNORECASE,
    )
