"""The best path through a text's lattice, and random ones: ``plain``'s loops, compiled.

Both go through the text once. From each byte the trie gives the pieces that start there, so that
the work is linear in the text: at most the longest piece for each byte.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8

from toolkit.compiled import compiled

from .text import UNLIMITED, segment_ends
from .trie import TOKEN, Trie, step

NOWHERE = -np.inf


@compiled
def best_tokens(
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " segments"],
    trie: Trie,
    log_probs: Float64[np.ndarray, " tokens"],
    lengths: Int32[np.ndarray, " tokens"],
) -> Int32[np.ndarray, " pieces"]:
    """The tokens of the most likely segmentation of each segment of a text.

    best(e) = max over pieces text[s:e] of best(s) + log p(text[s:e])

    Args:
        text: uint8 (bytes,).
        ends: int64 (segments,), where each segment of the text ends.
        trie: of the vocabulary.
        log_probs: float64 (tokens,); every single byte is a token.
        lengths: int32 (tokens,), in bytes.
    Returns:
        int32 (pieces,), from left to right.
    """
    best, token = np.empty(1), np.empty(1, np.int32)
    found, count, begin = np.empty(len(text), np.int32), 0, 0
    for end in ends:
        size = end - begin
        if size >= len(best):
            best, token = np.empty(2 * size + 1), np.empty(2 * size + 1, np.int32)
        best[: size + 1] = NOWHERE
        best[0] = 0.0
        for s in range(size):
            node, here = 0, best[s]
            for e in range(s, size):
                node = step(trie, node, text[begin + e])
                if node < 0:
                    break
                piece = trie[node, TOKEN]
                if piece >= 0:
                    score = here + log_probs[piece]
                    if score > best[e + 1]:
                        best[e + 1], token[e + 1] = score, piece
        count = _followed_back(token, size, lengths, found, count)
        begin = end
    return found[:count].copy()


@compiled
def best_tokens_by_line(
    text: UInt8[np.ndarray, " bytes"],
    classes: UInt8[np.ndarray, " code_points"],
    isolate_digits: bool,
    trie: Trie,
    log_probs: Float64[np.ndarray, " tokens"],
    lengths: Int32[np.ndarray, " tokens"],
    first: int,
) -> Int32[np.ndarray, " pieces"]:
    """``best_tokens`` of the segments of one text, as ids that begin with ``first``.

    One call in place of three: for a short text, calls are what takes the time.
    """
    bound = np.full(1, len(text), np.int64)
    ends = segment_ends(text, bound, classes, isolate_digits, UNLIMITED, UNLIMITED)
    return best_tokens(text, ends, trie, log_probs, lengths) + np.int32(first)


@compiled
def random_tokens(
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " segments"],
    trie: Trie,
    scores: Float64[np.ndarray, " tokens"],
    lengths: Int32[np.ndarray, " tokens"],
    seed: np.uint64,
) -> Int32[np.ndarray, " pieces"]:
    """The tokens of a random segmentation, with probability proportional to exp(sum of scores).

    Z(e) = sum over pieces text[s:e] of Z(s) exp(score), in logarithms. A piece takes the seat at e
    with the probability that is its share of Z(e) so far.

    Args:
        text, ends, trie, lengths: as for ``best_tokens``.
        scores: float64 (tokens,): alpha times the log-probabilities.
        seed: uint64; the same seed draws the same segmentation.
    Returns:
        int32 (pieces,), from left to right.
    """
    total, token = np.empty(1), np.empty(1, np.int32)
    found, count, begin, random = np.empty(len(text), np.int32), 0, 0, np.uint64(seed)
    for end in ends:
        size = end - begin
        if size >= len(total):
            total, token = np.empty(2 * size + 1), np.empty(2 * size + 1, np.int32)
        total[: size + 1] = NOWHERE
        total[0] = 0.0
        for s in range(size):
            node, here = 0, total[s]
            for e in range(s, size):
                node = step(trie, node, text[begin + e])
                if node < 0:
                    break
                piece = trie[node, TOKEN]
                if piece < 0:
                    continue
                score, sofar = here + scores[piece], total[e + 1]
                high, low = max(score, sofar), min(score, sofar)
                total[e + 1] = high + np.log1p(np.exp(low - high))
                random += np.uint64(0x9E3779B97F4A7C15)
                if _unit(random) < np.exp(score - total[e + 1]):
                    token[e + 1] = piece
        count = _followed_back(token, size, lengths, found, count)
        begin = end
    return found[:count].copy()


@compiled
def _unit(state: np.uint64) -> float:
    """A number from 0 to 1 out of a counter: the generator splitmix64."""
    mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.float64((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@compiled
def _followed_back(
    token: Int32[np.ndarray, " longest"],
    size: int,
    lengths: Int32[np.ndarray, " tokens"],
    found: Int32[np.ndarray, " bytes"],
    count: int,
) -> int:
    """Append a segment's tokens, which are known by their ends, in order."""
    first, at = count, size
    while at > 0:
        found[count] = token[at]
        count += 1
        at -= lengths[token[at]]
    found[first:count] = found[first:count][::-1].copy()
    return count


@compiled
def edges(text: UInt8[np.ndarray, " bytes"], trie: Trie) -> Int32[np.ndarray, "edges 3"]:
    """Every piece that stands in a text: int32 (edges, 3), its start, its end and its token.

    They are ordered by start, then by end.
    """
    found, count = np.empty((64, 3), np.int32), 0
    for s in range(len(text)):
        node = 0
        for e in range(s, len(text)):
            node = step(trie, node, text[e])
            if node < 0:
                break
            if trie[node, TOKEN] >= 0:
                if count == len(found):
                    longer = np.empty((2 * count, 3), np.int32)
                    longer[:count] = found
                    found = longer
                found[count, 0], found[count, 1], found[count, 2] = s, e + 1, trie[node, TOKEN]
                count += 1
    return found[:count].copy()
