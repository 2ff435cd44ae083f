"""What widgets say: the table of words of each language, and numbers as readers like them.

``static/widget.js`` writes numbers by the same rules; a test holds the two together.
"""

from __future__ import annotations

import math
import tomllib
from functools import cache
from pathlib import Path

GAP = "\N{NARROW NO-BREAK SPACE}"


@cache
def words(language: str = "en") -> dict[str, dict[str, str]]:
    """The words of every widget in one language: ``shared``, then a table for each widget."""
    return tomllib.loads((Path(__file__).parent / "words" / f"{language}.toml").read_text("utf-8"))


def significant(number: float) -> str:
    """Three significant digits, with the SI step: ``91.1 k``, ``0.72``.

    >>> significant(91138.0).replace(GAP, " ")
    '91.1 k'
    """
    for step, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if float(f"{number:.3g}") >= step:
            return f"{float(f'{number / step:.3g}'):g}{GAP}{unit}"
    return f"{float(f'{number:.3g}'):g}"


def sized(number: float, unit: str = "B") -> str:
    """Three significant digits with their SI step and unit: ``328 kB``, ``989 TFLOP/s``.

    >>> sized(327_680).replace(GAP, " ")
    '328 kB'
    """
    text = significant(number)
    return f"{text}{unit}" if GAP in text else f"{text}{GAP}{unit}"


def percent(share: float) -> str:
    """A share as a percentage that says 0 or 100 only where that is exact; ``–`` for none of none.

    >>> percent(0.99999).replace(GAP, " ")
    '> 99.9 %'
    """
    if math.isnan(share):
        return "–"
    if 0 < share < 0.001:
        return f"<{GAP}0.1{GAP}%"
    if 0.999 < share < 1:
        return f">{GAP}99.9{GAP}%"
    return f"{float(f'{100 * share:.3g}'):g}{GAP}%"
