"""Training a Unigram tokenizer: expectation maximisation, and pruning by what is lost.

A text is taken to be pieces drawn independently of each other, and how it was cut is hidden.
Training starts with far too many pieces and goes round:

    E: how often each piece is expected in the text, over all ways to cut it
    M: probabilities from these counts
    prune: a quarter of the pieces, those that the text misses least

It follows SentencePiece with whitespace, scripts and digits left together. It differs from it: a
piece is UTF-8 bytes, and may end in a space; equal lines are counted once, with their number; and
no line is too long.

Source: Kudo 2018, Subword Regularization, section 3.2; SentencePiece's unigram_model_trainer.cc.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np

from toolkit.arguments import whole_number
from toolkit.data.dedup.blocks import check_workers

from .counting import Pieces
from .text import several
from .trie import build
from .unigram_em import LONGEST_PIECE, expected_counts, maximised, pruning_losses
from .unigram_seeds import characters, covered_runs, distinct_lines, frequent_substrings

SUB_ITERATIONS = 2
"""E and M steps before each pruning."""
SHRINK, MARGIN = 0.75, 1.1
"""What pruning leaves at a time, and of how many times the vocabulary it stops."""
FALLBACK_PENALTY = 10.0
"""How much less likely a byte that is no character is than any piece, in nats."""
PARTS = 8
"""The text is counted in so many parts, whose counts are summed in order: so the number of
threads doesn't change a bit of them."""


def train_unigram(
    texts: Iterable[str],
    vocab_size: int,
    *,
    special: int = 0,
    max_length: int = 16,
    character_coverage: float = 1.0,
    workers: int = 1,
) -> dict[bytes, float]:
    """Find a vocabulary in which a text is likely, and the probability of each of its pieces.

    Every single byte is in it, so that it can spell anything, and every character covered. A byte
    that is no such character is less likely than any other piece. No piece starts or ends inside
    a character, nor goes on after a newline except with another one.

    The same texts give the same vocabulary, whatever the number of workers. Time and memory grow
    with the bytes of the distinct lines: at most about 20 bytes for each, and up to 300 MB for
    the first million pieces.

    Args:
        texts: gone through once.
        vocab_size: how many tokens there shall be.
        special: how many of them are no pieces.
        max_length: longest piece, in characters, 1 to 32.
        character_coverage: the share of all characters that the most frequent ones, which become
            pieces, make up; over 0, at most 1. Other characters are left to the bytes.
        workers: threads.
    Returns:
        Each piece's log-probability, the most likely first. As in SentencePiece they aren't
        normalised again after the last cut.
    Raises:
        TypeError: a size that is no whole number, or a text that is no string, or one string.
        ValueError: no text; an argument outside its range; ``vocab_size`` is less
            than the bytes and characters, or more than the pieces which the text gives.
    """
    vocab_size = whole_number("vocab_size", vocab_size)
    max_length = whole_number("max_length", max_length)
    workers = check_workers(workers)
    if not 1 <= max_length <= LONGEST_PIECE:
        raise ValueError(f"max_length must be 1 to {LONGEST_PIECE} characters, got {max_length}")
    if not 0 < character_coverage <= 1:
        raise ValueError(
            f"character_coverage must be over 0 and at most 1, got {character_coverage!r}"
        )
    runs = distinct_lines(several(texts))
    if not len(runs):
        raise ValueError("the texts hold no character to train on: give some that aren't empty")
    single = characters(runs, character_coverage)
    fallback = [bytes([byte]) for byte in range(256) if bytes([byte]) not in single]
    least = special + len(fallback) + len(single)
    if vocab_size < least:
        raise ValueError(
            f"vocab_size must be at least {least}, for all single bytes and "
            f"the {len(single)} characters of the text, got {vocab_size}: raise it, or lower "
            f"character_coverage"
        )
    runs = covered_runs(runs, single)
    seeds = single | frequent_substrings(runs, max_length)
    wanted = vocab_size - special - len(fallback)
    with ThreadPoolExecutor(workers) as executor:
        found = _trained(runs.parts(PARTS), seeds, set(single), int(MARGIN * wanted), executor)
    if len(found) < wanted:
        raise ValueError(
            f"vocab_size must be at most {least - len(single) + len(found)}, which is all that "
            f"the text gives pieces for, got {vocab_size}: lower it, or give more text"
        )
    kept = _cut_to_size(found, set(single), wanted)
    return kept | dict.fromkeys(fallback, min(kept.values()) - FALLBACK_PENALTY)


def _trained(
    parts: list[Pieces],
    seeds: Mapping[bytes, int],
    single: set[bytes],
    most: int,
    threads: Executor,
) -> dict[bytes, float]:
    """At most so many pieces with their log-probabilities, in the order of their bytes."""
    pieces = sorted(seeds)
    log_probs = np.log([seeds[piece] for piece in pieces]) - math.log(sum(seeds.values()))
    while True:
        for _ in range(SUB_ITERATIONS):
            counts, _ = expected_counts(parts, build(pieces), log_probs, threads)
            log_probs = maximised(counts, np.array([piece in single for piece in pieces]))
            left = np.flatnonzero(log_probs > -np.inf)
            pieces, log_probs = [pieces[i] for i in left], log_probs[left]
        if len(pieces) <= most:
            return dict(zip(pieces, log_probs.tolist(), strict=True))
        losses = pruning_losses(parts, pieces, log_probs, threads)
        order = np.argsort(-losses, kind="stable")[: max(most, int(SHRINK * len(pieces)))]
        left = np.sort(order[losses[order] > -np.inf])
        pieces, log_probs = [pieces[i] for i in left], log_probs[left]


def _cut_to_size(found: Mapping[bytes, float], single: set[bytes], size: int) -> dict[bytes, float]:
    order = sorted(found, key=lambda piece: (piece not in single, -found[piece], piece))
    kept = sorted(order[:size], key=lambda piece: (-found[piece], piece))
    return {piece: found[piece] for piece in kept}
