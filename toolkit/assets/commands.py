"""``toolkit assets``: list, fetch and verify."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from toolkit import assets
from toolkit.assets.store import home

app = typer.Typer(help="Corpora, weights and traces: list, fetch, verify.", no_args_is_help=True)

Names = Annotated[list[str], typer.Argument(metavar="NAME...")]
STATES = {
    "cached": "[green]cached[/]",
    "supplied": "[green]in TOOLKIT_ASSETS_PATH[/]",
    "damaged": "[red]damaged[/]",
    "absent": "not here",
}


@app.command("list")
def list_assets() -> None:
    """What there is, its size to download, its licence, and where it is."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    for column in ("name", "MB", "licence", "where"):
        table.add_column(column, justify="right" if column == "MB" else "left")
    for entry in assets.entries():
        state = STATES[assets.status(entry.name).state]
        table.add_row(entry.name, f"{entry.size / 1e6:.1f}", entry.licence, state)
    console.print(table)
    console.print(f"cache: {escape(str(home()))}", soft_wrap=True, highlight=False)


@app.command("get")
def get_assets(names: Names) -> None:
    """Fetch what isn't here yet, and print each path."""
    for name in names:
        typer.echo(assets.get(name))


@app.command("verify")
def verify_assets(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
) -> None:
    """Hash every byte of the assets named, or of all that are here; exit with 1 if one is bad."""
    here = [entry.name for entry in assets.entries() if assets.status(entry.name).state != "absent"]
    bad = False
    for name in names or here:
        try:
            typer.echo(f"{name}: ok ({assets.verify(name)})")
        except assets.AssetError as error:
            bad = True
            typer.echo(f"{name}: {error}", err=True)
    if bad:
        raise typer.Exit(1)
