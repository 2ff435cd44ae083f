"""The widget ``RadixTree``: a tree of cached prefixes that grows, splits, is hit and evicted.

A text reads from the left to the right, from the root to a leaf, through the runs of tokens that
it shares with others. Each step of the tree's history is drawn, and said in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, get_args

import traitlets
from matplotlib.figure import Figure

from toolkit.serving.kv_cache.radix_node import Event
from toolkit.serving.kv_cache.tree_history import NodeSpan, TreeHistory
from toolkit.viz.radix_tree_picture import draw_tree
from toolkit.viz.text import percent
from toolkit.viz.widget import Widget

MOST_STEPS = 2000
"""The most steps that a page may hold."""

MOST_NODES = 200
"""The most nodes that are drawn at once."""

LONGEST = 160
"""Characters of a run that are kept."""

EVENTS: tuple[Event, ...] = get_args(Event)
Pieces = Mapping[int, str]


class RadixTree(Widget):
    """A radix tree's history, step by step.

    Args:
        history: what a ``TreeRecorder`` has noted.
        pieces: the text of each token, by its id; without it, the ids are shown.
    Raises:
        ValueError: the history has no steps or more than ``MOST_STEPS``, the tree has more than
            ``MOST_NODES`` nodes at once, or a token has no piece.

    The traits ``step`` (from 0), ``node`` (the chosen node's number, -1 for none) and ``revealed``
    follow the reader, and the widget follows them. It begins with the first split.
    """

    name = "radix_tree"
    linked = ("step", "node")

    record = traitlets.Dict(help="The history, by columns.").tag(sync=True)
    step = traitlets.Int(0, help="Which step is the present one.").tag(sync=True)
    node = traitlets.Int(-1, help="The chosen node, -1 for none.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(self, history: TreeHistory, pieces: Pieces | None = None) -> None:
        _refuse(history, pieces)
        self.history = history
        found, added = (_tokens(history, event) for event in ("match", "insert"))
        events = [step.event for step in history.steps]
        super().__init__(
            record=_columns(history, pieces),
            step=events.index("split") if "split" in events else len(events) - 1,
            revealed=not (found and added),
        )

    @traitlets.validate("step", "node")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "step":
            least, most = 0, len(self.history.steps) - 1
        else:
            least, most = -1, max(span.node for span in self.history.spans)
        if not least <= value <= most:
            raise traitlets.TraitError(f"{name} must be {least} to {most}, got {value}")
        return value

    @property
    def tree(self) -> list[NodeSpan]:
        """The nodes at the present step, the one that it evicts among them."""
        return self.history.tree(self.step)

    def event(self) -> str:
        """The present step in words."""
        step, request = self.history.steps[self.step], self.history.requests[self.step]
        nodes = {span.node: span for span in self.tree}
        below = [span for span in self.tree if span.node and span.parent == step.node]
        way, above = nodes[step.node].pages, nodes[step.node].parent
        while above:
            way, above = way + nodes[above].pages, nodes[above].parent
        words, size = self.words, self.history.page_size
        said = words["nothing" if step.event == "match" and not step.pages else step.event].format(
            tokens=self._counted(step.pages * size),
            node=step.node,
            parent=step.parent,
            below=below[0].node if below else "",
            way=self._counted(way * size),
        )
        return said if request < 0 else words["on_behalf"].format(request=request, event=said)

    def _counted(self, tokens: int) -> str:
        return self.words["one_token" if tokens == 1 else "many_tokens"].format(
            tokens=f"{tokens:,}"
        )

    def summary(self) -> str:
        """The present step, the tree after it, and what was found so far."""
        history, size = self.history, self.history.page_size
        kept = [one for one in self.tree if not one.evicted or one.end > self.step]
        found, added = (_tokens(history, event, self.step) for event in ("match", "insert"))
        return self.words["summary"].format(
            step=self.step + 1,
            steps=f"{len(history.steps):,}",
            event=self.event(),
            nodes=f"{len(kept) - 1:,}",
            tokens=f"{sum(one.pages for one in kept) * size:,}",
            locked=f"{sum(one.pages for one in kept if one.locks) * size:,}",
            found=f"{found:,}",
            all=f"{found + added:,}",
            share=percent(found / (found + added) if found or added else float("nan")),
        )

    def picture(self) -> Figure:
        """The tree at the present step."""
        return draw_tree(self.record, self.step, self.words, self.event())


def _tokens(history: TreeHistory, event: str, step: int | None = None) -> int:
    """Tokens in all steps of a kind, or in those up to one."""
    so_far = history.steps[: None if step is None else step + 1]
    return history.page_size * sum(one.pages for one in so_far if one.event == event)


def _refuse(history: TreeHistory, pieces: Pieces | None) -> None:
    count = len(history.steps)
    if not count:
        raise ValueError("the history has no steps: give the tree its recorder before its texts")
    if count > MOST_STEPS:
        raise ValueError(
            f"the history has {count:,} steps and {MOST_STEPS:,} is the most that can be shown: "
            "record fewer requests"
        )
    change = [0] * (count + 2)
    for span in history.spans:
        change[span.start] += 1
        change[span.end + span.evicted] -= 1  # the step that evicts it still shows it
    most = max(accumulate(change)) - 1  # the root aside
    if most > MOST_NODES:
        raise ValueError(
            f"the tree has {most:,} nodes at once and {MOST_NODES} is the most that can be shown: "
            "record fewer requests, or a smaller cache"
        )
    if pieces is not None:
        used = {token for step in history.steps for token in step.label}
        unknown = sorted(used - pieces.keys())
        if unknown:
            raise ValueError(f"pieces must have the text of every token, and {unknown[0]} has none")


def _columns(history: TreeHistory, pieces: Pieces | None) -> dict[str, Any]:
    size, spans = history.page_size, sorted(history.spans, key=lambda span: span.start)
    texts = [_text(span.label, pieces) for span in spans]
    labels = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    return {
        "event": [EVENTS.index(step.event) for step in history.steps],
        "event_node": [step.node for step in history.steps],
        "event_parent": [step.parent for step in history.steps],
        "event_tokens": [step.pages * size for step in history.steps],
        "event_request": list(history.requests),
        "labels": list(labels),
        "node": [span.node for span in spans],
        "start": [span.start for span in spans],
        "end": [span.end for span in spans],
        "evicted": [int(span.evicted) for span in spans],
        "parent": [span.parent for span in spans],
        "order": [span.order for span in spans],
        "tokens": [span.pages * size for span in spans],
        "label": [labels[text] for text in texts],
        "locks": [span.locks for span in spans],
        "used": [span.used for span in spans],
        "visit_step": [visit.step for visit in history.visits],
        "visit_node": [visit.node for visit in history.visits],
        "visit_request": [visit.request for visit in history.visits],
    }


def _text(label: tuple[int, ...], pieces: Pieces | None) -> str:
    if pieces is None:
        text = " ".join(map(str, label[:LONGEST]))
    else:
        text = "".join(pieces[token] for token in label).replace("\n", "↵")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
