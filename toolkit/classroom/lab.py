"""``Lab``: what a learner's notebook talks to."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import CodeType
from typing import Any

from toolkit import course
from toolkit.classroom import checks, notebooks, progress
from toolkit.classroom.feedback import (
    Message,
    code,
    hint_line,
    progress_message,
    strong,
    verdict_message,
)


class Lab:
    """A chapter's lab, seen from inside a notebook.

    Args:
        chapter: such as ``"data/dedup"``.
        namespace: the names to check; by default those of the notebook (or module) that calls.
    Raises:
        CourseError: there is no such chapter, or a package that it needs is not installed.
    """

    def __init__(self, chapter: str, namespace: Mapping[str, Any] | None = None) -> None:
        self._checks = checks.load(chapter)
        if missing := notebooks.missing(chapter):
            raise course.CourseError(missing)
        self._chapter = chapter
        self._names = sys._getframe(1).f_globals if namespace is None else namespace

    def check(self, question: str) -> Message:
        """Check a question: what is now known, or what was called, what came back and a hint."""
        hints = self._checks.hints(question)
        if self._is_given(question):
            said = f"{strong(f'{question} is given')} · It works, and earns no points."
            return Message("plain", (said, "Define your own and run its cell to have it checked."))
        verdict = checks.judge(self._checks, question, self._names)
        score = [verdict.points, verdict.possible]
        progress.record(self._chapter, "questions", question, score)
        message = verdict_message(verdict, hints)
        if verdict.passed:
            return message
        if verdict.level:
            self._reached(question, verdict.level)
        return replace(message, lines=(*message.lines, *self._doubts(question)))

    def hint(self, question: str) -> Message:
        """The next of a question's hints; after the last it stays there."""
        hints = self._checks.hints(question)
        level = min(progress.read(self._chapter)["hints"].get(question, 0) + 1, len(hints))
        self._reached(question, level)
        return Message("plain", (hint_line(level, hints),))

    def given(self, question: str) -> Any:
        """The library's own answer to a question, so that later questions stay answerable.

        Returns:
            The function or class; a tuple of them where a question asks for several.
        """
        self._checks.of(question)
        found = tuple(
            getattr(notebooks.library(self._chapter), name) for name in self._of(question)
        )
        return found if len(found) > 1 else found[0]

    def predict(self, name: str, guess: Any, reveal: Callable[[], Any]) -> Message:
        """Commit a guess, then see. The first guess is the one that is kept; it earns no points.

        Args:
            name: what is predicted.
            guess: the learner's; ``...`` is no guess, and nothing is revealed.
            reveal: computes what is so.
        """
        if guess is ...:
            return Message(
                "plain", (f"{strong(name)} · Put your guess in place of the {code('...')} first.",)
            )
        kept = progress.read(self._chapter)["predictions"].get(name)
        if kept is None:
            kept = str(guess)
            progress.record(self._chapter, "predictions", name, kept)
        said = f"{strong(name)} · You said {strong(kept)}. It is {strong(reveal())}."
        return Message("plain", (said,))

    def progress(self) -> Message:
        """Each question, its points, and whether it has been tried."""
        return progress_message(self._chapter, scores(self._chapter))

    def _of(self, question: str) -> list[str]:
        names: list[str] = notebooks.metadata(self._chapter)["given"][question]
        return names

    def _is_given(self, question: str) -> bool:
        library = sys.modules.get(course.homes(self._chapter).module)
        given = {} if library is None else vars(library)
        return any(
            name in given and self._names.get(name) is given[name] for name in self._of(question)
        )

    def _reached(self, question: str, level: int) -> None:
        seen = progress.read(self._chapter)["hints"].get(question, 0)
        progress.record(self._chapter, "hints", question, max(seen, level))

    def _doubts(self, question: str) -> list[str]:
        """A line on the first earlier question that this one's code uses and that has not passed:
        it may be what is wrong."""
        used = _used_by(self._of(question), self._names)
        for earlier in self._checks.questions[: self._checks.questions.index(question)]:
            earned, possible = scores(self._chapter)[earlier]
            failed = earned is not None and earned < possible and not self._is_given(earlier)
            if failed and not used.isdisjoint(self._of(earlier)):
                mend = code(f"{', '.join(self._of(earlier))} = lab.given({earlier!r})")
                return [f"Your {earlier} has not passed: {mend} rules it out."]
        return []

    def __repr__(self) -> str:
        questions = ", ".join(self._checks.questions)
        return f"Lab {self._chapter}: check, hint and given take one of {questions}"


def scores(chapter: str) -> dict[str, tuple[int | None, int]]:
    """Points earned (``None``: not tried) and possible for each question of a lab."""
    found = checks.load(chapter)
    tried = progress.read(chapter)["questions"]
    return {
        question: (tried[question][0] if question in tried else None, found.points(question))
        for question in found.questions
    }


def _used_by(names: Iterable[str], notebook: Mapping[str, Any]) -> set[str]:
    """The names of a notebook that the code of some leads to, theirs among them."""
    used: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        value = notebook.get(name)
        if name not in used and callable(value):
            used.add(name)
            for part in vars(value).values() if isinstance(value, type) else [value]:
                function = inspect.unwrap(getattr(part, "fn", part))  # a Triton kernel has its fn
                if getattr(function, "__globals__", None) is notebook:
                    ahead += _names_in(function.__code__)
    return used


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names_in(inner)
