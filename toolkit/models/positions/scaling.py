"""Contexts longer than a model was trained for: four ways to slow RoPE's pairs down.

A slow pair makes less than a turn in training, and past that its angles are new to the model.
Interpolation slows all pairs alike, but crowds neighbouring positions. NTK-aware leaves the
fastest pair and slows the slowest by the whole factor. YaRN leaves the pairs that turn often,
interpolates those that do not make a turn, and blends between.

Source:
    Chen et al. 2023, Extending Context Window of Large Language Models via Positional
    Interpolation; bloc97 2023, NTK-aware scaled RoPE; emozilla 2023, dynamic NTK;
    Peng et al. 2023, YaRN. Factors and cut-offs are those of transformers' ROPE_INIT_FUNCTIONS.
"""

from __future__ import annotations

import math

import torch

from toolkit.arguments import whole_number

from .rope import Rope, check_base, rope


def interpolation(head_dim: int, base: float, factor: float) -> Rope:
    """Position interpolation: theta_i / factor, as if position m were m / factor.

    Args:
        head_dim, base: as trained; see ``rope``.
        factor: the new context over the trained one, at least 1.
    Raises:
        ValueError, TypeError: an argument is out of its range.
    """
    check_factor(factor)
    return Rope(rope(head_dim, base).frequencies / factor)


def ntk_aware(head_dim: int, base: float, factor: float) -> Rope:
    """A larger base: base * factor^(d / (d - 2)).

    The fastest pair keeps its frequency, and the slowest, of base^(-(d - 2) / d), gets that of
    interpolation.

    Args:
        head_dim, base: as trained; head_dim is at least 4.
        factor: as for ``interpolation``.
    Raises:
        ValueError, TypeError: an argument is out of its range.
    """
    check_factor(factor)
    check_base(base)
    if whole_number("head_dim", head_dim) < 4:
        raise ValueError(
            f"head_dim must be at least 4, so that one pair stays and one slows, got {head_dim}"
        )
    return rope(head_dim, base * factor ** (head_dim / (head_dim - 2)))


def dynamic_ntk(head_dim: int, base: float, trained: int, length: int, factor: float = 1.0) -> Rope:
    """NTK-aware by what the present context needs: as trained up to the trained length.

    Past it, NTK-aware with factor * length / trained - (factor - 1). The frequencies change with
    every token, and keys that were turned before are stale: see ``stale_scores``.

    Args:
        head_dim, base: as trained; head_dim is at least 4.
        trained: the longest context in training, tokens.
        length: of the present context, tokens.
        factor: how much faster than the length the stretch grows; 1 keeps pace with it.
    Raises:
        ValueError, TypeError: an argument is out of its range.
    """
    check_factor(factor)
    trained = check_length("trained", trained)
    length = max(check_length("length", length), trained)
    return ntk_aware(head_dim, base, factor * length / trained - (factor - 1))


def yarn(
    head_dim: int,
    base: float,
    trained: int,
    factor: float,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
) -> Rope:
    """Each pair by how often it turns in the trained length, and scores that are sharper.

    Pairs up to the one of beta_fast turns stay, those from the one of beta_slow on are
    interpolated, and between them the two are blended along a straight ramp over the pairs, as in
    the authors' code; the paper's ramp is over the turns. Queries and keys are multiplied by
    0.1 ln(factor) + 1.

    Args:
        head_dim, base: as trained.
        trained: the longest context in training, tokens.
        factor: as for ``interpolation``.
        beta_fast, beta_slow: turns in the trained length, beta_fast the more.
    Raises:
        ValueError, TypeError: an argument is out of its range, or the trained length is so short
            or long that no ramp lies between the two.
    """
    check_factor(factor)
    trained = check_length("trained", trained)
    if not 0.0 < beta_slow < beta_fast < math.inf:
        raise ValueError(
            f"beta_slow must be over 0 and beta_fast over beta_slow, "
            f"got {beta_slow!r} and {beta_fast!r}"
        )
    fresh = rope(head_dim, base).frequencies

    def pair_of(turned: float) -> float:
        # trained * theta_i = 2 pi * turned, solved for i
        return head_dim * math.log(trained / (2 * math.pi * turned)) / (2 * math.log(base))

    first = max(math.floor(pair_of(beta_fast)), 0)
    last = min(math.ceil(pair_of(beta_slow)), head_dim - 1)
    if first > last:
        raise ValueError(
            f"trained must be a length in which some pair turns {beta_slow:g} to {beta_fast:g} "
            f"times, got {trained}: with base {base:g} there is none"
        )
    width = max(last - first, 1)  # where both are the same pair, the next is interpolated
    ramp = ((torch.arange(len(fresh), dtype=torch.float64) - first) / width).clamp(0, 1)
    return Rope(fresh * (1 - ramp) + fresh / factor * ramp, 0.1 * math.log(factor) + 1)


def check_factor(factor: float) -> None:
    """Refuse factors that are not at least 1."""
    if not 1.0 <= factor < math.inf:
        raise ValueError(
            f"factor must be at least 1, the new context over the trained one, got {factor!r}"
        )


def check_length(name: str, length: int) -> int:
    """A number of tokens, at least 1."""
    length = whole_number(name, length)
    if length < 1:
        raise ValueError(f"{name} must be at least 1 token, got {length}")
    return length
