"""A ``RadixMemory`` whose tree is recorded: who finds, shares and evicts what in a service.

memory = RecordedRadixMemory(64)
simulate(trace, policy, cost, lambda: memory)
memory.log.history()
"""

from __future__ import annotations

from toolkit.serving.batching.state import LiveRequest

from .radix import RadixTree
from .radix_memory import RadixMemory
from .radix_node import Eviction
from .tree_history import TreeRecorder


class RecordedRadixMemory(RadixMemory):
    """See ``RadixMemory``.

    Attributes:
        log: of all that happened to the tree, each step on behalf of the request that caused it.
    """

    def __init__(self, blocks: int, block_size: int = 16, policy: Eviction = "lru") -> None:
        super().__init__(blocks, block_size, policy)
        self.log = TreeRecorder(block_size)
        self.tree = RadixTree(policy, on_step=self.log)

    def admit(self, request: LiveRequest) -> int:
        """See ``Memory``."""
        self.log.request = request.id
        return super().admit(request)

    def grow(self, request: LiveRequest, tokens: int) -> None:
        """See ``Memory``."""
        self.log.request = request.id
        super().grow(request, tokens)

    def wrote(self, request: LiveRequest) -> None:
        """See ``Memory``."""
        self.log.request = request.id
        super().wrote(request)

    def release(self, request: LiveRequest) -> None:
        """See ``Memory``."""
        self.log.request = request.id
        super().release(request)
