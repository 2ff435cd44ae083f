"""KV caches in blocks that requests share, and what sharing is worth on a trace.

    who reads a block       pool
    by hashes, as vLLM      contents -> hashing -> prefix          pages that are not merged
    by a tree, as SGLang    radix_node -> radix -> radix_memory    pages that are
    measured on a trace     hit_rate; extents -> fragmentation; conversations: drawn ones
    step by step            block_history; tree_history
    for the lab             small

``PrefixBlocks`` and ``RadixMemory`` are each a ``Memory``: the simulator and the engine of
``toolkit.serving.batching`` take them in place of its ``Blocks``.

Not in here: keys and values themselves, which the engine keeps in tensors by block.
"""

from .block_history import BlockHistory, BlockRecorder
from .conversations import conversations
from .fragmentation import Fragmentation, fragmentation
from .hashing import block_keys
from .hit_rate import HitRate, hit_rate
from .pool import BlockPool, Copy
from .prefix import PrefixBlocks
from .radix import RadixTree
from .radix_memory import RadixMemory
from .radix_node import Match, Node, Step
from .small import (
    BlockAllocator,
    evict_leaves,
    insert_prefix,
    lookup_prefix,
    match_prefix,
    split_node,
)
from .tree_history import TreeHistory, TreeRecorder

__all__ = [
    "BlockAllocator",
    "BlockHistory",
    "BlockPool",
    "BlockRecorder",
    "Copy",
    "Fragmentation",
    "HitRate",
    "Match",
    "Node",
    "PrefixBlocks",
    "RadixMemory",
    "RadixTree",
    "Step",
    "TreeHistory",
    "TreeRecorder",
    "block_keys",
    "conversations",
    "evict_leaves",
    "fragmentation",
    "hit_rate",
    "insert_prefix",
    "lookup_prefix",
    "match_prefix",
    "split_node",
]
