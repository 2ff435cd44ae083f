"""What the pages for instructors say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolkit import course
from toolkit.classroom.answer import MAX_CALLBACK_DEPTH, MAX_CALLBACKS
from toolkit.classroom.codec import _TAGS, MAX_BYTES, MAX_DEPTH
from toolkit.classroom.grading.limits import GRACE_SECONDS, Limits
from toolkit.classroom.grading.wire import _HEADER, Kind
from toolkit.classroom.learner import Learner


@pytest.fixture(scope="module")
def protocol() -> str:
    return (course.root() / "book" / "grading.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def teach() -> str:
    return (course.root() / "book" / "teach.md").read_text(encoding="utf-8")


def test_every_kind_tag_and_operation_is_documented(protocol):
    for kind in Kind:
        assert f"| {kind.value} `{kind.name}` |" in protocol
    for tag in _TAGS:
        assert f"`{tag}`" in protocol
    operations = {name.removeprefix("_do_") for name in vars(Learner) if name.startswith("_do_")}
    for operation in operations:
        assert f"| `{operation}` |" in protocol


def test_the_numbers_of_the_protocol(protocol):
    limits = Limits()
    assert f"a header of {'nine' if _HEADER.size == 9 else _HEADER.size} bytes" in protocol
    assert f"{MAX_BYTES // 2**20} MiB and is nested at most {MAX_DEPTH} deep" in protocol
    assert (
        f"{MAX_CALLBACKS:,} times at most in a check, nested {MAX_CALLBACK_DEPTH} deep" in protocol
    )
    assert f"A call has {limits.call_seconds:g} s by default" in protocol
    assert limits.item_seconds == 3 * limits.call_seconds
    assert f"and {GRACE_SECONDS:g} s more to stop" in protocol
    said = re.sub(r"\s+", " ", protocol)
    assert (
        f"A notebook has {limits.notebook_seconds:g} s, {limits.memory_mib:,} MiB of memory, "
        f"{limits.processes} processes and threads, and {limits.disk_mib} MiB of temporary files"
    ) in said


def test_the_numbers_of_the_page_for_instructors(teach):
    limits = Limits()
    assert f"for one call of a function ({limits.call_seconds:g})" in teach
    assert f"for all of it ({limits.notebook_seconds:g})" in teach
    assert f"together ({limits.memory_mib:,})" in teach
    hostile = len(list((Path(__file__).parent.parent / "hostile").glob("*.md")))
    (said,) = re.findall(r"More than (\d+) hostile notebooks", teach)
    assert int(said) < hostile <= int(said) + 20
