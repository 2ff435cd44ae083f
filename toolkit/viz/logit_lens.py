"""The widget ``LogitLens``: what a model would say next if it ended at each of its depths.

The final norm and the unembedding turn the last layer's residual stream into logits. Applied to the
residual stream of an earlier layer, or of the embedding, they tell what the model would say if that
were the end of it: the logit lens.

Source:
    nostalgebraist, "interpreting GPT: the logit lens", LessWrong, 2020.
"""

from __future__ import annotations

import warnings
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from toolkit.viz.segmentation import spelled
from toolkit.viz.style import COLORS
from toolkit.viz.text import percent, significant
from toolkit.viz.widget import Widget

if TYPE_CHECKING:  # it imports torch, which takes seconds, and only its fields are used here
    from toolkit.models.llama import Lens

MOST_TOKENS = 64
"""The most tokens of a text, typed or given."""

PRINTED = 10  # tokens that fit the width of the picture
LAST_SAID = 6  # tokens of the text before a cell that are repeated in words
STRONGEST = 0.45  # a cell's fill at 100 %: text on it has a contrast of at least 4.5


class LogitLens(Widget):
    """A text's tokens across, depth upwards: each cell is what that depth would say next.

    Args:
        lens: what each depth says after each token of a text.
        look: gives that of a text that the reader types in JupyterLab; a ``ValueError`` of its own
            is shown to the reader. Without it, and on a static page, the text stays.
    Raises:
        ValueError: the record's arrays don't fit together, its last depth doesn't rank its own
            answer first, or the text has no tokens or too many for a page.

    The traits ``token`` (which of the text's tokens, from 0), ``depth`` (0 is the embedding),
    ``typed`` and ``revealed`` follow the reader, and the widget follows them.
    """

    name = "logit_lens"
    linked = ("token", "depth")

    record = traitlets.Dict(help="The lens, by columns.").tag(sync=True)
    token = traitlets.Int(0, help="After which token the model speaks.").tag(sync=True)
    depth = traitlets.Int(0, help="Where it ends: 0 is the embedding.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)
    live = traitlets.Bool(False, help="Whether Python looks at what is typed.").tag(sync=True)
    typed = traitlets.Unicode(help="What the reader typed.").tag(sync=True)
    refused = traitlets.Unicode(help="Why it was not looked at, or nothing.").tag(sync=True)

    def __init__(self, lens: Lens, look: Callable[[str], Lens] | None = None) -> None:
        _check(lens)
        self.lens = lens
        self._look = look
        depths, tokens = lens.said.shape
        super().__init__(
            record=_columns(lens), token=tokens - 1, depth=depths - 1, live=look is not None
        )

    @property
    def answer(self) -> int:
        """What the last depth says after the present token, as an index into the vocabulary."""
        return int(self.lens.top[-1, self.token, 0])

    @property
    def first_choice(self) -> int:
        """The first depth at which the answer after the present token is the first choice."""
        return int(np.argmax(self.lens.ranks[:, self.token] == 0))

    @property
    def settled(self) -> int:
        """The depth from which on the answer after the present token stays the first choice."""
        others = np.flatnonzero(self.lens.ranks[:, self.token])
        return int(others[-1]) + 1 if len(others) else 0

    @traitlets.validate("token", "depth")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        most = self.lens.said.shape[("depth", "token").index(name)] - 1
        if not 0 <= value <= most:
            raise traitlets.TraitError(f"{name} must be 0 to {most}, got {value}")
        return value

    @traitlets.observe("typed")
    def _look_at_typed(self, _: Any) -> None:
        if self._look is None or not self.typed:
            return
        self.refused = ""
        try:
            lens = self._look(self.typed)
            _check(lens)
        except ValueError as wrong:
            self.refused = str(wrong)
            return
        with self.hold_sync():
            self.lens = lens
            # With what was typed it is news to the browser, even if it is the same lens.
            self.record = _columns(lens) | {"typed": self.typed}
            self.depth, self.token = (size - 1 for size in lens.said.shape)

    def state(self) -> dict[str, Any]:
        """What the browser needs to know on a page: there is no Python to look at a text."""
        return super().state() | {"live": False, "typed": "", "refused": ""}

    def summary(self) -> str:
        """The answer after the present token, where it is decided, and what the depth says."""
        lens, words, here = self.lens, self.words, (self.depth, self.token)
        said = [
            words["summary"].format(
                before=before(lens.tokens, self.token),
                answer=self._shown(self.answer),
                share=percent(float(lens.said[-1, self.token])),
                first=self._place(self.first_choice),
            )
        ]
        if self.settled > self.first_choice:
            said.append(words["summary_settled"].format(settled=self._place(self.settled)))
        if self.depth < len(lens.said) - 1:
            said.append(
                words["summary_here"].format(
                    depth=self._place(self.depth),
                    says=self._shown(int(lens.top[*here, 0])),
                    share=percent(float(lens.probabilities[*here, 0])),
                    rank=int(lens.ranks[here]) + 1,
                )
            )
        return " ".join(said)

    def picture(self) -> Figure:
        """The widget's picture: the last tokens up to the present one, and its answer by depth."""
        figure = Figure(figsize=(7.2, 1.0 + 0.165 * len(self.lens.said)))
        figure.suptitle(self.words["title"], x=0.01, ha="left", weight="bold", size="large")
        shown = range(max(0, self.token + 1 - PRINTED), self.token + 1)
        widths = [max(4, len(shown)), 1.6, 1.6]
        grid, share, rank = figure.subplots(1, 3, sharey=True, width_ratios=widths)
        self._draw_grid(grid, shown)
        self._draw_curves(share, rank)
        return figure

    def _draw_grid(self, axes: Axes, shown: range) -> None:
        lens = self.lens
        fills = np.empty((len(lens.said), len(shown), 4))
        fills[..., :3] = to_rgb(COLORS["ours"])
        fills[..., 3] = STRONGEST * lens.probabilities[:, shown, 0]
        axes.imshow(fills, aspect="auto", origin="lower", interpolation="nearest")
        for column, token in enumerate(shown):
            for depth in range(len(lens.said)):
                decided = lens.ranks[depth, token] == 0
                if decided:
                    corner = (column - 0.46, depth - 0.42)
                    axes.add_patch(
                        Rectangle(corner, 0.92, 0.84, fill=False, edgecolor=COLORS["hit"])
                    )
                axes.text(
                    column, depth, _short(self._shown(int(lens.top[depth, token, 0]))),
                    ha="center", va="center_baseline", fontsize=6, fontfamily="monospace",
                    fontweight="bold" if decided else "normal",
                )  # fmt: skip
        axes.grid(visible=False)
        axes.set_xlim(-0.5, max(4, len(shown)) - 0.5)
        axes.set_ylim(-0.5, len(lens.said) - 0.5)
        names = [_short(spelled(lens.tokens[token].encode())) for token in shown]
        axes.set_xticks(range(len(names)), names, fontfamily="monospace", fontsize=7, weight="bold")
        axes.set_xlabel(self.words["picture_key"], fontsize=7)
        axes.set_ylabel(self.words["depth_axis"], fontsize="small")
        axes.tick_params(axis="y", labelsize=7)

    def _draw_curves(self, share: Axes, rank: Axes) -> None:
        lens, depths = self.lens, np.arange(len(self.lens.said))
        share.plot(lens.said[:, self.token], depths, marker=".")
        share.set_xlim(-0.04, 1.04)
        share.xaxis.set_major_formatter(PercentFormatter(1))
        share.set_xlabel(self.words["share_axis"], fontsize="small")
        rank.plot(lens.ranks[:, self.token] + 1, depths, marker=".")
        rank.set_xscale("log")
        rank.xaxis.set_major_formatter(lambda value, _: significant(value))
        rank.set_xlim(1.6 * (int(lens.ranks.max()) + 1), 0.6)
        rank.set_xlabel(self.words["rank_axis"], fontsize="small")
        for axes in (share, rank):
            axes.axhline(self.first_choice, color=COLORS["hit"], linestyle="-", linewidth=1)
            axes.tick_params(labelsize=7)
        share.set_title(f"“{_short(self._shown(self.answer))}”", size="small", family="monospace")

    def _shown(self, index: int) -> str:
        return spelled(self.lens.vocabulary[index].encode())

    def _place(self, depth: int) -> str:
        return self.words["layer"].format(n=depth) if depth else self.words["embedding"]

    def _drawn(self, kind: str) -> bytes:
        with warnings.catch_warnings():  # the browser may have glyphs that a font here lacks
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            return super()._drawn(kind)


def before(tokens: tuple[str, ...], token: int) -> str:
    """The text up to a token, as it is shown: its last tokens, and a mark if there are more.

    >>> before(("The", " capital", " of", " France", " is"), 1)
    'The␣capital'
    """
    start = max(0, token + 1 - LAST_SAID)
    return ("…" if start else "") + spelled("".join(tokens[start : token + 1]).encode())


def _check(lens: Lens) -> None:
    tokens = len(lens.tokens)
    if not 1 <= tokens <= MOST_TOKENS:
        raise ValueError(f"a text has 1 to {MOST_TOKENS} tokens, and this one {tokens}")
    grid = lens.said.shape
    if len(grid) != 2 or grid[0] < 2 or grid[1] != tokens:
        raise ValueError(f"said must be (depths of 2 or more, {tokens} tokens), got {grid}")
    for name in ("top", "probabilities", "ranks"):
        shape = getattr(lens, name).shape
        fits = shape == grid if name == "ranks" else shape[:2] == grid and len(shape) == 3
        if not fits:
            raise ValueError(f"{name} must fit said, which is {grid}, and is {shape}")
    if lens.top.shape != lens.probabilities.shape or not lens.top.size:
        raise ValueError(
            f"top is {lens.top.shape} and probabilities are {lens.probabilities.shape}: "
            "each choice has one probability"
        )
    if not 0 <= lens.top.min() <= lens.top.max() < len(lens.vocabulary):
        raise ValueError(
            f"top names tokens {lens.top.min()} to {lens.top.max()}, and the vocabulary has "
            f"{len(lens.vocabulary)}"
        )
    if lens.ranks[-1].any():
        raise ValueError(
            f"the last depth ranks its own answers {lens.ranks[-1].tolist()}: each must be 0, first"
        )


def _columns(lens: Lens) -> dict[str, Any]:
    def packed(values: np.ndarray, dtype: str) -> str:
        return b64encode(values.astype(dtype).tobytes()).decode()

    return {
        "tokens": [spelled(token.encode()) for token in lens.tokens],
        "vocabulary": [spelled(token.encode()) for token in lens.vocabulary],
        "before": [before(lens.tokens, token) for token in range(len(lens.tokens))],
        "depths": len(lens.said),
        "k": lens.top.shape[2],
        "top": packed(lens.top, "<i4"),
        "probabilities": packed(lens.probabilities, "<f4"),
        "said": packed(lens.said, "<f4"),
        "ranks": packed(lens.ranks, "<i4"),
    }


def _short(text: str, most: int = 8) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
