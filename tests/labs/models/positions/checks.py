"""The checks of the positions lab. Expected values come from 2x2 matrices and from counting."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.classroom import expect, question, require

TURN = 2 * math.pi


@dataclass(frozen=True, eq=False)
class Rope:
    """What the learner's functions give, by its name and fields."""

    frequencies: Tensor
    temperature: float = 1.0


@dataclass(frozen=True, eq=False)
class Dials:
    """What the learner's ``outside`` takes, by its name and fields."""

    head_dim: int
    base: float
    trained: int
    methods: tuple[str, ...]
    factors: tuple[float, ...]
    frequencies: np.ndarray


def thetas(head_dim: int, base: float) -> list[float]:
    """theta_i as the logarithm has it: ln theta_i = -(2i / d) ln base."""
    return [math.exp(-i / (head_dim / 2) * math.log(base)) for i in range(head_dim // 2)]


# -- q1 ------------------------------------------------------------------------------------------

FP32_POWER = 1e-5
"""A power in float32 is off by 6e-8 times the exponent's logarithm, which is at most 14."""


def double(found: Any) -> Any:
    """The frequencies of what a function gave, whatever their precision."""
    found = getattr(found, "frequencies", found)
    return found.double() if isinstance(found, Tensor) else found


@question(
    "q1",
    points=2,
    hints=[
        "How many pairs has a head of 8 numbers? That many frequencies, the first of them 1.",
        "`torch.arange(head_dim // 2)` counts the pairs: i = 0, 1, 2...",
        "The exponent is `-2 * i / head_dim`; `base ** exponent` takes a tensor too.",
    ],
)
def each_pair_has_its_frequency(answer, rng):
    """Pair i turns by base^(-2i/d) radians a position."""
    for head_dim in (2, 4, 8, int(rng.integers(5, 60)) * 2):
        base = float(rng.uniform(50, 1_000_000))
        wanted = torch.tensor(thetas(head_dim, base), dtype=torch.float64)
        expect(double(answer.rope(head_dim, base)), wanted, rtol=FP32_POWER)


@question(
    "q1",
    points=1,
    hints=["`torch.arange(..., dtype=torch.float64)` makes all that follows float64."],
)
def frequencies_are_as_exact_as_float64(answer, rng):
    """They are float64, in a Rope: exact enough for position 100,000."""
    for base in (10_000, 100_000.0, 500_000.0):
        head_dim = int(rng.integers(4, 64)) * 2
        expect(
            answer.rope(head_dim, base),
            Rope(torch.tensor(thetas(head_dim, base), dtype=torch.float64)),
        )


# -- q2 ------------------------------------------------------------------------------------------

FP32_TURN = 1e-5
"""Numbers of at most 8, multiplied and added twice in float32, with turns rounded to float32."""
FP32_SCORE = 1e-3
"""A sum of 16 products of such numbers."""


def draw(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


def draw_angles(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Angles far enough from 0 that turning the other way, or not at all, is seen."""
    return rng.uniform(0.4, 2.7, shape)


def as_turns(angles: np.ndarray) -> Tensor:
    return torch.from_numpy(np.exp(1j * angles).astype(np.complex64))


def places(dim: int, layout: str) -> list[tuple[int, int]]:
    """Where the two numbers of each pair stand."""
    if layout == "interleaved":
        return [(at, at + 1) for at in range(0, dim, 2)]
    return [(at, dim // 2 + at) for at in range(dim // 2)]


def turned(x: Tensor, angles: np.ndarray, layout: str) -> np.ndarray:
    """One vector, multiplied by a matrix that has a 2x2 rotation for each pair."""
    matrix = np.zeros((len(x), len(x)))
    for (first, second), angle in zip(places(len(x), layout), angles.tolist(), strict=True):
        cos, sin = math.cos(angle), math.sin(angle)
        matrix[np.ix_((first, second), (first, second))] = [[cos, -sin], [sin, cos]]
    return matrix @ x.double().numpy()


def all_turned(x: Tensor, angles: np.ndarray, layout: str) -> Tensor:
    """Every vector of ``x`` by its own angles."""
    angles = np.broadcast_to(angles, (*x.shape[:-1], x.shape[-1] // 2))
    wanted = np.empty(x.shape, np.float32)
    for at in np.ndindex(x.shape[:-1]):
        wanted[at] = turned(x[at], angles[at], layout)
    return torch.from_numpy(wanted)


@question(
    "q2",
    points=2,
    hints=[
        "Where are the two numbers of pair 0? Turn a vector of 2 numbers first.",
        "`x[..., 0::2]` are the a of all pairs; `torch.complex(a, b) * turns` turns them.",
        "`.real` and `.imag` are the turned a and b: put them back, a, b, a, b...",
    ],
)
def neighbours_are_turned_as_pairs(answer, rng):
    """Neighbours make a pair, and each pair is turned by its own angle."""
    for pairs in (1, 2, 3, 8):
        x, angles = draw(rng, 2 * pairs), draw_angles(rng, pairs)
        found = answer.rotate(x, as_turns(angles))
        expect(found, all_turned(x, angles, "interleaved"), rtol=0, atol=FP32_TURN)


@question("q2", points=1, hints=["For halves, `a, b = x.chunk(2, dim=-1)`, and back with `cat`."])
def halves_are_turned_as_pairs(answer, rng):
    """In the layout of halves, a pair has one number from each half."""
    for pairs in (2, 5, 8):
        x, angles = draw(rng, 2 * pairs), draw_angles(rng, pairs)
        found = answer.rotate(x, as_turns(angles), "halves")
        expect(found, all_turned(x, angles, "halves"), rtol=0, atol=FP32_TURN)


@question("q2", points=1, hints=["Leave the dimensions before the last to torch's broadcasting."])
def whole_batches_are_turned_and_left_as_they_were(answer, rng):
    """Batches, heads and tokens are turned at once, and the input is left as it was."""
    for shape in ((3, 4), (2, 1, 3, 4)):  # tokens, pairs; batch, 1, tokens, pairs
        for layout in ("interleaved", "halves"):
            x, angles = draw(rng, 2, 5, 3, 8), draw_angles(rng, *shape)
            after = answer.call_inplace("rotate", x, as_turns(angles), layout)
            expect(after.result, all_turned(x, angles, layout), rtol=0, atol=FP32_TURN)
            require(torch.equal(after.args[0], x), "it changes the x it was given", after.result)


@question("q2", points=1, hints=["Queries and keys turn the same way, by m and by n."])
def a_score_knows_the_distance_alone(answer, rng):
    """The score of a query at m and a key at n depends on m - n alone."""
    angles = draw_angles(rng, 8) / 40
    for m, n in ((3, 1), (60, 58), (20, 57)):
        query, key = draw(rng, 16), draw(rng, 16)
        found = [answer.rotate(x, as_turns(at * angles)) for x, at in ((query, m), (key, n))]
        # Re(q conj(k) e^(i (m - n) theta)), pair by pair
        wanted = sum(
            (complex(*q) * complex(*k).conjugate() * cmath.exp(1j * (m - n) * angle)).real
            for q, k, angle in zip(
                query.view(-1, 2).tolist(), key.view(-1, 2).tolist(), angles.tolist(), strict=True
            )
        )
        score = torch.dot(*(vector.to(torch.complex128) for vector in found)).real.item()
        expect(score, wanted, rtol=0, atol=FP32_SCORE)


# -- q3 ------------------------------------------------------------------------------------------


def moved(weight: Tensor, head_dim: int) -> Tensor:
    """Row by row, each to its place."""
    wanted = torch.empty_like(weight)
    for head in range(0, len(weight), head_dim):
        for i in range(head_dim // 2):
            wanted[head + 2 * i] = weight[head + i]
            wanted[head + 2 * i + 1] = weight[head + i + head_dim // 2]
    return wanted


@question(
    "q3",
    points=2,
    hints=[
        "Write down where rows 0, 1, 2, 3, 4, 5 of a head of 6 go.",
        "A head's rows are two halves: `weight.reshape(-1, 2, head_dim // 2, ...)`.",
        "Swap the 2 and the head_dim // 2, and the two rows of a pair become neighbours.",
    ],
)
def the_rows_of_a_pair_become_neighbours(answer, rng):
    """Rows i and i + d/2 of a head become rows 2i and 2i + 1."""
    for head_dim in (6, 8, 10):
        weight = draw(rng, head_dim, head_dim)
        expect(answer.to_interleaved(weight, head_dim), moved(weight, head_dim))


@question("q3", points=1, hints=["Reorder inside each head: no row moves to another head."])
def every_head_is_reordered_by_itself(answer, rng):
    """Every head is reordered by itself, in weights and in biases."""
    for heads, head_dim in ((3, 4), (2, 6)):
        for weight in (draw(rng, heads * head_dim, heads * head_dim), draw(rng, heads * head_dim)):
            expect(answer.to_interleaved(weight, head_dim), moved(weight, head_dim))


def score(
    to_query: Tensor, to_key: Tensor, states: tuple[Tensor, Tensor], at: list, layout: str
) -> float:
    """The score of two heads of 8 together, turned by the angles ``at``: the query's, the key's."""
    queries, keys = (w @ state for w, state in zip((to_query, to_key), states, strict=True))
    return sum(
        float(turned(queries[head], at[0], layout) @ turned(keys[head], at[1], layout))
        for head in (slice(0, 8), slice(8, 16))
    )


@question("q3", points=1, hints=["Pair i must stay pair i: each has a frequency of its own."])
def every_score_stays_what_it_was(answer, rng):
    """Every score stays what it was in the layout of halves."""
    for m, n in ((7, 2), (3, 19)):
        stored = draw(rng, 16, 5), draw(rng, 16, 5)
        states, angles = (draw(rng, 5), draw(rng, 5)), draw_angles(rng, 4)
        found = [answer.to_interleaved(weight, 8) for weight in stored]
        shape_kept = all(isinstance(x, Tensor) and x.shape == (16, 5) for x in found)
        require(shape_kept, "it has another shape than the weight", found[1])
        at = [m * angles, n * angles]
        wanted = score(*stored, states, at, "halves")
        expect(score(*found, states, at, "interleaved"), wanted, rtol=1e-4, atol=FP32_SCORE)


# -- q4 ------------------------------------------------------------------------------------------


def leaves(trained: int, as_trained: float, length: int, theta: float) -> bool:
    """Count positions: whether the dial comes past all that training showed of it."""
    shown = np.arange(trained + 1) * as_trained
    met = np.arange(length + 1) * theta
    return not np.any(shown >= TURN) and bool(np.any(met > shown.max() * (1 + 1e-9)))


def all_outside(dials: Dials, length: int) -> np.ndarray:
    wanted = np.zeros(dials.frequencies.shape, bool)
    for method, factor, pair in np.ndindex(wanted.shape):
        theta, as_trained = dials.frequencies[method, factor, pair], dials.frequencies[0, 0, pair]
        wanted[method, factor, pair] = leaves(
            dials.trained, float(as_trained), length, float(theta)
        )
    return wanted


def draw_dials(rng: np.random.Generator, methods: tuple[str, ...], factors: tuple[float, ...]):
    """Dials of which some make turns, some a part of one, and some less than a radian."""
    trained, pairs = int(rng.integers(400, 700)), 9
    turns_made = np.array([64, 9, 3.5, 1.6, 1.1, 0.9, 0.5, 0.25, 0.1]) * rng.uniform(0.93, 1.07, 9)
    as_trained = turns_made * TURN / trained
    frequencies = np.empty((len(methods), len(factors), pairs))
    for method, factor in np.ndindex(frequencies.shape[:2]):
        slower = np.ones(pairs)
        if methods[method] == "interpolation":
            slower = np.full(pairs, factors[factor])
        elif methods[method] == "slow ones slower":
            slower = factors[factor] ** np.linspace(0, 1, pairs)
        frequencies[method, factor] = as_trained / slower
    base = float((frequencies[0, 0, 0] / frequencies[0, 0, -1]) ** (pairs / (pairs - 1)))
    return Dials(2 * pairs, base, trained, methods, factors, frequencies)


def lengths(rng: np.random.Generator, dials: Dials) -> Iterator[int]:
    """Lengths under, at and over the trained one; none brings a dial just to its arc's end."""
    seen = dials.trained * dials.frequencies[0, 0]
    for times in (0.6, 1.5, 3.4, 20.0):
        while True:
            length = int(dials.trained * times * rng.uniform(0.9, 1.1))
            share = length * dials.frequencies / seen
            if np.all(np.abs(share - 1) > 1e-6):
                yield length
                break


@question(
    "q4",
    points=2,
    hints=[
        "How far did each dial turn in training? How far in this text?",
        "`dials.trained * dials.frequencies[0, 0]` is each dial's arc, in radians.",
        "Outside: the arc is under 2 pi, **and** `length * dials.frequencies` is over the arc.",
    ],
)
def dials_leave_the_arcs_that_training_showed(answer, rng):
    """A dial is outside if it did not make a turn in training and now goes past its arc."""
    dials = draw_dials(rng, ("as trained",), (1.0, 2.0))
    for length in lengths(rng, dials):
        expect(answer.outside(dials, length), all_outside(dials, length))


@question("q4", points=1, hints=["The arcs are those as trained, for every method and factor."])
def every_method_is_held_to_the_arcs_as_trained(answer, rng):
    """A method's dials are held to the arcs as trained."""
    factors = (1.0, 2.0, float(rng.uniform(3, 5)))
    dials = draw_dials(rng, ("as trained", "interpolation", "slow ones slower"), factors)
    for length in lengths(rng, dials):
        expect(answer.outside(dials, length), all_outside(dials, length))


@question("q4", points=1, hints=["Over the arc means over `seen * (1 + 1e-9)`."])
def the_end_of_an_arc_is_not_outside_it(answer, rng):
    """The end of an arc is not outside it: interpolation by 2 and 4 just fits."""
    dials = draw_dials(rng, ("as trained", "interpolation"), (1.0, 2.0, 4.0))  # no rounding yet
    rounded = replace(dials, frequencies=dials.frequencies.copy())
    rounded.frequencies[1, :, ::2] *= 1 + 1e-13
    for drawn in (dials, rounded):
        for times in (1, 2, 4):
            length = times * drawn.trained
            expect(answer.outside(drawn, length), all_outside(drawn, length))


# -- q5 ------------------------------------------------------------------------------------------

FP32_RAMP = 3e-6
"""A ramp in float32 is off by 6e-8, and moves a frequency by `factor`, 9 at most, times that."""


@dataclass(frozen=True)
class Stretch:
    """What ``yarn`` is called with, and the ramp that belongs to it."""

    head_dim: int
    base: float
    trained: int
    factor: float
    beta_fast: float
    beta_slow: float
    ramp: tuple[float, ...]

    @property
    def arguments(self) -> tuple[float, ...]:
        betas = (self.beta_fast, self.beta_slow)
        given = () if betas == (32.0, 1.0) else betas
        return (self.head_dim, self.base, self.trained, self.factor, *given)

    @property
    def wanted(self) -> Rope:
        fresh = thetas(self.head_dim, self.base)
        found = [
            theta - share * (theta - theta / self.factor)
            for theta, share in zip(fresh, self.ramp, strict=True)
        ]
        temperature = 1 + math.log(self.factor) / 10
        return Rope(torch.tensor(found, dtype=torch.float64), temperature)


def draw_stretch(
    rng: np.random.Generator, beta_fast: float = 32.0, beta_slow: float = 1.0
) -> Stretch:
    """A model with fast pairs, slow pairs, and at least three on the ramp between; other betas
    than the usual ones put both ends of the ramp elsewhere."""
    while True:
        head_dim, base = int(rng.integers(12, 40)) * 2, float(rng.uniform(5_000, 600_000))
        trained, factor = int(rng.integers(600, 9000)), float(rng.uniform(1.5, 9))
        made = [trained * theta / TURN for theta in thetas(head_dim, base)]
        fast = [pair for pair, count in enumerate(made) if count >= beta_fast]
        slow = [pair for pair, count in enumerate(made) if count <= beta_slow]
        # no rounding makes a pair fast or slow
        clear = all(
            abs(count / beta - 1) > 1e-6 for count in made for beta in (beta_fast, beta_slow)
        )
        moved = all(
            beta == usual or any(min(beta, usual) < count < max(beta, usual) for count in made)
            for beta, usual in ((beta_fast, 32.0), (beta_slow, 1.0))
        )
        if clear and moved and len(fast) > 1 and len(slow) > 2 and slow[0] - fast[-1] > 3:
            rise = slow[0] - fast[-1]
            ramp = [(pair - fast[-1]) / rise for pair in range(fast[-1], slow[0])]
            ramp = [0.0] * fast[-1] + ramp + [1.0] * len(slow)
            return Stretch(head_dim, base, trained, factor, beta_fast, beta_slow, tuple(ramp))


@question(
    "q5",
    points=2,
    hints=[
        "How many turns does each pair make in the trained length? Sort them into three groups.",
        "`trained * fresh / (2 * math.pi)` are the turns; a comparison and `.sum()` count pairs.",
        "The last fast pair is number `(turned >= beta_fast).sum() - 1`.",
        "The ramp is `(i - first) / (last - first)`, held between 0 and 1 with `.clamp(0, 1)`.",
    ],
)
def fast_dials_stay_and_slow_ones_are_interpolated(answer, rng):
    """Fast dials stay as they are, and slow ones are interpolated."""
    for _ in range(3):
        drawn = draw_stretch(rng)
        found, wanted = double(answer.yarn(*drawn.arguments)), drawn.wanted.frequencies
        if isinstance(found, Tensor) and found.shape == wanted.shape:
            between = torch.tensor([0 < share < 1 for share in drawn.ramp])
            found = torch.where(between, wanted, found)  # the next check looks at those
        expect(found, wanted, rtol=FP32_RAMP)


@question("q5", points=1, hints=["The ramp is straight over the **numbers** of the pairs."])
def between_them_is_a_straight_ramp(answer, rng):
    """Between them the two frequencies are blended along a straight ramp."""
    for betas in ((32.0, 1.0), (24.0, 1.5), (16.0, 2.0)):
        drawn = draw_stretch(rng, *betas)
        found = answer.yarn(*drawn.arguments)
        expect(double(found), drawn.wanted.frequencies, rtol=FP32_RAMP)


@question("q5", points=1, hints=["`math.log` is the natural logarithm."])
def scores_are_sharpened(answer, rng):
    """Queries and keys are multiplied by 0.1 ln(factor) + 1."""
    for _ in range(2):
        drawn = draw_stretch(rng)
        expect(answer.yarn(*drawn.arguments), drawn.wanted, rtol=FP32_RAMP)
