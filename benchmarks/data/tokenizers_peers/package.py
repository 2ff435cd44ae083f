"""Su Jianlin's package bytepiece in its own environment; ``child`` calls this."""

from __future__ import annotations

import json
import time
from typing import Any

from bytepiece import Tokenizer, Trainer


class Session:
    """One vocabulary, trained here or read from a file, and the lines that it cuts."""

    def prepare(self, vocab_size: int, training: list[str], held_out: list[str]) -> None:
        self._vocab_size, self._training, self._held_out = vocab_size, training, held_out

    def train(self) -> None:
        trainer = Trainer(
            order=6, max_vocab_size=self._vocab_size, max_piece_length=36, min_count=2
        )
        trainer.train(self._training)
        self._model: dict[str, list[Any]] = trainer.dump(trainer.pieces[0])

    def save(self, path: str) -> None:
        """As ``Trainer.save`` writes it."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self._model, file, indent=4, ensure_ascii=False)

    def load(self, path: str, lines: list[str]) -> None:
        self._tokenizer, self._lines = Tokenizer(path), lines

    def encode(self) -> None:
        self._ids = [self._tokenizer.encode(line) for line in self._lines]

    def lengths(self) -> list[list[int]]:
        """The bytes of every piece of every line."""
        return [[len(self._tokenizer.id_to_piece(id)) for id in line] for line in self._ids]

    def figures(self) -> dict[str, float]:
        self.load_trained()
        size = sum(len(line.encode()) for line in self._held_out)
        start = time.perf_counter()
        self.encode()
        seconds = time.perf_counter() - start
        return {
            "bytes_per_token": size / sum(map(len, self._ids)),
            "encoding_mb_s": size / seconds / 1e6,
        }

    def load_trained(self) -> None:
        self._tokenizer, self._lines = Tokenizer(self._model), self._held_out
