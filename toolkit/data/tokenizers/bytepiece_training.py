"""Training BytePiece: a language model of bytes proposes the pieces, and counting does the rest.

    texts -> longest runs -> n-gram model -> the pieces it cuts texts into -> those worth keeping

No alternation of guesses and counts as in EM: every text is read twice, and then only the
vocabulary itself is cut again, until none of its pieces would rather be two.

Source: Su Jianlin, kexue.fm 9752 and 9768, and the package bytepiece 0.6.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float64, Int64

from .counting import PieceCounter, Pieces, chunks, count_all
from .ngrams import NgramModel, RunCounter, Runs, cut
from .paths import best_tokens
from .text import segments
from .trie import build_sorted

LONGEST_SEGMENT = 10_000
"""Characters of a line that are looked at together."""


def train(
    texts: Iterable[str],
    size: int,
    *,
    max_order: int,
    max_length: int,
    min_count: int,
    ensure_unicode: bool,
    spell_rare: bool,
    isolate_digits: bool,
    prepared: Callable[[str], str] | None,
    workers: int,
) -> dict[bytes, int]:
    """The pieces of a vocabulary, with the counts that their probabilities come from.

    Args:
        texts: read twice.
        size: the most pieces, the 256 single bytes among them.
        max_order: bytes of the longest run that the n-gram model knows.
        max_length: bytes of the longest piece.
        min_count: longer runs and pieces than one byte that are rarer are left out.
        ensure_unicode: no piece starts inside a character.
        spell_rare: a character that the n-gram model does not know is spelt in bytes.
        isolate_digits: no piece holds a digit and something else.
        prepared: what is done to each text first, if anything.
        workers: threads; the answer is the same for any number.
    """

    def lines(text: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        return segments(text, isolate_digits, LONGEST_SEGMENT, bounds)

    run_counters = [RunCounter(max_order) for _ in range(workers)]
    count_all(chunks(texts, prepared, "counting n-grams"), run_counters, lines)
    runs = Runs.together([counter.counted() for counter in run_counters])
    if len(runs.keys) == 0:
        raise ValueError("the texts hold no text: give some that are not empty")
    del run_counters
    model = NgramModel.of(runs, max_order, min_count)
    del runs

    def by_ngrams(text: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        return cut(model, text, lines(text, bounds), ensure_unicode, spell_rare)

    piece_counters = [PieceCounter() for _ in range(workers)]
    count_all(chunks(texts, prepared, "counting pieces"), piece_counters, by_ngrams)
    pieces = _together([counter.counted() for counter in piece_counters])
    return _worth_keeping(pieces, size, max_length, min_count)


def _together(several: list[Pieces]) -> Pieces:
    """The pieces of several texts, added up; a byte that was no piece counts as if it once was."""
    counter = PieceCounter()
    missing = np.ones(256, dtype=bool)
    for pieces in several:
        counter.add(pieces.joined, pieces.offsets[1:], pieces.counts)
        missing[pieces.joined[pieces.offsets[:-1][pieces.lengths == 1]]] = False
    alone = np.flatnonzero(missing).astype(np.uint8)
    counter.add(alone, np.arange(1, len(alone) + 1))
    return counter.counted()


def _worth_keeping(pieces: Pieces, size: int, max_length: int, min_count: int) -> dict[bytes, int]:
    """Of all pieces those that earn a place: ``plain.prune`` after a first selection."""
    stays = (pieces.lengths <= max_length) & (pieces.counts >= min_count) | (pieces.lengths == 1)
    kept, dropped = pieces.chosen(stays).in_order(), pieces.chosen(~stays)
    kept = _until_stable(_with(kept, kept.counts + _recount(kept, dropped)))
    if len(kept) > size:
        rank = np.lexsort((-kept.lengths, -kept.counts, kept.lengths > 1))  # then by their bytes
        best = np.sort(rank[:size])
        kept, dropped = kept.chosen(best), kept.chosen(np.sort(rank[size:]))
        kept = _until_stable(_with(kept, kept.counts + _recount(kept, dropped)))
    return dict(zip(kept.as_list(), kept.counts.tolist(), strict=True))


def _until_stable(kept: Pieces) -> Pieces:
    """Drop the pieces that the vocabulary would rather cut, until it would cut none."""
    while True:
        counts = _recount(kept, kept)
        again = _with(kept.chosen(counts > 0), counts[counts > 0])
        if len(again) == len(kept):
            return again
        kept = again


def _with(pieces: Pieces, earned: Int64[np.ndarray, " pieces"]) -> Pieces:
    return Pieces(pieces.joined, pieces.offsets, earned)


def _recount(vocabulary: Pieces, pieces: Pieces) -> Int64[np.ndarray, " pieces"]:
    """How often each piece of a vocabulary stands in others, which are cut by it."""
    trie = build_sorted(vocabulary.joined, vocabulary.offsets)
    log_probs: Float64[np.ndarray, " pieces"] = np.log(vocabulary.counts)
    log_probs -= np.log(vocabulary.counts.sum())
    lengths = vocabulary.lengths.astype(np.int32)
    tokens = best_tokens(pieces.joined, pieces.offsets[1:], trie, log_probs, lengths)
    piece = np.searchsorted(pieces.offsets[1:], np.cumsum(lengths[tokens]))
    found = np.bincount(tokens, pieces.counts[piece], len(vocabulary))  # exact below 2^53
    return found.astype(np.int64)
