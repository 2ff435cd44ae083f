"""One visual language: the colours of ``tokens.css`` for Python, and matplotlib's style from them.

The style sheet is the only place where a colour is written down. It is read here, so that a plot,
a widget and the site can't drift apart.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"


def static_files() -> Path:
    """The folder of style sheets and scripts, to be copied to the site's ``_static/toolkit``."""
    return STATIC


@cache
def tokens() -> dict[str, tuple[str, str]]:
    """Every colour by its name, as ``(light, dark)`` hexadecimal.

    A name whose value comes from the theme first, such as ``text``, gives its fallback.
    """
    css = (STATIC / "tokens.css").read_text(encoding="utf-8")
    rule = r"--tk-([a-z-]+):[^;]*?light-dark\((#[0-9A-Fa-f]{6}), (#[0-9A-Fa-f]{6})\)"
    return {name: (light, dark) for name, light, dark in re.findall(rule, css)}


COLORS: dict[str, str] = {name: light for name, (light, _) in tokens().items()}
"""The light colour of each meaning: ``ours``, ``peer``, ``limit``, ``prefill``, ``decode``,
``hit``, ``missed``, ``evicted``, ``waiting``; and ``text``, ``muted``, ``grid``,
``page``, ``surface``."""


def style() -> dict[Any, Any]:
    """Matplotlib settings in the colours of ``tokens.css``, for ``matplotlib.rc_context``."""
    from cycler import cycler

    cycle = [COLORS[name] for name in ("ours", "peer", "decode", "hit", "missed", "evicted")]
    lines = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1))]
    return {
        "axes.axisbelow": True,
        "axes.edgecolor": COLORS["muted"],
        "axes.facecolor": COLORS["page"],
        "axes.grid": True,
        "axes.labelcolor": COLORS["text"],
        "axes.prop_cycle": cycler(color=cycle) + cycler(linestyle=lines),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": "large",
        "axes.titleweight": "bold",
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "figure.facecolor": COLORS["page"],
        "figure.figsize": [7.0, 3.8],
        "font.family": ["sans-serif"],
        "font.size": 10.0,
        "grid.color": COLORS["grid"],
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "savefig.dpi": 160,
        "savefig.facecolor": COLORS["page"],
        "svg.fonttype": "none",
        "svg.hashsalt": "toolkit",
        "text.color": COLORS["text"],
        "xtick.color": COLORS["muted"],
        "ytick.color": COLORS["muted"],
    }


def use_style() -> None:
    """Draw every matplotlib figure from here on in the course's style.

    Example:
        >>> use_style()
    """
    import matplotlib

    matplotlib.rcParams.update(style())
