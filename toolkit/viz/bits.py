"""The widget ``Bits``: what is left of a few real weights in few bits, and where the bits lie.

A row of a layer's weights stands above the levels that a method can store, each weight joined to
its own; below it are the codes of sixteen rows, and the int32 that holds eight of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import traitlets
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from toolkit.kernels.quant_gemm.nibbles import ORDER
from toolkit.kernels.quant_gemm.record import SCALE_BITS, QuantizedWeight
from toolkit.viz.style import COLORS
from toolkit.viz.text import percent
from toolkit.viz.widget import Widget

ROWS = 16
"""Rows of the weight: a tile of Marlin's has sixteen, a word of AWQ's eight."""

METHODS = ("symmetric", "asymmetric", "nf4")
BITS = range(2, 9)
PACKED_BITS = 4
GROUPS = (32, 64, 128)
LAYOUTS = ("gptq", "awq", "marlin")
EDGE = 1.4
"""How far the picture goes past the largest weight: at 2 bits a level lies a third beyond it."""


class Bits(Widget):
    """Real weights, how each method rounds them, and how each layout packs their codes.

    Args:
        weight: sixteen rows of a layer's weight, as torch's Linear has it, by 64 or 128 inputs.
            The first row is the one that is drawn; the others share words with it.
        rounded: what ``toolkit.kernels.quant_gemm.roundings`` makes of it.
        source: which layer of which model these are, in a few words.
    Raises:
        ValueError: another shape, a weight that is not finite, or a first row of zeros.

    The traits ``method``, ``packing`` (numbers of ``METHODS`` and ``LAYOUTS``), ``bits``, ``group``
    (weights that share a scale), ``value`` (the input looked at) and ``revealed`` follow the
    reader, and the widget follows them. NF4 has four bits, whatever ``bits`` says.
    """

    name = "bits"
    linked = ("method", "bits", "group", "packing", "value")

    record = traitlets.Dict(help="The weights, and what each choice stores.").tag(sync=True)
    method = traitlets.Int(0, help="How weights are rounded.").tag(sync=True)
    bits = traitlets.Int(PACKED_BITS, help="Bits of a code.").tag(sync=True)
    group = traitlets.Int(help="Weights that share a scale.").tag(sync=True)
    packing = traitlets.Int(0, help="How codes lie in memory.").tag(sync=True)
    value = traitlets.Int(help="Which weight is looked at.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(
        self,
        weight: Float[Tensor, "16 inputs"],
        rounded: Mapping[tuple[str, int, int], QuantizedWeight],
        source: str = "",
    ) -> None:
        groups = [size for size in GROUPS if ("nf4", PACKED_BITS, size) in rounded]
        _refuse(weight, rounded, groups)
        weight = weight.detach().float().cpu()
        row = weight[0]
        codebook = rounded["nf4", PACKED_BITS, groups[0]].codebook
        super().__init__(
            record={
                "weights": [_short(value) for value in row.tolist()],
                "source": source,
                "groups": groups,
                "codebook": [] if codebook is None else codebook.tolist(),
                "stored": {
                    f"{method} {bits} {size}": _stored(weight, one, bits)
                    for (method, bits, size), one in rounded.items()
                },
            },
            group=groups[-1],
            value=int(row.abs().argmax()),
        )

    @traitlets.validate("method", "bits", "group", "packing", "value")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        choices = {
            "method": range(len(METHODS)),
            "bits": BITS,
            "group": self.record["groups"],
            "packing": range(len(LAYOUTS)),
            "value": range(len(self.record["weights"])),
        }[name]
        if value not in choices:
            if isinstance(choices, range):
                raise traitlets.TraitError(
                    f"{name} must be from {choices[0]} to {choices[-1]}, got {value}"
                )
            allowed = ", ".join(map(str, choices))
            raise traitlets.TraitError(f"{name} must be one of {allowed}, got {value}")
        return value

    @property
    def stored(self) -> dict[str, Any]:
        """What the present choice stores of the row: codes, scales, zeros, and its errors."""
        method = METHODS[self.method]
        return self.record["stored"][f"{method} {self._code_bits()} {self.group}"]

    @property
    def packed_as(self) -> str:
        """The layout that the present choice can lie in.

        Marlin has no zeros, so that asymmetric codes lie as GPTQ's do, and NF4's are bitsandbytes'.
        """
        method, layout = METHODS[self.method], LAYOUTS[self.packing]
        if method == "nf4":
            return "bitsandbytes"
        return "gptq" if layout == "marlin" and method == "asymmetric" else layout

    def levels(self, group: int) -> list[float]:
        """The weights that the codes 0, 1, ... of a group stand for."""
        stored, bits = self.stored, self._code_bits()
        scale = stored["scales"][group]
        if METHODS[self.method] == "nf4":
            return [scale * level for level in self.record["codebook"]]
        zero = stored["zeros"][group] if stored["zeros"] else 2 ** (bits - 1)
        return [scale * (code - zero) for code in range(2**bits)]

    def summary(self) -> str:
        """The present choice, what it costs, and how far it is from the weights."""
        stored = self.stored
        return self.words["summary"].format(
            count=len(self.record["weights"]),
            method=self.words[METHODS[self.method]],
            bits=self._code_bits(),
            group=self.group,
            each=stored["bits"],
            error=percent(stored["error"]),
            largest=percent(stored["largest"] / max(map(abs, self.record["weights"]))),
        )

    def picture(self) -> Figure:
        """The widget's picture: the weights on their levels, and one word of their codes."""
        packed = self._code_bits() == PACKED_BITS
        figure = Figure(figsize=(7.2, 4.8 if packed else 3.6))
        if packed:
            upper, lower = figure.subplots(2, height_ratios=(3.4, 1))
            self._draw_word(lower)
        else:
            upper = figure.subplots()
        upper.set_title(self.words["title"])
        self._draw_weights(upper)
        return figure

    def _code_bits(self) -> int:
        return PACKED_BITS if METHODS[self.method] == "nf4" else self.bits

    def _draw_weights(self, axes: Axes) -> None:
        weights, codes = self.record["weights"], self.stored["codes"]
        edge = EDGE * max(map(abs, weights))
        for group in range(len(weights) // self.group):
            first, last = group * self.group, (group + 1) * self.group
            levels = self.levels(group)
            axes.hlines(levels, first - 0.5, last - 0.5, color=COLORS["peer"], linewidth=0.4)
            places = range(first, last)
            near = [levels[code] for code in codes[first:last]]
            axes.vlines(places, near, weights[first:last], color=COLORS["missed"], linewidth=1.6)
            if first:
                axes.axvline(first - 0.5, color=COLORS["limit"], linewidth=0.8)
        axes.plot(weights, "o", color=COLORS["ours"], markersize=2.6)
        axes.set_xlim(-0.5, len(weights) - 0.5)
        axes.set_ylim(-edge, edge)
        axes.set_xlabel(self.words["inputs"])
        axes.set_ylabel(self.words["weight"])
        axes.grid(visible=False)

    def _draw_word(self, axes: Axes) -> None:
        cells = word(self.packed_as, 0, self.value)
        for nibble, (n, k) in enumerate(cells):
            left = 7 - nibble
            color = COLORS["evicted" if (n, k) == (0, self.value) else "waiting"]
            axes.add_patch(
                Rectangle((left, 0), 1, 1, facecolor=color, edgecolor=COLORS["peer"], alpha=0.6)
            )
            code = self.stored["rows"][n * len(self.record["weights"]) + k]
            middle: dict[str, Any] = {"ha": "center", "va": "center"}
            axes.text(left + 0.5, 0.5, code, fontsize=12, family="monospace", **middle)
            axes.text(left + 0.5, -0.32, f"n {n}, k {k}", fontsize=8, **middle)
        about = f"{self.words[self.packed_as]}. {self.words[f'rule_{self.packed_as}']}"
        axes.set_title(textwrap.fill(about, 100), fontsize=9, fontweight="normal")
        axes.set_xlim(0, 8)
        axes.set_ylim(-0.6, 1)
        axes.set_axis_off()


def word(layout: str, n: int, k: int) -> list[tuple[int, int]]:
    """Output and input of the eight codes in the int32 that holds code (n, k), the low end first.

    Source:
        AutoGPTQ, AutoAWQ and Marlin (Frantar et al., 2024) as they pack; NF4 as bitsandbytes
        does, two codes to a byte, the first of them high.
    """
    if layout == "gptq":
        return [(n, k - k % 8 + i) for i in range(8)]
    if layout == "bitsandbytes":
        return [(n, k - k % 8 + (i ^ 1)) for i in range(8)]
    if layout == "awq":
        return [(n - n % 8 + i, k) for i in ORDER]
    output, first = n - n % 16 + n % 8, k - k % 16 + k % 8 // 2 * 2
    eight = [(output + block, first + step) for block in (0, 8) for step in (0, 1, 8, 9)]
    return [eight[i] for i in ORDER]


def _refuse(weight: Tensor, rounded: Mapping[Any, QuantizedWeight], groups: list[int]) -> None:
    if weight.ndim != 2 or weight.shape[0] != ROWS or weight.shape[1] not in GROUPS[1:]:
        raise ValueError(
            f"weight must be {ROWS} rows of {GROUPS[1]} or {GROUPS[2]} inputs, got "
            f"{tuple(weight.shape)}: cut them from a layer, weight[:16, :128]"
        )
    if not groups or {one.shape for one in rounded.values()} != {weight.shape}:
        raise ValueError("rounded must be what roundings(weight) gives, of the same weight")
    if not weight[0].any():
        raise ValueError("weight's first row is all zeros: take rows that a layer has learned")


def _stored(weight: Tensor, quantized: QuantizedWeight, bits: int) -> dict[str, Any]:
    row, error = weight[0], (quantized.dequantize() - weight)[0]
    zeros = None if quantized.zeros is None else quantized.zeros[0].tolist()
    return {
        "codes": quantized.codes[0].tolist(),
        "scales": [_short(scale) for scale in quantized.scales[0].tolist()],
        "zeros": zeros,
        "bits": round(bits + (SCALE_BITS + (bits if zeros else 0)) / quantized.group_size, 5),
        "error": float(error.norm() / row.norm()),
        "largest": float(error.abs().max()),
        "largest_at": int(error.abs().argmax()),
        "rows": (
            "".join(f"{code:X}" for code in quantized.codes.flatten().tolist())
            if bits == PACKED_BITS
            else None
        ),
    }


def _short(number: float) -> float:
    """As many digits as a picture needs."""
    return float(f"{number:.6g}")
