"""The widget ``Heads``: how query heads share keys and values, and what the cache pays for it.

Each layer keeps of every token 2 · n_kv · d_h numbers, a key and a value of each KV head, or, in
multi-head latent attention, d_c + d_h^R. The picture has both to scale under the query heads that
read them, and real models on a scale of bytes a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from toolkit.models.attention import AttentionShape, kv_bytes_per_token
from toolkit.viz.style import COLORS
from toolkit.viz.text import significant, sized
from toolkit.viz.widget import Widget

MEMORY = 80_000_000_000
"""Bytes that conversations have to fit in: those of an accelerator with 80 GB."""

HEADS = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
LATENTS = (64, 128, 256, 512, 1024, 2048)
CONTEXTS = tuple(2**power for power in range(10, 21))
FIRST_CONTEXT = 32_768
MARKERS = {"MHA": "s", "GQA": "o", "MQA": "^", "MLA": "D"}


class Heads(Widget):
    """Query heads above the keys and values that they share, and the bytes of the cache.

    Args:
        models: those to start from, marked on the scale; each with a name of its own.
        first: the name of the one that is shown first; where it shares, by what factor that
            shrinks its cache is what the reader guesses. The first of ``models`` by default.
    Raises:
        ValueError: there are no models, two have one name, one has fewer than two query heads,
            or ``first`` is none of them.

    The traits ``preset`` (the model that gives layers and head_dim), ``heads``, ``kv_heads``,
    ``latent`` (MLA's width; at 0 keys and values are cached themselves, by KV heads), ``context``
    (in tokens) and ``revealed`` follow the reader, and the widget follows them.
    """

    name = "heads"
    linked = ("preset", "heads", "kv_heads", "latent", "context")

    record = traitlets.Dict(help="The models, by columns, and the choices.").tag(sync=True)
    preset = traitlets.Int(help="Which model gives the other numbers.").tag(sync=True)
    heads = traitlets.Int(help="Query heads of a layer.").tag(sync=True)
    kv_heads = traitlets.Int(help="KV heads of a layer, without a latent.").tag(sync=True)
    latent = traitlets.Int(help="Width of MLA's latent; 0 for none.").tag(sync=True)
    context = traitlets.Int(FIRST_CONTEXT, help="Tokens in the cache.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(self, models: Sequence[AttentionShape], first: str | None = None) -> None:
        names = [model.name for model in models]
        _refuse(models, names, first)
        self._models = tuple(models)
        preset = names.index(first) if first else 0
        shown = self._models[preset]
        super().__init__(
            record=_columns(self._models),
            preset=preset,
            heads=shown.heads,
            kv_heads=shown.kv_heads,
            latent=shown.latent,
            revealed=shown.kind == "MHA",
        )

    @property
    def shape(self) -> AttentionShape:
        """The present choice, with the layers and the head_dim of the present model."""
        model = self._models[self.preset]
        return AttentionShape(
            name=model.name,
            layers=model.layers,
            heads=self.heads,
            kv_heads=self.heads if self.latent else self.kv_heads,
            head_dim=model.head_dim,
            latent=self.latent,
            rope_dim=_rope_dim(model) if self.latent else 0,
        )

    def bytes(self) -> int:
        """Bytes that ``context`` tokens take in the cache, over all layers, in bf16."""
        return kv_bytes_per_token(self.shape) * self.context

    @traitlets.validate("preset", "heads", "kv_heads", "latent", "context")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        choices = {
            "preset": range(len(self._models)),
            "heads": self.record["heads_choices"],
            "kv_heads": [n for n in range(1, self.heads + 1) if self.heads % n == 0],
            "latent": [0, *self.record["latent_choices"]],
            "context": CONTEXTS,
        }[name]
        if value not in choices:
            allowed = ", ".join(map(str, choices))
            raise traitlets.TraitError(f"{name} must be one of {allowed}, got {value}")
        return value

    @traitlets.observe("heads")
    def _fit_kv_heads(self, _: Any) -> None:
        if self.heads % self.kv_heads:
            self.kv_heads = max(n for n in range(1, self.kv_heads) if self.heads % n == 0)

    def summary(self) -> str:
        """The present choice, and what a token and the whole context take."""
        shape = self.shape
        per_token = kv_bytes_per_token(shape)
        most = kv_bytes_per_token(unshared(shape))
        factor = max(most / per_token, per_token / most)
        compared = self.words["less" if per_token < most else "more"]
        return self.words["summary"].format(
            name=shape.name,
            sharing=self._sharing(),
            bytes=f"{per_token:,}",
            compared="" if shape.kind == "MHA" else compared.format(factor=significant(factor)),
            context=f"{self.context:,}",
            size=sized(self.bytes()),
            memory=sized(MEMORY),
            count=f"{MEMORY // self.bytes():,}",
        )

    def _sharing(self) -> str:
        shape = self.shape
        return self.words[f"sharing_{shape.kind.lower()}"].format(
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            each=shape.heads // shape.kv_heads,
            latent=f"{shape.latent:,}",
            rope_dim=shape.rope_dim,
        )

    def picture(self) -> Figure:
        """The widget's picture: who shares what, to scale, above the models' bytes a token."""
        figure = Figure(figsize=(7.2, 2.4 + 0.26 * len(self._models)))
        upper, lower = figure.subplots(2, height_ratios=(1.3, 0.5 + 0.26 * len(self._models)))
        upper.set_title(self.words["title"])
        _draw_sharing(upper, self.shape, self.words)
        upper.text(0, 1, self._sharing(), transform=upper.transAxes, va="top", fontsize=9)
        self._draw_scale(lower)
        return figure

    def _draw_scale(self, axes: Axes) -> None:
        chosen = kv_bytes_per_token(self.shape)
        rows = [(self.words["choice"], self.shape), *((m.name, m) for m in self._models)]
        for row, (_, shape) in enumerate(rows):
            color = COLORS["peer" if row else "ours"]
            value, most = kv_bytes_per_token(shape), kv_bytes_per_token(unshared(shape))
            axes.plot([value, most], [row, row], "-", color=color, linewidth=1)
            axes.plot(most, row, "s", color=color, markerfacecolor=COLORS["page"], markersize=6)
            axes.plot(value, row, MARKERS[shape.kind], color=color, markersize=7)
        axes.axvline(chosen, color=COLORS["ours"], linewidth=1, linestyle=":")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: sized(value))
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel(self.words["scale"])
        labels = [f"{name}  {sized(kv_bytes_per_token(shape))}" for name, shape in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        look: dict[str, Any] = {"color": COLORS["peer"], "linestyle": "none", "markersize": 6}
        keys = [Line2D([], [], marker=MARKERS[kind], label=kind, **look) for kind in MARKERS]
        keys.append(
            Line2D([], [], marker="s", label=self.words["unshared"], markerfacecolor="none", **look)
        )
        axes.legend(
            handles=keys, ncols=5, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8,
            handletextpad=0.1, columnspacing=1, borderpad=0.2,
        )  # fmt: skip


def unshared(shape: AttentionShape) -> AttentionShape:
    """The same model with keys and values of its own for every query head."""
    return AttentionShape(shape.name, shape.layers, shape.heads, shape.heads, shape.head_dim)


def _refuse(models: Sequence[AttentionShape], names: list[str], first: str | None) -> None:
    if not models:
        raise ValueError("there are no models: give one at least, or all of MODELS")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"each model needs a name of its own, and two are {twice[0]!r}")
    if alone := [model for model in models if model.heads < 2]:
        raise ValueError(
            f"{alone[0].name} has a single query head, which has none to share with: "
            "give models with two at least"
        )
    if first is not None and first not in names:
        raise ValueError(f"first must be one of {', '.join(names)}, got {first!r}")


def _columns(models: Sequence[AttentionShape]) -> dict[str, Any]:
    latents = [model.latent or _own_latent(model) for model in models]
    return {
        "names": [model.name for model in models],
        "layers": [model.layers for model in models],
        "heads": [model.heads for model in models],
        "kv_heads": [model.kv_heads for model in models],
        "head_dim": [model.head_dim for model in models],
        "latent": [model.latent for model in models],
        "own_latent": latents,
        "rope_dim": [_rope_dim(model) for model in models],
        "heads_choices": sorted({*HEADS, *(model.heads for model in models)}),
        "latent_choices": sorted({*LATENTS, *latents}),
        "contexts": list(CONTEXTS),
        "sources": [model.source for model in models],
        "memory": MEMORY,
    }


def _own_latent(model: AttentionShape) -> int:
    """MLA's width for a model without: d_c = 4 d_h, as in DeepSeek-V2."""
    return 4 * model.head_dim


def _rope_dim(model: AttentionShape) -> int:
    """MLA's rotated key, d_h^R = d_h / 2 for a model without, as in DeepSeek-V2."""
    return model.rope_dim or max(1, model.head_dim // 2)


def _draw_sharing(axes: Axes, shape: AttentionShape, words: dict[str, str]) -> None:
    heads = shape.heads
    stored = (shape.latent + shape.rope_dim) / (2 * shape.head_dim) if shape.latent else 0
    middle = heads / 2

    def cell(at: tuple[float, float], width: float, height: float, color: str, **look: Any) -> None:
        edge: dict[str, Any] = {"edgecolor": COLORS["page"], "linewidth": 0.5} | look
        axes.add_patch(Rectangle(at, width, height, facecolor=COLORS[color], **edge))

    def letter(left: float, middle: float, text: str) -> None:
        look: dict[str, Any] = {"ha": "right", "va": "center", "color": COLORS["muted"]}
        axes.annotate(text, (left, middle), (-4, 0), textcoords="offset points", **look)

    letter(0, 3.4, "Q")
    for head in range(heads):
        cell((head + 0.1, 3), 0.8, 0.8, "prefill")
    if shape.latent:
        wide = shape.latent / (2 * shape.head_dim)
        left, border = middle - stored / 2, middle - stored / 2 + wide
        cell((left, 0), wide, 1.3, "hit")
        cell((border, 0), stored - wide, 1.3, "page", edgecolor=COLORS["hit"], hatch="////")
        latent = words["latent_box"].format(latent=f"{shape.latent:,}")
        rotated = words["rope_box"].format(rope_dim=shape.rope_dim)
        small: dict[str, Any] = {"textcoords": "offset points", "va": "top", "fontsize": 8}
        axes.annotate(latent, (border, 0), (-4, -2), ha="right", **small)
        axes.annotate(rotated, (border, 0), (4, -2), ha="left", **small)
        ends = [middle] * heads
    else:
        each = heads // shape.kv_heads
        ends = [(head // each + 0.5) * each for head in range(heads)]
        for bottom, text in ((0.7, "K"), (0, "V")):
            letter(ends[0] - 0.4, bottom + 0.3, text)
            for end in dict.fromkeys(ends):
                cell((end - 0.4, bottom), 0.8, 0.6, "hit")
    lines = [[(head + 0.5, 3), (end, 1.3)] for head, end in enumerate(ends)]
    axes.add_collection(LineCollection(lines, colors=COLORS["peer"], linewidths=0.6))
    axes.set_xlim(min(0, middle - stored / 2), max(heads, middle + stored / 2))
    axes.set_ylim(-1, 4.9)
    axes.set_axis_off()
