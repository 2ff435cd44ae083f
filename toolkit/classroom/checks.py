"""Checks, wrong answers, and the judge that runs them.

A check is a plain function of ``(answer, rng)`` in ``tests/labs/PART/NAME/checks.py``. It calls the
learner's functions through ``answer``, gets its expected values from an oracle of its own, and
compares with ``expect``. ``wrong.py`` beside it holds plausible wrong answers: when a check fails,
each is run on the same input, and the hint of the one that did the same as the learner is shown.
"""

from __future__ import annotations

import importlib.util
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from toolkit import course
from toolkit.classroom.answer import Answer, Call, LearnerError
from toolkit.classroom.codec import CodecError
from toolkit.classroom.compare import difference

PUBLIC_SEED = 0
"""The seed of the checks in a notebook; grading draws a secret one."""

T = TypeVar("T")
_running: ContextVar[Answer] = ContextVar("_running")


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a question."""

    question: str
    points: int
    hints: tuple[str, ...]
    function: Callable[[Answer, np.random.Generator], None]

    @property
    def knows(self) -> str:
        """What passing it shows: the first line of its docstring, or its name in words."""
        doc = (self.function.__doc__ or "").strip().splitlines()
        return doc[0].rstrip(".") if doc else self.function.__name__.replace("_", " ")

    def rng(self, seed: int) -> np.random.Generator:
        """The check's own generator: other checks, and their order, do not touch it."""
        key = zlib.crc32(f"{self.question}/{self.function.__name__}".encode())
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key,)))


@dataclass(frozen=True, slots=True)
class WrongAnswer:
    """A plausible mistake, and the hint that mends it."""

    question: str
    hint: str
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Checks:
    """Everything a lab is judged by."""

    chapter: str
    checks: tuple[Check, ...]
    wrong: tuple[WrongAnswer, ...]

    @property
    def questions(self) -> tuple[str, ...]:
        """The questions in order of first appearance."""
        return tuple(dict.fromkeys(check.question for check in self.checks))

    def of(self, question: str) -> tuple[Check, ...]:
        """A question's checks.

        Raises:
            CourseError: the lab has no such question.
        """
        found = tuple(check for check in self.checks if check.question == question)
        if not found:
            questions = ", ".join(self.questions)
            raise course.CourseError(
                f"{self.chapter} has no question {question!r}; it has {questions}"
            )
        return found

    def hints(self, question: str) -> tuple[str, ...]:
        """A question's general hints, from the vaguest to the plainest."""
        return tuple(hint for check in self.of(question) for hint in check.hints)

    def level(self, check: Check) -> int:
        """Which of its question's hints, from 1, suits a check: the first of its own, if it has
        any, else the first of all; 0 if there is none."""
        hints = self.hints(check.question)
        return hints.index((check.hints or hints)[0]) + 1 if hints else 0

    def points(self, question: str) -> int:
        """What a question is worth."""
        return sum(check.points for check in self.of(question))


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What ``expect`` found: the call that gave the value, both values, and where they differ."""

    call: Call | None
    actual: Any
    expected: Any
    how: str

    def __str__(self) -> str:
        return self.how or f"{self.actual!r}, expected {self.expected!r}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a question's checks found.

    Attributes:
        knows: what each passed check shows, in order.
        failure: what the first failing check raised; ``None`` when all passed.
        call: the call that the failure is about.
        hint: the hint of the wrong answer that did the same as the learner, if one did.
        level: else, which of the question's general hints, from 1, suits the failing check; 0 where
            the learner's code raised, which says more than a hint.
    """

    question: str
    points: int
    possible: int
    knows: tuple[str, ...] = ()
    failure: Mismatch | LearnerError | CodecError | None = None
    call: Call | None = None
    hint: str | None = None
    level: int = 0

    @property
    def passed(self) -> bool:
        """Whether every check of the question passed."""
        return self.failure is None


def question(
    name: str, *, points: int = 1, hints: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a check of a question. The hints of a question's checks add up, in order."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        _registered(function).append(Check(name, points, tuple(hints), function))
        return function

    return register


def wrong(question: str, *, hint: str) -> Callable[[T], T]:
    """Make a function or class a wrong answer; it stands in for the learner's of the same name."""

    def register(value: T) -> T:
        name = value.__name__  # type: ignore[attr-defined]
        _registered(value).append(WrongAnswer(question, hint, name, value))
        return value

    return register


def expect(actual: Any, expected: Any, *, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Require a value that the learner's code gave to equal the oracle's, by type and tolerance.

    The first mismatch is what the check is about; it goes on all the same, so that the hint engine
    sees what the learner's code does with the rest of the input.

    Args:
        actual: what ``answer`` returned, or something computed from it.
        expected: the oracle's value.
        rtol, atol: see ``compare.difference``.
    """
    answer = _running.get()
    expected = answer.as_crossed(expected)
    how = difference(actual, expected, rtol, atol)
    if how is not None and answer.trouble is None:
        answer.trouble = Mismatch(_source(answer, actual), actual, expected, how)


def require(condition: bool, how: str, actual: Any = None) -> None:
    """Require a property of what the learner's code gave; ``how`` says what is wrong otherwise.

    Args:
        condition: whether the property holds.
        how: a clause such as "it keeps document 3, a copy of document 1".
        actual: the value in question, to find the call it came from.
    """
    answer = _running.get()
    if not condition and answer.trouble is None:
        answer.trouble = Mismatch(_source(answer, actual), actual, None, how)


@cache
def load(chapter: str, extra: Path | None = None) -> Checks:
    """A chapter's checks and wrong answers.

    Args:
        chapter: PART/NAME.
        extra: a folder with another ``checks.py``, and a ``wrong.py`` if there is one; its checks
            come after the chapter's own.
    Raises:
        CourseError: the chapter is not in the table of contents, or there is no such file.
    """
    homes = course.chapter(chapter)
    found = _module(homes.checks, chapter) + _module(homes.wrong, chapter)
    if extra is not None:
        found += _module(extra / "checks.py", f"extra.{chapter}")
        if (extra / "wrong.py").exists():
            found += _module(extra / "wrong.py", f"extra.{chapter}")
    checks = [entry for entry in found if isinstance(entry, Check)]
    wrongs = [entry for entry in found if isinstance(entry, WrongAnswer)]
    return Checks(chapter, tuple(checks), tuple(wrongs))


def judge(
    checks: Checks,
    question: str,
    names: Mapping[str, Any],
    seed: int = PUBLIC_SEED,
    answer: Callable[[], Answer] | None = None,
) -> Verdict:
    """Run a question's checks, each on an ``Answer`` of its own.

    Args:
        checks: the lab's.
        question: such as "q1".
        names: a notebook's, in this process: what wrong answers find around them.
        seed: of the checks' random inputs.
        answer: makes the door to the learner's code; by default it opens on ``names``.
    """
    answer = answer or (lambda: Answer.of(names))
    attempts = [_attempt(check, answer(), seed) for check in checks.of(question)]
    passed = [attempt.check for attempt in attempts if attempt.failure is None]
    verdict = Verdict(
        question,
        sum(check.points for check in passed),
        checks.points(question),
        tuple(check.knows for check in passed),
    )
    for attempt in attempts:
        if attempt.failure is not None:
            hint = _matching_hint(checks, attempt, names, seed)
            wants_hint = hint is None and isinstance(attempt.failure, Mismatch)
            level = checks.level(attempt.check) if wants_hint else 0
            return replace(
                verdict, failure=attempt.failure, call=attempt.blamed, hint=hint, level=level
            )
    return verdict


@dataclass(frozen=True, slots=True)
class _Attempt:
    check: Check
    failure: Mismatch | LearnerError | CodecError | None
    calls: list[Call]

    @property
    def blamed(self) -> Call | None:
        if isinstance(self.failure, Mismatch):
            return self.failure.call
        return self.calls[-1] if self.calls else None


def _attempt(check: Check, answer: Answer, seed: int) -> _Attempt:
    token = _running.set(answer)
    failure: Mismatch | LearnerError | CodecError | None = None
    try:
        check.function(answer, check.rng(seed))
    except (LearnerError, CodecError) as error:
        failure = error
    except Exception as error:
        call = answer.call_log[-1] if answer.call_log else None
        how = f"it can't be used as the question asks ({type(error).__name__}: {error})"
        failure = Mismatch(call, call.result if call else None, None, how)
    finally:
        _running.reset(token)
    return _Attempt(check, answer.trouble or failure, answer.call_log)


def _matching_hint(
    checks: Checks, attempt: _Attempt, names: Mapping[str, Any], seed: int
) -> str | None:
    """The hint of the wrong answer that did what the learner's did, call by call, to the end.

    Where the same comes of a notebook without that name, the check fails before it gets there.
    """

    def same(namespace: Mapping[str, Any]) -> bool:
        return _same_attempt(attempt, _attempt(attempt.check, Answer.of(namespace), seed))

    for candidate in checks.wrong:
        if candidate.question == attempt.check.question:
            others = {name: value for name, value in names.items() if name != candidate.name}
            if same({**others, candidate.name: candidate.value}) and not same(others):
                return candidate.hint
    return None


def _same_attempt(one: _Attempt, other: _Attempt) -> bool:
    if type(one.failure) is not type(other.failure) or len(one.calls) != len(other.calls):
        return False
    return all(map(_same_call, one.calls, other.calls))


def _same_call(one: Call, other: Call) -> bool:
    if one.error or other.error:
        return str(one.error) == str(other.error)
    ours, theirs = [one.result, one.after], [other.result, other.after]
    return difference(ours, theirs, *one.tolerance) is None


def _source(answer: Answer, actual: Any) -> Call | None:
    """The call that gave a value: the last one with that very result, else the last one."""
    exact = [call for call in answer.call_log if call.result is actual and actual is not None]
    likely = exact or answer.call_log
    return likely[-1] if likely else None


def _registered(value: Any) -> list[Any]:
    entries: list[Any] = vars(sys.modules[value.__module__]).setdefault("_registered", [])
    return entries


def _module(path: Path, chapter: str) -> list[Any]:
    name = f"toolkit_labs.{chapter.replace('/', '.')}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise course.CourseError(f"there is no {path}: checks and wrong answers belong there")
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return list(vars(module).get("_registered", []))
