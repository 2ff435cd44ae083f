"""Tokenizers as SentencePiece models, for all that reads those.

SentencePiece cuts characters and knows single bytes only as a last resort, so a piece that starts
or ends inside a character has no place there. It spells a space as "▁": a text that has that sign
itself comes back with a space.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
UNIGRAM = 1
LAST_RESORT = -100.0
"""The score of a byte that is spelt, where the same byte is also a character of the vocabulary."""


def sentencepiece_model(
    vocabulary: Sequence[bytes], log_probs: Float64[np.ndarray, " pieces"]
) -> bytes:
    """A model in SentencePiece's format, of the same pieces and log-probabilities."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

    model = ModelProto()

    def add(piece: str, score: float, kind: int) -> None:
        model.pieces.add(piece=piece, score=score, type=kind)

    for name, kind in (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)):
        add(name, 0.0, kind)
    scores: dict[str, float] = {}
    for piece, score in zip(vocabulary, log_probs.tolist(), strict=True):
        text = piece.decode(errors="ignore")
        if text.encode() == piece and "\0" not in text:
            name = text.replace(" ", "▁")  # a text's own "▁" is a space there
            scores[name] = max(score, scores.get(name, -np.inf))
    for name, score in scores.items():
        add(name, score, NORMAL)
    for byte in range(256):
        add(f"<0x{byte:02X}>", LAST_RESORT, BYTE)
    model.trainer_spec.model_type = UNIGRAM
    model.trainer_spec.vocab_size = len(model.pieces)
    model.trainer_spec.split_by_unicode_script = False
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.precompiled_charsmap = b""
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    return bytes(model.SerializeToString())
