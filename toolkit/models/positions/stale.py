"""Why keys in a cache are stale under dynamic NTK.

Dynamic NTK gives every length frequencies of its own. A cache holds keys as they were turned when
they came, with the frequencies of a length that is no longer. A query that is turned with those of
today then meets each of them at an angle that says more than how far apart they stand. A cache of
keys that are not turned yet, and are turned when they are read, is right and costs that turning
at every step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .rope import rotate, turns
from .scaling import dynamic_ntk


@dataclass(frozen=True, slots=True, eq=False)
class StaleScores:
    """Scores of the last query with all keys, before softmax.

    Attributes:
        fresh: with every key turned by the frequencies of the present length.
        stale: with every key turned by those of the length at which it was cached.
    """

    fresh: Float[Tensor, " keys"]
    stale: Float[Tensor, " keys"]

    @property
    def error(self) -> Float[Tensor, " keys"]:
        """How much too high a stale score is."""
        return self.stale - self.fresh


def stale_scores(
    query: Float[Tensor, " dim"],
    keys: Float[Tensor, "keys dim"],
    cached_at: Int[Tensor, " keys"],
    base: float,
    trained: int,
    factor: float = 1.0,
) -> StaleScores:
    """A query's scores with keys that a cache turned earlier, and with keys turned afresh.

    Args:
        query: not turned yet; it stands at the place of the last key.
        keys: not turned yet, at positions 0, 1, 2...
        cached_at: the length of the context, in tokens, when each key came: that of the prompt,
            then one more for each token.
        base, trained, factor: see ``dynamic_ntk``.
    Returns:
        Scores q.k / sqrt(dim).
    Raises:
        ValueError, TypeError: an argument is out of its range, or the shapes do not fit.
    """
    count, head_dim = keys.shape
    if query.shape != (head_dim,) or cached_at.shape != (count,):
        raise ValueError(
            f"keys of shape {tuple(keys.shape)} need a query of shape ({head_dim},) and cached_at "
            f"of shape ({count},), got {tuple(query.shape)} and {tuple(cached_at.shape)}"
        )

    def turned(x: Tensor, positions: Tensor, length: int) -> Tensor:
        return rotate(x, turns(dynamic_ntk(head_dim, base, trained, length, factor), positions))

    positions = torch.arange(count)
    cached = torch.empty_like(keys)
    for length in cached_at.unique().tolist():
        here = cached_at == length
        cached[here] = turned(keys[here], positions[here], length)
    now = turned(query[None], positions[-1:], count)[0] / head_dim**0.5
    return StaleScores(fresh=turned(keys, positions, count) @ now, stale=cached @ now)
