"""The benchmark harness on cases too small to time, and the benchmarks that are committed."""

import ast
import ctypes
import importlib
import json
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from toolkit import course
from toolkit.bench import Case, compare, memory, results
from toolkit.bench import run as bench_run
from toolkit.bench.harness import Peer
from toolkit.bench.load import load
from toolkit.bench.machine import machine, versions

BENCHMARKS = course.root() / "benchmarks"
WRITTEN = sorted((BENCHMARKS / "results").glob("*/*.json"))
SCRIPTS = [BENCHMARKS / path.parent.name / f"{path.stem}.py" for path in WRITTEN]
RESULTS = [path for path in WRITTEN if path.parent.name in course.PARTS]  # the chapters'


class Stage:
    """Contestants that take as long as they are told, by a clock that only they move."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def clock(self):
        return self.now

    def contestant(self, name, durations):
        left = iter(durations)

        def play():
            self.calls.append(name)
            self.now += next(left)
            return name

        return play


def case(stage, rounds=3):
    return Case(
        name="tiny",
        params={"n": 3},
        # The first duration is the warm-up's; it counts for nothing.
        ours=stage.contestant("ours", [100, 1, 2, 1, 2, 1, 2]),
        peers={
            "slow": stage.contestant("slow", [300, 10, 30, 10]),
            "fast": stage.contestant("fast", [100, 1, 0.25, 1]),
        },
        quality=lambda answer: {"recall": len(answer) / 10},
        rounds=rounds,
    )


def test_pairs_run_back_to_back_and_take_turns_to_go_first():
    stage = Stage()
    compare(case(stage), clock=stage.clock)
    assert stage.calls[:3] == ["ours", "slow", "fast"]
    assert "".join(call[0] for call in stage.calls[3:]) == "osof" + "sofo" + "osof"


def test_a_ratio_above_one_says_that_ours_is_faster():
    stage = Stage()
    comparison = compare(case(stage), clock=stage.clock)
    # Ours with slow: 1, 1, 1 s; with fast: 2, 2, 2 s.
    assert comparison.ours == 1.5
    assert comparison.peers["slow"] == Peer(10, 10, (10, 20), {"recall": 0.4})
    assert comparison.peers["fast"] == Peer(1, 0.5, (0.3125, 0.5), {"recall": 0.4})
    assert comparison.quality == {"recall": 0.4}
    assert comparison.params == {"n": 3}


def test_without_rounds_each_runs_once_and_that_run_is_the_timed_one():
    stage = Stage()
    comparison = compare(case(stage, rounds=0), clock=stage.clock)
    assert stage.calls == ["ours", "slow", "fast"]
    assert comparison.ours == 100
    assert comparison.peers["slow"] == Peer(300, 3, (3, 3), {"recall": 0.4})


def test_progress_is_told_of_every_run():
    stage = Stage()
    told = []
    compare(case(stage, rounds=1), clock=stage.clock, progress=told.append)
    assert told == stage.calls


BENCHMARK = '''
"""Ledger: none."""
from toolkit.bench import Case
PACKAGES = ("numpy",)
def cases():
    ours = lambda: bytearray(b"x" * 64 * 2**20)[:3]
    return [
        Case("small", {}, lambda: b"ab", {"peer": lambda: b"abc"}, lambda x: {"length": len(x)}, 2),
        Case("large", {}, ours, {"peer": ours}, lambda x: {"length": len(x)}, 1),
    ]
'''


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A course of one chapter, data/tiny, with a benchmark."""
    homes = course.homes("data/tiny")
    places = {
        name: tmp_path / getattr(homes, name).relative_to(course.root())
        for name in ("benchmark", "results")
    }
    places["benchmark"].parent.mkdir(parents=True)
    places["benchmark"].write_text(BENCHMARK)

    class Homes:
        benchmark = places["benchmark"]
        results = places["results"]

    monkeypatch.setattr(course, "chapter", lambda name: Homes)
    monkeypatch.setattr(course, "root", lambda: tmp_path)
    return Homes


def check_schema(result):
    """The JSON's shape, as every page that draws from it relies on."""
    assert list(result) == ["chapter", "date", "machine", "versions", "cases"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"])
    assert list(result["machine"]) == ["cpu", "cores", "memory_gib", "os", "gpu"]
    assert all(re.match(r"\d", number) for number in result["versions"].values())
    assert {"python"} <= set(result["versions"])
    assert len({case["name"] for case in result["cases"]}) == len(result["cases"]) > 0
    for case in result["cases"]:
        assert list(case) == ["name", "params", "ours", "peers", "quality", "peak_mib"]
        assert case["ours"] > 0
        assert case["peak_mib"] >= 0
        assert case["peers"]
        for peer in case["peers"].values():
            assert list(peer) == ["seconds", "ratio", "spread", "quality"]
            low, high = peer["spread"]
            assert 0 < low <= peer["ratio"] <= high
            assert peer["seconds"] > 0
            assert peer["quality"].keys() == case["quality"].keys()


def test_run_writes_what_pages_read(chapter, monkeypatch):
    asked = []
    monkeypatch.setattr(results, "peak_mib", lambda *names: asked.append(names) or 1.0)
    path = bench_run("data/tiny")
    result = json.loads(path.read_text())
    check_schema(result)
    assert path == chapter.results
    assert result["chapter"] == "data/tiny"
    assert [case["quality"] for case in result["cases"]] == [{"length": 2}, {"length": 3}]
    assert result["cases"][0]["peers"]["peer"]["quality"] == {"length": 3}
    assert [case["params"] for case in result["cases"]] == [{"rounds": 2}, {"rounds": 1}]
    assert asked == [("data/tiny", "small"), ("data/tiny", "large")]
    assert list(path.parent.iterdir()) == [path]


def test_memory_is_what_the_call_added(chapter):
    from toolkit.bench.memory import rise_mib

    with suppress(AttributeError):  # a libc that can't, which is not Linux's
        ctypes.CDLL(None).malloc_trim(0)  # what other tests freed would be taken again unseen
    # Both the bytes and the bytearray of 64 MiB are alive at once; other tests left pages free.
    assert 64 < rise_mib("data/tiny", "large") < 160
    assert rise_mib("data/tiny", "small") < 8


def test_a_failed_write_leaves_the_old_result_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "results" / "data" / "x.json"
    results.write(path, {"a": 1.23456})
    assert json.loads(path.read_text()) == {"a": 1.235}

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(results.os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        results.write(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1.235}
    assert list(path.parent.iterdir()) == [path]


def test_an_unknown_chapter_is_named():
    with pytest.raises(course.CourseError, match="no chapter 'data/nothing'"):
        load("data/nothing")


def test_a_missing_benchmark_or_package_is_one_sentence(chapter):
    chapter.benchmark.write_text("import a_package_of_nobody")
    with pytest.raises(course.CourseError, match="needs a_package_of_nobody: run `pip install"):
        load("data/tiny")
    chapter.benchmark.unlink()
    with pytest.raises(course.CourseError, match=r"there is no benchmarks/data/tiny\.py"):
        load("data/tiny")


def test_a_benchmark_may_define_a_record(chapter):
    record = """from __future__ import annotations
from dataclasses import dataclass

@dataclass(frozen=True, slots=True)
class Found:
    pairs: int

"""
    chapter.benchmark.write_text(record + BENCHMARK)
    assert load("data/tiny").Found(3).pairs == 3


@pytest.mark.parametrize(("name", "line"), [("PACKAGES", "PACKAGES ="), ("cases", "def cases")])
def test_a_benchmark_without_its_parts_is_one_sentence(chapter, name, line):
    chapter.benchmark.write_text(BENCHMARK.replace(line, line.replace(name, "something_else")))
    with pytest.raises(course.CourseError, match=rf"benchmarks/data/tiny\.py has no {name}:"):
        bench_run("data/tiny")


def test_a_system_that_tells_no_peak_memory_is_refused_before_anything_runs(chapter, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    monkeypatch.setattr(results, "compare", lambda *_, **__: pytest.fail("measured"))
    importlib.reload(memory)
    with pytest.raises(course.CourseError, match="peak memory can't be measured on"):
        bench_run("data/tiny")


def test_the_machine_is_described_without_its_name():
    import platform

    description = machine()
    assert description["cpu"]
    assert description["cores"] >= 1
    assert description["memory_gib"] > 0
    assert platform.node() not in json.dumps(description).split('"')
    assert versions(["numpy"]).keys() == {"python", "numpy"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_benchmark_begins_with_its_ledger(path: Path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    for heading in ("Ledger", "Predicted", "Measured", "Where ours loses"):
        assert heading in docstring, f"{path} says nothing under {heading!r}"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_committed_result_has_the_schema(path: Path):
    result = json.loads(path.read_text(encoding="utf-8"))
    check_schema(result)
    assert result["chapter"] == f"{path.parent.name}/{path.stem}"
    assert course.chapter(result["chapter"]).results == path
