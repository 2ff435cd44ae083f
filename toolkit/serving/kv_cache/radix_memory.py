"""A KV cache that keeps what it has computed in a tree of prefixes: SGLang's cache.

A request that begins takes the longest prefix that the tree has, and locks it. What is computed of
its prompt goes into the tree at once, what it has written when it leaves. Where the tree has the
same pages already, computed by another one at the same time, those are used from then on and the
request's own are given back: pages are merged, unlike in ``PrefixBlocks``.

Source:
    SGLang's ``radix_cache.py``: ``cache_unfinished_req``, ``cache_finished_req``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from toolkit.arguments import at_least_one
from toolkit.serving.batching.memory import blocks_for
from toolkit.serving.batching.state import LiveRequest

from .contents import LOOKED_AT, pages, trace_blocks
from .radix import RadixTree
from .radix_node import Eviction, Label, Node


@dataclass(slots=True)
class _Held:
    """Of a running request: the node whose path it has locked, and the pages on that path."""

    node: Node
    pages: int


class RadixMemory:
    """Blocks that requests with the same beginning share through a tree: see ``Memory``.

    Requests are told apart by their ``tokens``, those they write included; or, without any, by
    the hashes of a trace, and then ``block_size`` is the trace's.

    Args:
        blocks: how many there are.
        block_size: tokens in a block, which is a page of the tree.
        policy: which pages are evicted first, see ``RadixTree``.

    Attributes:
        tree: of what is computed.
        tables: of each running request, by id, its blocks in order.
    """

    def __init__(self, blocks: int, block_size: int = 16, policy: Eviction = "lru") -> None:
        at_least_one(blocks=blocks, block_size=block_size)
        self.blocks, self.block_size = blocks, block_size
        self.tree = RadixTree(policy)
        self.tables: dict[int, list[int]] = {}
        self._unused = list(range(blocks - 1, -1, -1))
        self._held: dict[int, _Held] = {}
        self._pages = lru_cache(maxsize=LOOKED_AT)(self._pages_of)

    @property
    def free(self) -> int:
        """See ``Memory``: blocks without anything in them, and those that can be evicted."""
        return len(self._unused) + self.tree.evictable

    @property
    def kept(self) -> set[int]:
        """Blocks whose contents can be found, read or not."""
        found: set[int] = set()
        nodes = [self.tree.root]
        while nodes:
            node = nodes.pop()
            found.update(node.values.tolist())
            nodes += node.children.values()
        return found

    def needs(self, request: LiveRequest, tokens: int) -> int:
        """See ``Memory``: blocks to fill, and those found that could be evicted at the moment."""
        table, count = self.tables.get(request.id), blocks_for(tokens, self.block_size)
        if table is None:
            return count - self.tree.peek(self._findable(request))[1]
        if not tokens:
            held = self._held[request.id]
            return held.pages - len(table) - self.tree.held_alone(held.node)
        return count - len(table)

    def hit(self, request: LiveRequest) -> int:
        """See ``Memory``."""
        return self.block_size * self.tree.peek(self._findable(request))[0]

    def admit(self, request: LiveRequest) -> int:
        """See ``Memory``."""
        match = self.tree.match(self._findable(request))
        self.tree.lock(match.node)
        self.tables[request.id] = match.values.tolist()
        self._held[request.id] = _Held(match.node, len(match.values))
        return self.block_size * len(match.values)

    def grow(self, request: LiveRequest, tokens: int) -> None:
        """See ``Memory``."""
        table, unused = self.tables[request.id], self._unused
        more = blocks_for(tokens, self.block_size) - len(table)
        if more > len(unused):
            unused += self.tree.evict(more - len(unused)).tolist()
        for _ in range(more):
            table.append(unused.pop())

    def wrote(self, request: LiveRequest) -> None:
        """See ``Memory``: what is full of the prompt goes into the tree."""
        self._keep(request, min(request.computed, request.prompt_tokens) // self.block_size)

    def release(self, request: LiveRequest) -> None:
        """See ``Memory``: what it has written goes into the tree as well."""
        self._keep(request, request.computed // self.block_size)
        held, table = self._held.pop(request.id), self.tables.pop(request.id)
        self.tree.unlock(held.node)
        self._unused += reversed(table[held.pages :])

    def _keep(self, request: LiveRequest, full: int) -> None:
        """Put the first ``full`` pages of a running request into the tree, and lock them there."""
        held, table = self._held[request.id], self.tables[request.id]
        if full <= held.pages:
            return
        contents = self._pages(request, request.known)[:full]
        match = self.tree.insert(contents, table[: len(contents)])
        self.tree.lock(match.node)
        self.tree.unlock(held.node)
        merged = match.values.tolist()
        self._unused += [own for own, kept in zip(table, merged, strict=False) if own != kept]
        table[: len(merged)] = merged
        held.node, held.pages = match.node, len(merged)

    def _findable(self, request: LiveRequest) -> Label:
        """The full pages of its known tokens, the last token left out, as far as they are known."""
        full = (request.known - 1) // self.block_size
        return self._pages(request, request.known)[:full]

    def _pages_of(self, request: LiveRequest, known: int) -> Label:
        if request.tokens is not None:
            return pages(request.tokens[:known], self.block_size)
        full = request.prompt_tokens // self.block_size
        hashes = () if request.blocks is None else trace_blocks(request, self.block_size)[:full]
        return np.array(hashes, dtype=np.int64).reshape(-1, 1)
