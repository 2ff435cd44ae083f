"""The widget ``Buckets``: which real pairs meet, for signatures cut into b bands of r rows.

A pair of Jaccard similarity s shares at least one band with probability 1 - (1 - s^r)^b. The curve
says so, and real pairs of a corpus show it: those that meet stand above the curve, those that
don't below it, each with the count of pairs of the corpus that it stands for.
"""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Any

import numpy as np
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toolkit.data.dedup import Bands, PairSample
from toolkit.viz.style import COLORS
from toolkit.viz.text import percent, significant
from toolkit.viz.widget import Widget

BINS = 20
SPREAD = 0.618034  # the golden ratio's fraction: neighbours by similarity land far apart


class Buckets(Widget):
    """Real pairs against the S-curve, for a number of bands and rows that the reader moves.

    Args:
        sample: pairs with their exact Jaccard similarity and the positions where their signatures
            agree, from ``sample_pairs``.
        bands: the first setting; its precision is what the reader guesses before anything is shown.
    Raises:
        ValueError: the bands need more positions than a signature has, the sample holds no pair,
            or it is too large for a page.

    The traits ``b``, ``r``, ``selected`` (the chosen pair's row in the sample, -1 for none) and
    ``revealed`` follow the reader, and the widget follows them.
    """

    name = "buckets"
    linked = ("b", "r", "selected")

    record = traitlets.Dict(help="The sample, by columns.").tag(sync=True)
    b = traitlets.Int(help="Bands.").tag(sync=True)
    r = traitlets.Int(help="Rows of a band.").tag(sync=True)
    selected = traitlets.Int(-1, help="The chosen pair, -1 for none.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(self, sample: PairSample, bands: Bands) -> None:
        if not _fits(bands.b, bands.r, sample.num_perm):
            raise ValueError(_too_many(bands.b, bands.r, sample.num_perm))
        if len(sample.jaccard) == 0:
            raise ValueError("the sample holds no pair: draw it from texts that share a shingle")
        self._sample = sample
        super().__init__(record=_columns(sample), b=bands.b, r=bands.r)

    @traitlets.validate("b", "r")
    def _valid(self, proposal: Any) -> int:
        cut = {"b": self.b, "r": self.r} | {proposal["trait"].name: proposal["value"]}
        if not _fits(**cut, num_perm=self._sample.num_perm):
            raise traitlets.TraitError(_too_many(**cut, num_perm=self._sample.num_perm))
        return proposal["value"]

    @property
    def bands(self) -> Bands:
        """The present setting."""
        return Bands(self.b, self.r)

    def met(self) -> np.ndarray:
        """Whether each pair of the sample shares at least one band, at the present setting."""
        agree = np.unpackbits(self._sample.agree, axis=1, count=self._sample.num_perm)
        used = agree[:, : self.b * self.r]
        bands = used.reshape(-1, self.b, self.r)
        return np.any(np.all(bands, axis=2), axis=1)

    def outcome(self) -> dict[str, float]:
        """Pairs of the corpus, estimated: found, missed, wasted, skipped; recall and precision."""
        weight, met = self._sample.stands_for, self.met()
        alike = self._sample.jaccard >= self._sample.threshold
        found, missed = weight[met & alike].sum(), weight[~met & alike].sum()
        wasted = weight[met & ~alike].sum()
        skipped = self._sample.total_pairs - found - missed - wasted
        with np.errstate(invalid="ignore"):
            recall, precision = found / (found + missed), found / (found + wasted)
        names = ("found", "missed", "wasted", "skipped", "candidates", "recall", "precision")
        values = (found, missed, wasted, skipped, found + wasted, recall, precision)
        return dict(zip(names, map(float, values), strict=True))

    def summary(self) -> str:
        """The present setting and what it finds, in one sentence or three."""
        totals, threshold = self.outcome(), self._sample.threshold
        return self.words["summary"].format(
            cut=self._cut(),
            threshold=significant(threshold),
            recall=percent(totals["recall"]),
            candidates=_pairs(totals["candidates"]),
            precision=percent(totals["precision"]),
            detect=percent(self.bands.probability(threshold)),
        )

    def _cut(self) -> str:
        words, b, r = self.words, self.b, self.r
        bands = words["band" if b == 1 else "bands"].format(n=b)
        return words["cut"].format(bands=bands, rows=words["row" if r == 1 else "rows"].format(n=r))

    def picture(self) -> Figure:
        """The widget's picture: pairs that meet above the curve, those that never do below it."""
        figure = Figure(figsize=(7.2, 4.6))
        axes = figure.add_subplot()
        self._draw_curve(axes)
        self._draw_pairs(axes)
        axes.set_title(self.words["title"])
        axes.set_xlabel(self.words["similarity"])
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.42, 1.42)
        axes.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper left", bbox_to_anchor=(0, 0.76))
        return figure

    def _draw_curve(self, axes: Axes) -> None:
        words, threshold = self.words, self._sample.threshold
        s = np.linspace(0, 1, 401)
        share = self.bands.probability(s)
        wrong: dict[str, Any] = {
            "facecolor": "none",
            "edgecolor": COLORS["missed"],
            "hatch": "////",
            "linewidth": 0,
        }
        axes.fill_between(s, 0, share, where=s <= threshold, **wrong)
        axes.fill_between(s, share, 1, where=s >= threshold, **wrong)
        for low in (-0.42, 1.06):
            axes.axhspan(low, low + 0.36, color=COLORS["surface"], zorder=0)
        limit = words["threshold"].format(threshold=significant(threshold))
        axes.axvline(threshold, color=COLORS["limit"], linestyle="--", linewidth=1.2, label=limit)
        axes.plot(s, share, color=COLORS["ours"], linestyle="-", label=words["formula"])

        sample, met = self._sample, self.met()
        bins = np.minimum((sample.jaccard * BINS).astype(int), BINS - 1)
        weight = np.bincount(bins, sample.stands_for, BINS)
        some = weight > 0
        at = np.bincount(bins, sample.stands_for * sample.jaccard, BINS)[some] / weight[some]
        measured = np.bincount(bins, sample.stands_for * met, BINS)[some] / weight[some]
        axes.plot(
            at, measured, "o", color=COLORS["ours"], markerfacecolor=COLORS["page"],
            markeredgewidth=1.6, markersize=6, label=words["measured"],
        )  # fmt: skip

    def _draw_pairs(self, axes: Axes) -> None:
        sample, met, totals = self._sample, self.met(), self.outcome()
        alike = sample.jaccard >= sample.threshold
        order = np.argsort(sample.jaccard, kind="stable")
        spread = np.empty(len(order))
        spread[order] = (np.arange(len(order)) * SPREAD) % 1 * 0.24
        hit, missed, peer = COLORS["hit"], COLORS["missed"], COLORS["peer"]
        fates = (
            ("skipped", ~met & ~alike, "o", COLORS["waiting"], peer, (0.02, -0.4)),
            ("wasted", met & ~alike, "^", "none", missed, (0.02, 1.34)),
            ("found", met & alike, "o", hit, hit, (0.98, 1.34)),
            ("missed", ~met & alike, "D", missed, missed, (0.98, -0.4)),
        )
        for name, which, marker, fill, edge, (x, y) in fates:
            height = spread[which] + np.where(met[which], 1.08, -0.32)
            look: dict[str, Any] = {"marker": marker, "markersize": 4, "markerfacecolor": fill}
            look |= {"markeredgecolor": edge, "linestyle": "none", "markeredgewidth": 0.8}
            axes.plot(sample.jaccard[which], height, **look)
            text = f"{self.words[name]} {_pairs(totals[name])}"
            key = Line2D([], [], label=text, **look)
            corner = axes.legend(
                handles=[key], loc="center left" if x < 0.5 else "center right",
                bbox_to_anchor=(x, (y + 0.45) / 1.84), borderpad=0, handletextpad=0.2,
            )  # fmt: skip
            axes.add_artist(corner)


def _fits(b: int, r: int, num_perm: int) -> bool:
    return b >= 1 and r >= 1 and b * r <= num_perm


def _too_many(b: int, r: int, num_perm: int) -> str:
    return (
        f"{b} bands of {r} rows don't fit a signature of {num_perm} numbers: both are at least 1, "
        f"and their product is at most {num_perm}"
    )


def _pairs(count: float) -> str:
    return significant(math.floor(count + 0.5))


def _columns(sample: PairSample) -> dict[str, Any]:
    return {
        "jaccard": sample.jaccard.tolist(),
        "agree": b64encode(np.ascontiguousarray(sample.agree).tobytes()).decode(),
        "stands_for": sample.stands_for.tolist(),
        "documents": sample.documents.tolist(),
        "num_perm": int(sample.num_perm),
        "threshold": float(sample.threshold),
        "total_pairs": int(sample.total_pairs),
    }
