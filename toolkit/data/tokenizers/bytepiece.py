"""BytePiece: a vocabulary of byte strings, each as likely as it was frequent."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from toolkit.arguments import whole_number
from toolkit.data.dedup.blocks import check_workers

from .bytepiece_training import train
from .files import as_base64, from_base64, read_json, write_atomically
from .ngrams import MAX_ORDER
from .scored import SPECIAL, Form, ScoredTokenizer
from .text import several_times


class BytePiece(ScoredTokenizer):
    """Su Jianlin's tokenizer: bytes, no regular expression before it, counts in place of EM.

    Args:
        counts: the pieces and how often each stood, every single byte among them. Token ids go by
            length, then by bytes.
        normalize, isolate_digits: see ``ScoredTokenizer``.
    """

    kind: ClassVar[str] = "BytePiece"

    def __init__(
        self, counts: Mapping[bytes, int], *, normalize: Form = None, isolate_digits: bool = False
    ) -> None:
        order = sorted(counts, key=lambda piece: (len(piece), piece))
        self.counts = {piece: counts[piece] for piece in order}
        values = np.array(list(self.counts.values()), dtype=np.int64)
        if values.min(initial=1) < 1:
            raise ValueError(f"every piece must have stood at least once, got {values.min()}")
        log_probs = np.log(values) - np.log(values.sum())
        super().__init__(order, log_probs, normalize=normalize, isolate_digits=isolate_digits)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        *,
        max_order: int = 6,
        max_length: int = 36,
        min_count: int = 2,
        normalize: Form = None,
        ensure_unicode: bool = True,
        spell_rare: bool = True,
        isolate_digits: bool = False,
        workers: int = 1,
    ) -> BytePiece:
        """Learn a vocabulary.

        Memory grows with the distinct runs of the n-gram model: on lines of licences and reviews
        by 18 GB for a GB of text, measured up to 20 MB (``benchmarks/data/tokenizers.py``).

        Args:
            texts: read twice: a list, or ``TextFiles``.
            vocab_size: the most tokens, three special ones and the 256 single bytes included.
                There may be fewer: pieces that the others make as well are dropped.
            max_order: bytes of the longest run of the n-gram model, 1 to 7.
            max_length: bytes of the longest piece.
            min_count: runs and pieces of two bytes or more that are rarer are dropped.
            normalize: None, or ``"NFC"`` for texts before they are cut, here and in ``encode``.
            ensure_unicode: pieces start where characters do.
            spell_rare: a character that is rarer than ``min_count`` is spelt in bytes. Without
                this, as in the package bytepiece, so is all that follows it in its line.
            isolate_digits: no piece holds a digit and something else.
            workers: threads. The vocabulary is the same for any number.
        Raises:
            ValueError, TypeError: an argument is out of its range, or the texts hold no text.
        """
        vocab_size = whole_number("vocab_size", vocab_size)
        max_order = whole_number("max_order", max_order)
        max_length = whole_number("max_length", max_length)
        min_count = whole_number("min_count", min_count)
        workers = check_workers(workers)
        least = len(SPECIAL) + 256
        if vocab_size < least:
            raise ValueError(
                f"vocab_size must be at least {least}, the 256 single bytes and "
                f"{len(SPECIAL)} special tokens, got {vocab_size}"
            )
        if not 1 <= max_order <= MAX_ORDER:
            raise ValueError(f"max_order must be 1 to {MAX_ORDER}, got {max_order}")
        for name, value in (
            ("max_length", max_length),
            ("min_count", min_count),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        counts = train(
            several_times(texts),
            vocab_size - len(SPECIAL),
            max_order=max_order,
            max_length=max_length,
            min_count=min_count,
            ensure_unicode=ensure_unicode,
            spell_rare=spell_rare,
            isolate_digits=isolate_digits,
            prepared=_nfc if normalize else None,
            workers=workers,
        )
        return cls(counts, normalize=normalize, isolate_digits=isolate_digits)

    @classmethod
    def from_bytepiece(cls, path: str | Path) -> BytePiece:
        """Read a model of the package bytepiece, which normalises to NFC.

        Raises:
            ValueError: the file is no such model.
        """
        path = Path(path)
        wanted = "a model of bytepiece"
        held = read_json(path, wanted)
        try:
            pieces = from_base64(held)
            rows = dict(zip(pieces, held.values(), strict=True))
            made = cls({piece: int(row[-1]) for piece, row in rows.items()}, normalize="NFC")
            for token, piece in enumerate(made.counts, len(SPECIAL)):
                if rows[piece][0] != token:
                    raise ValueError(f"the id of {piece!r} is {rows[piece][0]}, and not {token}")
            return made
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise ValueError(f"{path} is not {wanted}: {error}") from None

    def to_bytepiece(self, path: str | Path) -> None:
        """Write a model that the package bytepiece reads.

        Its ``Tokenizer`` normalises to NFC and does not isolate digits, whatever this one does.
        """
        rows = {
            key: [token + len(SPECIAL), piece.decode(errors="ignore"), count]
            for token, (key, (piece, count)) in enumerate(
                zip(as_base64(self.counts), self.counts.items(), strict=True)
            )
        }
        write_atomically(Path(path), json.dumps(rows, indent=4, ensure_ascii=False))

    def _fields(self) -> dict[str, Any]:
        return {
            "pieces": as_base64(self.counts),
            "counts": list(self.counts.values()),
            "normalize": self.normalize,
            "isolate_digits": self.isolate_digits,
        }

    @classmethod
    def from_fields(cls, held: Mapping[str, Any]) -> BytePiece:
        """The tokenizer of a file."""
        counts = dict(zip(from_base64(held["pieces"]), held["counts"], strict=True))
        return cls(counts, normalize=held["normalize"], isolate_digits=held["isolate_digits"])


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
