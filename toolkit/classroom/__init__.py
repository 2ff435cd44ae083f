"""Labs, their checks and hints, and the door (``answer``) that checks and grader share."""

from toolkit.classroom.checks import expect, question, require, wrong
from toolkit.classroom.kernels import launch
from toolkit.classroom.lab import Lab

__all__ = ["Lab", "expect", "launch", "question", "require", "wrong"]
