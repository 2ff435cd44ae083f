"""Unigram: a vocabulary chosen so that a text is likely, by EM and pruning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .files import as_base64, from_base64
from .scored import SPECIAL, Form, ScoredTokenizer
from .text import several
from .unigram_training import train_unigram


class Unigram(ScoredTokenizer):
    """Kudo's language model of independent pieces.

    Args:
        pieces: with their log-probabilities, every single byte among them.
        normalize, isolate_digits: see ``ScoredTokenizer``.

    Source:
        Kudo 2018.
    """

    kind: ClassVar[str] = "Unigram"

    def __init__(
        self, pieces: Mapping[bytes, float], *, normalize: Form = None, isolate_digits: bool = False
    ) -> None:
        log_probs = np.array(list(pieces.values()), dtype=np.float64)
        super().__init__(
            list(pieces), log_probs, normalize=normalize, isolate_digits=isolate_digits
        )

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        *,
        max_length: int = 16,
        character_coverage: float = 1.0,
        workers: int = 1,
    ) -> Unigram:
        """Learn a vocabulary.

        Args:
            texts: read once.
            vocab_size: tokens, three special ones and the 256 single bytes included.
            max_length: characters of the longest piece.
            character_coverage: share of the text whose characters are pieces; the rarest others
                are spelt as bytes.
            workers: threads. The vocabulary is the same for any number.
        Raises:
            ValueError, TypeError: the size does not fit the texts, or they hold no text.
        """
        pieces = train_unigram(
            several(texts),
            vocab_size,
            special=len(SPECIAL),
            max_length=max_length,
            character_coverage=character_coverage,
            workers=workers,
        )
        return cls(pieces)

    def _fields(self) -> dict[str, Any]:
        return {
            "pieces": as_base64(self.vocabulary),
            "log_probs": self.log_probs.tolist(),
            "normalize": self.normalize,
            "isolate_digits": self.isolate_digits,
        }

    @classmethod
    def from_fields(cls, held: Mapping[str, Any]) -> Unigram:
        """The tokenizer of a file."""
        pieces = dict(zip(from_base64(held["pieces"]), held["log_probs"], strict=True))
        return cls(pieces, normalize=held["normalize"], isolate_digits=held["isolate_digits"])
