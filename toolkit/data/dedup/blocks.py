"""Documents in blocks that fit the processor's caches, and several blocks at once.

A compiled loop runs without Python's lock, so threads are enough to use every core. Blocks are
cut by size alone and their results come in order: the answer does not depend on the workers.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from toolkit.arguments import whole_number

BLOCK = 1 << 18
"""Characters of a block: with its code points and hashes, a megabyte or two."""

Block = TypeVar("Block")
Result = TypeVar("Result")


def blocks(texts: Iterable[str], size: int = BLOCK) -> Iterator[list[str]]:
    """Texts in lists of at least ``size`` characters each, less in the last."""
    block: list[str] = []
    room = size
    for text in texts:
        block.append(text)
        room -= len(text)
        if room <= 0:
            yield block
            block, room = [], size
    if block:
        yield block


def in_parallel(
    work: Callable[[Block], Result], items: Iterable[Block], workers: int
) -> Iterator[Result]:
    """``map(work, items)`` on several threads, with at most two items a thread ahead."""
    if workers == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers) as threads:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(threads.submit(work, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def check_workers(workers: int | None) -> int:
    """The number of threads: every core this process may use where none is named."""
    if workers is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    workers = whole_number("workers", workers)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers!r}")
    return workers
