"""The steps of Unigram training: expected counts, probabilities from them, what pieces are worth.

All go along the text with a trie of the pieces: the work is at most the longest piece for each
byte. ``unigram_training`` says what they are for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from scipy.special import digamma

from toolkit.compiled import compiled

from .counting import Pieces
from .paths import best_tokens
from .text import as_array
from .trie import TOKEN, Trie, build, step

LEAST_COUNT = 0.5
"""A piece expected more rarely than this is dropped; a single character counts as this much."""
LONGEST_PIECE = 32
"""In characters: the probabilities of such a run's lattice still fit into floating point."""
LOWEST = 2.0**-300
"""Below this, probabilities are multiplied by its inverse."""


def expected_counts_plain(
    text: bytes, log_probs: Mapping[bytes, float]
) -> tuple[dict[bytes, float], float]:
    """How often each piece is expected in a text, by going through every way to cut it.

    E[count of w] = sum over segmentations x of P(x) count(w, x) / sum over x of P(x)

    Args:
        text: a few bytes; the segmentations of n bytes may be 2^(n-1).
        log_probs: the vocabulary, with each piece's log-probability.
    Returns:
        The expected count of each piece of the vocabulary, and the log-likelihood of the text,
        log sum over x of P(x).
    """

    def segmentations(rest: bytes) -> Iterable[list[bytes]]:
        if not rest:
            yield []
        for end in range(1, len(rest) + 1):
            if rest[:end] in log_probs:
                for others in segmentations(rest[end:]):
                    yield [rest[:end], *others]

    counts, likelihood = dict.fromkeys(log_probs, 0.0), 0.0
    for pieces in segmentations(text):
        probability = math.exp(math.fsum(log_probs[piece] for piece in pieces))
        likelihood += probability
        for piece in pieces:
            counts[piece] += probability
    return {piece: count / likelihood for piece, count in counts.items()}, math.log(likelihood)


def expected_counts(
    parts: Iterable[Pieces],
    trie: Trie,
    log_probs: Float64[np.ndarray, " pieces"],
    threads: Executor,
) -> tuple[Float64[np.ndarray, " pieces"], float]:
    """The E step: ``expected_counts_plain`` of all runs together, each as often as it stands.

    Args:
        parts: the text; every run of it can be spelled with the pieces.
        trie: of the pieces.
        log_probs: natural logarithms.
    Returns:
        The expected count of each piece, and the log-likelihood of the text.
    """
    probs, counts, likelihood = np.exp(log_probs), np.zeros(len(log_probs)), 0.0
    for part_counts, part_likelihood in threads.map(
        lambda part: _expected(part.joined, part.ends, part.counts, trie, probs), parts
    ):
        counts += part_counts
        likelihood += part_likelihood
    return counts, likelihood


def maximised(
    counts: Float64[np.ndarray, " pieces"], is_single: Bool[np.ndarray, " pieces"]
) -> Float64[np.ndarray, " pieces"]:
    """The M step: log p(w) = digamma(count of w) - digamma(sum of counts).

    With the logarithm in place of the digamma function it would be that of maximum likelihood.
    Digamma makes rare pieces rarer, and so the vocabulary sparser.

    Returns:
        Log-probabilities; minus infinity for what is expected less than half a time and is no
        single character.
    Source:
        Liang, Jordan, Klein, Probabilistic grammars and hierarchical Dirichlet processes, 2009.
    """
    kept = is_single | (counts >= LEAST_COUNT)
    counts = np.where(kept, np.maximum(counts, LEAST_COUNT), 0.0)
    return np.where(kept, digamma(np.maximum(counts, LEAST_COUNT)) - digamma(counts.sum()), -np.inf)


def pruning_losses(
    parts: Iterable[Pieces],
    pieces: list[bytes],
    log_probs: Float64[np.ndarray, " pieces"],
    threads: Executor,
) -> Float64[np.ndarray, " pieces"]:
    """How much less likely the text would be without each piece.

    A piece that stands f times in the best segmentation, of n pieces, would be replaced by the k
    pieces a that are the next best way to cut it, which themselves stand f(a) times:

    loss = f (log f / n - sum over a of log (f(a) + f) / (n + f (k - 1)))

    Returns:
        In nats. Infinite for a single character, which nothing can replace; minus infinity for a
        piece that isn't used, or is itself less likely than the next best way to cut it.
    """
    trie, joined = build(pieces), as_array(b"".join(pieces))
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int32)
    counts = np.zeros(len(pieces))

    def used(part: Pieces) -> Float64[np.ndarray, " pieces"]:
        tokens = best_tokens(part.joined, part.ends, trie, log_probs, lengths)
        run = np.searchsorted(part.ends, np.cumsum(lengths[tokens]))
        return np.bincount(tokens, weights=part.counts[run], minlength=len(pieces))

    for part_counts in threads.map(used, parts):
        counts += part_counts
    return _losses(joined, np.cumsum(lengths), trie, log_probs, counts)


@compiled
def _expected(
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " runs"],
    weights: Int64[np.ndarray, " runs"],
    trie: Trie,
    probs: Float64[np.ndarray, " pieces"],
) -> tuple[Float64[np.ndarray, " pieces"], float]:
    """Counts and log-likelihood. From the right, with Z(end of the run) = 1,

    Z(s) = sum over pieces text[s:e] of p(text[s:e]) Z(e).

    From the left: where there is a cut at s, the next piece is text[s:e] with probability
    p(text[s:e]) Z(e) / Z(s); and there is one at e with the sum of what pieces bring there.

    Only ratios of Z within a piece's length are needed. So when Z gets very small, the values
    that a piece can still reach are multiplied by a power of two.
    """
    counts, log_likelihood, begin = np.zeros(len(probs)), 0.0, 0
    z, unscaled, cut, last = np.empty(1), np.empty(1), np.empty(1), np.empty(1, np.int64)
    edge_end, edge_piece = np.empty(64, np.int32), np.empty(64, np.int32)
    edge_share, edges = np.empty(64), 0
    for run in range(len(ends)):
        size = ends[run] - begin
        if size >= len(z):
            z, unscaled, cut = np.empty(2 * size), np.empty(2 * size), np.empty(2 * size)
            last = np.empty(2 * size, np.int64)
        z[size], edges, scalings = 1.0, 0, 0
        for s in range(size - 1, -1, -1):
            node, total = 0, 0.0
            for e in range(s, size):
                node = step(trie, node, text[begin + e])
                if node < 0:
                    break
                piece = trie[node, TOKEN]
                if piece < 0:
                    continue
                share = probs[piece] * z[e + 1]
                total += share
                if edges == len(edge_end):
                    edge_end = np.concatenate((edge_end, edge_end))
                    edge_piece = np.concatenate((edge_piece, edge_piece))
                    edge_share = np.concatenate((edge_share, edge_share))
                edge_end[edges], edge_piece[edges], edge_share[edges] = e + 1, piece, share
                edges += 1
            z[s] = unscaled[s] = total
            last[s] = edges
            if 0.0 < total < LOWEST:
                scalings += 1
                for e in range(s, min(size, s + 4 * LONGEST_PIECE) + 1):
                    z[e] /= LOWEST
        log_likelihood += weights[run] * (np.log(z[0]) + scalings * np.log(LOWEST))
        cut[1 : size + 1] = 0.0
        cut[0] = weights[run]
        for s in range(size):
            first = last[s + 1] if s + 1 < size else 0
            if cut[s] > 0.0:
                factor = cut[s] / unscaled[s]
                for edge in range(first, last[s]):
                    expected = factor * edge_share[edge]
                    counts[edge_piece[edge]] += expected
                    cut[edge_end[edge]] += expected
        begin = ends[run]
    return counts, log_likelihood


@compiled
def _losses(
    text: UInt8[np.ndarray, " bytes"],
    ends: Int64[np.ndarray, " pieces"],
    trie: Trie,
    log_probs: Float64[np.ndarray, " pieces"],
    counts: Float64[np.ndarray, " pieces"],
) -> Float64[np.ndarray, " pieces"]:
    """``pruning_losses`` of the pieces, which are the runs of the text, from their counts."""
    losses, pieces, begin = np.full(len(ends), -np.inf), counts.sum(), 0
    longest = 4 * LONGEST_PIECE
    best, start = np.empty(longest + 1), np.empty(longest + 1, np.int64)
    token = np.empty(longest + 1, np.int64)
    for whole in range(len(ends)):
        size = ends[whole] - begin
        best[: size + 1] = -np.inf
        best[0] = 0.0
        for s in range(size):
            node = 0
            for e in range(s, size):
                node = step(trie, node, text[begin + e])
                if node < 0:
                    break
                piece = trie[node, TOKEN]
                if piece >= 0 and piece != whole:
                    score = best[s] + log_probs[piece]
                    if score > best[e + 1]:
                        best[e + 1], start[e + 1], token[e + 1] = score, s, piece
        begin = ends[whole]
        if best[size] == -np.inf:
            losses[whole] = np.inf
        elif counts[whole] > 0 and best[size] <= log_probs[whole]:
            count, others, at, log_counts = counts[whole], 0, size, 0.0
            while at > 0:
                log_counts += np.log(counts[token[at]] + count)
                others += 1
                at = start[at]
            with_others = log_counts - others * np.log(pieces + count * (others - 1))
            losses[whole] = count * (np.log(count / pieces) - with_others)
    return losses
