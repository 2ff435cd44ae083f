"""Numbers as arguments: those of the wrong kind or out of range are refused in one sentence."""

from __future__ import annotations

from numbers import Real
from operator import index
from typing import Any


def whole_number(name: str, value: Any) -> int:
    """An argument as a Python int, which NumPy's integers become: theirs can overflow."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None


def at_least_one(**parameters: Any) -> None:
    """Refuse what is not a whole number of at least 1."""
    for name, value in parameters.items():
        if whole_number(name, value) < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_fraction(name: str, value: float) -> None:
    """Refuse what is not a number between 0 and 1, both excluded."""
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number between 0 and 1, got {value!r}")
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must be between 0 and 1, got {value!r}")
