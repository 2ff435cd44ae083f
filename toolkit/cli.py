"""The command ``toolkit``. Each command is a few lines: the rooms do the work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toolkit import course
from toolkit.assets import AssetError
from toolkit.assets.commands import app as assets_app

app = typer.Typer(
    help="LLM Systems by Hand: labs, checks, assets and benchmarks of the course.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(assets_app, name="assets")

Chapter = Annotated[str, typer.Argument(help="PART/NAME, such as data/dedup.")]


@app.command()
def lab(
    chapter: Annotated[
        str, typer.Argument(help="PART/NAME; the first unfinished lab if left out.")
    ] = "",
    port: Annotated[
        int | None, typer.Option(help="JupyterLab's port; a free one if unset.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Copy a lab to the workspace (never over your work) and open it in JupyterLab."""
    from toolkit.classroom import notebooks
    from toolkit.classroom.jupyter import open_lab

    notebook = notebooks.copy_to_workspace(chapter or _unfinished())
    raise typer.Exit(open_lab(notebook, course.root(), port=port, browser=browser))


@app.command()
def check(
    notebook: Annotated[str, typer.Argument(help="A notebook, or PART/NAME for your copy of it.")],
    question: Annotated[str, typer.Argument(help="Such as q2; all of them if left out.")] = "",
) -> None:
    """Run a lab's notebook from top to bottom and check its questions."""
    import jupytext

    from toolkit.classroom import checks, notebooks, progress
    from toolkit.classroom.lab import Lab

    path = Path(notebook)
    if notebook in course.chapters() and not path.exists():
        path = progress.workspace() / f"{notebook}.ipynb"
    chapter = notebooks.lab_of(path)
    wanted = [question] if question else checks.load(chapter).questions
    cells = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    names, failures = notebooks.run_cells(cells)
    for failure in failures:
        typer.echo(failure)
    messages = [Lab(chapter, names).check(name) for name in wanted]
    for message in messages:
        typer.echo(f"{message!r}\n")
    raise typer.Exit(0 if all(message.tone == "right" for message in messages) else 1)


@app.command()
def progress() -> None:
    """What you have solved so far, lab by lab."""
    from toolkit.classroom.feedback import progress_message
    from toolkit.classroom.lab import scores

    for chapter in course.chapters():
        typer.echo(f"{progress_message(chapter, scores(chapter))!r}\n")


@app.command()
def make_labs(
    check: Annotated[bool, typer.Option("--check", help="Only say which are out of date.")] = False,
) -> None:
    """Make the learners' notebooks from the solutions."""
    from toolkit.classroom import notebooks

    stale = notebooks.make_labs(check=check)
    for chapter in stale:
        typer.echo(f"labs/{chapter}.ipynb {'is out of date' if check else 'written'}")
    raise typer.Exit(1 if check and stale else 0)


@app.command()
def bench(
    chapter: Annotated[str, typer.Argument(help="PART/NAME; every chapter if left out.")] = "",
) -> None:
    """Time a chapter's library against its peers and write the results as JSON."""
    from toolkit.bench import run

    for name in [chapter] if chapter else course.chapters():
        typer.echo(f"wrote {run(name)}")


@app.command()
def doctor() -> None:
    """What this machine has, and what each missing thing disables."""
    from toolkit.doctor import doctor as examine

    raise typer.Exit(examine())


@app.command()
def new(
    chapter: Chapter, title: Annotated[str, typer.Option(help="The page's title.")] = ""
) -> None:
    """Make a chapter's empty homes; the tests fail until they are filled."""
    from toolkit.scaffold import new_chapter

    for path in new_chapter(
        chapter, title or chapter.split("/")[-1].replace("_", " ").capitalize()
    ):
        typer.echo(path.relative_to(course.root()))


def _unfinished() -> str:
    from toolkit.classroom.lab import scores

    for chapter in course.chapters():
        if any(earned != possible for earned, possible in scores(chapter).values()):
            return chapter
    return course.chapters()[0]


def main() -> None:
    """Run the command; a mistake of the user's is one sentence on stderr and exit code 2."""
    try:
        app()
    except (course.CourseError, AssetError) as error:
        print(f"toolkit: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("toolkit: stopped", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
