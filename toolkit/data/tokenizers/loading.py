"""Any tokenizer, by its file."""

from __future__ import annotations

from pathlib import Path

from .bpe import BPE
from .bytepiece import BytePiece
from .files import read
from .unigram import Unigram

KINDS = {kind.kind: kind for kind in (BPE, Unigram, BytePiece)}


def load(path: str | Path) -> BPE | Unigram | BytePiece:
    """The tokenizer that ``save`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no tokenizer, or one that can't be.
    """
    path = Path(path)
    held = read(path)
    if held.get("kind") not in list(KINDS):
        raise ValueError(f"{path} holds a {held.get('kind')!r}; there are: {', '.join(KINDS)}")
    try:
        return KINDS[held["kind"]].from_fields(held)
    except KeyError as error:
        raise ValueError(f"{path} is damaged: it has no {error}") from None
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
