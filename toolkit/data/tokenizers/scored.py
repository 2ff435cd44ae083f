"""Tokenizers whose pieces have probabilities: the best path through a lattice, or a random one."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int32

from .files import write_atomically
from .paths import best_tokens_by_line, random_tokens
from .sentencepiece_model import sentencepiece_model
from .text import as_array, character_classes, segments, utf8
from .tokenizer import Tokenizer
from .trie import build

SPECIAL = ("<pad>", "<bos>", "<eos>")
"""The tokens before those of the vocabulary. No text is encoded to them; they decode to nothing."""
FIRST = len(SPECIAL)

MOST_ALPHA = 1e6
"""Long before it, only the best segmentations are drawn; far beyond, the sums overflow."""

MOST_LOG_PROB = 1e100
"""So that alpha times the sum over any text is finite: the loops rely on it."""

Form = Literal["NFC"] | None


class ScoredTokenizer(Tokenizer):
    """What ``Unigram`` and ``BytePiece`` have in common: a vocabulary with log-probabilities.

    Attributes:
        vocabulary: the pieces; that of token i is ``vocabulary[i - 3]``.
        log_probs: of each piece.
        normalize: what is done to a text before it is cut: nothing, or Unicode's NFC, which
            replaces some characters by others that look the same.
        isolate_digits: whether every decimal digit is cut off from what surrounds it.
        trie: of the vocabulary, by the places of its pieces.
    """

    def __init__(
        self,
        vocabulary: Sequence[bytes],
        log_probs: Float64[np.ndarray, " pieces"],
        *,
        normalize: Form = None,
        isolate_digits: bool = False,
    ) -> None:
        if normalize not in (None, "NFC"):
            raise ValueError(f"normalize must be None or 'NFC', got {normalize!r}")
        if not isinstance(isolate_digits, bool):
            raise TypeError(f"isolate_digits must be True or False, got {isolate_digits!r}")
        missing = {bytes([byte]) for byte in range(256)}.difference(vocabulary)
        if missing:
            raise ValueError(
                f"the vocabulary lacks {len(missing)} of the 256 single bytes, {min(missing)!r} "
                f"among them: without all of them some texts have no pieces"
            )
        self.vocabulary = tuple(vocabulary)
        self.log_probs = np.asarray(log_probs, dtype=np.float64)
        if b"" in self.vocabulary:
            raise ValueError("the vocabulary holds an empty piece, which no text has")
        if self.log_probs.shape != (len(self.vocabulary),):
            raise ValueError(
                f"log_probs must be a number for each of the {len(self.vocabulary)} pieces, got "
                f"the shape {self.log_probs.shape}"
            )
        wrong = np.flatnonzero(~(np.abs(self.log_probs) <= MOST_LOG_PROB))  # nan, too
        if len(wrong):
            place = int(wrong[0])
            raise ValueError(
                f"the log-probability of {self.vocabulary[place]!r} is {self.log_probs[place]}: "
                f"each must be a number of at most {MOST_LOG_PROB:g}, or some texts have no "
                f"segmentation"
            )
        self.normalize = normalize
        self.isolate_digits = isolate_digits
        self.trie = build(self.vocabulary)
        self._lengths: Int32[np.ndarray, " pieces"] = np.array(
            [len(piece) for piece in self.vocabulary], dtype=np.int32
        )
        self._classes = character_classes() if isolate_digits else np.zeros(1, dtype=np.uint8)

    @property
    def vocab_size(self) -> int:
        """Tokens in all, the three special ones included."""
        return len(self.vocabulary) + FIRST

    def encode(self, text: str, alpha: float | None = None, seed: int = 0) -> list[int]:
        """The tokens of a text.

        Args:
            text: any that UTF-8 can encode.
            alpha: None for the most likely segmentation; else a random one, drawn with probability
                proportional to P(segmentation)^alpha, at most 1e6. 0 draws all alike.
            seed: of the random one; the same seed draws the same.
        Returns:
            Token ids.
        Raises:
            ValueError: the text holds half of a surrogate pair; alpha or seed is out of range.
        """
        return self._ids(text, alpha, seed).tolist()

    def pieces(self, text: str, alpha: float | None = None, seed: int = 0) -> list[bytes]:
        """The pieces of a text, as ``encode`` cuts it; joined, they are what is ``prepared``."""
        return [self._piece(token) for token in self.encode(text, alpha, seed)]

    def prepared(self, text: str) -> bytes:
        """The bytes that are cut: those of the text, normalised if this tokenizer does."""
        return utf8(text if self.normalize is None else unicodedata.normalize("NFC", text))

    def to_sentencepiece(self, path: str | Path) -> None:
        """Write a model that SentencePiece reads, of the same pieces and log-probabilities.

        It has no place for pieces that start or end inside a character, and spells a space as "▁".
        """
        write_atomically(Path(path), sentencepiece_model(self.vocabulary, self.log_probs))

    def _piece(self, token: int) -> bytes:
        return self.vocabulary[token - FIRST] if token >= FIRST else b""

    def _ids(self, text: str, alpha: float | None, seed: int) -> Int32[np.ndarray, " pieces"]:
        content = as_array(self.prepared(text))
        if alpha is None:
            return best_tokens_by_line(
                content, self._classes, self.isolate_digits, self.trie, self.log_probs,
                self._lengths, FIRST,
            )  # fmt: skip
        if not 0 <= alpha <= MOST_ALPHA:
            raise ValueError(f"alpha must be 0 to {MOST_ALPHA:g}, got {alpha!r}")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be 0 to 2**64 - 1, got {seed!r}")
        ends = segments(content, self.isolate_digits)
        scores = alpha * self.log_probs
        drawn = np.uint64(seed)
        return random_tokens(content, ends, self.trie, scores, self._lengths, drawn) + FIRST
