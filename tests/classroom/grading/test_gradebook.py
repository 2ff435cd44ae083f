"""The results on disk: complete at every moment, and taken up again."""

from __future__ import annotations

import csv
import json

import pytest

from toolkit.classroom.grading.gradebook import Grade, Gradebook, page, recorded
from toolkit.course import CourseError

SETTINGS = {"lab": "data/dedup", "seed": 3, "checks": "abc"}


def grade(student: str = "ada", **changes) -> Grade:
    known = {"points": {"q1": 2}, "possible": {"q1": 4}, "pages": {"q1": "<p>q1 not yet</p>"}}
    return Grade(student, "data/dedup", "f00", **{**known, "seconds": 1.25, **changes})


def test_a_grade_comes_back_as_it_was(tmp_path):
    book = Gradebook(tmp_path / "results", SETTINGS, {})
    kept = grade(cells=[(3, "NameError: x")], feedback={"q1": "q1 not yet"})
    book.keep(kept)
    again = Gradebook(tmp_path / "results", SETTINGS, {}).kept("ada", "f00")
    kept.pages = {}  # those are in the page
    assert again == kept
    assert book.kept("ada", "other") is None
    assert book.kept("bob", "f00") is None


def test_half_a_record_is_no_grade(tmp_path):
    book = Gradebook(tmp_path / "results", SETTINGS, {})
    book.keep(grade())
    path = tmp_path / "results" / "students" / "ada.json"
    path.write_text(path.read_text()[:-20])
    assert book.kept("ada", "f00") is None


def test_the_table(tmp_path):
    book = Gradebook(tmp_path / "results", SETTINGS, {})
    late = grade("bob", status="graded, version 0; the course has version 1")
    book.finish([late, grade("=cmd()"), grade('Ада, "q"\nx'), grade()], ["q1", "q2"])
    rows = list(csv.reader((tmp_path / "results" / "grades.csv").read_text().splitlines(True)))
    assert rows[0] == ["student", "lab", "q1", "q2", "total", "possible", "status", "seconds"]
    assert [row[0] for row in rows[1:]] == ["'=cmd()", "ada", "bob", 'Ада, "q"\nx']
    assert rows[2] == ["ada", "data/dedup", "2", "", "2", "4", "graded", "1.2"]


def test_the_run_is_recorded_and_must_be_the_same(tmp_path):
    folder = tmp_path / "results"
    assert recorded(folder) is None
    Gradebook(folder, SETTINGS, {"started": "now"})
    assert recorded(folder) == {"settings": SETTINGS, "started": "now"}
    with pytest.raises(CourseError, match=r"grades with another seed \(3, now 4\): give a new"):
        Gradebook(folder, {**SETTINGS, "seed": 4}, {})
    (folder / "run.json").write_text("{}")
    with pytest.raises(CourseError, match=r"run.json is not the record of a run"):
        recorded(folder)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(CourseError, match="is not empty and holds no grades"):
        Gradebook(tmp_path, SETTINGS, {})


def test_nothing_half_written_is_left(tmp_path):
    book = Gradebook(tmp_path / "results", SETTINGS, {})
    book.keep(grade())
    book.finish([grade()], ["q1"])
    names = sorted(path.name for path in (tmp_path / "results").rglob("*") if path.is_file())
    assert names == ["ada.html", "ada.json", "grades.csv", "run.json"]


def test_long_and_odd_names_have_files(tmp_path):
    book = Gradebook(tmp_path / "results", SETTINGS, {})
    for name in ("x" * 249, "é" * 120, "..", " ", "a\nb", "$total"):
        book.keep(grade(name))
        assert book.kept(name, "f00").student == name


def test_a_page_shows_text_as_text():
    shown = page(
        grade(
            "<script>ada</script>",
            status="<b>",
            file="<i>.ipynb",
            cells=[(1, "Oops: <script>alert(1)</script> $body")],
        )
    )
    assert "<script" not in shown
    assert "$body" in shown
    assert "2 of 4 points" in shown
    assert "default-src 'none'" in shown


def test_the_json_says_what_the_page_says(tmp_path):
    book = Gradebook(tmp_path / "results", SETTINGS, {})
    book.keep(grade(feedback={"q1": "q1 not yet · `f(1)` gave 2, expected 3."}))
    loaded = json.loads((tmp_path / "results" / "students" / "ada.json").read_text())
    assert loaded["feedback"] == {"q1": "q1 not yet · `f(1)` gave 2, expected 3."}
    assert (loaded["student"], loaded["points"]) == ("ada", {"q1": 2})
