"""BPE's merges, applied: of all neighbours that may merge, the earliest learnt first.

A short word is searched for its best pair again and again, since it lies in a few cache lines. A
long one, such as a whole text that is not split into words, keeps its pairs in a heap: n log n.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8, UInt64

from toolkit.compiled import compiled

from .splitting import word_end
from .trie import TOKEN, Trie, step

SHORT = 48
"""Bytes up to which a word is searched rather than kept in a heap."""
NEVER = 0x7FFFFFFF
"""The rank of a pair that does not merge."""
EMPTY = 0xFFFFFFFFFFFFFFFF
Pairs = UInt64[np.ndarray, "slots 2"]


def pair_table(
    pairs: Int32[np.ndarray, "merges 2"], ranks: Int32[np.ndarray, " merges"],
    tokens: Int32[np.ndarray, " merges"],
) -> Pairs:  # fmt: skip
    """A hash table of pairs: left << 32 | right, and rank << 32 | the token that they become."""
    left, right = pairs.astype(np.uint64).T
    slots = 1 << max(4, (2 * len(pairs)).bit_length())
    table = np.full((slots, 2), EMPTY, dtype=np.uint64)
    values = ranks.astype(np.uint64) << np.uint64(32) | tokens.astype(np.uint64)
    return _filled(table, left << np.uint64(32) | right, values)


@compiled
def _filled(
    table: Pairs, keys: UInt64[np.ndarray, " merges"], values: UInt64[np.ndarray, " merges"]
) -> Pairs:
    for i in range(len(keys)):
        place = _slot(table, keys[i])
        if table[place, 0] == EMPTY:  # the first of equal pairs counts
            table[place, 0], table[place, 1] = keys[i], values[i]
    return table


@compiled
def _slot(table: Pairs, key: np.uint64) -> np.uint64:
    mask = np.uint64(len(table) - 1)
    place = key * np.uint64(0x9E3779B97F4A7C15)
    place = (place ^ (place >> np.uint64(32))) & mask
    while table[place, 0] != key and table[place, 0] != EMPTY:
        place = (place + np.uint64(1)) & mask
    return place


@compiled
def _merge(table: Pairs, left: np.int32, right: np.int32) -> tuple[np.int64, np.int32]:
    """The rank of a pair, and the token it becomes."""
    key = np.uint64(left) << np.uint64(32) | np.uint64(right)
    place = _slot(table, key)
    if table[place, 0] != key:
        return np.int64(NEVER), np.int32(0)
    value = table[place, 1]
    return np.int64(value >> np.uint64(32)), np.int32(value & np.uint64(0xFFFFFFFF))


@compiled
def encode(
    text: UInt8[np.ndarray, " bytes"],
    bounds: Int64[np.ndarray, " texts"],
    classes: UInt8[np.ndarray, " code_points"],
    isolate: bool,
    split: bool,
    byte_tokens: Int32[np.ndarray, " 256"],
    table: Pairs,
    trie: Trie,
    whole: Bool[np.ndarray, " tokens"],
) -> Int32[np.ndarray, " found"]:
    """The tokens of texts.

    Args:
        text: uint8 (bytes,).
        bounds: int64 (texts,), where each ends.
        classes, isolate: for ``word_end``.
        split: whether texts are split into words at all.
        byte_tokens: int32 (256,), the token of each single byte, negative for none.
        table: from ``pair_table``.
        trie: of the tokens.
        whole: bool (tokens,), whether a word that is this token stays whole.
    Returns:
        int32 (tokens,), from left to right; none at all where a byte has no token.
    """
    found, count, at = np.empty(len(text), np.int32), 0, 0
    ranks, made = np.empty(SHORT, np.int64), np.empty(SHORT, np.int32)
    for bound in bounds:
        while at < bound:
            end = word_end(text, at, bound, classes, isolate) if split else bound
            node = 0
            for byte in range(at, end):
                node = step(trie, node, text[byte])
                if node < 0:
                    break
            if node > 0 and trie[node, TOKEN] >= 0 and whole[trie[node, TOKEN]]:
                found[count] = trie[node, TOKEN]
                count += 1
            else:
                for byte in range(at, end):
                    token = byte_tokens[text[byte]]
                    if token < 0:
                        return found[:0].copy()
                    found[count + byte - at] = token
                if end - at <= SHORT:
                    count += merge_short(found[count : count + end - at], table, ranks, made)
                else:
                    count += merge_long(found[count : count + end - at], table)
            at = end
    return found[:count].copy()


@compiled
def merge_short(
    tokens: Int32[np.ndarray, " word"],
    table: Pairs,
    ranks: Int64[np.ndarray, " short"],
    made: Int32[np.ndarray, " short"],
) -> int:
    """Merge a word's tokens where they are; gives how many are left."""
    size = len(tokens)
    for i in range(size - 1):
        ranks[i], made[i] = _merge(table, tokens[i], tokens[i + 1])
    while size > 1:
        best = 0
        for i in range(1, size - 1):
            if ranks[i] < ranks[best]:
                best = i
        if ranks[best] == NEVER:
            break
        tokens[best] = made[best]
        size -= 1
        for i in range(best + 1, size):
            tokens[i] = tokens[i + 1]
        for i in range(best, size - 1):
            ranks[i], made[i] = ranks[i + 1], made[i + 1]
        if best > 0:
            ranks[best - 1], made[best - 1] = _merge(table, tokens[best - 1], tokens[best])
        if best < size - 1:
            ranks[best], made[best] = _merge(table, tokens[best], tokens[best + 1])
    return size


@compiled
def merge_long(tokens: Int32[np.ndarray, " word"], table: Pairs) -> int:
    """The same with a heap of rank << 32 | place; a pair that has changed since is passed over."""
    size = len(tokens)
    after = np.arange(1, size + 1)
    before = np.arange(-1, size - 1)
    alive = np.ones(size, np.bool_)
    heap, held = np.empty(2 * size + 2, np.uint64), 0
    for i in range(size - 1):
        rank, _ = _merge(table, tokens[i], tokens[i + 1])
        if rank != NEVER:
            heap[held] = np.uint64(rank) << np.uint64(32) | np.uint64(i)
            held += 1
    for i in range(held // 2 - 1, -1, -1):
        _sink(heap, held, i)
    while held:
        top = heap[0]
        held -= 1
        heap[0] = heap[held]
        _sink(heap, held, 0)
        at = np.int64(top & np.uint64(0xFFFFFFFF))
        right = after[at]
        if not alive[at] or right >= size:
            continue
        rank, token = _merge(table, tokens[at], tokens[right])
        if rank != np.int64(top >> np.uint64(32)):
            continue
        tokens[at] = token
        alive[right] = False
        after[at] = after[right]
        if after[at] < size:
            before[after[at]] = at
        for left in (before[at], at):
            if left >= 0 and after[left] < size:
                rank, _ = _merge(table, tokens[left], tokens[after[left]])
                if rank != NEVER:
                    heap[held] = np.uint64(rank) << np.uint64(32) | np.uint64(left)
                    held += 1
                    _rise(heap, held - 1)
    count = 0
    for i in range(size):
        if alive[i]:
            tokens[count] = tokens[i]
            count += 1
    return count


@compiled
def _sink(heap: UInt64[np.ndarray, " entries"], held: int, at: int) -> None:
    entry = heap[at]
    while 2 * at + 1 < held:
        child = 2 * at + 1
        if child + 1 < held and heap[child + 1] < heap[child]:
            child += 1
        if entry <= heap[child]:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = entry


@compiled
def _rise(heap: UInt64[np.ndarray, " entries"], at: int) -> None:
    entry = heap[at]
    while at > 0 and entry < heap[(at - 1) // 2]:
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = entry
