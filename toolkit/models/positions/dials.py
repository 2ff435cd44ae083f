"""A position as digits, and RoPE's pairs as dials: how far each has turned, and has ever turned.

In base beta, digit i of n is floor(n / beta^i) mod beta. RoPE has the same n / beta^i, with
beta = base^(2 / head_dim), and in place of the mod a sine and a cosine, which repeat themselves
too: the fast pairs are the low digits. A position that is longer than any in training needs high
digits that were never used; the methods of ``scaling`` make room among the digits there are.

Source:
    Su 2023, https://kexue.fm/archives/9675 (in Chinese).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from toolkit.arguments import whole_number

from .rope import rope
from .scaling import check_factor, check_length, interpolation, ntk_aware, yarn

METHODS = ("as trained", "interpolation", "NTK-aware", "YaRN")


@dataclass(frozen=True, slots=True, eq=False)
class Dials:
    """The frequencies of one head, as trained and as each method makes them.

    Attributes:
        head_dim: numbers of a head, twice its pairs.
        base: of the frequencies as trained.
        trained: the longest context in training, tokens.
        methods: as trained, then ways to stretch.
        factors: how many times the context is stretched.
        frequencies: radians per position; "as trained" has the same for every factor.
    """

    head_dim: int
    base: float
    trained: int
    methods: tuple[str, ...]
    factors: tuple[float, ...]
    frequencies: Float64[np.ndarray, "methods factors pairs"]


def dials(
    head_dim: int, base: float, trained: int, factors: Sequence[float] = (1.0, 2.0, 4.0, 8.0)
) -> Dials:
    """The dials of a model's head, for each way and factor to stretch its context.

    Raises:
        ValueError, TypeError: an argument is out of its range, or there are no factors.
    """
    trained = check_length("trained", trained)
    if not factors:
        raise ValueError("factors must have at least one number, such as 1, got none")
    for factor in factors:
        check_factor(factor)
    ropes = (
        [rope(head_dim, base)] * len(factors),
        [interpolation(head_dim, base, factor) for factor in factors],
        [ntk_aware(head_dim, base, factor) for factor in factors],
        [yarn(head_dim, base, trained, factor) for factor in factors],
    )
    return Dials(
        head_dim=int(head_dim),
        base=float(base),
        trained=trained,
        methods=METHODS,
        factors=tuple(float(factor) for factor in factors),
        frequencies=np.array([[each.frequencies.numpy() for each in row] for row in ropes]),
    )


def outside(dials: Dials, length: int) -> Bool[np.ndarray, "methods factors pairs"]:
    """Which dials a context turns to where training never did.

    Over n tokens a dial turns by n theta. Training showed it all angles if that made a full turn,
    and else those up to trained * theta.

    Args:
        dials: the frequencies.
        length: of the context, tokens.
    Raises:
        ValueError, TypeError: the length is not at least 1.
    """
    length = check_length("length", length)
    seen = dials.trained * dials.frequencies[0, 0]
    rounding = 1 + 1e-9  # a method that brings a dial exactly back to its range is not outside it
    return (seen < 2 * math.pi) & (length * dials.frequencies > seen * rounding)


def digits(
    positions: Int[np.ndarray, "*shape"] | int, beta: float, count: int
) -> Float64[np.ndarray, "*shape count"]:
    """The lowest digits of positions in base beta, lowest first: floor(n / beta^i) mod beta.

    Args:
        positions: n, 0 or more.
        beta: over 1; where it is no whole number, nor are all of the digits.
        count: how many digits.
    Raises:
        ValueError, TypeError: an argument is out of its range.
    """
    count = whole_number("count", count)
    held = np.asarray(positions)
    if held.dtype.kind not in "iu":
        raise TypeError(f"positions must be whole numbers, got {held.dtype}")
    if held.size and not (held.min() >= 0 and held.max() <= 2**53):
        raise ValueError(
            f"positions must be 0 to 2^53, the whole numbers that float64 holds, "
            f"got {held.min()} to {held.max()}"
        )
    if not 1.0 < beta < math.inf:
        raise ValueError(f"beta must be a number over 1, got {beta!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return held[..., None] // float(beta) ** np.arange(count) % beta
