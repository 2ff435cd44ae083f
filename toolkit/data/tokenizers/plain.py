"""The algorithms as one would explain them: bytes, dictionaries and loops.

Nothing here is fast. The compiled versions are compared with these, the page shows these first,
and the lab asks for them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np

NOWHERE = -math.inf


def count_ngrams(texts: Iterable[bytes], max_order: int) -> Counter[bytes]:
    """How often every run of at most ``max_order`` bytes stands in the texts.

    Args:
        texts: a run never crosses from one into the next.
        max_order: the longest run counted, in bytes.
    Returns:
        The count of each run, by its bytes; that of ``b""`` is the number of bytes in all.
    """
    counts: Counter[bytes] = Counter()
    for text in texts:
        for start in range(len(text)):
            for end in range(start, min(start + max_order, len(text)) + 1):
                counts[text[start:end]] += 1
    return counts


def continuations(counts: Mapping[bytes, int], min_count: int = 2) -> dict[bytes, float]:
    """The logarithm of the chance that a run's last byte follows those before it.

    log p(c_n | c_1 ... c_(n-1)) = log count(c_1 ... c_n) - log count(c_1 ... c_(n-1))

    Args:
        counts: from ``count_ngrams``.
        min_count: longer runs than one byte that are rarer than this are dropped. A byte that
            never occurs counts as if it had once.
    Returns:
        The log-probability of each run that is left, by its bytes.
    """
    counts = dict(counts)
    for byte in range(256):
        if bytes([byte]) not in counts:
            counts[bytes([byte])] = 1
            counts[b""] = counts.get(b"", 0) + 1
    return {
        run: math.log(count) - math.log(counts[run[:-1]])
        for run, count in counts.items()
        if len(run) == 1 or (run and count >= min_count)
    }


def cut_by_ngrams(
    text: bytes,
    log_probs: Mapping[bytes, float],
    max_order: int,
    ensure_unicode: bool = True,
    spell_rare: bool = True,
) -> list[bytes]:
    """Cut a text where its n-gram model would rather forget than go on: BytePiece's first step.

    The state at a byte is how many bytes before it, in its own piece, it is predicted from: a new
    piece starts in state 0, and state j is followed by j + 1, or by the last once more.

    Args:
        text: at least one byte.
        log_probs: from ``continuations``.
        max_order: longest run in ``log_probs``, which is the number of states.
        ensure_unicode: no piece starts inside a character.
        spell_rare: a character that the model does not know is spelt in single bytes. Without
            this no state is possible inside it, nor from there on, and all the rest of the text
            falls into single bytes.
    Returns:
        The most likely pieces; joined, they are the text.
    """
    last = max_order - 1
    rare = ensure_unicode and spell_rare
    spelt = rare_characters(text, log_probs, max_order) if rare else set()
    best = [0.0] + [NOWHERE] * last  # of the paths that end in each state, before the first byte
    came_from: list[list[int]] = []
    for i, byte in enumerate(text):
        score, origin = [], []
        for j in range(max_order):
            run = text[i - j : i + 1] if i >= j else b""
            arrival = log_probs.get(run, NOWHERE)
            inside = ensure_unicode and 0x80 <= byte < 0xC0 and i not in spelt
            after = i in spelt or i - 1 in spelt
            if inside if j == 0 else after:
                arrival = NOWHERE
            before = range(max_order) if j == 0 else (j - 1, j) if j == last else (j - 1,)
            if i == 0:
                before = (0,)
            sums = {k: best[k] + arrival for k in before}
            k = max(before, key=sums.__getitem__)
            score.append(sums[k])
            origin.append(k if sums[k] > NOWHERE else 0)
        best = score
        came_from.append(origin)
    state, starts = max(range(max_order), key=lambda j: best[j]), []
    for i in reversed(range(len(text))):
        if state == 0:
            starts.append(i)
        state = came_from[i][state]
    return _between([*starts[::-1], len(text)], text)


def rare_characters(text: bytes, log_probs: Mapping[bytes, float], max_order: int) -> set[int]:
    """The places of all bytes of the characters that an n-gram model can't go through."""
    starts = [i for i, byte in enumerate(text) if not 0x80 <= byte < 0xC0 or i == 0]
    found: set[int] = set()
    for start, end in pairwise([*starts, len(text)]):
        runs = [text[max(start, e - max_order) : e] for e in range(start + 1, end + 1)]
        if 0x80 <= text[start] < 0xC0 or any(run not in log_probs for run in runs):
            found.update(range(start, end))
    return found


def segmentation_score(pieces: Iterable[bytes], log_probs: Mapping[bytes, float]) -> float:
    """The log-probability of a segmentation: its pieces are drawn independently of each other.

    Returns:
        The sum over its pieces; minus infinity if one is not in the vocabulary.
    """
    return math.fsum(log_probs.get(piece, NOWHERE) for piece in pieces)


def viterbi(text: bytes, log_probs: Mapping[bytes, float]) -> list[bytes]:
    """The most likely segmentation of a text.

    best(e) = max over pieces text[s:e] of best(s) + log p(text[s:e]),  best(0) = 0

    Args:
        text: any bytes.
        log_probs: the vocabulary, with each piece's log-probability.
    Returns:
        The pieces; of equally good ones those whose last piece is longest, again and again.
    Raises:
        ValueError: the vocabulary has no pieces that make this text.
    Source:
        Viterbi 1967; Kudo 2018, equation 2.
    """
    best, start = [0.0] + [NOWHERE] * len(text), [0] * (len(text) + 1)
    longest = max(map(len, log_probs), default=0)
    for e in range(1, len(text) + 1):
        for s in range(max(0, e - longest), e):
            score = best[s] + log_probs.get(text[s:e], NOWHERE)
            if score > best[e]:
                best[e], start[e] = score, s
    return _followed_back(text, start, best[-1])


def sample_segmentation(
    text: bytes, log_probs: Mapping[bytes, float], alpha: float, rng: np.random.Generator
) -> list[bytes]:
    """A random segmentation, with probability proportional to P(segmentation)^alpha.

    Z(e) = sum over pieces text[s:e] of Z(s) p(text[s:e])^alpha is filled in from the left, in
    logarithms. As each piece is added to Z(e) it becomes the one that ends at e with the
    probability that is its share of the sum so far; so in the end each is with its share of all.

    Args:
        text: any bytes.
        log_probs: the vocabulary, with each piece's log-probability.
        alpha: 0 draws all segmentations alike; the larger, the more often the best is drawn.
        rng: where chance comes from.
    Raises:
        ValueError: the vocabulary has no pieces that make this text.
    Source:
        Su Jianlin, kexue.fm 9811; the same distribution as forward filtering, backward sampling
        (Kudo 2018, section 3.2).
    """
    total, start = [0.0] + [NOWHERE] * len(text), [0] * (len(text) + 1)
    longest = max(map(len, log_probs), default=0)
    for e in range(1, len(text) + 1):
        for s in range(max(0, e - longest), e):
            score = total[s] + alpha * log_probs.get(text[s:e], NOWHERE)
            if score > NOWHERE:
                total[e] = float(np.logaddexp(total[e], score))
                if rng.random() < math.exp(score - total[e]):
                    start[e] = s
    return _followed_back(text, start, total[-1])


def recount(counts: Mapping[bytes, int], log_probs: Mapping[bytes, float]) -> Counter[bytes]:
    """Cut every piece by a vocabulary, and count what it falls into as often as the piece stood."""
    found: Counter[bytes] = Counter()
    for piece, count in counts.items():
        for part in viterbi(piece, log_probs):
            found[part] += count
    return found


def log_probabilities(counts: Mapping[bytes, int]) -> dict[bytes, float]:
    """Counts as log-probabilities: log(count / total)."""
    log_total = math.log(sum(counts.values()))
    return {piece: math.log(count) - log_total for piece, count in counts.items()}


def prune(counts: Mapping[bytes, int], size: int) -> dict[bytes, int]:
    """Cut a vocabulary to size, and drop what its own pieces say better.

    All single bytes stay, then the most frequent pieces; of equally frequent ones the longest,
    then the first in byte order. What is dropped is cut by what stays, which earns its count. A
    piece that the vocabulary would rather cut is dropped in the same way, until there is none.

    Args:
        counts: each piece and how often it stood; every single byte is among them.
        size: the most pieces that stay, at least 256.
    Returns:
        The pieces that stay, with what they earned.
    Source:
        Su Jianlin, kexue.fm 9752.
    """
    order = sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece], -len(piece), piece))
    kept = Counter({piece: counts[piece] for piece in order[:size]})
    kept.update(recount({p: counts[p] for p in order[size:]}, log_probabilities(kept)))
    while True:
        again = recount(kept, log_probabilities(kept))
        if len(again) == len(kept):
            return dict(again)
        kept = again


def _followed_back(text: bytes, start: list[int], score: float) -> list[bytes]:
    if score == NOWHERE and text:
        raise ValueError(f"no pieces of the vocabulary make {text!r}: add every single byte to it")
    ends = [len(text)]
    while ends[-1]:
        ends.append(start[ends[-1]])
    return _between(ends[::-1], text)


def _between(cuts: list[int], text: bytes) -> list[bytes]:
    return [text[start:end] for start, end in pairwise(cuts)]
