"""``Lab``: what a learner's notebook talks to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from toolkit import course
from toolkit.classroom import checks, notebooks, progress
from toolkit.classroom.feedback import Message, progress_message, verdict_message


class Lab:
    """A chapter's lab, seen from inside a notebook.

    Args:
        chapter: such as ``"data/dedup"``.
        namespace: the names to check; by default those of the notebook (or module) that calls.
    Raises:
        CourseError: there is no such chapter.
    """

    def __init__(self, chapter: str, namespace: Mapping[str, Any] | None = None) -> None:
        self._checks = checks.load(chapter)
        self._chapter = chapter
        self._names = sys._getframe(1).f_globals if namespace is None else namespace

    def check(self, question: str) -> Message:
        """Check a question: what is now known, or what was called, what came back and a hint."""
        verdict = checks.judge(self._checks, question, self._names)
        score = [verdict.points, verdict.possible]
        progress.record(self._chapter, "questions", question, score)
        return verdict_message(verdict, self._checks.hints(question))

    def hint(self, question: str) -> Message:
        """The next of a question's hints; after the last it stays there."""
        hints = self._checks.hints(question)
        if not hints:
            return Message("plain", (f"{question} has no hints: `lab.check({question!r})` has.",))
        level = min(progress.read(self._chapter)["hints"].get(question, 0) + 1, len(hints))
        progress.record(self._chapter, "hints", question, level)
        return Message("plain", (f"Hint {level} of {len(hints)}: {hints[level - 1]}",))

    def given(self, question: str) -> Any:
        """The library's own answer to a question, so that later questions stay answerable.

        Returns:
            The function or class; a tuple of them where a question asks for several.
        """
        self._checks.of(question)
        names = notebooks.metadata(self._chapter)["given"].get(question, [])
        if not names:
            raise course.CourseError(f"{self._chapter} gives nothing for {question}")
        library = notebooks.library(self._chapter)
        found = tuple(getattr(library, name) for name in names)
        return found if len(found) > 1 else found[0]

    def predict(self, name: str, guess: Any, reveal: Callable[[], Any]) -> Message:
        """Commit a guess, then see. The first guess is the one that is kept; it earns no points.

        Args:
            name: what is predicted.
            guess: the learner's; ``...`` is no guess, and nothing is revealed.
            reveal: computes what is so.
        """
        if guess is ...:
            return Message("plain", (f"**{name}** · Put your guess in place of the `...` first.",))
        kept = progress.read(self._chapter)["predictions"].get(name)
        if kept is None:
            kept = str(guess)
            progress.record(self._chapter, "predictions", name, kept)
        return Message("plain", (f"**{name}** · You said **{kept}**. It is **{reveal()}**.",))

    def progress(self) -> Message:
        """Each question, its points, and whether it has been tried."""
        return progress_message(self._chapter, scores(self._chapter))

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
