"""What stands earlier: for each position of a sequence, its longest copy that begins before it.

Sorting all suffixes of the sequence brings together those that begin alike. Three passes along the
sequence then do for each suffix what comparing it with all earlier ones would do.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int32, UInt32
from pydivsufsort import divsufsort

from toolkit.compiled import compiled

BOUNDARY = 0
"""Stands before, between and after the documents, whose words are numbers from 1."""


def longest_earlier(
    tokens: UInt32[np.ndarray, " n"], length: int
) -> tuple[Int32[np.ndarray, " n+1"], Int32[np.ndarray, " n+1"]]:
    """How many words from each position on stand earlier too, and where these stand first.

    Every count is right, also one below ``length``, but only for the others is the place.
    """
    # The library sorts the suffixes of bytes. It writes each number as one, two or four of them,
    # the highest first, so that they are in the order of the numbers, and of all the suffixes
    # returns those that begin where a number does.
    suffixes = divsufsort(tokens)

    none = len(tokens)  # stands for what is above the first suffix and below the last
    above, below = np.empty((2, none + 1), dtype=np.int32)
    above[suffixes[0]] = below[suffixes[-1]] = none
    above[suffixes[1:]] = suffixes[:-1]
    below[suffixes[:-1]] = suffixes[1:]

    shared = _shared_with_above(tokens, above)
    _take_out_from_the_back(shared, above, below)
    longest, source = shared, above
    _follow_to_the_first(longest, source, length)
    return longest, source


@compiled
def _shared_with_above(
    tokens: UInt32[np.ndarray, " n"], above: Int32[np.ndarray, " n+1"]
) -> Int32[np.ndarray, " n+1"]:
    """With how many words of one document the suffix at i and the one above it both begin.

    If it is k words at i, it is k - 1 or more at i + 1, so that no word is compared twice in vain
    (Kärkkäinen, Manzini, Puglisi, 2009).
    """
    shared = np.zeros(len(above), dtype=np.int32)
    k = 0
    for i in range(len(tokens)):
        while tokens[i + k] != BOUNDARY and tokens[i + k] == tokens[above[i] + k]:
            k += 1
        shared[i] = k
        k = max(k - 1, 0)
    return shared


@compiled
def _take_out_from_the_back(
    shared: Int32[np.ndarray, " n+1"],
    above: Int32[np.ndarray, " n+1"],
    below: Int32[np.ndarray, " n+1"],
) -> None:
    """Make ``shared`` the longest earlier copy at each position, and ``above`` where that stands.

    The sorted suffixes are a linked list. Take them out of it, the last of the corpus first: when
    it is the turn of i, those that are left begin earlier, and of them its two neighbours have the
    most in common with it (longest previous factors: Crochemore, Ilie, 2008).
    """
    for i in range(len(shared) - 2, -1, -1):
        a, b = above[i], below[i]
        with_a, with_b = shared[i], shared[b]
        below[a], above[b], shared[b] = b, a, min(with_a, with_b)
        shared[i], above[i] = max(with_a, with_b), a if with_a >= with_b else b


@compiled
def _follow_to_the_first(
    longest: Int32[np.ndarray, " n+1"], source: Int32[np.ndarray, " n+1"], length: int
) -> None:
    """Where a source is itself a copy of as many words, go on to its own, by now a first one."""
    for i in range(len(longest)):
        if longest[i] >= length:
            while longest[source[i]] >= longest[i]:
                source[i] = source[source[i]]
