"""A trie in one array: all pieces that start at a byte of a text, one memory access a byte.

A node's children lie at ``base ^ byte``, and each says who its parent is. So a step is an exclusive
or, a comparison, and no search.

Source: Aoe 1989, An efficient digital search algorithm by using a double-array structure; with an
exclusive or in place of the sum, a node's children share a block of 256.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from toolkit.compiled import compiled

BASE, PARENT, TOKEN = 0, 1, 2
"""The columns of a trie: where a node's children are, whose child it is, which piece ends here."""
FREE, ROOT, NOBODY = -1, -2, -1
TRIES = 64
"""How many free places are tried for a node's children before those in front are given up."""

Trie = Int32[np.ndarray, "nodes 4"]


def build(pieces: Sequence[bytes], tokens: Sequence[int] | None = None) -> Trie:
    """The trie of a vocabulary.

    Args:
        pieces: distinct, none of them empty.
        tokens: of each; else they are numbered as they come.
    Returns:
        A row for each node; the root is row 0. The fourth column only keeps a row within one cache
        line.
    """
    order = sorted(range(len(pieces)), key=pieces.__getitem__)
    numbers = order if tokens is None else [tokens[i] for i in order]
    joined = b"".join([pieces[i] for i in order])
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum(np.array([len(pieces[i]) for i in order], dtype=np.int64), out=offsets[1:])
    return _build(np.frombuffer(joined, np.uint8), offsets, np.array(numbers, dtype=np.int32))


def build_sorted(
    joined: UInt8[np.ndarray, " bytes"], offsets: Int64[np.ndarray, " pieces+1"]
) -> Trie:
    """The trie of a vocabulary that is in the order of its bytes, each piece after the other.

    Args:
        joined: the pieces' bytes.
        offsets: where each begins; the last number is the length of ``joined``.
    """
    return _build(joined, offsets, np.arange(len(offsets) - 1, dtype=np.int32))


@compiled
def step(trie: Trie, node: int, byte: int) -> int:
    """The child of a node by a byte; negative if it has none."""
    child = trie[node, BASE] ^ np.int32(byte)
    return child if trie[child, PARENT] == node else NOBODY


@compiled
def _build(
    text: UInt8[np.ndarray, " bytes"],
    offsets: Int64[np.ndarray, " pieces+1"],
    tokens: Int32[np.ndarray, " pieces"],
) -> Trie:
    """Node by node, each with its range of the sorted pieces, from the shortest to the longest."""
    pieces = len(tokens)
    trie = _empty(1024)
    trie[0, PARENT] = ROOT
    longest = 0
    for piece in range(pieces):
        longest = max(longest, offsets[piece + 1] - offsets[piece])
    # the present depth's nodes, and the first and the last piece below each
    node, first, last = np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, pieces, np.int64)
    front = 1  # almost all places before it are taken
    letters = np.empty(256, np.int64)
    below = np.empty(257, np.int64)
    for depth in range(longest):
        more = 0
        next_node = np.empty(pieces, np.int64)
        next_first = np.empty(pieces, np.int64)
        next_last = np.empty(pieces, np.int64)
        for at in range(len(node)):
            children, piece = 0, first[at]
            while piece < last[at]:  # a child for each letter that stands here
                letter = np.int64(text[offsets[piece] + depth])
                letters[children] = letter
                below[children] = piece
                children += 1
                while piece < last[at] and np.int64(text[offsets[piece] + depth]) == letter:
                    piece += 1
            below[children] = last[at]
            if children == 0:
                continue
            place, tried = front, 0
            while True:
                while place + 512 > len(trie):
                    longer = _empty(2 * len(trie))
                    longer[: len(trie)] = trie
                    trie = longer
                if trie[place, PARENT] == FREE:
                    base, fits = place ^ letters[0], True
                    for child in range(1, children):
                        if trie[base ^ letters[child], PARENT] != FREE:
                            fits = False
                            break
                    if fits and base > 0:
                        break
                    tried += 1
                    if tried > TRIES:
                        front = place
                        tried = 0
                place += 1
            while trie[front, PARENT] != FREE:
                front += 1
                if front == len(trie):
                    longer = _empty(2 * len(trie))
                    longer[: len(trie)] = trie
                    trie = longer
            trie[node[at], BASE] = base
            for child in range(children):
                place = base ^ letters[child]
                trie[place, PARENT] = node[at]
                low, high = below[child], below[child + 1]
                if offsets[low + 1] - offsets[low] == depth + 1:  # the shortest comes first
                    trie[place, TOKEN] = tokens[low]
                    low += 1
                if low < high:
                    next_node[more], next_first[more], next_last[more] = place, low, high
                    more += 1
        node, first, last = next_node[:more], next_first[:more], next_last[:more]
    return trie


@compiled
def _empty(rows: int) -> Trie:
    trie = np.empty((rows, 4), np.int32)
    trie[:, BASE] = 0
    trie[:, PARENT] = FREE
    trie[:, TOKEN] = NOBODY
    trie[:, 3] = 0
    return trie
