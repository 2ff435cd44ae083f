"""A tree of all prefixes that are kept, with runs of tokens on its edges: SGLang's RadixAttention.

            root
             |  You are a helpful assistant.
             A
      Hello / \\ What is
           B   C                  a text that leaves C's run in its middle splits C there

A node stands for the text from the root to its end, and holds a value, a block's number, for each
page of its own run. A page is one token, or a block of them that are only shared together.

The path of a running request is locked. When room is needed leaves that are not are evicted, the
lowest in the policy's order first, and their parents become leaves. No node outlives its parent, so
whatever is in the tree can be reached.

Source:
    Zheng et al. 2024, SGLang, section 3; its ``radix_cache.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count

import numpy as np

from .contents import whole_numbers
from .radix_node import ORDER, Event, Eviction, Label, Match, Node, Pages, Step, Values


class RadixTree:
    """Prefixes and their values.

    Args:
        policy: which leaves are evicted first: "lru", least recently used; "lfu", used by the
            fewest texts; "fifo", the oldest.
        on_step: is told of all that happens to the tree.
    Raises:
        ValueError: no such policy.

    Attributes:
        pages: how many are in the tree.
        evictable: how many of these are on no locked path.
    """

    def __init__(
        self, policy: Eviction = "lru", on_step: Callable[[Step], None] | None = None
    ) -> None:
        if policy not in ORDER:
            raise ValueError(f"policy must be one of {', '.join(ORDER)}, got {policy!r}")
        self.pages = self.evictable = 0
        self._order, self._on_step = ORDER[policy], on_step
        self._ids, self._clock = count(), count()
        nothing = np.empty((0, 1), np.int64)
        self.root = Node(next(self._ids), nothing, nothing[:, 0], None, made=0, used=0)
        self._leaves: list[tuple[tuple[int, int], int, Node]] = []

    def peek(self, pages: Pages) -> tuple[int, int]:
        """How many pages of a text are in the tree, and how many of these are locked.

        Looks only: nothing is split, and no node counts as used.
        """
        path, matched = self._walk(_rows(pages))
        locked = sum(len(node.values) for node in path if node.locks)
        # The last run may go on after the match, and none is locked below one that is not.
        return matched, min(matched, locked)

    def match(self, pages: Pages) -> Match:
        """The longest prefix of a text that is in the tree; a node is split to end with it.

        Args:
            pages: a number each, or a row of numbers.
        Raises:
            TypeError: they are no whole numbers.
        """
        path, matched = self._cut(*self._walk(_rows(pages)))
        self._touch(path)
        for node in path:
            node.uses += 1
        self._tell("match", path[-1], matched)
        return Match(path[-1], _values(path))

    def insert(self, pages: Pages, values: Sequence[int] | Values) -> Match:
        """Put a text into the tree.

        Args:
            pages: a number each, or a row of numbers.
            values: one for each page. Pages that are there already keep theirs.
        Returns:
            The whole text's match, with the values that the tree has now.
        Raises:
            TypeError: pages or values are no whole numbers.
            ValueError: there are not as many values as pages.
        """
        rows, given = _rows(pages), whole_numbers("values", values)
        if len(given) != len(rows):
            raise ValueError(f"{len(rows):,} pages need as many values, got {len(given):,}")
        path, matched = self._cut(*self._walk(rows))
        now = self._touch(path)
        if matched < len(rows):
            label, own = rows[matched:].copy(), given[matched:].copy()
            leaf = Node(next(self._ids), label, own, path[-1], made=now, used=now)
            path[-1].children[_key(label)] = leaf
            path.append(leaf)
            self.pages += len(own)
            self.evictable += len(own)
            self._queue(leaf)
            self._tell("insert", leaf, len(own), label)
        return Match(path[-1], _values(path))

    def lock(self, node: Node) -> None:
        """Hold the path to a node: none of it is evicted until it is unlocked as often.

        Raises:
            ValueError: it was evicted.
        """
        if node.parent is None and node is not self.root:
            raise ValueError(f"node {node.id} was evicted: match its text again, and lock that")
        self._tell("lock", node, 0)
        above: Node | None = node
        while above is not None:
            if not above.locks:
                self.evictable -= len(above.values)
            above.locks += 1
            above = above.parent

    def unlock(self, node: Node) -> None:
        """Let go of the path to a node.

        Raises:
            ValueError: it is not locked.
        """
        if not node.locks:
            raise ValueError(f"node {node.id} is not locked: it was unlocked before")
        self._tell("unlock", node, 0)
        above: Node | None = node
        while above is not None:
            above.locks -= 1
            if not above.locks:
                self.evictable += len(above.values)
                self._queue(above)
            above = above.parent

    def held_alone(self, node: Node) -> int:
        """How many pages of a locked path no other lock holds."""
        pages, above = 0, node
        while above.locks == 1 and above.parent is not None:
            pages += len(above.values)
            above = above.parent
        return pages

    def evict(self, pages: int) -> Values:
        """Remove leaves that are not locked, until so many pages are gone or no such leaf is left.

        Returns:
            Their values: more than asked for where the last leaf had more.
        """
        gone: list[Values] = []
        freed = 0
        while freed < pages and self._leaves:
            priority, _, leaf = heappop(self._leaves)
            leaf.queued = False
            if priority != self._order(leaf):  # used since; it goes back to its new place
                self._queue(leaf)
            elif leaf.parent and not leaf.locks and not leaf.children:
                gone.append(leaf.values)
                freed += len(leaf.values)
                del leaf.parent.children[_key(leaf.label)]
                self._queue(leaf.parent)
                self._tell("evict", leaf, len(leaf.values), leaf.label)
                leaf.parent = None
        self.pages -= freed
        self.evictable -= freed
        return np.concatenate(gone) if gone else np.empty(0, np.int64)

    def _walk(self, rows: Label) -> tuple[list[Node], int]:
        """The nodes that a text goes through, perhaps not to the end of the last; pages matched."""
        path, matched = [self.root], 0
        while matched < len(rows):
            child = path[-1].children.get(_key(rows[matched:]))
            if child is None:
                break
            path.append(child)
            shared = _shared(child.label, rows[matched:])
            matched += shared
            if shared < len(child.label):
                break
        return path, matched

    def _cut(self, path: list[Node], matched: int) -> tuple[list[Node], int]:
        """Split the last node of a path if the match ends within its run."""
        *above, lower = path
        at = matched - sum(len(node.values) for node in above)
        if at == len(lower.values):
            return path, matched
        upper = Node(
            next(self._ids),
            lower.label[:at].copy(),
            lower.values[:at].copy(),
            above[-1],
            made=lower.made,
            used=lower.used,
            uses=lower.uses,
            locks=lower.locks,
        )
        above[-1].children[_key(upper.label)] = upper
        # Copies, so that no half keeps the memory of the whole.
        lower.label, lower.values = lower.label[at:].copy(), lower.values[at:].copy()
        lower.parent = upper
        upper.children[_key(lower.label)] = lower
        self._tell("split", upper, at, upper.label)
        return [*above, upper], matched

    def _touch(self, path: list[Node]) -> int:
        now = next(self._clock)
        for node in path:
            node.used = now
        return now

    def _queue(self, node: Node) -> None:
        """Let a node that may be a leaf to evict wait its turn; looked at again when it comes."""
        if not (node.queued or node.locks or node.children or node.parent is None):
            node.queued = True
            heappush(self._leaves, (self._order(node), node.id, node))

    def _tell(self, event: Event, node: Node, pages: int, label: Label | None = None) -> None:
        if self._on_step is not None:
            parent = 0 if node.parent is None else node.parent.id
            tokens = () if label is None else tuple(label.ravel().tolist())
            self._on_step(Step(event, node.id, parent, pages, tokens))


def _rows(pages: Pages) -> Label:
    array = whole_numbers("pages", pages)
    if not array.size:
        return np.empty((0, 1), np.int64)
    if array.ndim > 2:
        raise TypeError(f"pages must be numbers or rows of them, got an array of {array.shape}")
    return np.ascontiguousarray(array).reshape(len(array), -1)


def _key(rows: Label) -> bytes:
    return rows[0].tobytes()


def _shared(a: Label, b: Label) -> int:
    """How many pages two runs have in common at their beginning."""
    length = min(len(a), len(b))
    differ = (a[:length] != b[:length]).ravel()
    first = int(differ.argmax())
    return first // a.shape[1] if differ[first] else length


def _values(path: list[Node]) -> Values:
    return np.concatenate([node.values for node in path])
