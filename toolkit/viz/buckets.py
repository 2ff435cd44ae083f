"""The widget ``Buckets``: which real pairs become candidates, by MinHash or by SimHash.

Signatures cut into b bands of r rows let a pair of Jaccard similarity s meet with probability
1 - (1 - s^r)^b. Fingerprints let it pass if at most k of their bits differ, each with probability
arccos(2s / (1 + s)) / π. Either way a curve says which pairs become candidates, and real pairs of
a corpus show it: those that do stand above the curve, the others below it, each with the count of
pairs of the corpus that it stands for.
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

from toolkit.data.dedup import Bands, PairSample, Radius
from toolkit.viz.style import COLORS
from toolkit.viz.text import percent, significant, words
from toolkit.viz.widget import Widget

BINS = 20
SPREAD = 0.618034  # the golden ratio's fraction: neighbours by similarity land far apart


class Buckets(Widget):
    """Real pairs against the S-curve, for bands and rows or for a radius that the reader moves.

    Args:
        sample: pairs with their exact Jaccard similarity and the positions where their signatures
            or fingerprints agree, from ``sample_pairs``.
        bands: for MinHash, the first setting; its precision is what the reader guesses before
            anything is shown.
        radius: for SimHash, the first setting: the most bits that may differ, 0 to half of them.
    Raises:
        ValueError: the setting is of the other method or doesn't fit the sample, the sample holds
            no pair, or it is too large for a page.

    The traits ``b`` and ``r``, or ``k`` (those of the other method are None), ``selected`` (the
    chosen pair's row in the sample, -1 for none) and ``revealed`` follow the reader, and the
    widget follows them.
    """

    name = "buckets"
    linked = ("b", "r", "k", "selected")

    record = traitlets.Dict(help="The sample, by columns.").tag(sync=True)
    b = traitlets.Int(None, allow_none=True, help="Bands.").tag(sync=True)
    r = traitlets.Int(None, allow_none=True, help="Rows of a band.").tag(sync=True)
    k = traitlets.Int(None, allow_none=True, help="Bits that may differ.").tag(sync=True)
    selected = traitlets.Int(-1, help="The chosen pair, -1 for none.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(
        self, sample: PairSample, bands: Bands | None = None, *, radius: int | None = None
    ) -> None:
        b, r = (bands.b, bands.r) if bands else (None, None)
        rule = _rule(sample, b, r, radius)
        if len(sample.jaccard) == 0:
            raise ValueError("the sample holds no pair: draw it from texts that share a shingle")
        self._sample = sample
        setting = {name: getattr(rule, name, None) for name in ("b", "r", "k")}
        super().__init__(record=_columns(sample), **setting)

    @traitlets.validate("words")
    def _with_those_of_the_method(self, proposal: Any) -> dict[str, str]:
        return words()[f"{self.name}_{self._sample.method}"] | proposal["value"]

    @traitlets.validate("b", "r", "k")
    def _valid(self, proposal: Any) -> int | None:
        setting = {"b": self.b, "r": self.r, "k": self.k}
        setting[proposal["trait"].name] = proposal["value"]
        try:
            _rule(self._sample, **setting)
        except ValueError as wrong:
            raise traitlets.TraitError(str(wrong)) from None
        return proposal["value"]

    @property
    def rule(self) -> Bands | Radius:
        """The present setting."""
        return _rule(self._sample, self.b, self.r, self.k)

    def met(self) -> np.ndarray:
        """Whether each pair of the sample is a candidate, at the present setting."""
        rule = self.rule
        agree = np.unpackbits(self._sample.agree, axis=1, count=self._sample.positions)
        if isinstance(rule, Radius):
            return np.count_nonzero(agree == 0, axis=1) <= rule.k
        bands = agree[:, : rule.b * rule.r].reshape(-1, rule.b, rule.r)
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
            setting=self._setting(),
            threshold=significant(threshold),
            recall=percent(totals["recall"]),
            candidates=_pairs(totals["candidates"]),
            precision=percent(totals["precision"]),
            detect=percent(self.rule.probability(threshold)),
        )

    def _setting(self) -> str:
        words, rule = self.words, self.rule
        if isinstance(rule, Radius):
            return words["setting"].format(k=rule.k, positions=rule.bits)
        bands = words["band" if rule.b == 1 else "bands"].format(n=rule.b)
        rows = words["row" if rule.r == 1 else "rows"].format(n=rule.r)
        return words["setting"].format(bands=bands, rows=rows)

    def picture(self) -> Figure:
        """The widget's picture: candidates above the curve, the pairs left out below it."""
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
        high = self.rule.probability(0.5) > 0.5  # then the curve runs where the legend would be
        axes.legend(
            loc="lower right" if high else "upper left",
            bbox_to_anchor=(1, 0.24) if high else (0, 0.76),
        )
        return figure

    def _draw_curve(self, axes: Axes) -> None:
        words, threshold = self.words, self._sample.threshold
        s = np.linspace(0, 1, 401)
        share = self.rule.probability(s)
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


def _rule(
    sample: PairSample, b: int | None = None, r: int | None = None, k: int | None = None
) -> Bands | Radius:
    """The setting that makes pairs of the sample candidates, if it is one of its method's."""
    positions = sample.positions
    if sample.method == "minhash":
        if b is None or r is None or k is not None:
            raise ValueError("MinHash signatures take bands and no radius: Bands(9, 13), say")
        if b < 1 or r < 1 or b * r > positions:
            raise ValueError(
                f"{b} bands of {r} rows don't fit a signature of {positions} numbers: both are at "
                f"least 1, and their product is at most {positions}"
            )
        return Bands(b, r)
    if k is None or b is not None or r is not None:
        raise ValueError("SimHash fingerprints take a radius and no bands: radius=10, say")
    if not 0 <= k <= positions // 2:
        raise ValueError(
            f"radius must be 0 to {positions // 2}, got {k}: unrelated fingerprints differ in half "
            f"of their {positions} bits"
        )
    return Radius(k, positions)


def _pairs(count: float) -> str:
    return significant(math.floor(count + 0.5))


def _columns(sample: PairSample) -> dict[str, Any]:
    return {
        "method": sample.method,
        "jaccard": sample.jaccard.tolist(),
        "agree": b64encode(np.ascontiguousarray(sample.agree).tobytes()).decode(),
        "stands_for": sample.stands_for.tolist(),
        "documents": sample.documents.tolist(),
        "positions": int(sample.positions),
        "threshold": float(sample.threshold),
        "total_pairs": int(sample.total_pairs),
    }
