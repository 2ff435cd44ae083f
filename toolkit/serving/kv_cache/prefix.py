"""A KV cache that finds the prefixes it has computed before, by hashes: vLLM's prefix caching.

Requests share full blocks, each known by its key, which stands for its tokens and all before them.
A block that nobody reads stays findable until its place is needed. Two requests that compute the
same prompt at the same time compute it twice, and both blocks stay: they are not merged.

A shared block is full and so never written to again: nothing is copied here.

Source:
    vLLM's design of automatic prefix caching; vLLM v1's KV cache manager.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from toolkit.arguments import at_least_one
from toolkit.serving.batching.memory import blocks_for
from toolkit.serving.batching.state import LiveRequest

from .contents import LOOKED_AT, trace_blocks
from .hashing import ROOT, block_keys
from .pool import BlockPool


@dataclass(slots=True)
class _Named:
    """Of a running request: the keys that are known, and how many of its blocks have theirs."""

    keys: list[Any]
    blocks: int


class PrefixBlocks:
    """A pool of blocks that requests with the same beginning share: see ``Memory``.

    Requests are told apart by their ``tokens``, those they write included; or, without any, by
    the hashes of a trace, and then ``block_size`` is the trace's.

    Args:
        blocks: how many there are.
        block_size: tokens in a block.

    Attributes:
        tables: of each running request, by id, its blocks in order.
    """

    def __init__(self, blocks: int, block_size: int = 16) -> None:
        at_least_one(block_size=block_size)
        self._pool = BlockPool(blocks)
        self.blocks, self.block_size = blocks, block_size
        self.tables: dict[int, list[int]] = {}
        self._named: dict[int, _Named] = {}
        self._keys = lru_cache(maxsize=LOOKED_AT)(self._keys_of)

    @property
    def free(self) -> int:
        """See ``Memory``: blocks that nobody reads, whatever is in them."""
        return self._pool.free

    @property
    def kept(self) -> set[int]:
        """Blocks whose contents can be found, read or not."""
        return self._pool.named

    def needs(self, request: LiveRequest, tokens: int) -> int:
        """See ``Memory``: blocks to fill, and those found that nobody reads at the moment."""
        readers, held = self._pool.readers, self.tables.get(request.id)
        count = blocks_for(tokens, self.block_size)
        if held is None:
            return count - sum(readers(block) > 0 for block in self._found(request))
        if not tokens:
            return -sum(readers(block) == 1 for block in held)
        return count - len(held)

    def hit(self, request: LiveRequest) -> int:
        """See ``Memory``."""
        return self.block_size * len(self._found(request))

    def admit(self, request: LiveRequest) -> int:
        """See ``Memory``."""
        found = self._found(request)
        self._pool.share(found)
        self.tables[request.id] = found
        keys = self._keys(request, request.known)
        self._named[request.id] = _Named(list(keys), len(found))
        return self.block_size * len(found)

    def grow(self, request: LiveRequest, tokens: int) -> None:
        """See ``Memory``."""
        table = self.tables[request.id]
        table += self._pool.take(max(0, blocks_for(tokens, self.block_size) - len(table)))

    def wrote(self, request: LiveRequest) -> None:
        """See ``Memory``: blocks that are full by now get their keys."""
        named, full = self._named[request.id], request.computed // self.block_size
        if full > len(named.keys) and request.tokens is not None:
            start, stop = self.block_size * len(named.keys), self.block_size * full
            parent = named.keys[-1] if named.keys else ROOT
            named.keys += block_keys(request.tokens[start:stop], self.block_size, parent=parent)
        full = min(full, len(named.keys))
        if full > named.blocks:
            new = slice(named.blocks, full)
            self._pool.name(self.tables[request.id][new], named.keys[new])
            named.blocks = full

    def release(self, request: LiveRequest) -> None:
        """See ``Memory``."""
        self._pool.release(self.tables.pop(request.id))
        del self._named[request.id]

    def _found(self, request: LiveRequest) -> list[int]:
        keys = self._keys(request, request.known)
        return self._pool.find(keys[: (request.known - 1) // self.block_size])

    def _keys_of(self, request: LiveRequest, known: int) -> Sequence[Any]:
        """Of the full blocks of its ``known`` tokens, as far as there are any."""
        if request.tokens is not None:
            return block_keys(request.tokens[:known], self.block_size)
        if request.blocks is not None:
            full = request.prompt_tokens // self.block_size
            return trace_blocks(request, self.block_size)[:full]
        return ()
