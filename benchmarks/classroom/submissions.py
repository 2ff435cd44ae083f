"""Notebooks whose grades are known: the lab solved, some of its answers replaced by wrong ones."""

from __future__ import annotations

import ast
import copy
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import course
from toolkit.classroom import checks, notebooks
from toolkit.classroom.checks import WrongAnswer

LAB = "data/dedup"


@dataclass(frozen=True, slots=True)
class Known:
    """A submission and what it deserves.

    Attributes:
        name: the student's.
        notebook: as it is handed in, the content of an ``.ipynb``.
        grade: points by question.
    """

    name: str
    notebook: dict[str, Any]
    grade: dict[str, int]


def known(count: int, seed: int) -> list[Known]:
    """Submissions: each has none, one or two questions wrong, drawn by the seed.

    The grades are the checks' on the same seed, in this process and without the grader.
    """
    rng = np.random.default_rng(seed)
    found = checks.load(LAB)
    made = []
    for number in range(count):
        wrong = rng.choice(found.questions, size=rng.integers(3), replace=False)
        answers = [_drawn(found.wrong, question, rng) for question in wrong.tolist()]
        notebook = solved(answers)
        made.append(Known(f"student-{number:03d}", notebook, _judged(notebook, seed)))
    return made


def write(submissions: list[Known], folder: Path) -> Path:
    """Put submissions in a folder, one file each; returns the folder."""
    folder.mkdir(parents=True)
    for one in submissions:
        (folder / f"{one.name}.ipynb").write_text(json.dumps(one.notebook), encoding="utf-8")
    return folder


def solved(wrong: list[WrongAnswer]) -> dict[str, Any]:
    """The learner's notebook with the solution's answers, and with these instead of some."""
    notebook: dict[str, Any] = copy.deepcopy(_lab())
    instead = {answer.question: source_of(answer) for answer in wrong}
    for cell, solution in zip(notebook["cells"], notebooks.solution(LAB).cells, strict=True):
        if cell["cell_type"] == "code":
            tags = cell["metadata"].get("tags", [])
            (cell["source"],) = [instead[tag] for tag in tags if tag in instead] or [
                notebooks.solved(solution.source)
            ]
    return notebook


def cut(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook less the course's own cells after its last answer, which our grader leaves out."""
    last = max(i for i, cell in enumerate(notebook["cells"]) if cell["metadata"].get("tags"))
    return notebook | {"cells": notebook["cells"][: last + 1]}


def names_of(notebook: dict[str, Any]) -> dict[str, Any]:
    """What a notebook's cells define, less those that only explore."""
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["metadata"].get("tags"):
            exec(compile(cell["source"], "notebook", "exec"), names)
    return names


def source_of(answer: WrongAnswer) -> str:
    """A wrong answer as a learner would write it: no decorator, and all that it needs before it."""
    lines, _ = inspect.getsourcelines(answer.value)
    (definition,) = ast.parse("".join(lines)).body
    own = "".join(lines[definition.lineno - 1 :])
    return "\n\n".join([*_helpers(definition), own]).rstrip("\n")


def _helpers(definition: ast.AST) -> Iterator[str]:
    text = course.chapter(LAB).wrong.read_text(encoding="utf-8")
    needed = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)}
    helpers = [node for node in ast.parse(text).body if _defines(node)]
    for helper in reversed(helpers):  # what a helper needs stands above it
        if _defines(helper) & needed:
            needed |= {node.id for node in ast.walk(helper) if isinstance(node, ast.Name)}
    for helper in helpers:
        if _defines(helper) & needed:
            yield ast.get_source_segment(text, helper) or ""


def _defines(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return set()


def _drawn(wrong: tuple[WrongAnswer, ...], question: str, rng: np.random.Generator) -> WrongAnswer:
    answers = [answer for answer in wrong if answer.question == question]
    return answers[rng.integers(len(answers))]


def _judged(notebook: dict[str, Any], seed: int) -> dict[str, int]:
    names, found = names_of(notebook), checks.load(LAB)
    return {q: checks.judge(found, q, names, seed).points for q in found.questions}


@cache
def _lab() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(course.chapter(LAB).lab.read_text(encoding="utf-8"))
    return loaded
