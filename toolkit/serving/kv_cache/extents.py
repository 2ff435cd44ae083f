"""Memory handed out in extents, each in one piece: what allocation without pages has to work with.

First fit: an extent is cut from the first hole that is large enough. A freed one becomes a hole
again, and joins those beside it. What is free in all may still be of no use, in holes too small.

Source:
    Knuth, The Art of Computer Programming, volume 1, section 2.5.
"""

from __future__ import annotations

from bisect import bisect, insort


class FirstFit:
    """One free hole of ``size`` slots to begin with.

    Attributes:
        free: slots in all holes together.
        holes: (start, length) of each, by start.
    """

    def __init__(self, size: int) -> None:
        self.free = size
        self.holes = [(0, size)]

    def take(self, length: int) -> int | None:
        """Where an extent begins that is the caller's from now on; none if no hole is so long."""
        for i, (start, hole) in enumerate(self.holes):
            if hole >= length:
                rest = [(start + length, hole - length)] if hole > length else []
                self.holes[i : i + 1] = rest
                self.free -= length
                return start
        return None

    def give_back(self, start: int, length: int) -> None:
        """An extent that was taken is a hole again."""
        insort(self.holes, (start, length))
        self.free += length
        i = bisect(self.holes, (start, length)) - 1
        for left in (i, i - 1):  # first with the hole after it, then with the one before
            if 0 <= left < len(self.holes) - 1:
                (begin, size), (after, more) = self.holes[left : left + 2]
                if begin + size == after:
                    self.holes[left : left + 2] = [(begin, size + more)]
