"""What was handed in is read with suspicion."""

from __future__ import annotations

import json
import os

import jupytext
import nbformat
import pytest

from toolkit.classroom.grading import submissions
from toolkit.classroom.grading.judge import own_cells
from toolkit.classroom.grading.submissions import Submission, Unreadable, find, read
from toolkit.course import CourseError

LAB = "data/dedup"


def read_only(folder, student="ada"):
    (found,) = [one for one in find(folder) if one.student == student]
    return read(found, LAB, own_cells(LAB))


def test_a_file_or_a_folder_a_student(hand_in, made):
    folder = hand_in(ada=made(), Zoë=made())
    (folder / "bob" / "deep").mkdir(parents=True)
    (folder / "bob" / "deep" / "anything at all.ipynb").write_text(made())
    (folder / "bob" / ".ipynb_checkpoints").mkdir()
    (folder / "bob" / ".ipynb_checkpoints" / "old.ipynb").write_text(made())
    (folder / "empty").mkdir()
    (folder / ".hidden.ipynb").write_text(made())
    (folder / "notes.txt").write_text("no notebook")
    (folder / "README.md").write_text("# no notebook either\n")
    assert [one.student for one in find(folder)] == ["Zoë", "ada", "bob", "empty"]
    assert read_only(folder, "bob").file == "anything at all.ipynb"
    with pytest.raises(Unreadable, match="no notebook"):
        read_only(folder, "empty")


def test_nothing_to_grade(tmp_path):
    with pytest.raises(CourseError, match="is not a folder"):
        find(tmp_path / "nowhere")
    with pytest.raises(CourseError, match="there is no notebook in"):
        find(tmp_path)


def test_the_courses_own_cells_at_the_end_are_left_out(hand_in, made):
    sources = [cell.source for cell in read_only(hand_in(ada=made())).cells]
    assert "def keep(" in sources[-1]


def test_what_the_student_wrote_at_the_end_is_kept(hand_in, made):
    notebook = json.loads(made())
    notebook["cells"].append(
        {"cell_type": "code", "id": "x", "metadata": {}, "source": ["a = 1\n", "b = 2"]}
    )
    cells = read_only(hand_in(ada=json.dumps(notebook))).cells
    assert cells[-1] == submissions.Cell("a = 1\nb = 2", explores=True)
    assert any("MinHashLSH" in cell.source for cell in cells)


def test_question_and_setup_cells_do_not_explore(hand_in, made):
    cells = read_only(hand_in(ada=made())).cells
    needed = [cell.source for cell in cells if not cell.explores]
    assert len(needed) == 6
    assert needed[0].startswith("import re")


def test_markdown_is_a_notebook_too(hand_in, made, tmp_path):
    folder = hand_in(ada=made())
    notebook = jupytext.reads(made(), fmt="ipynb")
    (folder / "bob.md").write_text(jupytext.writes(notebook, fmt="md:myst"))
    one, other = read_only(folder, "ada"), read_only(folder, "bob")
    assert [cell.source for cell in one.cells] == [cell.source for cell in other.cells]
    assert other.version == one.version == 1


def test_two_notebooks_of_the_lab_need_a_decision(hand_in, made):
    folder = hand_in()
    (folder / "ada").mkdir()
    for name in ("first.ipynb", "second.ipynb"):
        (folder / "ada" / name).write_text(made())
    (folder / "ada" / "other.ipynb").write_text(made(lab="data/shuffle"))
    with pytest.raises(Unreadable, match=r"several notebooks of data/dedup: first.*second.*leave"):
        read_only(folder)
    (folder / "ada" / "first.ipynb").unlink()
    assert read_only(folder).file == "second.ipynb"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no notebook: JSONDecodeError"),
        ("{", "is no notebook: JSONDecodeError"),
        ("[]", "is no notebook: TypeError"),
        ('{"metadata": {}, "cells": 3}', "is no notebook: TypeError"),
        ('{"metadata": {}, "cells": []}', "is no lab of this course, not data/dedup"),
        ('{"metadata": {"toolkit": 5}, "cells": []}', "is no lab of this course"),
        ('{"metadata": {"toolkit": {"lab": "data/shuffle"}}, "cells": []}', "is lab data/shuffle"),
        ("[" * 100_000, "is no notebook: RecursionError"),
        ('{"metadata": {"toolkit": {"lab": "data/dedup"}}}', "is no notebook: KeyError"),
    ],
)
def test_what_is_no_notebook_of_this_lab(hand_in, text, said):
    with pytest.raises(Unreadable) as raised:
        read_only(hand_in(ada=text))
    assert said in str(raised.value)


def test_bytes_that_are_no_text(hand_in):
    (hand_in() / "ada.ipynb").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Unreadable, match="UnicodeDecodeError"):
        read_only(hand_in())


def test_a_link_is_not_followed(hand_in, made, tmp_path):
    folder = hand_in(ada=made())
    (folder / "eve.ipynb").symlink_to(folder / "ada.ipynb")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.ipynb").write_text(made())
    (folder / "mallory").mkdir()
    (folder / "mallory" / "in").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unreadable, match=r"eve.ipynb is a link"):
        read_only(folder, "eve")
    with pytest.raises(Unreadable, match="no notebook"):
        read_only(folder, "mallory")


def test_a_pipe_does_not_block(hand_in):
    os.mkfifo(hand_in() / "ada.ipynb")
    with pytest.raises(Unreadable, match="is no plain file"):
        read_only(hand_in())


def test_a_notebook_of_200_mb_is_not_read(hand_in):
    with open(hand_in() / "ada.ipynb", "wb") as file:
        file.truncate(200_000_000)
    with pytest.raises(Unreadable, match=r"has 191 MiB, more than 50: clear its outputs"):
        read_only(hand_in())


def test_the_fingerprint_is_of_names_and_bytes(hand_in, made, tmp_path):
    folder = hand_in(ada=made())
    path = folder / "ada.ipynb"
    one = Submission("ada", (path,))
    before = one.fingerprint()
    assert before == one.fingerprint() == Submission("bob", (path,)).fingerprint()
    path.write_text(made() + " ")
    assert one.fingerprint() != before


def test_the_version_is_a_number_or_nothing(hand_in, made):
    assert read_only(hand_in(ada=made(version="1"))).version is None
    assert read_only(hand_in(ada=made(version=7))).version == 7


def test_an_old_format_is_refused(hand_in):
    old = nbformat.v3.new_notebook(worksheets=[nbformat.v3.new_worksheet()])
    with pytest.raises(Unreadable):
        read_only(hand_in(ada=nbformat.v3.writes_json(old)))
