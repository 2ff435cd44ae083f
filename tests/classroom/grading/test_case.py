"""What a notebook's events and losses come to, with no process and no clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.classroom import checks, notebooks
from toolkit.classroom.grading.case import START_SECONDS, Case
from toolkit.classroom.grading.judge import Task, questions_of
from toolkit.classroom.grading.limits import Limits
from toolkit.classroom.grading.submissions import Submission

LAB = "data/dedup"
LIMITS = Limits(call_seconds=1, notebook_seconds=20)


@pytest.fixture
def case() -> Case:
    submission = Submission("ada", (Path("ada.ipynb"),))
    return Case(Task(LAB, 0, None, submission, None, None, 0, LIMITS), now=0.0)


def tell(case: Case, event: str, now: float = 0.0, **what) -> None:
    case.note({"event": event, **what}, now)


def verdict(case: Case, question: str, points: int) -> None:
    tell(case, "question", question=question)
    tell(case, "verdict", question=question, points=points, possible=9, text="t", html="h")


def test_a_notebook_without_trouble(case):
    tell(case, "notebook", file="a.ipynb", version=1)
    tell(case, "cell", number=1, seconds=3)
    for question, points in {"q1": 4, "q2": 3, "q3": 5, "q4": 5, "q5": 4}.items():
        verdict(case, question, points)
    assert not case.finished
    tell(case, "end")
    assert case.finished
    grade = case.finish()
    assert (grade.total, sum(grade.possible.values()), grade.status) == (21, 21, "graded")


def test_what_can_not_be_read_has_its_reason_as_status(case):
    tell(case, "unreadable", why="ada.ipynb is a link, not a notebook")
    assert case.finished
    grade = case.finish()
    assert grade.status == "ada.ipynb is a link, not a notebook"
    assert (grade.total, sum(grade.possible.values())) == (0, 21)


def test_a_lost_question_costs_itself(case):
    tell(case, "notebook", file="a.ipynb", version=1)
    verdict(case, "q1", 4)
    tell(case, "question", question="q2")
    case.lost("its process ended", now=1.0)
    assert not case.finished
    assert case.task.done == ("q1", "q2")
    assert case.grade.points == {"q1": 4, "q2": 0}
    assert case.grade.feedback["q2"] == "q2 not yet · its process ended."


def test_a_lost_cell_is_left_out_next_time(case):
    tell(case, "notebook", file="a.ipynb", version=1)
    tell(case, "cell", number=3, seconds=1)
    case.lost("it did not stop", now=1.0)
    assert (case.task.skip, case.grade.cells) == ((3,), [(3, "it did not stop")])
    tell(case, "raised", number=4, error="NameError: x")
    tell(case, "raised", number=4, error="NameError: x")  # by the next judge, again
    assert case.grade.cells == [(3, "it did not stop"), (4, "NameError: x")]


def test_a_loss_after_a_verdict_costs_nothing_more(case):
    tell(case, "notebook", file="a.ipynb", version=1)
    verdict(case, "q1", 2)
    tell(case, "died", why="it did not stop after 1 s, and was ended")
    assert (case.task.done, case.grade.points) == (("q1",), {"q1": 2})
    assert not case.finished


def test_a_notebook_that_never_starts_is_given_up(case):
    tell(case, "notebook", file="a.ipynb", version=1)
    case.lost("its process did not start", now=1.0)
    assert not case.finished
    case.start(now=1.0)
    case.lost("its process did not start", now=2.0)
    assert case.finished
    assert case.finish().status == "its process did not start"


def test_each_step_has_its_time(case):
    assert case.late(START_SECONDS / 100) is None
    tell(case, "cell", number=1, seconds=1.0)
    assert case.late(4.9) is None
    assert case.late(5.1) == "it took too long, and was ended"
    tell(case, "question", now=6.0, question="q1")
    assert case.late(12.9) is None
    assert case.late(13.1) == "it took too long, and was ended"


def test_the_notebooks_time_ends_it_with_what_it_has(case):
    tell(case, "notebook", file="a.ipynb", version=1)
    verdict(case, "q1", 4)
    tell(case, "question", now=21.0, question="q2")
    assert case.late(24.1) == "the notebook's 20 s are over"
    case.lost("the notebook's 20 s are over", now=24.1)
    assert case.finished
    grade = case.finish()
    assert grade.points == {"q1": 4, "q2": 0, "q3": 0, "q4": 0, "q5": 0}
    assert "20 s were over" in grade.feedback["q5"]


def test_an_older_copy_is_said_to_be_older(case):
    tell(case, "notebook", file="a.ipynb", version=0)
    assert case.grade.status == "graded, version 0; the course has version 1"
    tell(case, "notebook", file="a.ipynb", version=None)
    assert case.grade.status == "graded, of no version; the course has version 1"


def test_an_older_copy_has_the_questions_that_it_had(case, monkeypatch):
    about = {**notebooks.metadata(LAB), "version": 3, "earlier": {"2": ["q1", "q3", "q9"]}}
    monkeypatch.setattr(notebooks, "metadata", lambda lab: about)
    found = checks.load(LAB)
    assert questions_of(found, 2) == ("q1", "q3")
    assert questions_of(found, 1) == questions_of(found, 3) == found.questions
    tell(case, "notebook", file="a.ipynb", version=2)
    tell(case, "end")
    assert case.finish().possible == {"q1": 4, "q3": 5}


def test_markup_in_a_reason_is_text(case):
    tell(case, "notebook", file="a.ipynb", version=1)
    tell(case, "question", question="q1")
    case.lost("<script>alert(1)</script>", now=1.0)
    assert "<script>" not in case.grade.pages["q1"]


def test_the_task_is_not_changed_in_place(case):
    before = case.task
    verdict(case, "q1", 4)
    assert before.done == ()
    assert replace(case.task, done=()) == before
