"""Training BPE: of all neighbours in all words, merge the pair that stands most often, and again.

Words are counted once and carry their count. Every pair knows where it stands, so that a merge
costs what it changes; a heap gives the next pair, and an entry whose count has fallen since goes
back with the count it has now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import numpy as np
from jaxtyping import Int64, UInt8
from tqdm import tqdm

from toolkit.compiled import compiled

from .counting import PieceCounter, Pieces, chunks
from .splitting import Pattern, split

STEPS = 1000
"""Merges between two reports of progress."""
NONE = -1
EMPTY = 0xFFFFFFFFFFFFFFFF


def train(texts: Iterable[str], merges: int, pattern: Pattern | None) -> list[tuple[int, int]]:
    """The merges of a vocabulary, whose tokens 0 to 255 are the bytes.

    Args:
        texts: to learn from.
        merges: how many to learn.
        pattern: where texts are cut into words; None leaves each whole.
    Returns:
        Pairs of tokens; that of row i becomes token 256 + i.
    Raises:
        ValueError: the texts have fewer pairs than that.
    """
    counter = PieceCounter()
    for content, bounds in chunks(texts, None, "counting words"):
        counter.add(content, split(content, pattern, bounds))
    words = counter.counted()
    with tqdm(desc="merging", total=merges, leave=False, disable=None) as bar:
        learnt = learn(words, merges, bar.update)
    if len(learnt) < merges:
        raise ValueError(
            f"vocab_size is {merges + 256:,}, and the texts only have pairs for "
            f"{len(learnt) + 256:,} tokens: ask for fewer, or give more text"
        )
    return learnt


def learn(
    words: Pieces, merges: int, progress: Callable[[int], object] = lambda more: None
) -> list[tuple[int, int]]:
    """The first merges of words with their counts; fewer if the words have no more pairs."""
    state = _beginning(words.joined, words.offsets, words.counts)
    learnt: list[tuple[int, int]] = []
    while len(learnt) < merges:
        more, state = _merge(*state, 256 + len(learnt), min(STEPS, merges - len(learnt)))
        learnt += [(int(a), int(b)) for a, b in more]
        progress(len(more))
        if len(more) < STEPS:
            break
    return learnt


def learn_plain(words: Mapping[bytes, int], merges: int) -> list[tuple[int, int]]:
    """The plain version of ``learn``: all pairs are counted anew for every merge."""
    parts = {word: list(word) for word in words}
    learnt: list[tuple[int, int]] = []
    while len(learnt) < merges:
        counts: Counter[tuple[int, int]] = Counter()
        for word, tokens in parts.items():
            for pair in pairwise(tokens):
                counts[pair] += words[word]
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for word, tokens in parts.items():
            parts[word] = _merged(tokens, best, 256 + len(learnt))
        learnt.append(best)
    return learnt


def _merged(tokens: list[int], pair: tuple[int, int], made: int) -> list[int]:
    merged: list[int] = []
    for token in tokens:
        if merged and (merged[-1], token) == pair:
            merged[-1] = made
        else:
            merged.append(token)
    return merged


State = tuple[np.ndarray, ...]
# of the loops below:
#   tokens, after, before, weight   int64 (bytes,): a list of each word's tokens, and its count
#   slots                           a hash table of pairs: their rows in
#   pairs                           int64 (pairs, 4): left << 32 | right, count, first and last of
#   places                          int64 (places, 2): where the pair stands, and the next of these
#   heap                            int64 (entries, 2): a count, and the row of the pair that had it
#   sizes                           int64 (3,): rows of pairs, of places and of heap that are used


@compiled
def _beginning(
    joined: UInt8[np.ndarray, " bytes"],
    offsets: Int64[np.ndarray, " words+1"],
    counts: Int64[np.ndarray, " words"],
) -> State:
    size = len(joined)
    tokens = joined.astype(np.int64)
    after, before = np.arange(1, size + 1), np.arange(-1, size - 1)
    weight = np.empty(size, np.int64)
    for word in range(len(counts)):
        first, end = offsets[word], offsets[word + 1]
        if first < end:
            before[first], after[end - 1] = NONE, NONE
        weight[first:end] = counts[word]
    slots = np.full(1 << 16, NONE, np.int64)
    pairs, places = np.empty((1 << 14, 4), np.int64), np.empty((max(size, 16), 2), np.int64)
    heap, sizes = np.empty((1 << 14, 2), np.int64), np.zeros(3, np.int64)
    for at in range(size):
        if after[at] != NONE:
            key = tokens[at] << 32 | tokens[after[at]]
            slots, pairs, places = _add(key, at, weight[at], slots, pairs, places, sizes)
    for row in range(sizes[0]):
        heap = _push(heap, pairs, row, sizes)
    return tokens, after, before, weight, slots, pairs, places, heap, sizes


@compiled
def _merge(
    tokens: Int64[np.ndarray, " bytes"],
    after: Int64[np.ndarray, " bytes"],
    before: Int64[np.ndarray, " bytes"],
    weight: Int64[np.ndarray, " bytes"],
    slots: Int64[np.ndarray, " slots"],
    pairs: Int64[np.ndarray, "pairs 4"],
    places: Int64[np.ndarray, "places 2"],
    heap: Int64[np.ndarray, "entries 2"],
    sizes: Int64[np.ndarray, " 3"],
    made: int,
    steps: int,
) -> tuple[Int64[np.ndarray, "merges 2"], State]:
    learnt, count = np.empty((steps, 2), np.int64), 0
    while count < steps and sizes[2]:
        row = heap[0, 1]
        if pairs[row, 1] != heap[0, 0]:  # it was more frequent when it was put here
            heap[0, 0] = pairs[row, 1]
            if heap[0, 0] == 0:
                _pop(heap, pairs, sizes)
            else:
                _sink(heap, pairs, sizes[2])
            continue
        _pop(heap, pairs, sizes)
        key = pairs[row, 0]
        left, right = key >> 32, key & 0xFFFFFFFF
        learnt[count, 0], learnt[count, 1] = left, right
        first_new = sizes[0]
        place = pairs[row, 2]
        while place != NONE:
            at = places[place, 0]
            place = places[place, 1]
            then = after[at]
            if tokens[at] != left or then == NONE or tokens[then] != right:
                continue  # an earlier merge took one of the two
            for outer, old in (
                (before[at], tokens[before[at]] << 32 | left),
                (then, right << 32 | tokens[after[then]]),
            ):
                if outer != NONE and after[outer] != NONE:
                    pairs[slots[_slot(slots, pairs, old)], 1] -= weight[at]
            tokens[at], tokens[then] = made, NONE
            after[at] = after[then]
            if after[at] != NONE:
                before[after[at]] = at
                key = made << 32 | tokens[after[at]]
                slots, pairs, places = _add(key, at, weight[at], slots, pairs, places, sizes)
            if before[at] != NONE:
                key = tokens[before[at]] << 32 | made
                slots, pairs, places = _add(
                    key, before[at], weight[at], slots, pairs, places, sizes
                )
        pairs[row, 1] = 0
        for new in range(first_new, sizes[0]):
            heap = _push(heap, pairs, new, sizes)
        made += 1
        count += 1
    return learnt[:count], (tokens, after, before, weight, slots, pairs, places, heap, sizes)


@compiled
def _slot(
    slots: Int64[np.ndarray, " slots"], pairs: Int64[np.ndarray, "pairs 4"], key: np.int64
) -> np.uint64:
    mask = np.uint64(len(slots) - 1)
    place = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    place = (place ^ (place >> np.uint64(32))) & mask
    while slots[place] != NONE and pairs[slots[place], 0] != key:
        place = (place + np.uint64(1)) & mask
    return place


@compiled
def _add(
    key: np.int64,
    at: int,
    weight: np.int64,
    slots: Int64[np.ndarray, " slots"],
    pairs: Int64[np.ndarray, "pairs 4"],
    places: Int64[np.ndarray, "places 2"],
    sizes: Int64[np.ndarray, " 3"],
) -> tuple[
    Int64[np.ndarray, " slots"], Int64[np.ndarray, "pairs 4"], Int64[np.ndarray, "places 2"]
]:
    """Note that a pair stands at a place, after all places where it was noted before."""
    slot = _slot(slots, pairs, key)
    row = slots[slot]
    if row == NONE:
        row = sizes[0]
        if row == len(pairs):
            pairs = np.concatenate((pairs, np.empty_like(pairs)))
        slots[slot] = row
        pairs[row, 0], pairs[row, 1], pairs[row, 2], pairs[row, 3] = key, 0, NONE, NONE
        sizes[0] += 1
        if 2 * sizes[0] > len(slots):
            slots = np.full(2 * len(slots), NONE, np.int64)
            for old in range(sizes[0]):
                slots[_slot(slots, pairs, pairs[old, 0])] = old
    place = sizes[1]
    if place == len(places):
        places = np.concatenate((places, np.empty_like(places)))
    places[place, 0], places[place, 1] = at, NONE
    if pairs[row, 2] == NONE:
        pairs[row, 2] = place
    else:
        places[pairs[row, 3], 1] = place
    pairs[row, 3] = place
    pairs[row, 1] += weight
    sizes[1] += 1
    return slots, pairs, places


@compiled
def _before(
    heap: Int64[np.ndarray, "entries 2"], pairs: Int64[np.ndarray, "pairs 4"], a: int, b: int
) -> bool:
    """Whether entry a is merged before entry b."""
    if heap[a, 0] != heap[b, 0]:
        return heap[a, 0] > heap[b, 0]
    return pairs[heap[a, 1], 0] < pairs[heap[b, 1], 0]


@compiled
def _swap(heap: Int64[np.ndarray, "entries 2"], a: int, b: int) -> None:
    for column in range(2):
        held = heap[a, column]
        heap[a, column] = heap[b, column]
        heap[b, column] = held


@compiled
def _push(
    heap: Int64[np.ndarray, "entries 2"],
    pairs: Int64[np.ndarray, "pairs 4"],
    row: int,
    sizes: Int64[np.ndarray, " 3"],
) -> Int64[np.ndarray, "entries 2"]:
    if pairs[row, 1] == 0:
        return heap
    at = sizes[2]
    if at == len(heap):
        heap = np.concatenate((heap, np.empty_like(heap)))
    heap[at, 0], heap[at, 1] = pairs[row, 1], row
    sizes[2] += 1
    while at > 0 and _before(heap, pairs, at, (at - 1) // 2):
        _swap(heap, at, (at - 1) // 2)
        at = (at - 1) // 2
    return heap


@compiled
def _pop(
    heap: Int64[np.ndarray, "entries 2"],
    pairs: Int64[np.ndarray, "pairs 4"],
    sizes: Int64[np.ndarray, " 3"],
) -> None:
    sizes[2] -= 1
    heap[0] = heap[sizes[2]]
    _sink(heap, pairs, sizes[2])


@compiled
def _sink(
    heap: Int64[np.ndarray, "entries 2"], pairs: Int64[np.ndarray, "pairs 4"], held: int
) -> None:
    at = 0
    while 2 * at + 1 < held:
        child = 2 * at + 1
        if child + 1 < held and _before(heap, pairs, child + 1, child):
            child += 1
        if not _before(heap, pairs, child, at):
            break
        _swap(heap, at, child)
        at = child
