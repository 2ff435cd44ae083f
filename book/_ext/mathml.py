"""Maths as MathML, made while the site is built: no script, no font and no host needed to read it.

``latex2mathml`` does the translation but passes commands it does not know through as letters;
here those are errors, reported at their source line.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, tostring

from docutils import nodes
from latex2mathml.converter import Converter
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
UNKNOWN = re.compile(r"\\[A-Za-z]+|&")
CHILDREN = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "mover": 2, "munder": 2}
CHILDREN |= {"msubsup": 3, "munderover": 3}
# The book numbers its equations itself, and latex2mathml has these under one name.
ALIGNED = re.compile(r"\\(begin|end)\{(?:align|aligned)\}")


class MathError(ValueError):
    """LaTeX that can't be translated, in one sentence."""


def to_mathml(latex: str, *, display: bool) -> str:
    """The ``<math>`` element for a formula, with its LaTeX as alternative text.

    Raises:
        MathError: the formula is malformed or uses a command that latex2mathml does not know.
    """
    latex = latex.strip()
    converter = Converter(display="block" if display else "inline")
    try:
        math = converter.convert_to_element(ALIGNED.sub(r"\\\1{align*}", latex))
    except Exception as error:
        raise MathError(f"malformed LaTeX ({type(error).__name__}): {latex}") from error
    for element in math.iter():
        element.text = html.unescape(element.text or "")
        if unknown := UNKNOWN.search(element.text):
            raise MathError(f"{unknown.group()} is unknown to latex2mathml here: {latex}")
        if len(element) != CHILDREN.get(element.tag, len(element)):
            raise MathError(f"malformed LaTeX ({element.tag} lacks a part): {latex}")
        if element.get("linebreak"):
            raise MathError(f"a line break needs an environment such as aligned: {latex}")
    for accent in math.iter("mover"):
        # The letter ^ hangs far above its base; the modifier letter was drawn to sit on one.
        if accent.get("accent") and accent[1].text == "^":
            accent[1].text = "\u02c6"
    for row in math.iter("mtr"):
        _align(row)
    math.set("alttext", latex)
    return tostring(math, encoding="unicode")


def _align(row: Element) -> None:
    """Say in CSS what MathML Core no longer reads from ``columnalign``; no gap at an ``&=``."""
    meets = False
    for cell in row:
        side = cell.attrib.pop("columnalign", "center")
        padding = "; padding-left: 0" if meets else "; padding-right: 0" if side == "right" else ""
        cell.set("style", f"text-align: {side}{padding}")
        meets = side == "right"


def _render(translator: HTML5Translator, node: Any, *, display: bool) -> str:
    try:
        return to_mathml(node.astext(), display=display)
    except MathError as error:
        logger.error(str(error), location=node, type="mathml")
        return f"<code>{html.escape(node.astext())}</code>"


def visit_math(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_render(translator, node, display=False))
    raise nodes.SkipNode


def visit_math_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate"))
    translator.body.append(_render(translator, node, display=True))
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer(
        "mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
