"""The tokenizer inside a model's GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .splitting import GPT2, SMOLLM

if TYPE_CHECKING:
    from gguf import GGUFReader

NORMAL = 1
"""What GGUF calls a token that text is encoded to; all others are special."""
PATTERNS_OF_GGUF = {"gpt-2": GPT2, "smollm": SMOLLM}


def open_gguf(path: Path) -> GGUFReader:
    """A GGUF file, of which only the table of contents is read.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no GGUF.
    """
    from gguf import GGUFReader

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return GGUFReader(path)
    except Exception as error:
        raise ValueError(f"{path} is not a GGUF file, or it is cut off: {error}") from None


def read_vocabulary(reader: GGUFReader, path: Path) -> dict[str, Any]:
    """The arguments of ``BPE`` from a GGUF file.

    Raises:
        ValueError: its tokenizer is not a BPE over bytes that is known here.
    """
    fields = reader.fields

    def held(name: str) -> Any:
        field = fields.get(f"tokenizer.ggml.{name}")
        return None if field is None else field.contents()

    if held("model") != "gpt2":
        raise ValueError(
            f"{path} holds a tokenizer of kind {held('model')!r}, and not a BPE, 'gpt2'"
        )
    if held("pre") not in PATTERNS_OF_GGUF:
        raise ValueError(
            f"{path} splits words by the rules {held('pre')!r}; known here are: "
            f"{', '.join(PATTERNS_OF_GGUF)}"
        )
    names, types = held("tokens"), held("token_type")
    special = {name: i for i, name in enumerate(names) if types[i] != NORMAL}
    signs = {sign: byte for byte, sign in enumerate(byte_signs())}
    tokens = [
        name.encode() if name in special else bytes(signs[sign] for sign in name) for name in names
    ]
    ids = {piece: token for token, piece in enumerate(tokens) if types[token] == NORMAL}
    merges = []
    for line in held("merges"):
        left, right = (bytes(signs[sign] for sign in part) for part in line.split(" "))
        merges.append((ids[left], ids[right]))
    return {
        "tokens": tokens,
        "merges": merges,
        "pattern": PATTERNS_OF_GGUF[held("pre")],
        "special": special,
    }


def byte_signs() -> list[str]:
    """The sign that stands for each byte where a vocabulary is written as text, as GPT-2 does.

    A byte whose Latin-1 character can be seen is that character; the others are the characters
    from U+0100 on, in order.
    """
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = [byte for byte in range(256) if byte not in set(seen)]
    signs = {byte: chr(byte) for byte in seen}
    signs |= {byte: chr(0x100 + place) for place, byte in enumerate(unseen)}
    return [signs[byte] for byte in range(256)]
