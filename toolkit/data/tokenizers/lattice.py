"""The lattice of a text: every piece of a vocabulary that stands in it, and those that are chosen.

Nodes are the places between bytes, 0 to n. An edge from s to e is a piece that spells bytes s to e
of the text. A segmentation is a path from 0 to n.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int32

from .bpe import BPE
from .paths import edges
from .scored import SPECIAL, ScoredTokenizer
from .splitting import split
from .text import as_array, segments, utf8


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """All ways to cut one text, and the one that the tokenizer takes.

    Attributes:
        kind: whose it is: ``"BPE"``, ``"Unigram"`` or ``"BytePiece"``.
        text: the bytes that are cut; where the tokenizer normalises, after it did.
        starts, ends: of each edge, byte positions. Edges are ordered by end, then by start.
        ids: the token of each edge.
        scores: of each edge: the log-probability of its piece. BPE has none; there it is minus
            the place of its merge in the list of merges, and 0 for a single byte.
        best: the edges of ``encode``'s segmentation, from left to right.
        merges: for BPE, the edges that its merges made, in the order they were made; else empty.
    """

    kind: str
    text: bytes
    starts: Int32[np.ndarray, " edges"]
    ends: Int32[np.ndarray, " edges"]
    ids: Int32[np.ndarray, " edges"]
    scores: Float64[np.ndarray, " edges"]
    best: Int32[np.ndarray, " pieces"]
    merges: Int32[np.ndarray, " merges"]


def lattice(tokenizer: BPE | ScoredTokenizer, text: str) -> Lattice:
    """The lattice of a text, for a tokenizer of any kind.

    Raises:
        ValueError: the text can't be encoded.
    """
    if isinstance(tokenizer, BPE):
        return _of_merges(tokenizer, text)
    content = tokenizer.prepared(text)
    found = edges(as_array(content), tokenizer.trie)
    ends = segments(as_array(content), tokenizer.isolate_digits)
    inside = np.searchsorted(ends, found[:, 0], "right") == np.searchsorted(ends, found[:, 1])
    starts, stops, tokens = _ordered(found[inside])
    best = _places(starts, stops, tokenizer.pieces(text))
    scores = tokenizer.log_probs[tokens]
    ids, none = tokens + len(SPECIAL), np.zeros(0, dtype=np.int32)
    return Lattice(tokenizer.kind, content, starts, stops, ids, scores, best, none)


def _of_merges(tokenizer: BPE, text: str) -> Lattice:
    content = utf8(text)
    found = edges(as_array(content), tokenizer.trie)
    words = split(as_array(content), tokenizer.pattern)
    inside = np.searchsorted(words, found[:, 0], "right") == np.searchsorted(words, found[:, 1])
    starts, stops, tokens = _ordered(found[inside])
    place = {
        span: edge for edge, span in enumerate(zip(starts.tolist(), stops.tolist(), strict=True))
    }
    merged = tokenizer.merged(text)
    merges = np.array([place[start, end] for start, end, _ in merged], dtype=np.int32)
    best = _places(starts, stops, tokenizer.pieces(text))
    scores = -tokenizer.ranks_of_tokens[tokens].astype(np.float64)
    return Lattice(tokenizer.kind, content, starts, stops, tokens, scores, best, merges)


def _ordered(found: Int32[np.ndarray, "edges 3"]) -> tuple[Int32[np.ndarray, " edges"], ...]:
    starts, stops, tokens = found[np.lexsort((found[:, 0], found[:, 1]))].T
    return starts.copy(), stops.copy(), tokens.copy()


def _places(
    starts: Int32[np.ndarray, " edges"], stops: Int32[np.ndarray, " edges"], pieces: list[bytes]
) -> Int32[np.ndarray, " pieces"]:
    """The edges that pieces are, one after the other."""
    place = {
        span: edge for edge, span in enumerate(zip(starts.tolist(), stops.tolist(), strict=True))
    }
    cuts = [0, *np.cumsum([len(piece) for piece in pieces]).tolist()]
    return np.array([place[span] for span in pairwise(cuts)], dtype=np.int32)
