"""A pass over files: made a step ahead, shown as it goes, and stopped when that is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tqdm.auto import tqdm

from .work import Work

Item = TypeVar("Item", bound=tuple[Any, ...])


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The run was asked to stop, and did: a sentence that says where."""


def one_ahead(items: Iterator[Item]) -> Generator[Item]:
    """The same items, each made in another thread while the one before it is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def watched(
    doing: str,
    items: Iterator[Item],
    work: Work,
    stop: Callable[[], bool],
    start: int = 0,
    every: int = 1,
) -> Iterator[Item]:
    """The same items; after ``every`` so many, progress is shown and ``stop`` asked.

    An item begins with the position after it, and is dealt with once the next is asked for.
    """
    before, began = work.index.documents, time.monotonic()
    with tqdm(
        desc=doing, total=work.inputs.size, initial=start,
        unit="B", unit_scale=True, leave=False, disable=None,
    ) as bar:  # fmt: skip
        for count, item in enumerate(items, 1):
            yield item
            if count % every:
                continue
            if added := work.index.documents - before:
                rate = added / (time.monotonic() - began)
                bar.set_postfix_str(f"{rate:,.0f} documents/s", refresh=False)
            bar.update(item[0].bytes_read - bar.n)
            if stop():
                work.save()
                raise Stopped(f"stopped after {work.in_words()}: the same command goes on there")
