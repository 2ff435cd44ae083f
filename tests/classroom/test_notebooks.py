"""Labs made from solutions, known by their metadata, copied without loss, run cell by cell."""

from __future__ import annotations

import nbformat
import pytest

from toolkit import course
from toolkit.classroom import notebooks


def test_an_answer_becomes_dots_at_its_own_indentation():
    head, answer = "def f(x):\n    # Why.\n", "    y = x\n    return y\n"
    source = f"{head}    # BEGIN SOLUTION\n{answer}    # END SOLUTION\n"
    assert notebooks.stub(source) == f"{head}    ..."
    assert notebooks.solved(source) == f"{head}{answer}".rstrip("\n")


def test_a_lone_assignment_keeps_its_name():
    source = "# BEGIN SOLUTION\nguess = 20\n# END SOLUTION\nprint(guess)"
    assert notebooks.stub(source) == "guess = ...\nprint(guess)"


@pytest.mark.parametrize("marker", ["BEGIN", "END"])
def test_a_marker_without_a_partner_is_refused(marker):
    with pytest.raises(course.CourseError, match="do not pair up"):
        notebooks.stub(f"x = 1\n# {marker} SOLUTION\n")


def test_a_lab_is_the_same_text_every_time_and_valid():
    text = notebooks.make_lab("data/dedup")
    assert text == notebooks.make_lab("data/dedup")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")


def test_the_hash_follows_the_content(monkeypatch):
    before = nbformat.reads(notebooks.make_lab("data/dedup"), as_version=4)
    changed = notebooks.solution("data/dedup")
    changed.cells[0].source += "!"
    monkeypatch.setattr(notebooks, "solution", lambda chapter: changed)
    after = nbformat.reads(notebooks.make_lab("data/dedup"), as_version=4)
    assert before.metadata.toolkit["hash"] != after.metadata.toolkit["hash"]


def test_a_solution_of_another_lab_is_refused(monkeypatch):
    wrong = notebooks.solution("data/dedup")
    wrong.metadata["toolkit"]["lab"] = "data/shuffle"
    monkeypatch.setattr(notebooks, "solution", lambda chapter: wrong)
    with pytest.raises(course.CourseError, match="must say `lab: data/dedup`"):
        notebooks.make_lab("data/dedup")


def test_a_copy_never_writes_over_work(workspace):
    copy = notebooks.copy_to_workspace("data/dedup")
    assert copy == workspace / "data" / "dedup.ipynb"
    assert copy.read_text() == course.homes("data/dedup").lab.read_text()
    copy.write_text("my work")
    assert notebooks.copy_to_workspace("data/dedup").read_text() == "my work"
    assert [path.name for path in copy.parent.iterdir()] == ["dedup.ipynb"]


def test_a_renamed_notebook_is_known_by_its_metadata(tmp_path):
    renamed = tmp_path / "final (2) really.ipynb"
    renamed.write_text(course.homes("data/dedup").lab.read_text())
    assert notebooks.about(renamed)["lab"] == "data/dedup"
    myst = tmp_path / "mine.md"
    myst.write_text(course.homes("data/dedup").solution.read_text())
    assert notebooks.about(myst)["lab"] == "data/dedup"


def test_an_older_copy_is_said_to_be_older(workspace):
    copy = notebooks.copy_to_workspace("data/dedup")
    assert notebooks.outdated(copy) is None
    notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.toolkit["version"] = 0
    nbformat.write(notebook, copy)
    assert "dedup.ipynb is version 0 of data/dedup, the course has " in notebooks.outdated(copy)


def test_what_is_no_lab_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(course.CourseError, match="there is no file"):
        notebooks.about(tmp_path / "none.ipynb")
    broken = tmp_path / "broken.ipynb"
    broken.write_text("{")
    with pytest.raises(course.CourseError, match="can't be read as a notebook"):
        notebooks.about(broken)
    other = tmp_path / "other.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), other)
    with pytest.raises(course.CourseError, match="is not a lab: labs are data/dedup"):
        notebooks.about(other)


def test_cells_run_in_order_and_one_that_raises_does_not_stop_the_next():
    cells = ["x = 1", "y = 1 / 0", "def f(:", "%time z = x + 1"]
    names, failures = notebooks.run_cells(cells)
    assert (names["x"], names["z"]) == (1, 2)
    assert "y" not in names
    assert [failure.split(":")[0] for failure in failures] == [
        "cell 2 raised ZeroDivisionError",
        "cell 3 raised SyntaxError",
    ]
