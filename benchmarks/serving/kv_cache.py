"""KV caches that share: what a recorded trace would have hit, and long prompts in a full cache.

Hits are counted over the Mooncake conversation trace, in blocks of 512 tokens; the seconds are
those of counting. Prompts of 32,768 tokens are looked up and put in by hashes (ours) and by the
tree, in caches that hold a million blocks of 16 tokens, on one thread. ``insert_ms`` is of the
insert alone, the keys being known from the lookup.

Ledger
------
Hits
    Predicted: the published 37.4 % of tokens with any capacity, and 21 % of blocks in a queue of
    10,000.
    Measured: 37.36 and 21.16 %. In 10,000 blocks least recently used is the best of those that
    don't know the future: 13 % for least often used, 18 % for first in, first out. Whoever knows
    it has all that can be had, 36.6 %.
Fragmentation
    Predicted: the share of memory that holds tokens rises from 20 to 38 % to 96 %, as in the paper.
    Measured: from 49 % to 98 %, where answers may have 1,000 tokens; the paper's may have more.
Long prompts
    Predicted: under 5 ms for a lookup, and for an insert.
    Measured: 3.4 ms by hashes, half of it a pass over Python's integers, and 0.9 ms by the tree; an
    insert 3.5 and 0.3 ms. All together, with the release, 5.7 and 1.2 ms. In a minute in which the
    shared machine was slow, 5.2 and 5.3 ms by hashes.
Where ours loses
    Hashes to the tree, by a factor of three to five. They name and queue 2,048 blocks one by one;
    the tree has them in one node, as long as nobody leaves it in the middle.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from toolkit import course
from toolkit.bench import Case

sys.path.append(str(course.root()))  # the command doesn't look there

from benchmarks.serving.kv_cache_peers import hits, prompts

PACKAGES = ("numpy",)


def cases() -> Iterator[Case]:
    """Hits by capacity, fragmentation, then long prompts."""
    for capacity in (None, 1_000, 10_000, 100_000):
        yield hits.hitting(capacity)
    yield hits.fragmented()
    yield prompts.looking_up()
    yield prompts.serving()
