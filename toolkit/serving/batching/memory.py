"""The KV cache in blocks of equal size, each one request's: paging, without sharing.

A request of n tokens holds n / block_size blocks, rounded up, wherever they lie; what is lost is
less than a block each. Nothing is set aside for tokens that may never be written.

Source:
    Kwon et al. 2023, PagedAttention.
"""

from __future__ import annotations

from toolkit.arguments import at_least_one

from .state import LiveRequest


def blocks_for(tokens: int, block_size: int) -> int:
    """Blocks that so many tokens fill, the last perhaps in part."""
    return -(-tokens // block_size)


class Blocks:
    """A pool of blocks, and a table for each request: see ``Memory``.

    Args:
        blocks: how many there are.
        block_size: tokens in a block.
    """

    def __init__(self, blocks: int, block_size: int = 16) -> None:
        at_least_one(blocks=blocks, block_size=block_size)
        self.blocks, self.block_size = blocks, block_size
        self._fresh = 0  # the first that was never held
        self._given_back: list[int] = []
        self.tables: dict[int, list[int]] = {}

    @property
    def free(self) -> int:
        """See ``Memory``."""
        return self.blocks - self._fresh + len(self._given_back)

    def needs(self, request: LiveRequest, tokens: int) -> int:
        """See ``Memory``."""
        held = self.tables.get(request.id)
        return blocks_for(tokens, self.block_size) - (len(held) if held else 0)

    def hit(self, request: LiveRequest) -> int:
        """Nothing: blocks are not shared."""
        return 0

    def admit(self, request: LiveRequest) -> int:
        """See ``Memory``."""
        self.tables[request.id] = []
        return 0

    def grow(self, request: LiveRequest, tokens: int) -> None:
        """See ``Memory``."""
        table = self.tables[request.id]
        for _ in range(blocks_for(tokens, self.block_size) - len(table)):
            if self._given_back:
                table.append(self._given_back.pop())
            else:
                table.append(self._fresh)
                self._fresh += 1

    def wrote(self, request: LiveRequest) -> None:
        """Nothing: blocks are not shared."""

    def release(self, request: LiveRequest) -> None:
        """See ``Memory``."""
        self._given_back += reversed(self.tables.pop(request.id))
