"""What tokenizers of every kind have in common: tokens become text again, and a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from .files import write


class Tokenizer:
    """A vocabulary, by the ids of its tokens.

    Attributes:
        kind: which of them it is, as files say.
    """

    kind: ClassVar[str]

    @property
    def vocab_size(self) -> int:
        """Tokens in all, the special ones included."""
        raise NotImplementedError

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        raise NotImplementedError

    def pieces(self, text: str) -> list[bytes]:
        """The pieces of a text, as ``encode`` cuts it; joined, they are its bytes."""
        return [self._piece(token) for token in self.encode(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens, whether ``encode`` made them or not.

        Bytes that are no character, such as when a text is cut inside of one, become U+FFFD.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        return b"".join(map(self.piece, ids)).decode(errors="replace")

    def piece(self, token: int) -> bytes:
        """The bytes of a token.

        Raises:
            ValueError: it is not in the vocabulary.
        """
        if not 0 <= token < self.vocab_size:
            raise ValueError(
                f"token {token} is not in the vocabulary: ids are 0 to {self.vocab_size - 1}"
            )
        return self._piece(token)

    def save(self, path: str | Path) -> None:
        """Write a file that ``load`` reads. It is there in full, or not at all."""
        write(Path(path), self.kind, self._fields())

    @classmethod
    def from_fields(cls, held: Mapping[str, Any]) -> Self:
        """The tokenizer of a file."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vocab_size:,} tokens)"

    def _piece(self, token: int) -> bytes:
        raise NotImplementedError

    def _fields(self) -> dict[str, Any]:
        raise NotImplementedError
