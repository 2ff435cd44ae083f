"""Plausible wrong answers of the tokenizers lab, each with the hint that mends it."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from toolkit.classroom import wrong

# -- q1 ------------------------------------------------------------------------------------------


@wrong("q1", hint="The longest runs are missing, and the last byte. `range` stops before its end.")
def count_ngrams(texts, max_order):
    counts = Counter()
    for text in texts:
        for start in range(len(text)):
            for end in range(start, min(start + max_order, len(text))):
                counts[text[start:end]] += 1
    return counts


@wrong(
    "q1",
    hint="A slice that runs past the end is shorter than it should be, and is counted once more "
    "for every order. Stop at `len(text)`.",
)
def count_ngrams(texts, max_order):
    counts = Counter()
    for text in texts:
        for start in range(len(text)):
            for order in range(max_order + 1):
                counts[text[start : start + order]] += 1
    return counts


@wrong("q1", hint="A run crosses from one text into the next. Count text by text.")
def count_ngrams(texts, max_order):
    text = b"".join(texts)
    return Counter(
        text[start : start + order]
        for order in range(max_order + 1)
        for start in range(min(len(text), len(text) - order + 1))
    )


@wrong("q1", hint='A text of 3 bytes has 4 places between them. `b""` is to count the **bytes**.')
def count_ngrams(texts, max_order):
    return Counter(
        text[start : start + order]
        for text in texts
        for order in range(max_order + 1)
        for start in range(len(text) - order + 1)
    )


@wrong("q1", hint='`b""` has no count: it is the run of order 0, and counts the bytes.')
def count_ngrams(texts, max_order):
    return Counter(
        text[start : start + order]
        for text in texts
        for order in range(1, max_order + 1)
        for start in range(len(text) - order + 1)
    )


@wrong("q1", hint="Only the runs of `max_order` bytes are there. All the shorter ones count too.")
def count_ngrams(texts, max_order):
    counts = Counter(
        text[start : start + max_order]
        for text in texts
        for start in range(len(text) - max_order + 1)
    )
    counts[b""] = sum(map(len, texts))
    return counts


@wrong("q1", hint="`bytes.count` does not let runs overlap: in b'aaa' it finds b'aa' once.")
def count_ngrams(texts, max_order):
    counts = Counter({b"": sum(map(len, texts))})
    for text in texts:
        runs = {text[s:e] for e in range(len(text) + 1) for s in range(max(0, e - max_order), e)}
        for run in runs:
            counts[run] += text.count(run)
    return counts


@wrong("q1", hint="A run counts once for each place it stands at, not once for each text.")
def count_ngrams(texts, max_order):
    counts = Counter({b"": sum(map(len, texts))})
    for text in texts:
        counts.update(
            {text[s:e] for e in range(len(text) + 1) for s in range(max(0, e - max_order), e)}
        )
    return counts


@wrong("q1", hint="`text[i]` of bytes is a number. `text[i : i + 1]` is a run of one byte.")
def count_ngrams(texts, max_order):
    counts = Counter()
    for text in texts:
        counts[b""] += len(text)
        counts.update(text)
        for order in range(2, max_order + 1):
            for start in range(len(text) - order + 1):
                counts[text[start : start + order]] += 1
    return counts


# -- q2 ------------------------------------------------------------------------------------------


@wrong(
    "q2",
    hint="That is the mean. Do not divide: each further piece makes a segmentation less likely.",
)
def segmentation_score(pieces, log_probs):
    scores = [log_probs.get(piece, -math.inf) for piece in pieces]
    return sum(scores) / max(len(scores), 1)


@wrong("q2", hint="Probabilities are multiplied, so their logarithms are added.")
def segmentation_score(pieces, log_probs):
    return math.prod(log_probs.get(piece, -math.inf) for piece in pieces)


@wrong("q2", hint="That is the probability. Its logarithm is asked for, so leave out `exp`.")
def segmentation_score(pieces, log_probs):
    return math.exp(sum(log_probs.get(piece, -math.inf) for piece in pieces))


@wrong("q2", hint="`log_probs` holds logarithms already, and you took another.")
def segmentation_score(pieces, log_probs):
    return sum(math.log(-log_probs.get(piece, -math.inf)) for piece in pieces)


@wrong("q2", hint="An unknown piece cost nothing, as if it were certain. It can't be drawn at all.")
def segmentation_score(pieces, log_probs):
    return sum(log_probs.get(piece, 0.0) for piece in pieces)


@wrong("q2", hint="Not every piece is in the vocabulary: `log_probs.get(piece, -math.inf)`.")
def segmentation_score(pieces, log_probs):
    return math.fsum(log_probs[piece] for piece in pieces)


@wrong("q2", hint="math.log(0) is an error in Python; write `-math.inf`.")
def segmentation_score(pieces, log_probs):
    return sum(log_probs[piece] if piece in log_probs else math.log(0) for piece in pieces)


# -- q3 ------------------------------------------------------------------------------------------


def starts(log_probs, e):
    return range(max(0, e - max(map(len, log_probs), default=0)), e)


def fitting(text, log_probs, s):
    """The ends of the pieces that stand at s, the shortest first."""
    ends = range(s + 1, min(s + max(map(len, log_probs), default=0), len(text)) + 1)
    return [e for e in ends if text[s:e] in log_probs]


def filled_in(text, log_probs):
    best, start = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    for e in range(1, len(text) + 1):
        for s in starts(log_probs, e):
            score = best[s] + log_probs.get(text[s:e], -math.inf)
            if score > best[e]:
                best[e], start[e] = score, s
    return best, start


def walked(text, start):
    pieces, e = [], len(text)
    while e > 0:
        pieces.append(text[start[e] : e])
        e = start[e]
    return pieces[::-1]


def refuse(text):
    raise ValueError(f"no pieces make {text!r}")


FROM_THE_RIGHT = (
    "Filled in from the right, a tie goes by the **first** piece. It is the longest **last** piece "
    "that wins: fill in from the left."
)


def filled_in_from_the_right(text, log_probs, ends_of):
    best, end = [-math.inf] * len(text) + [0.0], [0] * len(text)
    for s in reversed(range(len(text))):
        for e in ends_of(text, log_probs, s):
            if best[e] + log_probs[text[s:e]] > best[s]:
                best[s], end[s] = best[e] + log_probs[text[s:e]], e
    pieces, s = [], 0
    while s < len(text) and best[0] > -math.inf:
        pieces.append(text[s : end[s]])
        s = end[s]
    return pieces if best[0] > -math.inf else refuse(text)


@wrong("q3", hint=FROM_THE_RIGHT)
def viterbi(text, log_probs):
    return filled_in_from_the_right(text, log_probs, fitting)


@wrong("q3", hint=FROM_THE_RIGHT)
def viterbi(text, log_probs):
    return filled_in_from_the_right(text, log_probs, lambda *where: fitting(*where)[::-1])


@wrong(
    "q3",
    hint="You took the longest piece that fits, again and again. A shorter one may let better ones "
    "follow: try them all.",
)
def viterbi(text, log_probs):
    pieces, s = [], 0
    while s < len(text):
        ends = fitting(text, log_probs, s)
        if not ends:
            refuse(text)
        pieces.append(text[s : ends[-1]])
        s = ends[-1]
    return pieces


@wrong(
    "q3",
    hint="You took the likeliest piece that fits, again and again. It is the whole segmentation "
    "that must be likeliest.",
)
def viterbi(text, log_probs):
    pieces, s = [], 0
    while s < len(text):
        ends = fitting(text, log_probs, s)
        if not ends:
            refuse(text)
        e = max(ends, key=lambda e: log_probs[text[s:e]])
        pieces.append(text[s:e])
        s = e
    return pieces


@wrong("q3", hint="Those are the fewest pieces. The score is the sum of their log-probabilities.")
def viterbi(text, log_probs):
    best, start = filled_in(text, dict.fromkeys(log_probs, -1.0))
    return walked(text, start) if best[-1] > -math.inf else refuse(text)


@wrong("q3", hint="You compared last pieces only. Add `best[s]`, the score of what comes before.")
def viterbi(text, log_probs):
    reached, start = [True] + [False] * len(text), [0] * (len(text) + 1)
    for e in range(1, len(text) + 1):
        fits = [s for s in starts(log_probs, e) if reached[s] and text[s:e] in log_probs]
        if fits:
            reached[e], start[e] = True, max(fits, key=lambda s: log_probs[text[s:e]])
    return walked(text, start) if reached[-1] else refuse(text)


@wrong("q3", hint="The pieces come from right to left. Walking back collects them so: turn around.")
def viterbi(text, log_probs):
    best, start = filled_in(text, log_probs)
    return walked(text, start)[::-1] if best[-1] > -math.inf else refuse(text)


@wrong("q3", hint="A piece of `longest` bytes is never tried: start at `max(0, e - longest)`.")
def viterbi(text, log_probs):
    longest = max(map(len, log_probs), default=0)
    shorter = {piece: score for piece, score in log_probs.items() if len(piece) < longest}
    best, start = filled_in(text, shorter)
    return walked(text, start) if best[-1] > -math.inf else refuse(text)


@wrong("q3", hint="The smallest sum won. Log-probabilities are negative: the best is the greatest.")
def viterbi(text, log_probs):
    best, start = filled_in(text, {piece: -score for piece, score in log_probs.items()})
    return walked(text, start) if best[-1] > -math.inf else refuse(text)


@wrong("q3", hint="Most runs are no pieces: `log_probs.get(text[s:e], -math.inf)`.")
def viterbi(text, log_probs):
    best, start = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    for e in range(1, len(text) + 1):
        for s in starts(log_probs, e):
            score = best[s] + log_probs[text[s:e]]
            if score > best[e]:
                best[e], start[e] = score, s
    return walked(text, start) if best[-1] > -math.inf else refuse(text)


@wrong("q3", hint="A text that no pieces make came back as if it were one. Raise a ValueError.")
def viterbi(text, log_probs):
    return walked(text, filled_in(text, log_probs)[1])


@wrong("q3", hint="No bytes have no pieces: `[]`. An empty piece is none.")
def viterbi(text, log_probs):
    best, start = filled_in(text, log_probs)
    return walked(text, start) or [b""] if best[-1] > -math.inf else refuse(text)


@wrong("q3", hint="A later, shorter last piece took over an equal score. Compare with `>`.")
def viterbi(text, log_probs):
    best, start = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    for e in range(1, len(text) + 1):
        for s in starts(log_probs, e):
            score = best[s] + log_probs.get(text[s:e], -math.inf)
            if score >= best[e]:
                best[e], start[e] = score, s
    return walked(text, start) if best[-1] > -math.inf else refuse(text)


@wrong(
    "q3",
    hint="The product of so many probabilities is 0 to a computer. Add their logarithms instead.",
)
def viterbi(text, log_probs):
    best, start = [1.0] + [0.0] * len(text), [0] * (len(text) + 1)
    for e in range(1, len(text) + 1):
        for s in starts(log_probs, e):
            score = best[s] * math.exp(log_probs.get(text[s:e], -math.inf))
            if score > best[e]:
                best[e], start[e] = score, s
    return walked(text, start) if best[-1] > 0 else refuse(text)


# -- q4 ------------------------------------------------------------------------------------------


def cut(text, log_probs):
    best, start = filled_in(text, log_probs)
    return walked(text, start) if best[-1] > -math.inf else refuse(text)


def recount(counts, log_probs):
    found = Counter()
    for piece, count in counts.items():
        for part in cut(piece, log_probs):
            found[part] += count
    return found


def log_probabilities(counts):
    log_total = math.log(sum(counts.values()))
    return {piece: math.log(count) - log_total for piece, count in counts.items()}


def in_order(counts):
    return sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece], -len(piece), piece))


def cut_to_size(counts, order, size):
    kept = Counter({piece: counts[piece] for piece in order[:size]})
    kept.update(recount({p: counts[p] for p in order[size:]}, log_probabilities(kept)))
    return kept


def until_stable(kept):
    while True:
        again = recount(kept, log_probabilities(kept))
        if len(again) == len(kept):
            return dict(again)
        kept = again


@wrong("q4", hint="What the dropped pieces stood for is lost. Cut them by what stays, and add.")
def prune(counts, size):
    return until_stable(Counter({piece: counts[piece] for piece in in_order(counts)[:size]}))


@wrong(
    "q4",
    hint="A dropped piece is back: cut by a vocabulary that holds it, it is one piece. Take the "
    "log-probabilities of what stays.",
)
def prune(counts, size):
    order = in_order(counts)
    kept = Counter({piece: counts[piece] for piece in order[:size]})
    kept.update(recount({p: counts[p] for p in order[size:]}, log_probabilities(counts)))
    return until_stable(kept)


@wrong("q4", hint="A single byte is gone: what holds it can't be cut any more. All of them stay.")
def prune(counts, size):
    order = sorted(counts, key=lambda piece: (-counts[piece], -len(piece), piece))
    kept = {piece: counts[piece] for piece in order[:size]}
    safe = kept | {piece: 1e-9 for piece in counts if len(piece) == 1 and piece not in kept}
    gone = {piece: counts[piece] for piece in order[size:]}
    earned = recount(gone, log_probabilities(safe))
    return until_stable(Counter({piece: n + earned[piece] for piece, n in kept.items()}))


@wrong("q4", hint="The cut left more than `size` pieces: single bytes take places too.")
def prune(counts, size):
    singles = sum(len(piece) == 1 for piece in counts)
    return until_stable(cut_to_size(counts, in_order(counts), size + singles))


@wrong("q4", hint="Of equally frequent pieces the longest stays: it saves the most.")
def prune(counts, size):
    order = sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece], piece))
    return until_stable(cut_to_size(counts, order, size))


@wrong("q4", hint="Of equally frequent, equally long pieces the first in byte order stays.")
def prune(counts, size):
    order = sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece], -len(piece)))
    return until_stable(cut_to_size(counts, order, size))


@wrong("q4", hint="It is cut to size, but pieces stay that the vocabulary would rather cut.")
def prune(counts, size):
    return dict(cut_to_size(counts, in_order(counts), size))


@wrong(
    "q4",
    hint="One round is not enough. With the new counts take `log_probabilities` anew, and "
    "look again.",
)
def prune(counts, size):
    kept = cut_to_size(counts, in_order(counts), size)
    return dict(recount(kept, log_probabilities(kept)))


@wrong("q4", hint="A piece dropped in a round took its count along. It belongs to its parts.")
def prune(counts, size):
    kept = cut_to_size(counts, in_order(counts), size)
    while True:
        log_probs = log_probabilities(kept)
        stay = {piece: n for piece, n in kept.items() if cut(piece, log_probs) == [piece]}
        if len(stay) == len(kept):
            return stay
        kept = stay


@wrong("q4", hint="It changes the counts it was given. Work on a copy: `Counter(counts)`.")
def prune(counts, size):
    dropped = {piece: counts.pop(piece) for piece in in_order(counts)[size:]}
    kept = Counter(counts)
    kept.update(recount(dropped, log_probabilities(kept)))
    return until_stable(kept)


# -- q5 ------------------------------------------------------------------------------------------


@wrong(
    "q5",
    hint="Each piece competes with the best so far, not with **all** so far: of three equal ways "
    "the last gets a half. Carry the sum, `np.logaddexp`.",
)
def sample_segmentation(text, log_probs, alpha, rng):
    best, start = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    for e in range(1, len(text) + 1):
        for s in starts(log_probs, e):
            if best[s] > -math.inf and text[s:e] in log_probs:
                score = best[s] + alpha * log_probs[text[s:e]]
                if rng.random() < math.exp(score - np.logaddexp(best[e], score)):
                    start[e] = s
                best[e] = max(best[e], score)
    return walked(text, start) if best[-1] > -math.inf else refuse(text)


def can_end(text, log_probs):
    """Whether what is left from each byte on has a segmentation."""
    ends = [False] * len(text) + [True]
    for s in reversed(range(len(text))):
        ends[s] = any(ends[e] for e in fitting(text, log_probs, s))
    return ends


@wrong(
    "q5",
    hint="You drew pieces from left to right by their own probability. A piece must also be "
    "weighed by all the ways in which the rest can be cut.",
)
def sample_segmentation(text, log_probs, alpha, rng):
    ends, pieces, s = can_end(text, log_probs), [], 0
    if not ends[0]:
        refuse(text)
    while s < len(text):
        fits = [e for e in fitting(text, log_probs, s) if ends[e]]
        weights = np.exp(alpha * np.array([log_probs[text[s:e]] for e in fits]))
        e = fits[rng.choice(len(fits), p=weights / weights.sum())]
        pieces.append(text[s:e])
        s = e
    return pieces


@wrong(
    "q5",
    hint="You drew pieces from right to left by their own probability. What comes before a piece "
    "counts too: its weight is Z(s) p^alpha.",
)
def sample_segmentation(text, log_probs, alpha, rng):
    reached = [True] + [False] * len(text)
    for e in range(1, len(text) + 1):
        reached[e] = any(reached[s] and text[s:e] in log_probs for s in starts(log_probs, e))
    if not reached[-1]:
        refuse(text)
    pieces, e = [], len(text)
    while e > 0:
        fits = [s for s in starts(log_probs, e) if reached[s] and text[s:e] in log_probs]
        weights = np.exp(alpha * np.array([log_probs[text[s:e]] for s in fits]))
        s = fits[rng.choice(len(fits), p=weights / weights.sum())]
        pieces.append(text[s:e])
        e = s
    return pieces[::-1]


def drawn(text, log_probs, rng, weigh, alpha):
    """Draw while adding; ``weigh`` makes the score of a piece from Z(s) and its log-probability."""
    total, start = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    for e in range(1, len(text) + 1):
        for s in starts(log_probs, e):
            if total[s] > -math.inf and text[s:e] in log_probs:
                score = weigh(total[s], log_probs[text[s:e]], alpha)
                total[e] = float(np.logaddexp(total[e], score))
                if rng.random() < math.exp(score - total[e]):
                    start[e] = s
    return total, start


def right(z, log_prob, alpha):
    return z + alpha * log_prob


@wrong("q5", hint="It is always the best segmentation. Others must come up, each with its share.")
def sample_segmentation(text, log_probs, alpha, rng):
    return cut(text, log_probs)


@wrong("q5", hint="A generator made inside, with a fixed seed, draws the same for ever. Use `rng`.")
def sample_segmentation(text, log_probs, alpha, rng):
    total, start = drawn(text, log_probs, np.random.default_rng(0), right, alpha)
    return walked(text, start) if total[-1] > -math.inf else refuse(text)


@wrong(
    "q5",
    hint="The share is of the sum **with** the new piece: add it first, then compare with the sum.",
)
def sample_segmentation(text, log_probs, alpha, rng):
    total, start = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    for e in range(1, len(text) + 1):
        for s in starts(log_probs, e):
            if total[s] > -math.inf and text[s:e] in log_probs:
                score = total[s] + alpha * log_probs[text[s:e]]
                if total[e] == -math.inf or rng.random() < math.exp(score - total[e]):
                    start[e] = s
                total[e] = float(np.logaddexp(total[e], score))
    return walked(text, start) if total[-1] > -math.inf else refuse(text)


@wrong("q5", hint="alpha makes no difference. Weigh each piece with p^alpha: alpha * log p.")
def sample_segmentation(text, log_probs, alpha, rng):
    total, start = drawn(text, log_probs, rng, right, 1.0)
    return walked(text, start) if total[-1] > -math.inf else refuse(text)


@wrong(
    "q5",
    hint="alpha is applied to Z(s) again at every piece. Z(s) has it in already: "
    "multiply only log p.",
)
def sample_segmentation(text, log_probs, alpha, rng):
    total, start = drawn(text, log_probs, rng, lambda z, log_p, alpha: alpha * (z + log_p), alpha)
    return walked(text, start) if total[-1] > -math.inf else refuse(text)


@wrong("q5", hint="The shares are right, but Z is not: sum up p^alpha, not p, and then draw.")
def sample_segmentation(text, log_probs, alpha, rng):
    total = drawn(text, log_probs, rng, right, 1.0)[0]
    if total[-1] == -math.inf:
        refuse(text)
    pieces, e = [], len(text)
    while e > 0:
        fits = [s for s in starts(log_probs, e) if text[s:e] in log_probs and total[s] > -math.inf]
        scores = np.array([alpha * (total[s] + log_probs[text[s:e]]) for s in fits])
        weights = np.exp(scores - scores.max())
        s = fits[rng.choice(len(fits), p=weights / weights.sum())]
        pieces.append(text[s:e])
        e = s
    return pieces[::-1]


@wrong("q5", hint="0 times minus infinity is NaN. Skip what is no piece before you multiply.")
def sample_segmentation(text, log_probs, alpha, rng):
    total, start = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    with np.errstate(invalid="ignore"):
        for e in range(1, len(text) + 1):
            for s in starts(log_probs, e):
                score = total[s] + alpha * log_probs.get(text[s:e], -math.inf)
                total[e] = float(np.logaddexp(total[e], score))
                if rng.random() < math.exp(score - total[e]):
                    start[e] = s
    return walked(text, start) if total[-1] != -math.inf else refuse(text)


@wrong("q5", hint="A text that no pieces make came back as if it were one. Raise a ValueError.")
def sample_segmentation(text, log_probs, alpha, rng):
    return walked(text, drawn(text, log_probs, rng, right, alpha)[1])


@wrong("q5", hint="No bytes have no pieces: `[]`. An empty piece is none.")
def sample_segmentation(text, log_probs, alpha, rng):
    total, start = drawn(text, log_probs, rng, right, alpha)
    return walked(text, start) or [b""] if total[-1] > -math.inf else refuse(text)


@wrong("q5", hint="The product of so many probabilities is 0 to a computer. Keep Z in logarithms.")
def sample_segmentation(text, log_probs, alpha, rng):
    total, start = [1.0] + [0.0] * len(text), [0] * (len(text) + 1)
    for e in range(1, len(text) + 1):
        for s in starts(log_probs, e):
            if total[s] > 0 and text[s:e] in log_probs:
                weight = total[s] * math.exp(alpha * log_probs[text[s:e]])
                total[e] += weight
                if rng.random() * total[e] < weight:
                    start[e] = s
    return walked(text, start) if total[-1] > 0 else refuse(text)
