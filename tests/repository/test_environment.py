"""pyproject.toml, constraints.txt, environment.yml, the devcontainer and CI say the same."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from toolkit import course

ROOT = course.root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHON = SpecifierSet(PROJECT["requires-python"])


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def declared() -> list[Requirement]:
    groups = (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    found = [Requirement(text) for group in groups for text in group]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_every_dependency_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    version = pins().get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} is not in constraints.txt: run `make lock`"
    assert requirement.specifier.contains(version), f"{version} is not {requirement.specifier}"


def test_no_pin_chooses_a_build() -> None:
    assert not [name for name, version in pins().items() if version.local], "drop the +build"


def test_what_is_installed_here_is_what_is_pinned() -> None:
    from importlib.metadata import distributions

    stamp = ROOT / ".venv" / "setup.stamp"
    if not stamp.exists():
        pytest.skip("this environment was not made from constraints.txt")
    pinned = pins()
    wrong = []
    for found in distributions(path=[str(p) for p in ROOT.glob(".venv/lib/python*/site-packages")]):
        name = canonicalize_name(found.metadata["Name"])
        if name in pinned and Version(found.version).public != pinned[name].public:
            wrong.append(f"{name} {found.version}, not {pinned[name]}")
    assert not wrong


def test_conda_users_get_the_same() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert Version(python.removeprefix("python=")) in PYTHON
    assert pip == "pip"
    assert packages == {"pip": ["--constraint constraints.txt", "--editable .[dev]"]}
    assert environment["name"] == PROJECT["name"]


def test_one_oldest_python_everywhere() -> None:
    oldest = re.fullmatch(r">=3\.(\d+)", PROJECT["requires-python"])
    assert oldest
    minor = oldest[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    says = {
        "environment.yml": f"python=3.{minor}\n",
        "tools/setup.py": f"OLDEST = (3, {minor})",
        ".devcontainer/devcontainer.json": f"python:3.{minor}-",
        ".github/workflows/test.yml": f"python:3.{minor}-",
        "README.md": f"Python 3.{minor} or newer",
        "Makefile": f"Python 3.{minor} or newer",
    }
    for name, words in says.items():
        assert words in (ROOT / name).read_text(), f"{name} does not say {words!r}"
    assert project["tool"]["ruff"]["target-version"] == f"py3{minor}"
    assert project["tool"]["mypy"]["python_version"] == f"3.{minor}"
