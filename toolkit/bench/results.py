"""Run a chapter's benchmark and keep its results as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from toolkit import course

from .harness import Case, Comparison, compare
from .load import load
from .machine import machine, versions
from .memory import check_measurable, peak_mib


def run(chapter: str) -> Path:
    """Measure every case of a chapter's benchmark and write its results.

    Args:
        chapter: PART/NAME.
    Returns:
        The JSON file: {"chapter", "date", "machine", "versions", "cases": [{"name", "params",
        "ours", "peers": {NAME: {"seconds", "ratio", "spread", "quality"}}, "quality",
        "peak_mib"}]}. The params have the case's "rounds" among them. Times are seconds; a ratio
        above 1 says that ours is faster.
    Raises:
        CourseError: no such chapter, no benchmark, one without ``cases()`` or ``PACKAGES``, a
            package that it needs is not installed, or peak memory can't be measured here.
    """
    check_measurable()
    module = load(chapter)
    console = Console()
    results = []
    for case in module.cases():
        comparison = _compare_with_progress(case, console)
        params = comparison.params | {"rounds": case.rounds}
        results.append(
            asdict(comparison) | {"params": params, "peak_mib": peak_mib(chapter, case.name)}
        )
        console.print(table(comparison))
    path = course.chapter(chapter).results
    write(
        path,
        {
            "chapter": chapter,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "versions": versions(module.PACKAGES),
            "cases": results,
        },
    )
    return path


def write(path: Path, result: dict[str, Any]) -> None:
    """Write JSON beside its place and rename it there, so that no reader meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps(_rounded(result), indent=2) + "\n", encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def table(comparison: Comparison) -> Table:
    """Ours and the peers with their times, ratios and quality."""
    shown = Table(title=comparison.name, title_justify="left")
    shown.add_column("")
    for heading in ("seconds", "times ours", "quartiles", *comparison.quality):
        shown.add_column(heading, justify="right")
    shown.add_row("ours", f"{comparison.ours:.3g}", "1", "", *_figures(comparison.quality))
    for name, peer in comparison.peers.items():
        low, high = peer.spread
        times = f"{peer.seconds:.3g}", f"{peer.ratio:.3g}", f"{low:.3g} to {high:.3g}"
        shown.add_row(name, *times, *_figures(peer.quality))
    return shown


def _compare_with_progress(case: Case, console: Console) -> Comparison:
    runs = (1 + len(case.peers)) + 2 * case.rounds * len(case.peers)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(case.name, total=runs)
        done = iter(range(1, runs + 1))
        return compare(
            case,
            progress=lambda contestant: bar.update(
                task,
                description=f"{case.name}: {contestant}, run {next(done)} of {runs}",
                advance=1,
            ),
        )


def _figures(quality: dict[str, float]) -> list[str]:
    return [f"{figure:.4g}" for figure in quality.values()]


def _rounded(value: Any) -> Any:
    """Every float to four significant digits: more would be noise."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
