"""What the grader's page may say of speed and of other graders: all of it is in the committed JSON.

Nothing here goes by the clock: it looks at what ``benchmarks/classroom/grading.py`` wrote.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from toolkit import course
from toolkit.classroom import checks

PATH = course.root() / "benchmarks" / "results" / "classroom" / "grading.json"
OUTCOMES = {"right", "forged", "robbed", "lost", "escaped"}
GRADERS = ("ours", "otter", "nbgrader")


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return json.loads(PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases(result) -> dict[str, dict[str, Any]]:
    return {case["name"]: case for case in result["cases"]}


def test_it_has_the_shape_of_every_result_and_the_table_of_attacks(result):
    assert list(result) == ["chapter", "date", "machine", "versions", "cases", "forged"]
    assert result["chapter"] == "classroom/grading"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"])
    assert result["versions"]["otter-grader"] == "7.0.0"
    assert result["versions"]["nbgrader"] == "0.9.6"
    for case in result["cases"]:
        assert set(case) == {"name", "params", "ours", "peers", "quality", "peak_mib"}
        assert case["ours"] > 0
        for peer in case["peers"].values():
            assert set(peer) == {"seconds", "ratio", "spread", "quality"}
            low, high = peer["spread"]
            assert low <= peer["ratio"] <= high


def test_it_names_no_folder_of_the_machine(result):
    assert not re.search(r'"/|/(home|root|tmp|work)/', json.dumps(result))


def test_a_class_of_200_is_graded_in_five_minutes_each_grade_the_known_one(cases):
    case = cases["200 submissions"]
    assert (case["params"]["submissions"], case["params"]["jobs"]) == (200, 2)
    assert case["ours"] < 300
    assert case["quality"]["equal"] == 1.0
    assert case["quality"]["processes_left"] == 0
    assert case["quality"]["cpu_seconds_per_notebook"] < 3


def test_one_job_gives_the_same_table_as_two(cases):
    alone = cases["200 submissions"]["peers"]["ours, one job"]["quality"]
    assert (alone["equal"], alone["same_table"], alone["processes_left"]) == (1.0, 1.0, 0.0)


def test_all_graders_were_given_the_same_submissions_and_are_right_about_them(cases):
    compared = [case for case in cases.values() if "otter run" in case["peers"]]
    assert len(compared) == 2
    for case in compared:
        assert set(case["peers"]) == {"otter run", "nbgrader autograde"}
        assert case["params"]["jobs"] == 1
        for quality in [case["quality"], *(peer["quality"] for peer in case["peers"].values())]:
            assert quality["equal"] == 1.0


def test_every_check_of_the_lab_answers_within_a_second_right_or_wrong(cases):
    for question in checks.load("data/dedup").questions:
        case = cases[f"lab.check of {question}"]
        wrong = case["peers"]["a wrong answer"]
        assert (case["quality"]["passed"], wrong["quality"]["passed"]) == (1.0, 0.0)
        assert max(case["ours"], wrong["seconds"]) < 1


def test_no_attack_fools_ours_and_the_peers_grade_the_honest_right(result):
    rows = {row["file"] or row["attack"]: row for row in result["forged"]}
    assert len(rows) == len(result["forged"])
    for row in rows.values():
        assert set(row) == {"attack", "file", *GRADERS}
        assert {row[grader] for grader in GRADERS} <= OUTCOMES
        assert row["ours"] == "right", row
    for honest in ("no_answer_but_one.md", "honest_for_the_most_part.md"):
        assert [rows[honest][grader] for grader in GRADERS] == ["right"] * 3


def test_every_attack_of_the_table_is_among_the_hostile_notebooks(result):
    files = [row["file"] for row in result["forged"] if row["file"]]
    assert len(files) > 40
    for file in files:
        assert (course.root() / "tests" / "classroom" / "hostile" / file).exists()
