"""Blocks that several sequences may read: who still does, which are free, what the free ones hold.

A block goes back to the pool when its last reader lets go of it. It keeps what is in it, and can be
found by its key and read again, until it is taken for something else: the block that was let go of
first goes first.

What is in a block, and where its tensor lies, is not the pool's matter: it counts.

Source:
    Kwon et al. 2023, PagedAttention, section 4: reference counts, copy on write. vLLM's block
    pool: the order of the free blocks, and their keys.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from reprlib import repr as short

from toolkit.arguments import at_least_one


@dataclass(frozen=True, slots=True)
class Copy:
    """What has to be copied before a block that others read as well is written to.

    Attributes:
        source: the block that stays as it is.
        target: the one to write to from now on.
    """

    source: int
    target: int


class BlockPool:
    """Blocks 0 to ``blocks`` - 1, all free.

    Args:
        blocks: how many there are.
    Raises:
        ValueError: ``blocks`` is below 1.
    """

    def __init__(self, blocks: int) -> None:
        at_least_one(blocks=blocks)
        self.blocks = blocks
        self._readers = [0] * blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(blocks))
        self._key_of: dict[int, Hashable] = {}
        self._holders: dict[Hashable, tuple[int, ...]] = {}

    @property
    def free(self) -> int:
        """Blocks that nobody reads."""
        return len(self._free)

    @property
    def named(self) -> set[int]:
        """Blocks that can be found by a key, free or not."""
        return set(self._key_of)

    def readers(self, block: int) -> int:
        """How many read a block; 0 if it is free.

        Raises:
            ValueError: there is no such block.
        """
        self._check([block])
        return self._readers[block]

    def take(self, count: int) -> list[int]:
        """Free blocks for one reader to write to, those that were free longest; their keys go.

        Raises:
            ValueError: fewer are free.
        """
        if not 0 <= count <= len(self._free):
            raise ValueError(f"{count:,} blocks are asked for, and {self.free:,} are free")
        taken = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in taken:
            self._readers[block] = 1
            if block in self._key_of:
                self._forget(block)
        return taken

    def share(self, blocks: Sequence[int]) -> None:
        """One more reader for each of these blocks; a free one that has a key is free no longer.

        Raises:
            ValueError: one of them does not exist, is there twice, or is free and has no key.
        """
        self._check(blocks)
        for block in blocks:
            if not self._readers[block] and block not in self._key_of:
                raise ValueError(f"block {block} is free, and holds nothing known: take one")
        for block in blocks:
            if not self._readers[block]:
                del self._free[block]
            self._readers[block] += 1

    def release(self, blocks: Sequence[int]) -> None:
        """One reader less for each block of a sequence; the last of them will be reused first.

        The first blocks are those that other sequences begin with, too.

        Raises:
            ValueError: one of them is free, does not exist, or is there twice. Nothing is released.
        """
        self._check(blocks)
        for block in blocks:
            if not self._readers[block]:
                raise ValueError(f"block {block} is free already: it was released before")
        for block in reversed(blocks):
            self._readers[block] -= 1
            if not self._readers[block]:
                self._free[block] = None

    def copy_on_write(self, block: int) -> Copy | None:
        """What to copy before one of a block's readers writes to it; nothing if it is the only one.

        With a copy, that reader's block is the copy's target, and it has let go of the source.
        Otherwise the block has no key from now on, since what is in it changes.

        Raises:
            ValueError: the block is free or does not exist, or a copy is due and no block is free.
        """
        readers = self.readers(block)
        if not readers:
            raise ValueError(f"block {block} is free: take it before it is written to")
        if readers == 1:
            if block in self._key_of:
                self._forget(block)
            return None
        (target,) = self.take(1)
        self._readers[block] -= 1
        return Copy(block, target)

    def name(self, blocks: Sequence[int], keys: Sequence[Hashable]) -> None:
        """Let blocks in use be found, each by its key. Others may have the same: none are merged.

        Raises:
            ValueError: one of them is free, has a key already, is there twice or does not exist,
                or there are not as many keys. None is named.
            TypeError: a key that is not hashable. None is named.
        """
        self._check(blocks)
        for block in blocks:
            if not self._readers[block]:
                raise ValueError(f"block {block} is free: only a block in use gets a key")
            if block in self._key_of:
                raise ValueError(f"block {block} has the key {self._key_of[block]!r} already")
        if len(keys) != len(blocks):
            raise ValueError(f"{len(blocks):,} blocks need as many keys, got {len(keys):,}")
        try:
            set(keys)
        except TypeError:
            raise TypeError(
                f"keys must be hashable, as those of block_keys are, got {short(keys)}"
            ) from None
        named = dict(zip(blocks, keys, strict=True))
        self._key_of |= named
        for block, key in named.items():
            self._holders[key] = (*self._holders.get(key, ()), block)

    def find(self, keys: Iterable[Hashable]) -> list[int]:
        """A block for each of the keys, in use or free, up to the first key that none has."""
        found = []
        for key in keys:
            holders = self._holders.get(key)
            if holders is None:
                break
            found.append(holders[0])
        return found

    def _forget(self, block: int) -> None:
        key = self._key_of.pop(block)
        holders = self._holders.pop(key)
        if len(holders) > 1:
            self._holders[key] = tuple(holder for holder in holders if holder != block)

    def _check(self, blocks: Sequence[int]) -> None:
        if blocks and (min(blocks) < 0 or max(blocks) >= self.blocks):
            wrong = next(block for block in blocks if not 0 <= block < self.blocks)
            raise ValueError(f"there is no block {wrong}: the pool has 0 to {self.blocks - 1:,}")
        if len(set(blocks)) < len(blocks):
            raise ValueError(f"a block is there twice in {blocks!r}: a sequence has each but once")
