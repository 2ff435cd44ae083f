"""What a check says back: rich in JupyterLab, plain in a terminal, one text for both.

A message is a list of lines, rendered twice. What a learner wrote or returned is put between marks
that no text holds, so that it is never taken for markup; an author's hint is in a little Markdown
(`code` and **strong**).
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.classroom.answer import Call, LearnerError
from toolkit.classroom.checks import Verdict
from toolkit.classroom.codec import CodecError
from toolkit.classroom.compare import both, short

STRONG, PLAIN, CODE, TEXT = "\ue000", "\ue001", "\ue002", "\ue003"  # begin and end of each
TONES = {
    "right": "var(--tk-hit, #009E73)",
    "wrong": "var(--tk-missed, #D55E00)",
    "plain": "var(--tk-ours, #0072B2)",
}


@dataclass(frozen=True, slots=True)
class Message:
    """Something the classroom says.

    Attributes:
        tone: "right", "wrong" or "plain": the colour of the edge; the words say the same.
        lines: sentences made with ``strong``, ``code`` and ``markdown``; one that starts with
            four spaces is all code.
        rows: a table under them, its first row the header.
    """

    tone: str
    lines: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()

    def __repr__(self) -> str:
        text = [
            re.sub(f"[{CODE}{TEXT}]", "`", re.sub(f"[{STRONG}{PLAIN}]", "", line))
            for line in self.lines
        ]
        if self.rows:
            widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
            text += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in self.rows]
        return "\n".join(text)

    def _repr_html_(self) -> str:
        parts = [_line_html(line) for line in self.lines]
        if self.rows:
            parts.append(_table_html(self.rows))
        edge = f"border-left:4px solid {TONES[self.tone]};padding:.4em 0 .4em .9em;margin:.3em 0"
        return f'<div role="status" style="{edge};max-width:48em">{"".join(parts)}</div>'


def strong(text: object) -> str:
    """A part of a line that stands out."""
    return f"{STRONG}{_plain(text)}{PLAIN}"


def code(text: object) -> str:
    """A part of a line that is code."""
    return f"{CODE}{_plain(text)}{TEXT}"


def markdown(text: str) -> str:
    """An author's sentence, with its `code` and **strong**."""
    text = re.sub(r"`([^`]+)`", rf"{CODE}\1{TEXT}", text)
    return re.sub(r"\*\*(.+?)\*\*", rf"{STRONG}\1{PLAIN}", text)


def verdict_message(verdict: Verdict, hints: Sequence[str]) -> Message:
    """What to say of a question's checks.

    Args:
        verdict: what they found.
        hints: the question's general hints.
    """
    name = verdict.question
    if verdict.passed:
        points = f"{verdict.points} of {_points(verdict.possible)}"
        known = tuple(f"✓ {markdown(what)}" for what in verdict.knows)
        return Message("right", (f"{strong(f'{name} passed')} · {points}", *known))
    lines = [f"{strong(f'{name} not yet')} · {_failure(verdict)}", *_own_lines(verdict)]
    if verdict.hint:
        lines.append(f"Hint: {markdown(verdict.hint)}")
    elif verdict.level:
        more = f" {code(f'lab.hint({name!r})')} shows the next."
        lines.append(hint_line(verdict.level, hints) + (more if verdict.level < len(hints) else ""))
    if verdict.points:
        lines.append(f"So far {verdict.points} of {_points(verdict.possible)}.")
    return Message("wrong", tuple(lines))


def hint_line(level: int, hints: Sequence[str]) -> str:
    """One of a question's hints, the first being level 1, and its place among them."""
    return f"Hint {level} of {len(hints)}: {markdown(hints[level - 1])}"


def progress_message(chapter: str, scores: Mapping[str, tuple[int | None, int]]) -> Message:
    """A table of a lab's questions: points earned (``None``: not tried) and possible."""
    total = sum(earned or 0 for earned, _ in scores.values())
    possible = sum(points for _, points in scores.values())
    rows = [("question", "points", "")]
    for question, (earned, points) in scores.items():
        state = "not tried" if earned is None else "passed" if earned == points else "not yet"
        rows.append((question, f"{earned or 0} of {points}", state))
    head = f"{strong(chapter)} · {total} of {_points(possible)}"
    return Message("right" if total == possible else "plain", (head,), tuple(rows))


def _failure(verdict: Verdict) -> str:
    failure, call = verdict.failure, verdict.call
    if isinstance(failure, LearnerError):
        if failure.kind == "NotDefinedError":
            missing = markdown(failure.message)
            return f"{missing}: its cell has not run, or not to its end."
        return f"{_call(call)} raised {strong(failure)}."
    if isinstance(failure, CodecError):
        return f"{_call(call)}: {_plain(failure)}."
    assert failure is not None
    if call is None:
        return f"{_plain(failure)}."
    gave = f"{_call(call)} {'is' if call.args is None else 'gave'}"
    if failure.how:
        return f"{gave} {strong(short(call.result))}: {_plain(failure.how)}."
    actual, expected = both(failure.actual, failure.expected)
    if failure.actual is not call.result:
        gave += f" {strong(short(call.result))}, which makes"
    return f"{gave} {strong(actual)}, expected {strong(expected)}."


def _call(call: Call | None) -> str:
    if call is None:
        return "it"
    if call.args is None:
        return code(call.function)
    args = [short(arg, 40) for arg in call.args]
    args += [f"{name}={short(value, 40)}" for name, value in call.kwargs.items()]
    return code(f"{call.function}({', '.join(args)})")


def _own_lines(verdict: Verdict) -> list[str]:
    if not isinstance(verdict.failure, LearnerError):
        return []
    lines = verdict.failure.lines
    return [f"    line {line} in {name}: {_plain(text)}" for name, line, text in lines]


def _plain(text: object) -> str:
    return re.sub(f"[{STRONG}{PLAIN}{CODE}{TEXT}]", "\ufffd", str(text))


def _points(number: int) -> str:
    return f"{number} point" if number == 1 else f"{number} points"


def _line_html(line: str) -> str:
    if line.startswith("    "):
        return f'<pre style="margin:.2em 0">{html.escape(line.strip())}</pre>'
    text = html.escape(line, quote=False)
    text = re.sub(f"{CODE}(.*?){TEXT}", r"<code>\1</code>", text)
    text = re.sub(f"{STRONG}(.*?){PLAIN}", r"<strong>\1</strong>", text)
    return f'<p style="margin:.2em 0">{text}</p>'


def _table_html(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col" style="text-align:left">{cell}</th>' for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in row) + "</tr>"
        for row in rows[1:]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
