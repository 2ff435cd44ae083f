"""``Speeds``: one case of a benchmark's JSON as a table with bars, quality beside speed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from toolkit.viz.style import STATIC
from toolkit.viz.text import significant


@dataclass(frozen=True, slots=True)
class Speeds:
    """Ours and each peer: a bar of seconds, the ratio to ours, and the quality each reached.

    Where a benchmark compares settings of ours, its parameter ``ours`` names the first row.

    Args:
        case: one of the ``"cases"`` of a benchmark's results.
        machine, date: where and when it was measured.
    """

    case: Mapping[str, Any]
    machine: str
    date: str

    @classmethod
    def read(cls, results: Path) -> list[Speeds]:
        """Every case of a results file, in order."""
        found = json.loads(results.read_text(encoding="utf-8"))
        machine = found["machine"]
        where = f"{machine['cpu']}, {machine['cores']} cores"
        return [cls(case, where, found["date"]) for case in found["cases"]]

    @property
    def name(self) -> str:
        """What is compared."""
        return str(self.case["name"])

    @property
    def quality(self) -> dict[str, Mapping[str, float]]:
        """The quality that each reached, by the name in its row."""
        peers = self.case["peers"].items()
        ours = {self._ours: self.case["quality"]}
        return ours | {name: peer["quality"] for name, peer in peers}

    @property
    def _ours(self) -> str:
        return str(self.case["params"].get("ours", "ours"))

    @property
    def header(self) -> tuple[str, ...]:
        """The columns' names."""
        return ("", "seconds", *self.case["quality"], "times ours", "")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Ours first, then the peers: name, seconds, quality, ratio, the ratio's quartiles."""
        case = self.case
        ours = map(_figure, case["quality"].values())
        rows = [(self._ours, significant(case["ours"]), *ours, "1", "")]
        for name, peer in case["peers"].items():
            quality = [_figure(peer["quality"].get(key)) for key in case["quality"]]
            low, high = map(significant, peer["spread"])
            ratio = significant(peer["ratio"])
            rows.append((name, significant(peer["seconds"]), *quality, ratio, f"({low} to {high})"))
        return rows

    def __repr__(self) -> str:
        rows = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, self._measured()])

    def _repr_html_(self) -> str:
        case = self.case
        times = [case["ours"], *(peer["seconds"] for peer in case["peers"].values())]
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.header[:-1])
        kinds = ["ours", *["peer"] * len(case["peers"])]
        body = "".join(map(_row_html, kinds, self.rows, (time / max(times) for time in times)))
        css = "".join((STATIC / name).read_text("utf-8") for name in ("tokens.css", "speeds.css"))
        columns = f"--tk-columns:{len(self.header) - 2}"
        return (
            f'<div class="tk tk-speeds"><style>{css}</style><div class="tk-scroll" tabindex="0" '
            f'role="region" aria-label="{escape(self.name)}"><table style="{columns}">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
            f"<p>{escape(self._measured())}</p></div>"
        )

    def _measured(self) -> str:
        return f"{self.case['name']}: medians, quartiles in brackets; {self.machine}, {self.date}"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value <= 1 else significant(value)


def _row_html(kind: str, row: tuple[str, ...], length: float) -> str:
    name, seconds, *quality, ratio, quartiles = row
    bar = f'<span class="tk-bar tk-{kind}" style="width:{100 * length:.1f}%"></span>'
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in quality)
    return (
        f'<tr><th scope="row">{escape(name)}</th><td class="tk-time"><span>{seconds}</span>{bar}'
        f"</td>{cells}<td>{ratio}<small>{quartiles}</small></td></tr>"
    )
