"""``Lab`` as a notebook sees it, and the commands that a terminal has instead."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from toolkit import course
from toolkit.classroom import Lab, checks, notebooks, progress
from toolkit.data import dedup


def right(a, b):
    return len(a & b) / len(a | b) if a | b else 0.0


def larger(a, b):
    return len(a & b) / max(len(a), len(b)) if a and b else 0.0


def test_check_reads_the_notebooks_names_and_remembers_the_points(workspace):
    names = {"jaccard": larger}
    lab = Lab("data/dedup", names)
    failed = lab.check("q2")
    assert failed.tone == "wrong"
    head, hint, *_ = repr(failed).splitlines()
    assert head.startswith("q2 not yet · `jaccard({")
    assert hint.startswith("Hint: How many members does the union have?")
    names["jaccard"] = right
    assert repr(lab.check("q2")).splitlines()[0] == "q2 passed · 3 of 3 points"
    assert progress.read("data/dedup")["questions"]["q2"] == [3, 3]
    rows = {row[0]: row[1:] for row in lab.progress().rows}
    assert rows["q2"] == ("3 of 3", "passed")
    assert rows["q1"] == ("0 of 4", "not tried")


def test_a_lab_without_a_namespace_takes_the_callers(workspace):
    names = {"Lab": Lab, "jaccard": right}
    exec("verdict = Lab('data/dedup').check('q2')", names)
    assert names["verdict"].tone == "right"


def test_a_lab_says_what_it_needs_and_is_not_there(workspace, monkeypatch):
    monkeypatch.setattr("toolkit.classroom.notebooks.find_spec", lambda name: None)
    with pytest.raises(course.CourseError, match="kernels/flash_attention needs triton, which is"):
        Lab("kernels/flash_attention", {})
    assert Lab("data/dedup", {})


def test_hints_come_one_level_at_a_time_and_stay_at_the_last(workspace):
    lab = Lab("data/dedup", {})
    hints = checks.load("data/dedup").hints("q2")
    shown = [repr(lab.hint("q2")) for _ in range(len(hints) + 1)]
    expected = [f"Hint {n} of {len(hints)}: {hint}" for n, hint in enumerate(hints, start=1)]
    assert shown == [*expected, expected[-1]]
    assert repr(Lab("data/dedup", {}).hint("q1")).startswith("Hint 1 of ")


def test_a_hint_that_a_check_has_shown_counts_as_shown(workspace):
    lab = Lab("data/dedup", {"jaccard": lambda a, b: 0.123})
    assert "Hint 1 of " in repr(lab.check("q2"))
    assert repr(lab.hint("q2")).startswith("Hint 2 of ")


def test_what_is_given_earns_nothing_and_is_not_recorded(workspace):
    lab = Lab("data/dedup", {"shingles": dedup.shingles})
    assert repr(lab.check("q1")).startswith("q1 is given · It works, and earns no points.")
    assert progress.read("data/dedup")["questions"] == {}
    assert "q1 not yet" in repr(Lab("data/dedup", {"shingles": None}).check("q1"))


def test_an_earlier_question_that_failed_is_a_suspect_where_its_answer_is_used(workspace):
    names = {"jaccard": larger, "candidate_pairs": lambda signatures, bands: set()}
    source = """
class Pair:
    def alike(self, a, b):
        return (lambda: jaccard(a, b))()

def keep(sets, candidates, threshold):
    return [Pair().alike(a, b) for a, b in ()]
"""
    exec(source, names)
    lab = Lab("data/dedup", names)
    lab.check("q2")
    suspicion = "Your q2 has not passed: `jaccard = lab.given('q2')` rules it out."
    assert suspicion in repr(lab.check("q5"))
    assert "q4 not yet" in repr(lab.check("q4"))
    assert suspicion not in repr(lab.check("q4"))
    names["jaccard"] = lab.given("q2")
    assert suspicion not in repr(lab.check("q5"))


def test_given_is_the_librarys_own(workspace):
    lab = Lab("data/dedup", {})
    assert lab.given("q1") is dedup.shingles
    assert lab.given("q4") is dedup.candidate_pairs
    with pytest.raises(course.CourseError, match="no question 'q9'"):
        lab.given("q9")


def test_a_prediction_is_committed_before_the_reveal(workspace):
    lab = Lab("data/dedup", {})
    revealed = []

    def reveal():
        revealed.append(1)
        return "41%"

    assert "Put your guess" in lab.predict("share", ..., reveal).lines[0]
    assert revealed == []
    assert repr(lab.predict("share", 20, reveal)) == "share · You said 20. It is 41%."
    assert repr(lab.predict("share", 41, reveal)) == "share · You said 20. It is 41%."


def test_progress_survives_many_writers(workspace):
    def write(n: int) -> None:
        progress.record("data/dedup", "questions", f"q{n}", [n, n])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert len(progress.read("data/dedup")["questions"]) == 40
    assert sorted(path.name for path in workspace.iterdir()) == [".progress.json", ".progress.lock"]


def test_a_damaged_progress_file_is_named(workspace):
    workspace.mkdir()
    (workspace / ".progress.json").write_text("{")
    with pytest.raises(course.CourseError, match=r"\.progress\.json is not readable JSON"):
        progress.read("data/dedup")


def test_an_unknown_lab_is_refused_in_a_sentence():
    with pytest.raises(course.CourseError, match="there is no chapter 'data/nothing'"):
        Lab("data/nothing")
    with pytest.raises(course.CourseError, match="is not PART/NAME"):
        Lab("dedup")


def toolkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toolkit.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def half_solved(workspace):
    """The learner's copy with q1 and q2 solved, q2 wrongly; without the cells of the corpus."""
    path = notebooks.copy_to_workspace("data/dedup")
    notebook = json.loads(path.read_text())
    solved = notebooks.solution("data/dedup")
    for cell, answer in zip(notebook["cells"], solved.cells, strict=True):
        tags = cell["metadata"].get("tags", [])
        if "q1" in tags:
            cell["source"] = notebooks.solved(answer.source)
        elif "q2" in tags:
            cell["source"] = "def jaccard(a, b):\n    return len(a & b) / max(len(a), len(b))"
        elif cell["cell_type"] == "code" and "setup" not in tags:
            cell["source"] = "pass"
    path.write_text(json.dumps(notebook))
    return path


def test_the_command_checks_a_notebook_and_fails_with_it(half_solved):
    result = toolkit("check", "data/dedup")
    assert result.returncode == 1, result.stderr
    assert "q1 passed · 4 of 4 points" in result.stdout
    assert "q2 not yet · `jaccard({" in result.stdout
    assert "Hint: " in result.stdout
    passed = toolkit("check", str(half_solved), "q1")
    assert (passed.returncode, "q2" in passed.stdout) == (0, False)
    assert "q1        4 of 4  passed" in toolkit("progress").stdout


def test_a_users_mistake_is_one_sentence_without_a_traceback(workspace):
    result = toolkit("check", "no-such-file.ipynb")
    assert (result.returncode, result.stderr) == (
        2,
        "toolkit: there is no file no-such-file.ipynb\n",
    )
    result = toolkit("lab", "data/nothing")
    assert result.stderr.startswith("toolkit: there is no chapter 'data/nothing'; there are: ")
    assert toolkit("make-labs", "--check").returncode == 0
