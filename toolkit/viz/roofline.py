"""The widget ``Roofline``: how far below its card's limits a kernel lies, and which limit it is.

The picture has FLOP a second over FLOP a byte, both on log scales. The chosen card's roof is
min(peak, I · bandwidth); a kernel that was measured on the card lies where it ran, and any other
on the roof, where it could be at best. A sweep has kernels at several batches, which move along
it as the batch grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolkit.kernels.roofline import CARDS, Card, Point, attainable, ridge
from toolkit.viz.style import COLORS
from toolkit.viz.text import percent, significant, sized
from toolkit.viz.widget import Widget

PEAK = "16-bit"
MARKERS = "osD^vPXp"
ROOM = 2.5
"""How far the axes go beyond what they hold, as a factor."""


class Roofline(Widget):
    """Kernels under the roofs of some cards.

    Args:
        points: the kernels, eight at most, each with a name of its own; what the first could
            reach at best is what the reader guesses.
        cards: whose roofs are drawn; all of ``CARDS`` by default.
        first: the name of the card that is shown first.
        sweep: for each batch more kernels, the same ones for all; the least is shown first.
    Raises:
        ValueError: there are no points or more than eight, those of the sweep among them; two
            points or cards have one name; ``first``, or a card that a point was measured on, is
            none of the cards; or a batch of the sweep is not positive or has other kernels.

    The traits ``card`` and ``point`` (the numbers of those looked at), ``batch`` (0 without a
    sweep) and ``revealed`` follow the reader, and the widget follows them.
    """

    name = "roofline"
    linked = ("card", "point", "batch")

    record = traitlets.Dict(help="The points and the cards, by columns.").tag(sync=True)
    card = traitlets.Int(help="Whose roof is looked at.").tag(sync=True)
    point = traitlets.Int(0, help="Which kernel is looked at.").tag(sync=True)
    batch = traitlets.Int(0, help="Which batch of the sweep is looked at.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(
        self,
        points: Sequence[Point],
        cards: Sequence[Card] = tuple(CARDS.values()),
        first: str = "H200 SXM",
        *,
        sweep: Mapping[int, Sequence[Point]] | None = None,
    ) -> None:
        names = [card.name for card in cards]
        sweep = dict(sorted((sweep or {}).items()))
        _refuse_sweep(sweep)
        start = next(iter(sweep), 0)
        for moving in sweep.values() or [()]:
            _refuse([*points, *moving], names, first)
        self._fixed, self._cards, self._sweep = tuple(points), tuple(cards), sweep
        record = _columns([*points, *sweep.get(start, ())], cards)
        if sweep:
            columns = [_measures(moving, names) for moving in sweep.values()]
            record["sweep"] = {"batches": list(sweep), "fixed": len(points), "columns": columns}
        super().__init__(record=record, card=names.index(first), batch=start)

    @property
    def _points(self) -> tuple[Point, ...]:
        return (*self._fixed, *self._sweep.get(self.batch, ()))

    @traitlets.validate("batch")
    def _valid_batch(self, proposal: Any) -> int:
        value = proposal["value"]
        if value not in (self._sweep or (0,)):
            allowed = ", ".join(map(str, self._sweep or (0,)))
            raise traitlets.TraitError(f"batch must be one of {allowed}, got {value}")
        return value

    @traitlets.validate("card", "point")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        count = len(self._cards if name == "card" else self._points)
        if not 0 <= value < count:
            raise traitlets.TraitError(f"{name} must be from 0 to {count - 1}, got {value}")
        return value

    def summary(self) -> str:
        """Which limit the kernel meets first on the card, how near it can come to the peak."""
        card, point = self._cards[self.card], self._points[self.point]
        best = attainable(card, point.intensity, PEAK)
        measured = ""
        if point.achieved and point.card == card.name:
            said = {"achieved": sized(point.achieved, "FLOP/s")}
            said["part"] = percent(point.achieved / best)
            measured = self.words["ran" if point.achieved <= best else "ran_above"].format(**said)
        return self.words["summary"].format(
            card=card.name,
            name=self._name(self.point),
            bound=self.words["memory" if point.intensity < ridge(card, PEAK) else "compute"],
            intensity=significant(point.intensity),
            best=sized(best, "FLOP/s"),
            share=percent(best / card.peaks[PEAK]),
            measured=measured,
        )

    def picture(self) -> Figure:
        """The widget's picture: every kernel under the roof of the present card."""
        card = self._cards[self.card]
        rows = -(-len(self._points) // 2)
        figure = Figure(figsize=(7.2, 4.2 + 0.24 * rows))
        axes = figure.subplots()
        axes.set_title(self.words["title"])
        intensities = [point.intensity for point in self._points]
        ridges = [ridge(one, PEAK) for one in self._cards]
        span = (
            min(min(intensities) / ROOM, min(ridges) / ROOM**2),
            max(max(intensities) * ROOM, max(ridges) * ROOM**2),
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(span)
        _draw_roofs(axes, self._cards, card, span)
        for at, (marker, point) in enumerate(zip(MARKERS, self._points, strict=False)):
            ran = point.achieved if point.card == card.name else None
            height = ran or attainable(card, point.intensity, PEAK)
            face = COLORS["ours"] if ran else COLORS["page"]
            axes.plot(
                point.intensity, height, marker, color=COLORS["ours"], markerfacecolor=face,
                markersize=8, zorder=3, linestyle="none",
                label=self.words["on_card" if ran else "at_best"].format(name=self._name(at)),
            )  # fmt: skip
        axes.set_xlabel(self.words["intensity"])
        axes.set_ylabel(self.words["speed"])
        axes.xaxis.set_major_formatter(lambda value, _: significant(value))
        axes.yaxis.set_major_formatter(lambda value, _: sized(value, ""))
        figure.legend(loc="outside lower left", ncols=2, fontsize=9)
        return figure

    def _name(self, at: int) -> str:
        name = self._points[at].name
        if at < len(self._fixed):
            return name
        return self.words["swept"].format(name=name, batch=self.batch)


def _refuse(points: Sequence[Point], cards: list[str], first: str) -> None:
    names = [point.name for point in points]
    if not 1 <= len(points) <= len(MARKERS):
        raise ValueError(
            f"there are {len(points)} points: give from one to {len(MARKERS)}, as many as there "
            "are marks to tell them apart"
        )
    if twice := [name for all_ in (names, cards) for name in all_ if all_.count(name) > 1]:
        raise ValueError(f"each point and each card needs a name of its own: {twice[0]!r} is twice")
    if first not in cards:
        raise ValueError(f"first must be one of {', '.join(cards)}, got {first!r}")
    if strange := [point for point in points if point.card and point.card not in cards]:
        raise ValueError(
            f"{strange[0].name!r} was measured on {strange[0].card!r}, which is none of the cards: "
            f"{', '.join(cards)}"
        )


def _refuse_sweep(sweep: Mapping[int, Sequence[Point]]) -> None:
    names = [[point.name for point in points] for points in sweep.values()]
    for batch, own in zip(sweep, names, strict=True):
        if batch < 1:
            raise ValueError(f"a batch of the sweep must be positive, got {batch}")
        if own != names[0] or not own:
            raise ValueError(
                f"each batch of the sweep needs the same kernels in one order: batch "
                f"{next(iter(sweep))} has {names[0]}, and {batch} has {own}"
            )


def _columns(points: Sequence[Point], cards: Sequence[Card]) -> dict[str, Any]:
    names = [card.name for card in cards]
    return {
        "points": [point.name for point in points],
        **_measures(points, names),
        "cards": names,
        "peaks": [card.peaks[PEAK] for card in cards],
        "bandwidths": [card.bandwidth for card in cards],
        "sources": [card.source for card in cards],
    }


def _measures(points: Sequence[Point], cards: list[str]) -> dict[str, list[Any]]:
    return {
        "flops": [point.flops for point in points],
        "bytes": [point.bytes for point in points],
        "seconds": [point.seconds for point in points],
        "measured": [cards.index(point.card) if point.card else -1 for point in points],
    }


def _draw_roofs(axes: Axes, cards: Sequence[Card], chosen: Card, span: tuple[float, float]) -> None:
    for card in sorted(cards, key=lambda card: card is chosen):
        corners = [span[0], ridge(card, PEAK), span[1]]
        heights = [attainable(card, corner, PEAK) for corner in corners]
        look: dict[str, Any] = {"color": COLORS["peer"], "linestyle": "-", "linewidth": 0.7}
        if card is chosen:
            look = {"color": COLORS["limit"], "linestyle": "--", "linewidth": 1.8}
        axes.plot(corners, heights, **look)
    for peak in {card.peaks[PEAK] for card in cards}:
        names = [card.name for card in cards if card.peaks[PEAK] == peak and card is not chosen]
        if own := chosen.peaks[PEAK] == peak:
            names.append(f"{chosen.name} {sized(peak, 'FLOP/s')}")
        axes.annotate(
            " · ".join(names), (span[1], peak), (-4, 2), textcoords="offset points", ha="right",
            va="bottom", fontsize=8, color=COLORS["text" if own else "muted"],
        )  # fmt: skip
