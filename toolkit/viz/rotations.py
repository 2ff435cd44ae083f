"""The widget ``Rotations``: the pairs of a head that RoPE turns, each a dial with one hand.

RoPE writes a position m as the digits of a number are written: pair i is a wheel that turns by
θ_i = β^(-i) a position, each wheel β = base^(2/d) times slower than the one before. Training moves
a fast hand all the way round and a slow one only along an arc. Past the trained length a slow hand
goes where no training text took it, and interpolation, NTK-aware scaling and YaRN are three ways
to bring it back.
"""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Any

import numpy as np
import traitlets
from jaxtyping import Bool, Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, Wedge

from toolkit.models.positions import Dials
from toolkit.viz.style import COLORS
from toolkit.viz.text import percent, significant
from toolkit.viz.widget import Widget

TURN = 2 * math.pi
SLACK = 1e-9
"""How far past the end of an arc, as a share of it, is rounding and not extrapolation."""

COLUMNS = 8
RIM, LABEL, ROW = 0.82, 1.24, 2.6  # of the picture: a dial's radius, its label's depth, a row


class Rotations(Widget):
    """The dials of a head at a position, as trained and with the context stretched.

    Args:
        dials: the frequencies of a head's pairs by each method and factor. The first method is
            the model as trained: its frequencies say which arcs training showed.
    Raises:
        ValueError: the frequencies are not one positive number for each method, factor and pair,
            fastest first, or there are too many for a page.

    The traits ``position``, ``method`` and ``factor`` (as indices into the record's), ``dial``
    (the chosen pair, -1 for none) and ``revealed`` follow the reader, and the widget follows them.
    """

    name = "rotations"
    linked = ("position", "method", "factor", "dial")

    record = traitlets.Dict(help="The dials, by columns.").tag(sync=True)
    position = traitlets.Int(help="The position, 0 to `longest`.").tag(sync=True)
    method = traitlets.Int(0, help="Which method.").tag(sync=True)
    factor = traitlets.Int(0, help="Which factor.").tag(sync=True)
    dial = traitlets.Int(-1, help="The chosen dial, -1 for none.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(self, dials: Dials) -> None:
        _refuse_misfits(dials)
        self._dials = dials
        super().__init__(
            record=_columns(dials, self.longest),
            position=2 * dials.trained,
            factor=next((at for at, factor in enumerate(dials.factors) if factor > 1), 0),
        )

    @property
    def longest(self) -> int:
        """The last position: as far as the largest factor stretches, twice the trained at least."""
        return round(self._dials.trained * max(2, *self._dials.factors))

    @traitlets.validate("position", "method", "factor", "dial")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        methods, factors, pairs = self._dials.frequencies.shape
        least = -1 if name == "dial" else 0
        most = {
            "position": self.longest,
            "method": methods - 1,
            "factor": factors - 1,
            "dial": pairs - 1,
        }[name]
        if not least <= value <= most:
            raise traitlets.TraitError(f"{name} must be {least} to {most}, got {value}")
        return value

    def frequencies(self) -> Float64[np.ndarray, " pairs"]:
        """Radians a position of each dial, by the present method and factor."""
        return self._dials.frequencies[self.method, self.factor]

    def angles(self) -> Float64[np.ndarray, " pairs"]:
        """Where each hand stands at the present position, in radians, 0 to 2π."""
        return self.turned() % TURN

    def arcs(self) -> Float64[np.ndarray, " pairs"]:
        """How far round each dial training went, in radians from 0: 2π where all the way."""
        return np.minimum(TURN, self._dials.trained * self._dials.frequencies[0, 0])

    def turned(self) -> Float64[np.ndarray, " pairs"]:
        """How far each hand turned on its way to the present position, in radians."""
        return self.position * self.frequencies()

    def outside(self) -> Bool[np.ndarray, " pairs"]:
        """Whether each dial went past its arc: a hand that came round may be back in it."""
        return (self.arcs() < TURN) & (self.turned() > self.arcs() * (1 + SLACK))

    def summary(self) -> str:
        """The present setting, how many dials are outside, and how fine the fastest one is."""
        words, outside = self.words, self.outside()
        setting = words["setting"] if self.method else words["setting_trained"]
        step, trained = self.frequencies()[0], self._dials.frequencies[0, 0, 0]
        return words["summary"].format(
            setting=setting.format(
                method=self._dials.methods[self.method],
                factor=significant(self._dials.factors[self.factor]),
            ),
            position=f"{self.position:,}",
            times=significant(self.position / self._dials.trained),
            outside=np.count_nonzero(outside),
            pairs=len(outside),
            step=significant(math.degrees(step)),
            share=percent(step / trained),
        )

    def picture(self) -> Figure:
        """The widget's picture: every dial with its arc, its hand and its wavelength."""
        rows = -(-len(self.arcs()) // COLUMNS)
        figure = Figure(figsize=(7.2, 1.1 + 1.13 * rows))
        axes = figure.add_subplot()
        axes.set_title(self.words["title"])
        axes.set_axis_off()
        axes.set_aspect("equal")
        axes.set_xlim(-1, 2 * COLUMNS - 1)
        axes.set_ylim(-ROW * rows + 1.1, 1.1)
        dials = zip(self.turned(), self.arcs(), self.outside(), self.frequencies(), strict=True)
        for at, (turned, arc, outside, frequency) in enumerate(dials):
            x, y = 2 * (at % COLUMNS), -ROW * (at // COLUMNS)
            _draw_dial(axes, x, y, turned, arc, outside=outside)
            axes.text(x, y - LABEL, significant(TURN / frequency), ha="center", fontsize=8)
        arcs = [Patch(facecolor=COLORS[color], alpha=0.3) for color in ("hit", "missed")]
        hands = [
            Line2D([], [], color=COLORS[color], marker=mark, linestyle="-")
            for color, mark in (("ours", "o"), ("missed", "D"))
        ]
        names = [self.words[f"key_{name}"] for name in ("seen", "new", "inside", "outside")]
        figure.legend([*arcs, *hands], names, loc="outside lower left", ncols=4, fontsize=8)
        return figure


def _refuse_misfits(dials: Dials) -> None:
    frequencies = np.asarray(dials.frequencies)
    shape = (len(dials.methods), len(dials.factors))
    if frequencies.ndim != 3 or frequencies.shape[:2] != shape or 0 in frequencies.shape:
        raise ValueError(
            f"{shape[0]} methods and {shape[1]} factors need frequencies of shape "
            f"({shape[0]}, {shape[1]}, pairs), got {frequencies.shape}"
        )
    falling = np.all(np.diff(frequencies, axis=2) <= 0)
    if not (np.all(np.isfinite(frequencies)) and np.all(frequencies > 0) and falling):
        raise ValueError(
            "the frequencies of each method must be positive and go from fast to slow: "
            "give them as radians a position, pair 0 first"
        )
    if dials.trained < 1:
        raise ValueError(f"the trained length must be at least 1, got {dials.trained}")


def _columns(dials: Dials, longest: int) -> dict[str, Any]:
    return {
        "trained": dials.trained,
        "longest": longest,
        "methods": list(dials.methods),
        "factors": list(dials.factors),
        "frequencies": b64encode(np.asarray(dials.frequencies, "<f8").tobytes()).decode(),
    }


def _draw_dial(axes: Axes, x: float, y: float, turned: float, arc: float, *, outside: bool) -> None:
    """A clock: angle 0 is at the top, and hands go clockwise."""

    def sector(start: float, end: float, color: str) -> None:
        ends = (90 - math.degrees(end), 90 - math.degrees(start))
        axes.add_patch(Wedge((x, y), RIM, *ends, facecolor=COLORS[color], alpha=0.3, linewidth=0))

    sector(0, arc, "hit")
    rim: dict[str, Any] = {"edgecolor": COLORS["peer"], "linewidth": 0.8}
    if outside:
        sector(arc, min(TURN, turned), "missed")
        rim = {"edgecolor": COLORS["missed"], "linewidth": 1.6, "linestyle": "--"}
    axes.add_patch(Circle((x, y), RIM, facecolor="none", **rim))
    angle = turned % TURN
    color, mark = ("missed", "D") if angle > arc * (1 + SLACK) else ("ours", "o")
    tip = (x + 0.68 * RIM * math.sin(angle), y + 0.68 * RIM * math.cos(angle))
    axes.plot(
        (x, tip[0]), (y, tip[1]), color=COLORS[color], linestyle="-", linewidth=2,
        marker=mark, markevery=[1], markersize=5,
    )  # fmt: skip
