"""The command's exit codes, and the one sentence for each mistake of the user's."""

from __future__ import annotations

import dataclasses
import re
import sys

import pytest

from toolkit import cli, course
from toolkit.classroom import jupyter


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.chdir(course.root())


@pytest.fixture
def toolkit(monkeypatch, capsys):
    """Run the command as typed; what it returns is (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["toolkit", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("lab --port many", r"Invalid value for '--port': .*; see `toolkit --help`"),
        ("lab --prot 8888", r"No such option:? .*--prot.*; see `toolkit --help`"),
        ("nonsense", r"No such command 'nonsense'; see `toolkit --help`"),
        ("assets nonsense", r"No such command 'nonsense'; see `toolkit --help`"),
        ("check", r"Missing argument '(?i:notebook)'; see `toolkit --help`"),
        ("check data/dedup", r"you have no copy of data/dedup yet: `toolkit lab data/dedup` .*"),
        ("check data/nope", r"there is no chapter 'data/nope'; there are: .*data/dedup.*"),
        ("check README.md", r"README.md is not a lab: labs are .*data/dedup.*"),
        ("check none.ipynb", r"there is no file none.ipynb"),
        ("assets get nope", r"there is no asset 'nope'.*"),
    ],
)
def test_a_mistake_is_one_sentence(toolkit, typed, said):
    code, out, err = toolkit(*typed.split())
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"toolkit: {said}\n", err), err


@pytest.mark.parametrize(("typed", "expected"), [("--help", 0), ("lab --help", 0), ("", 2)])
def test_help_is_shown(toolkit, typed, expected):
    code, out, err = toolkit(*typed.split())
    assert (code, err) == (expected, "")
    assert "Usage: toolkit" in out


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_the_exit_code_is_the_commands(toolkit, monkeypatch, expected):
    monkeypatch.setattr("toolkit.doctor.doctor", lambda: expected)
    assert toolkit("doctor") == (expected, "", "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(13, "Permission denied", "labs"),
            "labs can't be used (Permission denied)",
        ),
        (OSError("gone"), "the system refused (gone)"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(toolkit, monkeypatch, error, said):
    def refuse() -> int:
        raise error

    monkeypatch.setattr("toolkit.doctor.doctor", refuse)
    code, _, err = toolkit("doctor")
    assert (code, err) == (2, f"toolkit: {said}: mend that, then run the same command again\n")


def test_a_workspace_that_can_not_be_made(toolkit, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TOOLKIT_WORKSPACE", str(tmp_path / "file"))
    code, _, err = toolkit("lab", "data/dedup")
    assert code == 2
    assert "Not a directory" in err
    assert err.count("\n") == 1


def test_the_first_copy_is_made_and_the_notebook_opened(toolkit, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(jupyter, "open_lab", lambda path, *_, **__: opened.append(path) or 0)
    assert toolkit("lab", "data/dedup") == (0, "", "")
    assert opened == [tmp_path / "workspace" / "data" / "dedup.ipynb"]
    assert opened[0].exists()


def test_a_lab_that_is_not_made_yet_names_the_command_that_makes_it(toolkit, monkeypatch, tmp_path):
    homes = dataclasses.replace(course.homes("data/dedup"), lab=tmp_path / "dedup.ipynb")
    monkeypatch.setattr(course, "homes", lambda chapter: homes)
    code, _, err = toolkit("lab", "data/dedup")
    assert (code, err) == (
        2,
        f"toolkit: there is no {homes.lab}: `toolkit make-labs` makes it\n",
    )
