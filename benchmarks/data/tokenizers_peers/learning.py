"""Vocabularies learnt from the same lines: bytes per token, time, memory, and their pieces."""

from __future__ import annotations

import sys
import tempfile
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from toolkit.bench import Case
from toolkit.data.tokenizers import BytePiece

from . import corpora
from .corpora import share_equal
from .processes import BYTEPIECE, Child, python_with_bytepiece
from .scored import bytepiece
from .training import SPLITTING, TOOLS, VOCAB_SIZE

SPELT = "ours with rare characters spelt"
MEGABYTES = (2.5, 5, 10, 20)
"""Of text, for the memory that training takes."""


class Apart:
    """A tool that learns its vocabulary in a process of its own, which is started when needed."""

    def __init__(self, tool: str) -> None:
        self.tool = tool
        self._trained_mib: float | None = None

    @cached_property
    def child(self) -> Child:
        texts = corpora.training(), corpora.held_out()
        if self.tool == "bytepiece":
            started = Child(python_with_bytepiece(), "package.py")
            started.ask("prepare", VOCAB_SIZE, *texts)
        else:
            started = Child(sys.executable, "training.py")
            started.ask("prepare", self.tool, VOCAB_SIZE, *texts)
        return started

    def train(self) -> Apart:
        self.child.ask("train")
        if self._trained_mib is None:  # the first time: later ones find memory left over
            self._trained_mib = self.child.rise_mib
        return self

    def figures(self) -> dict[str, float]:
        """Bytes a token and speed on held-out lines, and by how much memory rose in training."""
        if self._trained_mib is None:
            self.train()
        assert self._trained_mib is not None
        found: dict[str, float] = self.child.ask("figures")
        return found | {"training_mib": self._trained_mib}


def learning(name: str, ours: str, peers: list[str]) -> Case:
    """Vocabularies learnt from the same lines: ours in this process and, for memory, apart."""
    processes = {tool: Apart(tool) for tool in (ours, *peers)}
    lines = corpora.training()

    def train() -> Apart:
        TOOLS[ours](lines, VOCAB_SIZE)
        return processes[ours]

    return Case(
        name=f"learning {name}",
        params={
            "bytes": corpora.size_of(lines),
            "lines": len(lines),
            "held_out_bytes": corpora.size_of(corpora.held_out()),
            "vocab_size": VOCAB_SIZE,
            "threads": 1,
            "splitting of ours": SPLITTING[ours],
            **{f"splitting of {tool_name(peer)}": SPLITTING[peer] for peer in peers},
        },
        ours=train,
        peers={tool_name(peer): processes[peer].train for peer in peers},
        quality=Apart.figures,
        rounds=1,
    )


def tool_name(tool: str) -> str:
    """Less what its splitting says anyway."""
    return tool.partition(",")[0]


def learning_bytepiece() -> Case:
    """Ours and the package at the same settings, and what both have learnt.

    Ours with rare characters spelt is the library's default: a character that is too rare for the
    n-gram model is cut into bytes, and not all that follows it.
    """
    base = learning("BytePiece", "our BytePiece", ["bytepiece", SPELT])
    compared = cache(same_as_package)

    def quality(apart: Apart) -> dict[str, float]:
        same = {
            "bytepiece": compared,
            "our BytePiece": lambda apart: {"agreement": 1.0, "identical": 1.0},
            SPELT: lambda apart: same_with_rare_characters_spelt(),
        }
        return apart.figures() | same[apart.tool](apart)

    return Case(
        name=base.name,
        params=base.params | {"bytepiece": BYTEPIECE, "max_order": 6, "min_count": 2},
        ours=base.ours,
        peers=base.peers,
        quality=quality,
        rounds=base.rounds,
    )


def same_as_package(package: Apart) -> dict[str, float]:
    """The share of pieces that both learnt, and of held-out lines that we cut alike by its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "theirs.json")
        package.child.ask("save", str(path))
        theirs = BytePiece.from_bytepiece(path)
    package.child.ask("encode")
    return {
        "agreement": agreement(theirs),
        "identical": share_equal(lengths_by(theirs), package.child.ask("lengths")),
    }


@cache
def same_with_rare_characters_spelt() -> dict[str, float]:
    """The share of pieces learnt with and without, and of held-out lines that both cut alike."""
    spelt = BytePiece.train(corpora.training(), VOCAB_SIZE, normalize="NFC")
    identical = share_equal(lengths_by(spelt), lengths_by(bytepiece()))
    return {"agreement": agreement(spelt), "identical": identical}


def lengths_by(tokenizer: BytePiece) -> list[list[int]]:
    """The pieces of each held-out line, by their lengths."""
    return [[len(piece) for piece in tokenizer.pieces(line)] for line in corpora.held_out()]


def agreement(other: BytePiece) -> float:
    """The share of pieces that ours, learnt as the package learns, has in common with another."""
    ours = set(bytepiece().vocabulary)
    return len(ours.intersection(other.vocabulary)) / max(len(ours), len(other.vocabulary))


def memory_of_training() -> Case:
    """How much more memory each MB of text takes."""
    texts = {size: corpora.first(corpora.every_line(), int(size * 1e6)) for size in MEGABYTES}

    def train(tool: str) -> str:
        TOOLS[tool](texts[MEGABYTES[-1]], VOCAB_SIZE)
        return tool

    def quality(tool: str) -> dict[str, float]:
        found = [rise_in_training(tool, lines) for lines in texts.values()]
        slope, _ = np.polyfit(MEGABYTES, np.array(found) * 2**20 / 1e6, 1)
        named = {f"mib_at_{size:g}_mb": mib for size, mib in zip(texts, found, strict=True)}
        return named | {"gb_per_gb": float(slope)}

    return Case(
        name="learning BytePiece, memory",
        params={
            "bytes": corpora.size_of(texts[MEGABYTES[-1]]),
            "vocab_size": VOCAB_SIZE,
            "splitting": SPLITTING["our BytePiece"],
        },
        ours=lambda: train("our BytePiece"),
        peers={"ours, two threads": lambda: train("our BytePiece, two threads")},
        quality=quality,
        rounds=1,
    )


def rise_in_training(tool: str, lines: list[str]) -> float:
    """By how many MiB a process of its own grows at its highest."""
    child = Child(sys.executable, "training.py")
    child.ask("prepare", tool, VOCAB_SIZE, lines, [])
    child.ask("train")
    child.end()
    return child.rise_mib
