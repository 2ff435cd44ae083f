"""Lines cut by the same probabilities: ours beside the package, and beside SentencePiece."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from toolkit.bench import Case
from toolkit.data.tokenizers import BytePiece, Unigram, load
from toolkit.data.tokenizers.scored import ScoredTokenizer

from . import corpora
from .corpora import share_equal
from .processes import BYTEPIECE, Child, python_with_bytepiece
from .training import VOCAB_SIZE

RUN = "TOKENIZERS_BENCHMARK_RUN"
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@dataclass(frozen=True, slots=True)
class Cut:
    """Texts cut into tokens, with the bytes of each token of the vocabulary."""

    ids: list[list[int]]
    sizes: np.ndarray

    def lengths(self) -> list[list[int]]:
        return [self.sizes[line].tolist() for line in self.ids]


@cache
def bytepiece() -> BytePiece:
    """Learnt as the package learns."""

    def train(lines: list[str]) -> BytePiece:
        return BytePiece.train(lines, VOCAB_SIZE, normalize="NFC", spell_rare=False)

    return learnt("bytepiece", train)


@cache
def unigram() -> Unigram:
    def train(lines: list[str]) -> Unigram:
        return Unigram.train(lines[:10_000], VOCAB_SIZE // 2, character_coverage=0.9999)

    return learnt("unigram", train)


def learnt(name: str, train: Callable[[list[str]], Any]) -> Any:
    """A vocabulary of the training lines, kept in a file for the other processes of one run."""
    path = run_folder() / f"{name}.json"
    if not path.exists():
        train(corpora.training()).save(path)
    return load(path)


@cache
def run_folder() -> Path:
    """A folder that this run's processes share and that goes when the first of them ends."""
    if RUN not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="tokenizers-")
        os.environ[RUN] = folder.name
        _KEPT.append(folder)
    return Path(os.environ[RUN])


def beside_bytepiece(name: str, lines: list[str], rounds: int) -> Case:
    """The same model file, the same lines."""
    model, size = bytepiece(), corpora.size_of(lines)

    @cache
    def child() -> Child:
        path = run_folder() / "exported.json"
        model.to_bytepiece(path)
        started = Child(python_with_bytepiece(), "package.py")
        started.ask("load", str(path), lines)
        return started

    def theirs() -> Child:
        child().ask("encode")
        return child()

    ours = encoder(model, lines)
    wanted = cache(lambda: ours().lengths())

    def quality(found: Cut | Child) -> dict[str, float]:
        lengths = found.lengths() if isinstance(found, Cut) else found.ask("lengths")
        return {
            "identical": share_equal(lengths, wanted()),
            "bytes_per_token": size / sum(map(len, lengths)),
        }

    return Case(
        name=f"encoding by BytePiece, {name}",
        params={
            "lines": len(lines),
            "bytes": size,
            "threads": 1,
            "vocab_size": model.vocab_size,
            "bytepiece": BYTEPIECE,
        },
        ours=ours,
        peers={"bytepiece": theirs},
        quality=quality,
        rounds=rounds,
    )


def encoder(model: ScoredTokenizer, lines: list[str]) -> Callable[[], Cut]:
    sizes = np.array([len(model.piece(token)) for token in range(model.vocab_size)])
    return lambda: Cut([model.encode(line) for line in lines], sizes)


def exported(name: str, model: ScoredTokenizer) -> Case:
    """Held-out lines by our model and by SentencePiece with the same, exported."""
    lines = corpora.held_out()
    path = run_folder() / f"{name}.model"
    model.to_sentencepiece(path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = range(theirs.get_piece_size())
    spelt = [theirs.id_to_piece(id).replace("▁", " ").encode() for id in ids]
    sizes = np.array([1 if theirs.is_byte(id) else len(spelt[id]) for id in ids])
    ours, size = encoder(model, lines), corpora.size_of(lines)
    wanted = cache(lambda: ours().lengths())
    return Case(
        name=f"SentencePiece model of {name}",
        params={"lines": len(lines), "bytes": size, "threads": 1, "vocab_size": model.vocab_size},
        ours=ours,
        peers={"SentencePiece": lambda: Cut(theirs.encode(lines, num_threads=1), sizes)},
        quality=lambda cut: {
            "identical": share_equal(cut.lengths(), wanted()),
            "bytes_per_token": size / sum(map(len, cut.ids)),
        },
    )
