"""The widget ``Blocks``: a pool of KV-cache blocks over time, and who reads which of them.

Rows are blocks and columns are events. What several requests read is marked, as is what nobody
reads but can be found again, and what is lost when its place is needed.
"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import traitlets
from matplotlib.figure import Figure

from toolkit.serving.kv_cache.block_history import BlockHistory, BlockSpan, Kind
from toolkit.viz.blocks_picture import draw_pool
from toolkit.viz.widget import Widget

MOST_BLOCKS = 256
MOST_EVENTS = 4000

KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_CHOICES = 4


class Blocks(Widget):
    """A pool's history, event by event.

    Args:
        history: what a ``BlockRecorder`` has noted.
    Raises:
        ValueError: the history has no events or more than ``MOST_EVENTS``, or the pool has more
            than ``MOST_BLOCKS`` blocks.

    The traits ``step`` (which event, from 0), ``block`` (the chosen one, -1 for none) and
    ``revealed`` follow the reader, and the widget follows them. It begins where sharing saves most.
    """

    name = "blocks"
    linked = ("step", "block")

    record = traitlets.Dict(help="The history, by columns.").tag(sync=True)
    step = traitlets.Int(0, help="Which event is the present one.").tag(sync=True)
    block = traitlets.Int(-1, help="The chosen block, -1 for none.").tag(sync=True)
    revealed = traitlets.Bool(False, help="Whether the reader has guessed.").tag(sync=True)

    def __init__(self, history: BlockHistory) -> None:
        _refuse(history)
        self.history = history
        step, guess = _guess(history)
        super().__init__(record=_columns(history) | guess, step=step, revealed=not guess["choices"])

    @traitlets.validate("step", "block")
    def _valid(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        least, most = {
            "step": (0, len(self.history.events) - 1),
            "block": (-1, self.history.blocks - 1),
        }[name]
        if not least <= value <= most:
            raise traitlets.TraitError(f"{name} must be {least} to {most}, got {value}")
        return value

    @property
    def pool(self) -> list[BlockSpan]:
        """The blocks that are not empty after the present event."""
        return self.history.pool(self.step)

    def event(self) -> str:
        """The present event in words."""
        event = self.history.events[self.step]
        said = self.words[event.kind].format(
            request=event.request, blocks=event.blocks, tokens=f"{event.tokens:,}"
        )
        if event.evicted:
            said += " " + self.words["lost"].format(evicted=len(event.evicted))
        return said

    def summary(self) -> str:
        """The present event, the pool after it, and what was found so far."""
        history, pool = self.history, self.pool
        return self.words["summary"].format(
            step=f"{self.step + 1:,}",
            steps=f"{len(history.events):,}",
            event=self.event(),
            all=history.blocks,
            used=_used(pool),
            shared=sum(len(span.readers) > 1 for span in pool),
            cached=len(pool) - _used(pool),
            free=history.blocks - len(pool),
            found=f"{sum(event.tokens for event in history.events[: self.step + 1]):,}",
        )

    def picture(self) -> Figure:
        """The whole history as a map."""
        return draw_pool(self.record, self.words)


def _refuse(history: BlockHistory) -> None:
    events = len(history.events)
    if not events:
        raise ValueError("the history has no events: serve requests with the recorder's memory")
    if events > MOST_EVENTS:
        raise ValueError(
            f"the history has {events:,} events and {MOST_EVENTS:,} is the most that can be "
            "shown: serve fewer requests"
        )
    if history.blocks > MOST_BLOCKS:
        raise ValueError(
            f"the pool has {history.blocks:,} blocks and {MOST_BLOCKS} is the most that can be "
            "shown: record a smaller one"
        )


def _used(pool: list[BlockSpan]) -> int:
    return sum(bool(span.readers) for span in pool)


def _guess(history: BlockHistory) -> tuple[int, dict[str, Any]]:
    """The event after which sharing saves most, and answers to choose from; none if it never does.

    They are: what is in use, the right one, twice as many, and as much again as sharing saves.
    """
    change = np.zeros((2, len(history.events) + 1), int)
    for span in history.spans:
        counts = bool(span.readers), len(span.readers)
        change[:, span.start] += counts
        change[:, span.end] -= counts
    in_use, alone = change.cumsum(1)[:, :-1]
    step = int(np.lexsort((-np.arange(len(in_use)), in_use, alone - in_use))[-1])
    used, needed = int(in_use[step]), int(alone[step])
    wrong = (used, 2 * needed, 2 * needed - used, (used + needed) // 2)
    choices = sorted([*dict.fromkeys((needed, *wrong))][:MOST_CHOICES]) if needed > used else []
    return step, {"guess": step, "needed": needed, "choices": choices}


def _columns(history: BlockHistory) -> dict[str, Any]:
    events, spans = history.events, sorted(history.spans, key=lambda span: span.start)
    return {
        "blocks": history.blocks,
        "block_size": history.block_size,
        "kind": [KINDS.index(event.kind) for event in events],
        "request": [event.request for event in events],
        "changed": [event.blocks for event in events],
        "found": [event.tokens for event in events],
        "lost_event": [at for at, event in enumerate(events) for _ in event.evicted],
        "lost_block": [block for event in events for block in event.evicted],
        "block": [span.block for span in spans],
        "start": [span.start for span in spans],
        "end": [span.end for span in spans],
        "readers": [list(span.readers) for span in spans],
        "tokens": [span.tokens for span in spans],
    }
