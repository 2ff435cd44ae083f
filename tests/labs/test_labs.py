"""Every lab of the course: made from its solution, solved by it, fooled by no wrong answer."""

from __future__ import annotations

import json
import os
from importlib import import_module
from importlib.util import find_spec
from unittest.mock import patch

import nbformat
import pytest

from toolkit import course
from toolkit.classroom import checks, notebooks
from toolkit.classroom.answer import Answer
from toolkit.classroom.checks import judge

LABS = [lab for lab in course.chapters() if notebooks.missing(lab) is None]
QUESTIONS = [(lab, question) for lab in LABS for question in checks.load(lab).questions]
WRONG = [
    pytest.param(lab, index, id=f"{lab}-{answer.question}-{index}")
    for lab in LABS
    for index, answer in enumerate(checks.load(lab).wrong)
]


SEEDS = [
    checks.PUBLIC_SEED,
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 20_240_601)),
]
"""One for whoever waits; all of them together take minutes."""


def names_of(cells: list[str]) -> dict:
    names: dict = {}
    if find_spec("triton"):
        import_module("triton")  # as it is: a lab of kernels turns its interpreter on
    with patch.dict(os.environ):
        for source in cells:
            notebooks.define(source, names)
    return names


@pytest.fixture(scope="module")
def solved() -> dict[str, dict]:
    found = {}
    for lab in LABS:
        cells = notebooks.question_cells(notebooks.solution(lab))
        found[lab] = names_of([notebooks.solved(cell) for cell in cells])
    return found


@pytest.fixture(scope="module")
def unsolved() -> dict[str, dict]:
    labs = {lab: nbformat.read(course.homes(lab).lab, as_version=4) for lab in LABS}
    return {lab: names_of(notebooks.question_cells(notebook)) for lab, notebook in labs.items()}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("lab", "question"), QUESTIONS)
def test_the_solution_passes(solved, lab, question, seed):
    verdict = judge(checks.load(lab), question, solved[lab], seed)
    assert verdict.passed, verdict.failure
    assert verdict.points == verdict.possible


@pytest.mark.parametrize(("lab", "question"), QUESTIONS)
def test_the_unsolved_lab_earns_nothing(unsolved, lab, question):
    verdict = judge(checks.load(lab), question, unsolved[lab])
    assert (verdict.passed, verdict.points) == (False, 0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("lab", "index"), WRONG)
def test_a_wrong_answer_fails_and_brings_its_own_hint(solved, lab, index, seed):
    answer = checks.load(lab).wrong[index]
    names = {**solved[lab], answer.name: answer.value}
    verdict = judge(checks.load(lab), answer.question, names, seed)
    assert not verdict.passed
    if seed == checks.PUBLIC_SEED:
        assert verdict.hint == answer.hint


@pytest.mark.parametrize(("lab", "index"), WRONG)
def test_what_is_given_makes_up_for_a_wrong_answer(lab, index):
    """The solution's functions call one another: a wrong one is put among them, then the given."""
    answer = checks.load(lab).wrong[index]
    names = names_of(
        [notebooks.solved(cell) for cell in notebooks.question_cells(notebooks.solution(lab))]
    )
    names[answer.name] = answer.value
    assert not judge(checks.load(lab), answer.question, names).passed
    names[answer.name] = getattr(notebooks.library(lab), answer.name)
    for question in checks.load(lab).questions:
        assert judge(checks.load(lab), question, names).passed


@pytest.mark.parametrize("lab", course.chapters())
def test_no_name_of_a_lab_is_one_of_the_doors_own(lab):
    """``answer.map`` is the door's: a learner's function called ``map`` could not be reached."""
    names = {name for names in notebooks.metadata(lab)["given"].values() for name in names}
    assert not names & set(vars(Answer)) | names & {"call_log", "max_items", "trouble"}


@pytest.mark.parametrize(("lab", "question"), QUESTIONS)
def test_every_question_has_three_wrong_answers_and_three_hints(lab, question):
    found = checks.load(lab)
    hints = {answer.hint for answer in found.wrong if answer.question == question}
    assert len(hints) >= 3
    assert len(found.hints(question)) >= 3


@pytest.mark.parametrize(("lab", "question"), QUESTIONS)
def test_what_is_given_passes_its_question(solved, lab, question):
    about = notebooks.metadata(lab)["given"]
    library = notebooks.library(lab)
    given = {name: getattr(library, name) for name in about[question]}
    assert judge(checks.load(lab), question, {**solved[lab], **given}).passed


@pytest.mark.parametrize("lab", course.chapters())
def test_the_lab_is_what_its_solution_makes(lab):
    text = course.homes(lab).lab.read_text(encoding="utf-8")
    assert text == notebooks.make_lab(lab), "run `toolkit make-labs`"


@pytest.mark.parametrize("lab", course.chapters())
def test_solving_only_adds_lines(lab):
    made = nbformat.reads(notebooks.make_lab(lab), as_version=4)
    for blank, cell in zip(made.cells, notebooks.solution(lab).cells, strict=True):
        if cell.cell_type != "code":
            assert blank.source == cell.source
            continue
        answer = iter(notebooks.solved(cell.source).splitlines())
        for line in blank.source.splitlines():
            if line.strip() != "..." and not line.endswith(" = ..."):
                assert line in answer, f"{line!r} is not in the solution, or not in this order"


@pytest.mark.parametrize("lab", course.chapters())
def test_no_answer_is_left_in_the_lab(lab):
    text = json.dumps(nbformat.read(course.homes(lab).lab, as_version=4))
    assert "SOLUTION" not in text
    assert 4 <= len(checks.load(lab).questions) <= 6


@pytest.mark.parametrize("lab", course.chapters())
def test_the_notebook_says_which_lab_it_is(lab):
    about = notebooks.metadata(lab)
    assert about["lab"] == lab
    assert about["version"] >= 1
    assert len(about["hash"]) == 64
    assert set(about["given"]) == set(checks.load(lab).questions)
