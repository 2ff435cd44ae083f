"""What a radix tree is made of, which of it goes first, and what is told of each step.

Source:
    SGLang's ``radix_cache.py`` and ``evict_policy.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Int, Int64

Eviction = Literal["lru", "lfu", "fifo"]
Event = Literal["match", "split", "insert", "evict", "lock", "unlock"]
Label = Int64[np.ndarray, "pages tokens"]
Values = Int64[np.ndarray, " pages"]
Pages = Sequence[int] | Int[np.ndarray, " pages"] | Int[np.ndarray, "pages tokens"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a tree.

    Attributes:
        event: "match" a text, "split" a node, "insert" a leaf, "evict" one, "lock" or "unlock" the
            path to a node.
        node: its number: where the match ended, the new upper half of a split, the leaf.
        parent: that node's parent; of the root, which is node 0, itself.
        pages: how many were matched, inserted or evicted, or are in the upper half.
        label: the tokens of these pages, where the event is not about a whole path.
    """

    event: Event
    node: int
    parent: int
    pages: int
    label: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class Node:
    """The end of a run; its text is the path's. Others than the tree only look.

    Attributes:
        id: 0 is the root.
        label: the tokens of its run, a row a page.
        values: one for each page.
        parent: none for the root, and for what was evicted.
        children: by their first page.
        locks: how many hold a path through it.
        made: when its run came into the tree, counted in calls.
        used: when a text was last matched or inserted through it.
        uses: how many texts were matched through it, and one for the first.
        queued: whether it waits in the tree's heap.
    """

    id: int
    label: Label
    values: Values
    parent: Node | None = field(repr=False)
    made: int
    used: int
    uses: int = 1
    locks: int = 0
    queued: bool = False
    children: dict[bytes, Node] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Match:
    """How much of a text is in the tree.

    Attributes:
        node: ends where the match ends.
        values: of the matched pages, from the first on.
    """

    node: Node
    values: Values


ORDER: dict[Eviction, Callable[[Node], tuple[int, int]]] = {
    "lru": lambda node: (node.used, 0),
    "lfu": lambda node: (node.uses, node.used),
    "fifo": lambda node: (node.made, 0),
}
"""Which leaf goes first: the one with the lowest. None of these ever falls."""
