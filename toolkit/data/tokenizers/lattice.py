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
from .scored import FIRST, ScoredTokenizer
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
    merged: list[tuple[int, int, int]] = []
    if isinstance(tokenizer, BPE):
        content, first, scores = utf8(text), 0, 0.0 - tokenizer.ranks_of_tokens
        bounds, merged = split(as_array(content), tokenizer.pattern), tokenizer.merged(text)
    else:
        content, first, scores = tokenizer.prepared(text), FIRST, tokenizer.log_probs
        bounds = segments(as_array(content), tokenizer.isolate_digits)
    found = edges(as_array(content), tokenizer.trie)
    inside = np.searchsorted(bounds, found[:, 0], "right") == np.searchsorted(bounds, found[:, 1])
    starts, ends, tokens = found[inside][np.lexsort((found[inside, 0], found[inside, 1]))].T.copy()
    place = {
        span: edge for edge, span in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    }
    cuts = [0, *np.cumsum([len(piece) for piece in tokenizer.pieces(text)]).tolist()]
    return Lattice(
        kind=tokenizer.kind,
        text=content,
        starts=starts,
        ends=ends,
        ids=tokens + np.int32(first),
        scores=scores[tokens],
        best=np.array([place[span] for span in pairwise(cuts)], dtype=np.int32),
        merges=np.array([place[start, end] for start, end, _ in merged], dtype=np.int32),
    )
