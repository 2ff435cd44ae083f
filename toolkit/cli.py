"""The command ``toolkit``. Each command is a few lines: the rooms do the work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

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

    chapter = _with_lab(chapter or _unfinished())
    notebook = notebooks.copy_to_workspace(chapter)
    if older := notebooks.outdated(notebook):
        typer.echo(f"{older}: rename yours to have a new copy made")
    raise typer.Exit(open_lab(notebook, course.root(), port=port, browser=browser))


@app.command()
def check(
    notebook: Annotated[str, typer.Argument(help="A notebook, or PART/NAME for your copy of it.")],
    question: Annotated[str, typer.Argument(help="Such as q2; all of them if left out.")] = "",
) -> None:
    """Run a lab's notebook from top to bottom and check its questions."""
    import jupytext

    from toolkit.classroom import checks, notebooks
    from toolkit.classroom.lab import Lab

    path = Path(notebook)
    if not path.suffix and not path.is_file():
        path = _own_copy(notebook)
    chapter = _with_lab(notebooks.about(path)["lab"])
    found = checks.load(chapter)
    wanted = found.questions
    if question:
        found.of(question)  # refuses a question that the lab does not have
        wanted = (question,)
    if older := notebooks.outdated(path):
        typer.echo(f"{older}: a question may have changed")
    cells = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    names, failures = notebooks.run_cells(cells)
    for failure in failures:
        typer.echo(failure)
    messages = [Lab(chapter, names).check(name) for name in wanted]
    for message in messages:
        typer.echo(f"{message!r}\n")
    raise typer.Exit(0 if all(message.tone == "right" for message in messages) else 1)


@app.command()
def grade(
    chapter: Chapter,
    folder: Annotated[
        Path, typer.Argument(help="Of notebooks (.ipynb, .md): a file or a folder a student.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder to make, or to go on with.")],
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Notebooks at once; one a core if unset.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the checks' inputs; drawn in secret if unset.")
    ] = None,
    seconds_per_call: Annotated[
        float, typer.Option(min=0.1, help="For one call of a function; a question has three times.")
    ] = 10.0,
    seconds_per_notebook: Annotated[float, typer.Option(min=1, help="For all of it.")] = 120.0,
    memory: Annotated[int, typer.Option(min=256, help="MiB, of all its processes.")] = 2048,
    extra_checks: Annotated[
        Path | None, typer.Option(help="A folder with a checks.py of your own.")
    ] = None,
) -> None:
    """Grade notebooks, each shut in a sandbox, with checks on secret inputs.

    OUT gets grades.csv, and a page and a JSON file a student. After Ctrl-C
    or a crash the same command goes on from there.
    """
    import os

    from toolkit.classroom.grading.commands import grade as run
    from toolkit.classroom.grading.limits import Limits

    limits = Limits(seconds_per_call, seconds_per_notebook, memory)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    raise typer.Exit(
        run(_with_lab(chapter), folder, out, jobs or cores or 1, seed, limits, extra_checks)
    )


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
def dedup(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES",
            help="JSON Lines (.jsonl, .ndjson, .json) or, by any other name, a document a line; "
            "compressed with .gz or .zst after that.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="To make; .gz or .zst compresses it.")],
    field: Annotated[str, typer.Option(help="Of JSON Lines, the field with the text.")] = "text",
    threshold: Annotated[
        float, typer.Option(help="Least Jaccard similarity of a duplicate.")
    ] = 0.8,
    method: Annotated[
        Literal["minhash", "simhash"], typer.Option(help="How candidates are found.")
    ] = "minhash",
    radius: Annotated[
        int | None, typer.Option(help="Of simhash, the bits in which candidates may differ.")
    ] = None,
    unit: Annotated[
        Literal["word", "char"], typer.Option(help="Compare runs of words, or of characters.")
    ] = "word",
    ngram: Annotated[int, typer.Option(help="How many of them make a run.")] = 5,
    report: Annotated[
        Path | None, typer.Option(help="To make, JSON Lines: what was removed, and why.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad lines out; else the first one stops.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads; one a core if unset.")
    ] = None,
) -> None:
    """Copy the lines of files without the near-duplicates among them.

    A document goes if an earlier one that stays is similar to it. All other
    lines are copied in order, byte for byte. Until that is done there is
    only the folder OUT.work: after Ctrl-C, a crash or a full disk, the same
    command goes on from there.
    """
    from toolkit.data.dedup.commands import run
    from toolkit.data.dedup.inputs import Inputs

    settings: dict[str, object] = {"threshold": threshold, "method": method, "radius": radius}
    settings |= {"unit": unit, "ngram": ngram}
    raise typer.Exit(run(Inputs(files, field, skip_bad), out, report, workers, settings))


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


def _with_lab(chapter: str) -> str:
    lab = course.chapter(chapter).lab
    if not lab.exists():
        raise course.CourseError(f"there is no {lab}: `toolkit make-labs` makes it")
    return chapter


def _own_copy(chapter: str) -> Path:
    from toolkit.classroom import progress

    path = progress.workspace() / f"{course.chapter(chapter).chapter}.ipynb"
    if not path.exists():
        raise course.CourseError(
            f"you have no copy of {chapter} yet: `toolkit lab {chapter}` makes it"
        )
    return path


def main() -> None:
    """Run the command; a mistake of the user's is one sentence on stderr and exit code 2."""
    try:
        status = app(prog_name="toolkit", standalone_mode=False)
    except (course.CourseError, AssetError) as error:
        status = _complain(str(error))
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")  # none where the help was shown instead
        status = _complain(f"{message}; see `toolkit --help`") if message else error.exit_code
    except OSError as error:
        what = f"{error.filename} can't be used" if error.filename else "the system refused"
        reason = error.strerror or error
        status = _complain(f"{what} ({reason}): mend that, then run the same command again")
    except KeyboardInterrupt:
        print("toolkit: stopped", file=sys.stderr)
        status = 130
    raise SystemExit(status or 0)


def _complain(sentence: str) -> int:
    print(f"toolkit: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
