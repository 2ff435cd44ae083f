"""``toolkit grade`` as an instructor runs it: real processes, real notebooks."""

from __future__ import annotations

import csv
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from toolkit.classroom import checks, notebooks
from toolkit.classroom.checks import judge

LAB = "data/dedup"
SEED = 20_240_601
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")


def command(folder: Path, out: Path, *options: object) -> list[str]:
    given = [LAB, str(folder), "-o", str(out), *map(str, options)]
    return [sys.executable, "-m", "toolkit.cli", "grade", *given]


def grade(folder: Path, out: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, out, *options), capture_output=True, text=True)


def table(out: Path) -> list[list[str]]:
    """The grades, less the seconds."""
    with open(out / "grades.csv", encoding="utf-8", newline="") as file:
        return [row[:-1] for row in csv.reader(file)]


def scores(out: Path) -> dict[str, list[int]]:
    return {row[0]: [int(points) for points in row[2:7]] for row in table(out)[1:]}


def mistakes() -> list[tuple[str, str]]:
    """The question and the source of every wrong answer of the lab."""
    found = []
    for answer in checks.load(LAB).wrong:
        source = inspect.getsource(answer.value)
        found.append((answer.question, source[source.index("\ndef ") + 1 :]))
    return found


def known(sources: dict[str, str]) -> list[int]:
    """The points of each question by the same checks, with no sandbox and no grader."""
    names: dict = {}
    for cell in notebooks.solution(LAB).cells:
        tags = cell.metadata.get("tags", [])
        own = next((sources[tag] for tag in tags if tag in sources), None)
        if own or tags:
            exec(compile(own or notebooks.solved(cell.source), "cell", "exec"), names)
    found = checks.load(LAB)
    return [judge(found, question, names, SEED).points for question in found.questions]


@pytest.fixture(scope="module")
def solution() -> dict[str, str]:
    cells = notebooks.solution(LAB).cells
    tagged = {tag: cell for cell in cells for tag in cell.metadata.get("tags", [])}
    return {tag: notebooks.solved(cell.source) for tag, cell in tagged.items() if tag != "setup"}


def test_right_wrong_and_unreadable(hand_in, made, solution, tmp_path):
    question, mistake = mistakes()[0]
    folder = hand_in(
        ada=made(), blank=made({}), bob=made({**solution, question: mistake}), carol="{"
    )
    (folder / "dave.ipynb").symlink_to("ada.ipynb")
    done = grade(folder, tmp_path / "out", "--seed", SEED)
    assert done.returncode == 0, done.stderr
    rows = {row[0]: row for row in table(tmp_path / "out")}
    assert rows["student"][-2:] == ["possible", "status"]
    assert rows["ada"] == ["ada", LAB, "4", "3", "5", "5", "4", "21", "21", "graded"]
    assert rows["blank"][2:8] == ["0"] * 6
    assert scores(tmp_path / "out")["bob"] == known({question: mistake})
    assert rows["carol"][-1].startswith("carol.ipynb is no notebook: JSONDecodeError")
    assert rows["dave"][-1] == "dave.ipynb is a link, not a notebook"
    assert "3 of 5 graded" in done.stdout
    assert "bubblewrap" in done.stdout
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["settings"]["seed"] == SEED
    assert run["protections"]["network"] == "on: none"
    page = (tmp_path / "out" / "students" / "bob.html").read_text()
    assert "Hint:" in page
    assert str(SEED) not in page
    assert "is no notebook" in (tmp_path / "out" / "students" / "carol.html").read_text()


@pytest.mark.slow
def test_every_wrong_answer_earns_what_is_known_whatever_the_jobs(
    hand_in, made, solution, tmp_path
):
    handed_in = {
        f"s{index:02}": {**solution, question: source}
        for index, (question, source) in enumerate(mistakes())
    }
    folder = hand_in(**{student: made(sources) for student, sources in handed_in.items()})
    for jobs in (1, 2):
        done = grade(folder, tmp_path / f"out{jobs}", "--seed", SEED, "--jobs", jobs)
        assert done.returncode == 0, done.stderr
    assert scores(tmp_path / "out1") == {
        student: known(sources) for student, sources in handed_in.items()
    }
    assert table(tmp_path / "out1") == table(tmp_path / "out2")


def started(folder: Path, out: Path, graded: int) -> subprocess.Popen[str]:
    """A run that has graded so many, and goes on."""
    run = subprocess.Popen(
        command(folder, out, "--jobs", 2, "--seed", SEED),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(list(out.glob("students/*.json"))) < graded:
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    return run


def processes_of(session: int) -> list[psutil.Process]:
    """What still runs of a session, by what its judges and notebooks are called."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        ours = "toolkit.classroom.grading.inside" in line or "multiprocessing.forkserver" in line
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            try:
                if os.getsid(process.pid) == session or "inside" in line:
                    found.append(process)
            except ProcessLookupError:
                continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_goes_on_where_it_was(hand_in, made, solution, tmp_path, end):
    folder = hand_in(**{f"s{n}": made({**solution, "q2": mistakes()[6 + n][1]}) for n in range(6)})
    whole = tmp_path / "whole"
    assert grade(folder, whole, "--seed", SEED).returncode == 0

    out = tmp_path / "out"
    run = started(folder, out, graded=2)
    os.kill(run.pid, end)
    said, _ = run.communicate()
    before = {path: path.stat().st_mtime_ns for path in out.glob("students/*.json")}
    assert 2 <= len(before) < 6
    assert not (out / "grades.csv").exists()
    if end == signal.SIGINT:
        assert run.returncode == 130
        assert re.search(r"stopped: \d of 6 are graded and kept in", " ".join(said.split()))
        assert "the same command goes on" in " ".join(said.split())
    for _ in range(100):
        if not (left := processes_of(run.pid)):
            break
        time.sleep(0.1)
    assert not left

    done = grade(folder, out, "--jobs", 2)  # the seed is the run's
    assert done.returncode == 0, done.stderr
    assert table(out) == table(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_changed_notebook_is_graded_again(hand_in, made, tmp_path):
    folder, out = hand_in(ada=made({}), bob=made({})), tmp_path / "out"
    assert grade(folder, out).returncode == 0
    bobs = (out / "students" / "bob.json").stat().st_mtime_ns
    hand_in(ada=made())
    assert grade(folder, out).returncode == 0
    assert scores(out) == {"ada": [4, 3, 5, 5, 4], "bob": [0, 0, 0, 0, 0]}
    assert (out / "students" / "bob.json").stat().st_mtime_ns == bobs


def test_checks_of_ones_own(hand_in, made, tmp_path):
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "checks.py").write_text(
        "from toolkit.classroom import expect, question\n\n\n"
        "@question('q2', points=7)\n"
        "def halves(answer, rng):\n"
        "    expect(answer.jaccard({1, 2}, {2}), 0.5)\n"
    )
    out = tmp_path / "out"
    done = grade(hand_in(ada=made()), out, "--extra-checks", tmp_path / "extra")
    assert done.returncode == 0, done.stderr
    assert scores(out) == {"ada": [4, 10, 5, 5, 4]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "{folder}/out"], "lies in {folder}: give a place outside with -o"),
        (["--extra-checks", "{folder}"], "there is no {folder}/checks.py"),
        (["--memory", "1"], "256"),
        (["--jobs", "0"], "1"),
    ],
)
def test_a_mistake_is_one_sentence(hand_in, made, tmp_path, options, said):
    folder = hand_in(ada=made())
    done = grade(folder, tmp_path / "out", *[part.format(folder=folder) for part in options])
    assert done.returncode == 2
    assert said.format(folder=folder) in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_other_settings_need_another_folder(hand_in, made, tmp_path):
    folder, out = hand_in(ada=made({})), tmp_path / "out"
    assert grade(folder, out, "--seed", 1).returncode == 0
    done = grade(folder, out, "--seed", 2)
    assert done.returncode == 2
    assert "holds grades with another seed (1, now 2): give a new folder with -o" in done.stderr


@pytest.mark.browser
def test_the_page_of_a_student(chromium, shot: Callable, hand_in, made, solution, tmp_path):
    from axe_playwright_python.sync_playwright import Axe

    question, mistake = mistakes()[0]
    broken = {**solution, question: mistake, "q3": "raise ValueError('<b>no</b>')"}
    out = tmp_path / "out"
    assert grade(hand_in(ada=made(broken)), out, "--seed", SEED).returncode == 0
    for scheme, width in (("light", 1000), ("dark", 400)):
        page = chromium.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        page.goto((out / "students" / "ada.html").as_uri())
        assert page.get_by_role("heading", name="ada").is_visible()
        assert page.get_by_text("ValueError: <b>no</b>").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        shot(page, f"feedback-{scheme}", full_page=True)
        page.close()
