"""What happened to a radix tree: its steps, and every node as it was from one step to another.

    log = TreeRecorder()
    tree = RadixTree(on_step=log)
    log.request = 0              on whose behalf the next steps are
    tree.match(...), tree.insert(...)
    log.history()

The nodes are not copied from the tree. They follow from its steps alone, which a test compares
with the tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

from toolkit.arguments import at_least_one

from .radix_node import Step

NOBODY = -1


@dataclass(frozen=True, slots=True)
class NodeSpan:
    """A node while nothing changed about it.

    Attributes:
        node: its number; 0 is the root.
        start: the step that made it so.
        end: the step that changed it, or the number of all steps if none did.
        evicted: whether that step evicted it.
        parent: its parent's number; of the root, 0.
        order: its place among its siblings, which the upper half of a split inherits.
        pages: of its run.
        label: the tokens of these.
        locks: how many hold a path through it.
        used: the last step that matched, inserted or locked a path through it; -1 if none did.
    """

    node: int
    start: int
    end: int
    evicted: bool
    parent: int
    order: int
    pages: int
    label: tuple[int, ...]
    locks: int
    used: int


@dataclass(frozen=True, slots=True)
class Visit:
    """A request's text goes through a node from a step on.

    Attributes:
        step: the first such.
        node: its number.
        request: whose text it is.
    """

    step: int
    node: int
    request: int


@dataclass(frozen=True, slots=True)
class TreeHistory:
    """A tree from its first step to its last.

    Attributes:
        page_size: tokens in a page.
        steps: what happened.
        requests: on whose behalf, for each step; -1 where that is not known.
        spans: of all nodes, by the step in which they end.
        visits: by step.
    """

    page_size: int
    steps: tuple[Step, ...]
    requests: tuple[int, ...]
    spans: tuple[NodeSpan, ...]
    visits: tuple[Visit, ...]

    def tree(self, step: int) -> list[NodeSpan]:
        """The nodes after a step, and those that it has evicted."""
        return [
            span
            for span in self.spans
            if span.start <= step < span.end or (span.evicted and span.end == step)
        ]


class TreeRecorder:
    """Is told of a tree's steps from its first on: give it to the tree as ``on_step``.

    Args:
        page_size: tokens in a page of the tree.
    Raises:
        ValueError: ``page_size`` is below 1.

    Attributes:
        request: on whose behalf the next steps are; -1 for nobody's.
    """

    def __init__(self, page_size: int = 1) -> None:
        at_least_one(page_size=page_size)
        self.page_size, self.request = page_size, NOBODY
        self._steps: list[Step] = []
        self._requests: list[int] = []

    def __call__(self, step: Step) -> None:
        """Note a step."""
        self._steps.append(step)
        self._requests.append(self.request)

    def history(self) -> TreeHistory:
        """All that was noted so far."""
        replay = _Replay()
        for step, request in zip(self._steps, self._requests, strict=True):
            replay.take(step, request)
        return TreeHistory(
            self.page_size,
            tuple(self._steps),
            tuple(self._requests),
            tuple(replay.all_spans()),
            tuple(replay.visits),
        )


class _Replay:
    """The tree as it is after each step, in spans that are open until something changes them."""

    def __init__(self) -> None:
        root = NodeSpan(0, 0, 0, False, 0, 0, 0, (), 0, NOBODY)
        self.now = 0
        self.open = {0: root}
        self.closed: list[NodeSpan] = []
        self.visits: list[Visit] = []
        self._seen: dict[int, dict[int, None]] = {0: {}}
        self._orders = count(1)

    def take(self, step: Step, request: int) -> None:
        if step.event == "split":
            self._split(step)
        elif step.event == "insert":
            self._add(step)
        if step.event == "evict":
            self.closed.append(replace(self.open.pop(step.node), end=self.now, evicted=True))
        elif step.event != "split":
            self._along(step, request)
        self.now += 1

    def all_spans(self) -> Iterator[NodeSpan]:
        yield from self.closed
        for span in self.open.values():
            yield replace(span, end=self.now)

    def _add(self, step: Step) -> None:
        self.open[step.node] = NodeSpan(
            step.node,
            self.now,
            0,
            False,
            step.parent,
            next(self._orders),
            step.pages,
            step.label,
            0,
            self.now,
        )
        self._seen[step.node] = {}

    def _split(self, step: Step) -> None:
        cut = len(step.label)
        lower = next(
            span
            for span in self.open.values()
            if span.node and span.parent == step.parent and span.label[:cut] == step.label
        )
        self.open[step.node] = replace(
            lower, node=step.node, start=self.now, pages=step.pages, label=step.label
        )
        pages, label = lower.pages - step.pages, lower.label[cut:]
        self._change(replace(lower, parent=step.node, pages=pages, label=label))
        self._seen[step.node] = {}
        for request in self._seen[lower.node]:
            self._visit(step.node, request)

    def _along(self, step: Step, request: int) -> None:
        """What a step does to the whole path to its node."""
        held = {"lock": 1, "unlock": -1}.get(step.event, 0)
        for node in self._path(step.node):
            span = self.open[node]
            used = span.used if step.event == "unlock" else self.now
            self._change(replace(span, used=used, locks=span.locks + held))
            known = not node or request == NOBODY or request in self._seen[node]
            if step.event != "unlock" and not known:
                self._visit(node, request)

    def _path(self, node: int) -> list[int]:
        path = [node]
        while path[-1]:
            path.append(self.open[path[-1]].parent)
        return path

    def _visit(self, node: int, request: int) -> None:
        self._seen[node][request] = None
        self.visits.append(Visit(self.now, node, request))

    def _change(self, after: NodeSpan) -> None:
        before = self.open[after.node]
        if before.start < self.now:
            self.closed.append(replace(before, end=self.now))
        self.open[after.node] = replace(after, start=self.now)
