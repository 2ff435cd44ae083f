"""The chapter's ideas with nothing around them: readers, keys, a match, a split, a leaf that goes.

    BlockAllocator                  who reads a block, and a copy before one of several writes
    lookup_prefix                   keys of blocks, and what they find again, as vLLM's
    match_prefix, split_node,       a tree of plain nodes, as SGLang's
    insert_prefix, evict_leaves

The tree is plain data, without a heap, without
links to parents: each function gives back the tree, and may change the one it was given. A node may
be any object with the attributes of ``Node``.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import takewhile

from .hashing import block_keys


class BlockAllocator:
    """Blocks 0 to ``count`` - 1, and how many read each of them.

    Attributes:
        readers: sequences that read each block.
        unused: blocks that nobody reads, in the order in which they are handed out.
    """

    def __init__(self, count: int) -> None:
        self.readers = [0] * count
        self.unused = list(range(count))

    def allocate(self, count: int) -> list[int] | None:
        """Blocks for one reader; None if fewer are unused, and then none is taken."""
        if count > len(self.unused):
            return None
        blocks, self.unused = self.unused[:count], self.unused[count:]
        for block in blocks:
            self.readers[block] = 1
        return blocks

    def share(self, blocks: list[int]) -> None:
        """One more reader for each of these blocks, which somebody reads already."""
        for block in blocks:
            self.readers[block] += 1

    def free(self, blocks: list[int]) -> None:
        """One reader less for each block of a sequence, whose last block is reused first."""
        for block in reversed(blocks):
            self.readers[block] -= 1
            if not self.readers[block]:
                self.unused.append(block)

    def write(self, block: int) -> int | None:
        """The block that one of its readers may write to: itself, or where it has to be copied.

        None if a copy is due and no block is unused; then nothing has changed.
        """
        if self.readers[block] == 1:
            return block
        copy = self.allocate(1)
        if copy is None:
            return None
        self.readers[block] -= 1
        return copy[0]


def lookup_prefix(tokens: list[int], block_size: int, kept: Set[bytes]) -> tuple[list[bytes], int]:
    """The keys of a prompt's full blocks, and how many of its tokens need not be computed.

    Args:
        tokens: at least one; the last of them is always computed.
        block_size: tokens in a block.
        kept: the keys of the blocks that are in the cache.
    """
    keys = block_keys(tokens, block_size)
    may_hit = keys[: (len(tokens) - 1) // block_size]
    return keys, block_size * sum(1 for _ in takewhile(kept.__contains__, may_hit))


@dataclass(eq=False)
class Node:
    """The end of a run of pages: a tree is its root, whose run is empty.

    Attributes:
        label: the pages of its run, a number each.
        blocks: one for each page.
        children: by the first page of their runs.
        used: when a text last went through it.
        locks: how many running requests do.
    """

    label: list[int]
    blocks: list[int]
    children: dict[int, Node] = field(default_factory=dict)
    used: int = 0
    locks: int = 0


def match_prefix(root: Node, pages: list[int]) -> list[int]:
    """The blocks of the longest prefix of a text that is in the tree."""
    node, blocks = root, list[int]()
    while len(blocks) < len(pages):
        child = node.children.get(pages[len(blocks)])
        if child is None:
            break
        shared = _shared(child.label, pages[len(blocks) :])
        blocks += child.blocks[:shared]
        if shared < len(child.label):
            break
        node = child
    return blocks


def split_node(node: Node, at: int) -> Node:
    """Cut a node's run in two; the upper half, which has the lower one as its only child.

    Args:
        node: with a run of more than ``at`` pages.
        at: pages of the upper half, at least 1.
    """
    lower = Node(node.label[at:], node.blocks[at:], node.children, node.used, node.locks)
    children = {lower.label[0]: lower}
    return Node(node.label[:at], node.blocks[:at], children, node.used, node.locks)


def insert_prefix(root: Node, pages: list[int], blocks: list[int], now: int) -> Node:
    """The tree with a text in it, each node below the root on its way used ``now``.

    Args:
        root: of the tree.
        pages: the text.
        blocks: one for each page; pages that the tree has keep theirs.
        now: later than all that happened before.
    """
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks, used=now)
            break
        shared = _shared(child.label, pages)
        if shared < len(child.label):
            child = node.children[pages[0]] = split_node(child, shared)
        child.used = now
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


def evict_leaves(root: Node, count: int) -> tuple[list[int], Node]:
    """The blocks of the least recently used leaves, and the tree without these.

    Args:
        root: of the tree.
        count: how many blocks to free; more where the last leaf has more, fewer if no leaf is left
            that is not locked.
    """
    nodes, parents = [root], {}
    for node in nodes:  # which grows until all are in it
        for child in node.children.values():
            nodes.append(child)
            parents[id(child)] = node
    leaves = [(node.used, id(node), node) for node in nodes[1:] if _may_go(node)]
    heapify(leaves)
    freed: list[int] = []
    while leaves and len(freed) < count:
        _, _, leaf = heappop(leaves)
        freed += leaf.blocks
        parent = parents[id(leaf)]
        del parent.children[leaf.label[0]]
        if parent is not root and _may_go(parent):
            heappush(leaves, (parent.used, id(parent), parent))
    return freed, root


def _may_go(node: Node) -> bool:
    return not node.children and not node.locks


def _shared(a: list[int], b: list[int]) -> int:
    """How many pages two runs have in common at their beginning."""
    for i, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return i
    return min(len(a), len(b))
