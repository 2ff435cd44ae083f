"""The checks of the tokenizers lab. Expected values come from looking at every segmentation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations, pairwise

import numpy as np

from toolkit.classroom import expect, question, require
from toolkit.classroom.answer import Answer, LearnerError

NOWHERE = -math.inf
ALPHABET = "甲乙ab".encode()
"""Two Chinese characters that share their first byte, and two letters."""


def draw_bytes(rng: np.random.Generator, length: int, alphabet: bytes = ALPHABET) -> bytes:
    return bytes(rng.choice(list(alphabet), length).tolist())


def every_segmentation(text: bytes) -> Iterator[list[bytes]]:
    """All 2^(n-1) ways to cut a text, found by choosing where to cut."""
    inner = range(1, len(text))
    for cuts in (chosen for k in range(len(text)) for chosen in combinations(inner, k)):
        yield [text[s:e] for s, e in pairwise((0, *cuts, len(text)))]


def scored(text: bytes, log_probs: Mapping[bytes, float]) -> list[tuple[float, list[bytes]]]:
    """Every segmentation into pieces of the vocabulary with its score, the best first.

    Of equal scores, the one with the longest last piece comes first, then with the longest last
    but one.
    """
    found = [
        (sum(log_probs[piece] for piece in pieces), pieces)
        for pieces in every_segmentation(text)
        if all(piece in log_probs for piece in pieces)
    ]
    return sorted(found, key=lambda one: (one[0], [*map(len, one[1])][::-1]), reverse=True)


def is_clear(ranked: list[tuple[float, list[bytes]]]) -> bool:
    """Whether no rounding can change which is the best."""
    return len(ranked) == 1 or ranked[0][0] - ranked[1][0] > 1e-6


def expect_value_error(answer: Answer, function: str, *args: object) -> None:
    try:
        found = getattr(answer, function)(*args)
    except LearnerError as error:
        if error.kind != "ValueError":
            raise
    else:
        require(False, "no pieces make this text, so it should raise a ValueError", found)


# -- q1 ------------------------------------------------------------------------------------------


def windows(texts: list[bytes], max_order: int) -> Counter[bytes]:
    """Every run of every text, kept if it is short enough; the bytes themselves for the run of
    none."""
    counts = Counter(
        text[i:j]
        for text in texts
        for j in range(len(text) + 1)
        for i in range(j)
        if j - i <= max_order
    )
    counts[b""] = sum(len(text) for text in texts)
    return counts


@question(
    "q1",
    points=2,
    hints=[
        "A text of 7 bytes has 5 runs of 3 bytes: at which bytes can a run start?",
        "`text[start:end]` is a run, for each start and each end up to `start + max_order`.",
        '`b""` is the run that ends where it starts: count it once for each byte.',
    ],
)
def every_run_of_at_most_max_order_bytes_is_counted(answer, rng):
    """Every run of at most `max_order` bytes is counted, overlapping ones too."""
    for max_order in (2, 3, 4):
        repeats = draw_bytes(rng, 1) * 3  # three the same overlap with themselves
        text = draw_bytes(rng, int(rng.integers(5, 8))) + repeats + draw_bytes(rng, 2)
        expect(answer.count_ngrams([text], max_order), windows([text], max_order))


@question("q1", points=1, hints=["Count text by text; an empty text adds nothing."])
def no_run_crosses_from_one_text_into_the_next(answer, rng):
    """No run crosses from one text into the next, and texts shorter than a run are no trouble."""
    texts = [draw_bytes(rng, length) for length in (1, 5, 0, 2)]
    expect(answer.count_ngrams(texts, 3), windows(texts, 3))


# -- q2 ------------------------------------------------------------------------------------------


def draw_vocabulary(rng: np.random.Generator) -> dict[bytes, float]:
    """Every byte of the alphabet, and sixty longer runs that cost about as much as their bytes."""
    pieces = {bytes([byte]): float(rng.uniform(-6, -3)) for byte in sorted(set(ALPHABET))}
    for length in rng.choice([2, 2, 3, 4], 60).tolist():
        piece = draw_bytes(rng, length)
        pieces[piece] = float(rng.uniform(-4.5 * length, -1.5 * length))
    return pieces


@question(
    "q2",
    points=1,
    hints=[
        "Independent events: the probability that all happen is the product of theirs.",
        "The logarithm of a product is the sum of the logarithms.",
        "`log_probs[piece]` is a logarithm already: add them up.",
    ],
)
def the_score_is_the_sum_of_the_pieces_log_probabilities(answer, rng):
    """A segmentation scores the sum of its pieces' log-probabilities."""
    for count in (1, 2, 5, 9):
        log_probs = draw_vocabulary(rng)
        pieces = [list(log_probs)[i] for i in rng.integers(0, len(log_probs), count)]
        total = 0.0
        for piece in pieces:
            total += log_probs[piece]
        expect(answer.segmentation_score(pieces, log_probs), total)
    expect(answer.segmentation_score([], {b"a": -1.0}), 0.0)


@question("q2", points=1, hints=["A piece that can't be drawn has probability 0. Its logarithm?"])
def a_piece_outside_the_vocabulary_scores_minus_infinity(answer, rng):
    """One piece outside the vocabulary makes a segmentation impossible: minus infinity."""
    log_probs = {b"a": float(rng.uniform(-3, -1)), b"ab": float(rng.uniform(-3, -1))}
    for pieces in ([b"a", b"b"], [b"b"], [b"ab", b"ba", b"a"]):
        expect(answer.segmentation_score(pieces, log_probs), NOWHERE)


# -- q3 ------------------------------------------------------------------------------------------


def draw_clear_case(rng: np.random.Generator, length: int) -> tuple[bytes, dict[bytes, float]]:
    """A text and a vocabulary with one best segmentation; if there is room, a longest piece is in
    it."""
    while True:
        log_probs = draw_vocabulary(rng)
        longest = max(log_probs, key=len)
        text = draw_bytes(rng, length)
        if length > len(longest):
            start = int(rng.integers(0, length - len(longest) + 1))
            text = text[:start] + longest + text[start + len(longest) :]
        ranked = scored(text, log_probs)
        if is_clear(ranked) and (longest in ranked[0][1] or length <= len(longest)):
            return text, log_probs


@question(
    "q3",
    points=2,
    hints=[
        "How good is the best way to reach byte 1? Byte 2? Each needs only those before it.",
        "For each end `e`, try every start `s`: `best[s] + log_probs.get(text[s:e], -math.inf)`.",
        "Keep the start of the best last piece for each `e`, and walk back from `len(text)`.",
    ],
)
def the_best_of_all_segmentations_is_found(answer, rng):
    """It finds the best of all segmentations."""
    for length in (2, 3, 4, 5, 6, 7, 7, 8, 8, 8):
        text, log_probs = draw_clear_case(rng, length)
        expect(answer.viterbi(text, log_probs), scored(text, log_probs)[0][1])


@question("q3", points=1, hints=["What is `best` at the end, if no pieces make the text?"])
def texts_of_no_byte_and_of_unknown_bytes_are_told_apart(answer, rng):
    """No bytes are no pieces; a text that no pieces make is refused."""
    log_probs = {b"\xe7": -1.5, b"\xe7\x94": -2.5, b"\x94\xb2": -1.0}
    expect(answer.viterbi(b"\xe7", log_probs), [b"\xe7"])
    expect(answer.viterbi(b"", log_probs), [])
    for text in (b"\xe7\x94\xb2\xb2", b"\xb2", b"\xe7x\xe7", b"\x94" * int(rng.integers(2, 5))):
        expect_value_error(answer, "viterbi", text, log_probs)


@question("q3", points=1, hints=["Starts that come first make longer pieces: a tie is theirs."])
def of_equally_good_segmentations_the_longest_last_piece_wins(answer, rng):
    """Of equally good segmentations it takes the one with the longest last piece."""
    costs = {1: -3.0, 2: -4.0, 3: -7.0}  # whole numbers add up without rounding
    for length in (3, 5, 7, 9):  # a piece of three is worth one of two and one of one
        text = draw_bytes(rng, length, b"xy")
        runs = {piece for pieces in every_segmentation(text) for piece in pieces}
        log_probs = {run: costs[len(run)] for run in sorted(runs) if len(run) in costs}
        expect(answer.viterbi(text, log_probs), scored(text, log_probs)[0][1])


@question("q3", points=1, hints=["Fill a list in from the left, and add logarithms."])
def a_long_text_is_cut_like_its_parts(answer, rng):
    """A text of thousands of bytes is cut as well as a short one."""
    log_probs = {b"u": -4.0, b"v": -3.0, b"uv": -6.5, b"vu": -6.375, b"|": -9.0}  # no ties
    blocks = [draw_bytes(rng, 6, b"uv") + b"|" for _ in range(320)]  # "|" parts them
    best = {block: scored(block, log_probs)[0][1] for block in set(blocks)}
    pieces = [piece for block in blocks for piece in best[block]]
    expect(answer.viterbi(b"".join(blocks), log_probs), pieces)


# -- q4 ------------------------------------------------------------------------------------------


def log_shares(counts: Mapping[bytes, int]) -> dict[bytes, float]:
    total = sum(counts.values())
    return {piece: math.log(count / total) for piece, count in counts.items()}


class UnclearError(Exception):
    """Two segmentations are so nearly equal that rounding decides."""


def fall_into(counts: Mapping[bytes, int], vocabulary: Mapping[bytes, int]) -> Counter[bytes]:
    """What the pieces become, cut by the best of all segmentations."""
    found: Counter[bytes] = Counter()
    shares = log_shares(vocabulary)
    for piece, count in counts.items():
        ranked = scored(piece, shares)
        if not is_clear(ranked):
            raise UnclearError
        for part in ranked[0][1]:
            found[part] += count
    return found


def pruned(counts: Mapping[bytes, int], size: int) -> list[dict[bytes, int]]:
    """The vocabulary after the cut, and after each round; the last two are the same."""
    singles = [piece for piece in counts if len(piece) == 1]
    longer = sorted(set(counts) - set(singles))
    longer.sort(key=len, reverse=True)
    longer.sort(key=lambda piece: counts[piece], reverse=True)
    stay = singles + longer[: size - len(singles)]
    cut = {piece: counts[piece] for piece in stay}
    earned = fall_into({p: n for p, n in counts.items() if p not in cut}, cut)
    steps = [{piece: count + earned[piece] for piece, count in cut.items()}]
    while len(steps) < 2 or steps[-1] != steps[-2]:
        steps.append(dict(fall_into(steps[-1], steps[-1])))
    return steps


def draw_counts(rng: np.random.Generator, pieces: int) -> dict[bytes, int]:
    """Bytes that are frequent, so that many a rare piece is better cut, and rarer longer runs.

    No two longer runs are equally long and equally frequent.
    """
    letters = bytes(rng.permutation(list(b"\xe4\x94ab"))[:3].tolist())
    counts = {bytes([byte]): int(rng.integers(3, 90)) for byte in letters}
    taken = set()
    while len(counts) < pieces:
        piece = draw_bytes(rng, int(rng.integers(2, 6)), letters)
        count = int(rng.integers(1, 7))
        if piece not in counts and (len(piece), count) not in taken:
            taken.add((len(piece), count))
            counts[piece] = count
    return counts


def draw_tied(rng: np.random.Generator) -> dict[bytes, int]:
    """Three runs of three bytes and six of two, all equally frequent, and eight rarer bytes."""
    letters = bytes(rng.permutation(list(b"abcdef\xe4\xe7")).tolist())
    counts: dict[bytes, int] = {}
    often = int(rng.integers(4, 7))
    while len(counts) < 9:
        counts[draw_bytes(rng, 2 if len(counts) < 6 else 3, letters)] = often
    return counts | {bytes([letter]): int(rng.integers(1, 4)) for letter in letters}


def draw_until_clear(
    draw: Callable[[], dict[bytes, int]], size: int, rounds: int | None = None
) -> tuple[dict[bytes, int], list[dict[bytes, int]]]:
    """Counts, and what ``pruned`` makes of them in this many rounds that drop a piece."""
    while True:
        counts = draw()
        try:
            steps = pruned(counts, size)
        except UnclearError:
            continue
        if rounds in (None, len(steps) - 2):
            return counts, steps


@question(
    "q4",
    points=2,
    hints=[
        "Three steps: sort and cut, let what is dropped earn for what stays, then the rounds.",
        "`recount(dropped, log_probabilities(kept))` says what the dropped ones fall into.",
        "`recount(kept, log_probabilities(kept))` is a round: a piece missing from it is dropped.",
    ],
)
def the_most_frequent_stay_and_earn_what_is_dropped(answer, rng):
    """The most frequent pieces stay, and earn the counts of those that go."""
    for size in (6, 8, 10):
        counts, steps = draw_until_clear(partial(draw_counts, rng, size + 6), size, rounds=0)
        expect(answer.prune(counts, size), steps[-1])


@question("q4", points=1, hints=["Sort by a tuple: `(len(piece) > 1, -counts[piece], ...)`."])
def single_bytes_stay_and_ties_go_to_the_longest(answer, rng):
    """All single bytes stay; of equally frequent pieces the longest, then the first by bytes."""
    for size in (
        10,
        11,
        13,
        14,
    ):  # the first two among runs of three bytes, then among those of two
        counts, steps = draw_until_clear(partial(draw_tied, rng), size)
        expect(answer.prune(counts, size), steps[-1])


@question(
    "q4",
    points=2,
    hints=["After a round the counts have changed, and so has what is worth its place."],
)
def pieces_are_dropped_round_by_round_until_none_is_cut(answer, rng):
    """Pieces that the vocabulary would rather cut are dropped, round by round."""
    for rounds in (1, 2, 2, 3):
        counts, steps = draw_until_clear(partial(draw_counts, rng, 18), 12, rounds)
        expect(answer.prune(counts, 12), steps[-1])
    after = answer.call_inplace("prune", counts, 12)
    require(after.args[0] == counts, "it changes the counts it was given", after.result)


# -- q5 ------------------------------------------------------------------------------------------

CALLS, BLOCKS = 40, 25
DRAWS = CALLS * BLOCKS
SLACK = math.sqrt(9 / DRAWS)
"""A share of so many draws is further than this from its probability with a chance under
2 exp(-2 * 9) = 3.1e-8 (Hoeffding); the 20 shares looked at stay under 1e-6 together."""


def expect_shares(
    answer: Answer,
    rng: np.random.Generator,
    block: bytes,
    log_probs: dict[bytes, float],
    alpha: float,
    shares: dict[tuple[bytes, ...], float],
) -> None:
    """Draw a text of many times the same block; what parts the blocks is in no other piece, so
    that they are cut independently of each other."""
    text = (block + b"|") * BLOCKS
    vocabulary = log_probs | {b"|": -0.5}
    chance = answer.get("np").random.default_rng(int(rng.integers(2**32)))
    found = answer.map("sample_segmentation", [(text, vocabulary, alpha, chance)] * CALLS)
    for pieces in found:
        whole = type(pieces) is list and b"".join(pieces) == text
        require(whole, "its pieces, joined, are not the text", pieces)
        unknown = [piece[:12] for piece in pieces if piece not in vocabulary] if whole else []
        require(not unknown, f"it has {unknown[:1]}, which is not in the vocabulary", pieces)
    ways = Counter(way for pieces in found for way in between_bars(pieces))
    for way, share in shares.items():
        off = abs(ways[way] / DRAWS - share) > SLACK
        how = f"of {DRAWS:,} cuts of {block!r}, {ways[way] / DRAWS:.0%} were {list(way)}"
        require(not off, f"{how}, expected about {share:.0%}", found[-1])
    same = found.count(found[0]) == CALLS
    require(not same, f"the same generator gave the same segmentation {CALLS} times", found[-1])


def between_bars(pieces: list[bytes]) -> Iterator[tuple[bytes, ...]]:
    way: list[bytes] = []
    for piece in pieces:
        if piece == b"|":
            yield tuple(way)
            way = []
        else:
            way.append(piece)


def shares_of(text: bytes, log_probs: Mapping[bytes, float], alpha: float) -> dict:
    weights = {tuple(pieces): math.exp(alpha * score) for score, pieces in scored(text, log_probs)}
    return {pieces: weight / sum(weights.values()) for pieces, weight in weights.items()}


def draw_lopsided(rng: np.random.Generator, alphas: tuple[float, ...]) -> dict[bytes, float]:
    """A vocabulary for b"abcd" whose shares at these alphas are not those at 1."""
    while True:
        pieces = [b"a", b"b", b"c", b"d", b"ab", b"bc", b"cd", b"bcd"]
        log_probs = {piece: float(rng.uniform(-3, -0.5)) for piece in pieces}
        plain = shares_of(b"abcd", log_probs, 1.0)
        others = [shares_of(b"abcd", log_probs, alpha) for alpha in alphas]
        if all(max(abs(other[p] - plain[p]) for p in plain) > 3 * SLACK for other in others):
            return log_probs


@question(
    "q5",
    points=2,
    hints=[
        "Three equally likely ways must come up a third each: compare each with the sum so far.",
        "`Z(e)` sums up all the ways to reach `e`; it needs only the `Z(s)` before it.",
        "As each piece is added: take it if `rng.random() < math.exp(score - total[e])`.",
    ],
)
def three_equally_likely_ways_come_up_a_third_each(answer, rng):
    """Three equally likely segmentations come up a third of the time each."""
    a, ab = rng.uniform(-2.5, -1.5, 2).tolist()
    log_probs = {b"a": a, b"ab": ab, b"abc": -4.0, b"bc": -4.0 - a, b"c": -4.0 - ab}
    shares = dict.fromkeys([(b"a", b"bc"), (b"ab", b"c"), (b"abc",)], 1 / 3)
    expect_shares(answer, rng, b"abc", log_probs, 1.0, shares)


@question(
    "q5", points=1, hints=["Each piece weighs p^alpha, in the sums too; at alpha 0 that is 1."]
)
def shares_are_proportional_to_the_probability_to_the_power_of_alpha(answer, rng):
    """Each segmentation's share is proportional to P^alpha, for alpha 0 and 2."""
    alphas = (0.0, 2.0)
    log_probs = draw_lopsided(rng, alphas)
    for alpha in alphas:
        shares = shares_of(b"abcd", log_probs, alpha)
        expect_shares(answer, rng, b"abcd", log_probs, alpha, shares)


@question("q5", points=1, hints=["What is Z at the end, if no pieces make the text?"])
def what_has_one_segmentation_or_none_leaves_nothing_to_chance(answer, rng):
    """One segmentation is drawn always; no bytes are no pieces; the impossible is refused."""
    log_probs = {b"\xe7": -1.5, b"\xe7\x94": -2.5, b"\x94\xb2": -1.0}
    chance = answer.get("np").random.default_rng(0)
    for text, pieces in (
        (b"\xe7\x94", [b"\xe7\x94"]),
        (b"", []),
        (b"\xe7\xe7", [b"\xe7", b"\xe7"]),
    ):
        expect(answer.sample_segmentation(text, log_probs, 0.5, chance), pieces)
    for text in (b"\xe7\x94\xb2\xb2", b"\xb2", b"\x94" * int(rng.integers(2, 5))):
        for alpha in (0.0, 1.0):
            expect_value_error(answer, "sample_segmentation", text, log_probs, alpha, chance)


@question("q5", points=1, hints=["Add in logarithms, and take all chance from `rng`."])
def a_long_text_is_cut_by_the_same_rule_and_the_same_seed(answer, rng):
    """A text of thousands of bytes is cut by the same rule, and by the same seed the same way."""
    log_probs = {b"u": -2.5, b"v": -2.0, b"uv": -4.0, b"|": -3.0}
    text, seed = b"uv|" * 800, int(rng.integers(2**32))
    one, two = (
        answer.sample_segmentation(text, log_probs, 1.0, answer.get("np").random.default_rng(seed))
        for _ in "12"
    )
    require(one == two, "the same seed gave another segmentation before", two)
    require(b"".join(one) == text, "its pieces, joined, are not the text", one)
    share = one.count(b"uv") / 800
    expected = 1 / (1 + math.exp(-0.5))
    how = f"{share:.0%} of its 800 times 'uv' is one piece, expected about {expected:.0%}"
    require(abs(share - expected) < math.sqrt(9 / 800), how, one)
