"""What assets there are: ``registry.toml`` as records."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path


class AssetError(RuntimeError):
    """An asset that can't be had: one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One asset.

    Attributes:
        name: what ``get`` takes.
        description: what it holds, in a line.
        licence: SPDX expression.
        source: ``NAME==VERSION`` on PyPI, or a URL.
        filename: what the source calls the file.
        sha256: of that file.
        size: of that file, in bytes.
        purpose: what can't be done without it.
        members: what is kept of an archive, files or folders; empty keeps the file as it came.
    """

    name: str
    description: str
    licence: str
    source: str
    filename: str
    sha256: str
    size: int
    purpose: str
    members: tuple[str, ...] = ()

    @property
    def from_pypi(self) -> bool:
        """Whether pip fetches it, rather than a plain download."""
        return "==" in self.source and "://" not in self.source

    @property
    def origin(self) -> str:
        """Where it comes from, for people: ``PyPI (NAME VERSION)`` or the URL."""
        return f"PyPI ({self.source.replace('==', ' ')})" if self.from_pypi else self.source


@cache
def entries() -> tuple[Entry, ...]:
    """Every asset, in the order of ``registry.toml``."""
    table = tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8"))
    return tuple(
        Entry(name=name, **{**fields, "members": tuple(fields.get("members", ()))})
        for name, fields in table.items()
    )


def find(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        AssetError: there is none; the sentence lists those there are.
    """
    for entry in entries():
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in entries())
    raise AssetError(f"there is no asset {name!r}; there are: {known}")
