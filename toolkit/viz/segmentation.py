"""The widget ``Segmentation``: the pieces that stand in a sentence, and the cut that is chosen.

A sentence is a lattice: its nodes are the places between bytes, its edges are the pieces of a
tokenizer's vocabulary that stand there, and a segmentation is a path. Viterbi finds the most
likely one from left to right, BPE merges its way to one, and with log-probabilities other paths
can be drawn with probability proportional to P^α.
"""

from __future__ import annotations

import re
import warnings
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import traitlets
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from toolkit.data.tokenizers import Lattice
from toolkit.viz.style import COLORS
from toolkit.viz.text import significant
from toolkit.viz.widget import Widget

MOST_BYTES = 400
"""The most bytes of a text, typed or given."""

MERGING = "BPE"  # the kind that merges its way to a segmentation, and has no probabilities
PER_LINE = 40
ROW = 0.42
CJK = re.compile(r"(Noto|Source Han) Sans (CJK )?SC|WenQuanYi|PingFang SC|Microsoft YaHei|SimHei")


class Segmentation(Widget):
    """Sentences as byte lattices: step through the search, draw other cuts, compare tokenizers.

    Args:
        lattices: of each sentence by each tokenizer: all those of the first sentence, then all
            those of the next, with the same kinds in the same order.
        cut: gives the lattices of a text that the reader types in JupyterLab, by the same
            tokenizers; a ``ValueError`` of its own is shown to the reader. Without it, and on a
            static page, the reader chooses among the sentences.
    Raises:
        ValueError: there are no lattices, a sentence lacks a tokenizer, a lattice's best edges are
            no path through it, or there are too many for a page.

    The traits ``sentence``, ``tokenizer``, ``step`` (-1 when the segmentation is finished),
    ``alpha`` (in hundredths, -1 when none is drawn), ``typed`` and ``revealed`` follow the reader,
    and the widget follows them.
    """

    name = "segmentation"
    linked = ("sentence", "tokenizer", "step", "alpha")

    record = traitlets.Dict(help="The lattices, by columns.").tag(sync=True)
    sentence = traitlets.Int(0, help="Which sentence.").tag(sync=True)
    tokenizer = traitlets.Int(0, help="Which tokenizer.").tag(sync=True)
    step = traitlets.Int(-1, help="Bytes read, or merges made; -1 for all.").tag(sync=True)
    alpha = traitlets.Int(-1, help="In hundredths; -1 draws nothing.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)
    live = traitlets.Bool(False, help="Whether Python cuts what is typed.").tag(sync=True)
    typed = traitlets.Unicode(help="What the reader typed.").tag(sync=True)
    refused = traitlets.Unicode(help="Why it was not cut, or nothing.").tag(sync=True)

    def __init__(
        self, lattices: Sequence[Lattice], cut: Callable[[str], Sequence[Lattice]] | None = None
    ) -> None:
        self._given = _by_sentence(lattices)
        self._sentences = self._given
        self._cut = cut
        kinds = [lattice.kind for lattice in self._given[0]]
        super().__init__(
            record=_columns(self._given), live=cut is not None, revealed=len(kinds) == 1
        )

    @property
    def lattice(self) -> Lattice:
        """The lattice of the present sentence by the present tokenizer."""
        return self._sentences[self.sentence][self.tokenizer]

    @property
    def steps(self) -> int:
        """How many steps the present lattice has: merges, or bytes read and pieces followed."""
        lattice = self.lattice
        if lattice.kind == MERGING:
            return len(lattice.merges)
        return len(lattice.text) + len(lattice.best)

    @traitlets.validate("sentence", "tokenizer", "step", "alpha")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        least = -1 if name in ("step", "alpha") else 0
        most = {
            "sentence": len(self._sentences) - 1,
            "tokenizer": len(self._sentences[0]) - 1,
            "step": self.steps,
            "alpha": 100,
        }[name]
        if not least <= value <= most:
            raise traitlets.TraitError(f"{name} must be {least} to {most}, got {value}")
        return value

    @traitlets.observe("sentence", "tokenizer")
    def _fit_step(self, _: Any) -> None:
        if self.step > self.steps:
            self.step = -1

    @traitlets.observe("typed")
    def _cut_typed(self, _: Any) -> None:
        if self._cut is None or not self.typed:
            return
        self.refused = ""
        try:
            _refuse_size(len(self.typed.encode()))
            lattices = _by_sentence(self._cut(self.typed), self.record["kinds"])
        except ValueError as wrong:
            self.refused = str(wrong)
            return
        with self.hold_sync():
            self.step = -1
            self._sentences = [*self._given, *lattices]
            self.record = _columns(self._sentences)
            self.sentence = len(self._given)

    def state(self) -> dict[str, Any]:
        """What the browser needs to know on a page: there is no Python to cut what is typed."""
        return super().state() | {"live": False, "typed": "", "refused": ""}

    def tokens(self) -> dict[str, int]:
        """How many tokens each tokenizer makes of the present sentence, by its kind."""
        return {lattice.kind: len(lattice.best) for lattice in self._sentences[self.sentence]}

    def summary(self) -> str:
        """The present sentence's pieces, and how many tokens the other tokenizers make of it."""
        lattice, words = self.lattice, self.words
        pieces = [
            spelled(lattice.text[start:end])
            for start, end in zip(
                lattice.starts[lattice.best], lattice.ends[lattice.best], strict=True
            )
        ]
        said = words["summary"].format(
            kind=lattice.kind,
            bytes=len(lattice.text),
            tokens=len(pieces),
            ratio=significant(len(lattice.text) / len(pieces)),
            pieces=" | ".join(pieces),
        )
        others = [
            words["summary_other"].format(kind=kind, tokens=tokens)
            for kind, tokens in self.tokens().items()
            if kind != lattice.kind
        ]
        return " ".join([said, *others])

    def picture(self) -> Figure:
        """The widget's picture: the chosen pieces in bold, all that stand there thin above them."""
        lattice = self.lattice
        lines = _lines(lattice)
        rows = [_stacked(lattice, start, end) for start, end in lines]
        heights = [2.6 + ROW * max((row for _, row in stack), default=0) for stack in rows]
        figure = Figure(figsize=(7.2, 0.5 + 0.27 * sum(heights)))
        axes = figure.add_subplot()
        axes.set_title(self.words["title"])
        axes.set_axis_off()
        axes.set_xlim(0, max(end - start for start, end in lines))
        axes.set_ylim(-sum(heights), 0)
        floor = 0.0
        for (start, end), stack, height in zip(lines, rows, heights, strict=True):
            floor -= height
            _draw_line(axes, lattice, start, end, stack, floor)
        return figure

    def _drawn(self, kind: str) -> bytes:
        with warnings.catch_warnings():  # the browser may have glyphs that a font here lacks
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            return super()._drawn(kind)


def spelled(piece: bytes) -> str:
    """A piece as it is shown: its characters, a mark for white space, and other bytes as hex.

    >>> spelled(" 中".encode()[:-1])
    '␣<e4 b8>'
    """
    text = piece.decode("utf-8", errors="surrogateescape")
    marked = text.translate({ord(" "): "␣", ord("\n"): "↵", ord("\t"): "⇥"})
    return re.sub(
        "[\x00-\x1f\x7f\udc80-\udcff]+",
        lambda found: f"<{found[0].encode('utf-8', 'surrogateescape').hex(' ')}>",
        marked,
    )


def _by_sentence(
    lattices: Sequence[Lattice], kinds: list[str] | None = None
) -> list[list[Lattice]]:
    kinds = kinds or list(dict.fromkeys(lattice.kind for lattice in lattices))
    if not lattices:
        raise ValueError("there are no lattices: give those of one sentence at least")
    rows = [list(lattices[at : at + len(kinds)]) for at in range(0, len(lattices), len(kinds))]
    for row in rows:
        if (found := [lattice.kind for lattice in row]) != kinds:
            raise ValueError(
                f"each sentence needs the lattices of {', '.join(kinds)}, in this order, "
                f"and one has {', '.join(found)}"
            )
    for lattice in lattices:
        _refuse_size(len(lattice.text))
        cuts = [0, *lattice.ends[lattice.best].tolist()]
        if cuts[-1] != len(lattice.text) or cuts[:-1] != lattice.starts[lattice.best].tolist():
            raise ValueError(
                f"the best edges of {lattice.kind} are no path through its "
                f"{len(lattice.text)} bytes: each has to start where the last one ended"
            )
    return rows


def _refuse_size(size: int) -> None:
    if not 1 <= size <= MOST_BYTES:
        raise ValueError(f"a text has 1 to {MOST_BYTES} bytes, and this one {size}")


def _columns(sentences: list[list[Lattice]]) -> dict[str, Any]:
    def packed(values: Any, dtype: str) -> str:
        return b64encode(np.asarray(values, dtype).tobytes()).decode()

    return {
        "kinds": [lattice.kind for lattice in sentences[0]],
        "sentences": [
            [
                {
                    "text": b64encode(lattice.text).decode(),
                    "starts": packed(lattice.starts, "<i2"),
                    "ends": packed(lattice.ends, "<i2"),
                    "ids": packed(lattice.ids, "<i4"),
                    "scores": packed(lattice.scores, "<f8"),
                    "best": packed(lattice.best, "<i4"),
                    "merges": packed(lattice.merges, "<i4"),
                }
                for lattice in row
            ]
            for row in sentences
        ],
    }


def _lines(lattice: Lattice) -> list[tuple[int, int]]:
    """Where to break the sentence: where a chosen piece ends and the fewest others are cut."""
    ends = lattice.ends[lattice.best].tolist()
    lines, start = [], 0
    while start < len(lattice.text):
        fits = [end for end in ends if start < end <= start + PER_LINE] or [ends[-1]]
        late = [end for end in fits if end > start + 0.6 * PER_LINE] or fits[-1:]
        if len(lattice.text) - start <= PER_LINE:
            late = [len(lattice.text)]
        crossing = [np.sum((lattice.starts < end) & (end < lattice.ends)) for end in late]
        end = late[max(range(len(late)), key=lambda at: (-crossing[at], at))]
        lines.append((start, end))
        start = end
    return lines


def _stacked(lattice: Lattice, begin: int, stop: int) -> list[tuple[int, int]]:
    """The edges of more than a byte that touch a line, each in the lowest row where it is free."""
    free: list[int] = []
    stack = []
    order = np.lexsort((-lattice.ends, lattice.starts)).tolist()
    for edge in order:
        start, end = int(lattice.starts[edge]), int(lattice.ends[edge])
        if end - start == 1 or end <= begin or start >= stop:
            continue
        row = next((row for row, until in enumerate(free) if until <= start), len(free))
        free[row:] = [end, *free[row + 1 :]]
        stack.append((edge, row + 1))
    return stack


def _draw_line(
    axes: Axes, lattice: Lattice, begin: int, stop: int, stack: list[tuple[int, int]], floor: float
) -> None:
    def bar(start: int, end: int, y: float, height: float, **look: Any) -> None:
        left, right = max(start, begin) - begin + 0.08, min(end, stop) - begin - 0.08
        style = f"round,pad=0,rounding_size={height / 4}"
        axes.add_patch(FancyBboxPatch((left, y), right - left, height, boxstyle=style, **look))

    fonts = ["sans-serif", *filter(CJK.match, sorted(set(font_manager.get_font_names())))][:2]
    chosen = set(lattice.best.tolist())
    for edge, row in stack:
        edgecolor, width = (COLORS["hit"], 1.2) if edge in chosen else (COLORS["peer"], 0.6)
        bar(
            lattice.starts[edge], lattice.ends[edge], floor + 1.9 + ROW * (row - 1), ROW * 0.7,
            facecolor=COLORS["waiting"], edgecolor=edgecolor, linewidth=width,
        )  # fmt: skip
    for edge in lattice.best.tolist():
        start, end = int(lattice.starts[edge]), int(lattice.ends[edge])
        if begin < end and start < stop:
            look = {"facecolor": COLORS["page"], "edgecolor": COLORS["hit"], "linewidth": 2}
            bar(start, end, floor + 0.8, 0.95, **look)
            label = spelled(lattice.text[start:end])
            raw = label == f"<{lattice.text[start:end].hex(' ')}>"
            middle = (max(start, begin) + min(end, stop)) / 2 - begin
            axes.text(
                middle, floor + 1.25, re.sub("[<> ]", "", label) if raw else label, ha="center",
                va="center_baseline", fontsize=6 if raw else 8,
                fontfamily="monospace" if raw else fonts,
            )  # fmt: skip
    for at in range(begin, stop):
        axes.text(
            at - begin + 0.5, floor + 0.4, f"{lattice.text[at]:02x}", ha="center", va="center",
            fontsize=6, fontfamily="monospace", color=COLORS["muted"],
        )  # fmt: skip
