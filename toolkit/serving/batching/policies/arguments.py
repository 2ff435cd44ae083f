"""A policy's parameters, checked at the door."""

from __future__ import annotations

from toolkit.data.dedup.arguments import whole_number


def at_least_one(**parameters: int) -> None:
    """Refuse what is not a whole number of at least 1."""
    for name, value in parameters.items():
        if whole_number(name, value) < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
