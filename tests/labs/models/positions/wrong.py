"""Plausible wrong answers of the positions lab, each with the hint that mends it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from toolkit.classroom import wrong

TURN = 2 * math.pi


@dataclass(frozen=True, eq=False)
class Rope:
    frequencies: torch.Tensor
    temperature: float = 1.0


def thetas(head_dim, base):
    i = torch.arange(head_dim // 2, dtype=torch.float64)
    return base ** (-2 * i / head_dim)


# -- q1 ------------------------------------------------------------------------------------------


@wrong(
    "q1",
    hint="The dials slow down too little from one to the next: the last should come near 1 / base. "
    "The exponent has a 2.",
)
def rope(head_dim, base):
    i = torch.arange(head_dim // 2, dtype=torch.float64)
    return Rope(base ** (-i / head_dim))


@wrong("q1", hint="Later dials turn faster: the exponent needs its minus.")
def rope(head_dim, base):
    return Rope(1 / thetas(head_dim, base))


@wrong(
    "q1",
    hint="There are twice as many frequencies as pairs. `i` counts pairs, up to `head_dim // 2`.",
)
def rope(head_dim, base):
    i = torch.arange(head_dim, dtype=torch.float64)
    return Rope(base ** (-2 * i / head_dim))


@wrong(
    "q1",
    hint="Every frequency is there twice. One for each pair: the tables of cosines that repeat "
    "them come later, if at all.",
)
def rope(head_dim, base):
    return Rope(thetas(head_dim, base).repeat(2))


@wrong("q1", hint="The first frequency is not 1: `i` starts at 0.")
def rope(head_dim, base):
    i = torch.arange(1, head_dim // 2 + 1, dtype=torch.float64)
    return Rope(base ** (-2 * i / head_dim))


@wrong(
    "q1",
    hint="`torch.arange(0, d, 2)` is 2i already, and it was doubled once more.",
)
def rope(head_dim, base):
    twice = torch.arange(0, head_dim, 2, dtype=torch.float64)
    return Rope(base ** (-2 * twice / head_dim))


@wrong(
    "q1", hint="The last frequency is `1 / base` itself: divide by `head_dim`, not `head_dim - 2`."
)
def rope(head_dim, base):
    i = torch.arange(head_dim // 2, dtype=torch.float64)
    return Rope(base ** (-2 * i / (head_dim - 2)))


@wrong(
    "q1", hint="These are the positions that a full turn takes. The frequency is the angle of one."
)
def rope(head_dim, base):
    return Rope(TURN / thetas(head_dim, base))


@wrong("q1", hint="These are degrees. Sine and cosine take radians: leave the power as it is.")
def rope(head_dim, base):
    return Rope(torch.rad2deg(thetas(head_dim, base)))


@wrong(
    "q1",
    hint="A whole-number tensor divided by a number is float32. Give `torch.arange` "
    "`dtype=torch.float64`.",
)
def rope(head_dim, base):
    return Rope(base ** (-2 * torch.arange(head_dim // 2) / head_dim))


@wrong(
    "q1",
    hint="Much code writes it so, and has float32 frequencies. Give `torch.arange` "
    "`dtype=torch.float64` and leave out `.float()`.",
)
def rope(head_dim, base):
    return Rope(1.0 / (base ** (torch.arange(0, head_dim, 2).float() / head_dim)))


@wrong(
    "q1",
    hint="It was float32 on the way: `.double()` at the end does not bring the digits back. "
    "Count pairs in float64.",
)
def rope(head_dim, base):
    return Rope((base ** (-2 * torch.arange(head_dim // 2) / head_dim)).double())


# -- q2 ------------------------------------------------------------------------------------------


def split(x, layout):
    return (x[..., 0::2], x[..., 1::2]) if layout == "interleaved" else x.chunk(2, dim=-1)


def joined(a, b, layout):
    if layout == "interleaved":
        return torch.stack((a, b), dim=-1).flatten(-2)
    return torch.cat((a, b), dim=-1)


def turned(x, turns, layout):
    pairs = torch.complex(*split(x, layout)) * turns
    return joined(pairs.real, pairs.imag, layout)


@wrong("q2", hint="It turns backwards. The minus belongs to the new a: `a * cos - b * sin`.")
def rotate(x, turns, layout="interleaved"):
    return turned(x, turns.conj(), layout)


@wrong("q2", hint="Asked for neighbours, it took one number from each half. Look at `layout`.")
def rotate(x, turns, layout="interleaved"):
    return turned(x, turns, "halves")


@wrong("q2", hint='It took neighbours, whatever the layout. `"halves"` pairs x[i] with x[i + d/2].')
def rotate(x, turns, layout="interleaved"):
    return turned(x, turns, "interleaved")


@wrong(
    "q2",
    hint="The right pairs were turned, but all a came back first and then all b. Weave them: "
    "`torch.stack((a, b), dim=-1).flatten(-2)`.",
)
def rotate(x, turns, layout="interleaved"):
    pairs = torch.complex(*split(x, layout)) * turns
    return torch.cat((pairs.real, pairs.imag), dim=-1)


@wrong(
    "q2",
    hint="Halves were turned rightly, but came back as neighbours. Use `torch.cat` for them.",
)
def rotate(x, turns, layout="interleaved"):
    pairs = torch.complex(*split(x, layout)) * turns
    return torch.stack((pairs.real, pairs.imag), dim=-1).flatten(-2)


@wrong("q2", hint="All pairs were turned by the angle of the first. Each has its own.")
def rotate(x, turns, layout="interleaved"):
    return turned(x, turns[..., :1], layout)


@wrong(
    "q2",
    hint="The new b was made from the **new** a. Keep the old one: compute both, then write.",
)
def rotate(x, turns, layout="interleaved"):
    a, b = split(x, layout)
    a = a * turns.real - b * turns.imag
    b = a * turns.imag + b * turns.real
    return joined(a, b, layout)


@wrong(
    "q2", hint="A sign is missing: the vector changes its length. `a * cos - b * sin` is the new a."
)
def rotate(x, turns, layout="interleaved"):
    a, b = split(x, layout)
    new_a, new_b = a * turns.real + b * turns.imag, a * turns.imag + b * turns.real
    return joined(new_a, new_b, layout)


def rotate_half(x):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), dim=-1)


@wrong(
    "q2",
    hint="Cosines and sines are there for neighbours, but the partner comes from the other half: "
    "`rotate_half` belongs to the layout of halves alone.",
)
def rotate(x, turns, layout="interleaved"):
    if layout == "halves":
        return turned(x, turns, layout)
    cos, sin = turns.real.repeat_interleave(2, -1), turns.imag.repeat_interleave(2, -1)
    return x * cos + rotate_half(x) * sin


@wrong("q2", hint="Only the a of each pair is new. b turns too: `a * sin + b * cos`.")
def rotate(x, turns, layout="interleaved"):
    a, b = split(x, layout)
    return joined(a * turns.real - b * turns.imag, b, layout)


@wrong(
    "q2",
    hint="These are complex numbers. Put their `.real` and `.imag` back to where a and b were.",
)
def rotate(x, turns, layout="interleaved"):
    return torch.complex(*split(x, layout)) * turns


@wrong("q2", hint="It wrote into the x it was given. Make a new tensor.")
def rotate(x, turns, layout="interleaved"):
    x.copy_(turned(x, turns, layout))
    return x


# -- q3 ------------------------------------------------------------------------------------------


def order(head_dim):
    return torch.arange(head_dim).view(2, -1).T.flatten()


@wrong(
    "q3",
    hint="That is the way back, from neighbours to halves: split the rows into 2 halves first.",
)
def to_interleaved(weight, head_dim):
    heads = weight.reshape(-1, head_dim // 2, 2, *weight.shape[1:])
    return heads.transpose(1, 2).reshape(weight.shape)


@wrong(
    "q3",
    hint="A reshape alone moves nothing. Between the two, `transpose` the halves with the pairs.",
)
def to_interleaved(weight, head_dim):
    heads = weight.reshape(-1, 2, head_dim // 2, *weight.shape[1:])
    return heads.reshape(-1, head_dim // 2, 2, *weight.shape[1:]).reshape(weight.shape)


@wrong("q3", hint="The columns were reordered. A head's numbers come from its **rows**.")
def to_interleaved(weight, head_dim):
    if weight.dim() == 1:
        return weight[order(head_dim)] if len(weight) == head_dim else weight
    heads = weight.reshape(len(weight), -1, 2, head_dim // 2)
    return heads.transpose(2, 3).reshape(weight.shape)


@wrong("q3", hint="The two rows of a pair are swapped: the one from the first half comes first.")
def to_interleaved(weight, head_dim):
    heads = weight.reshape(-1, 2, head_dim // 2, *weight.shape[1:]).flip(1)
    return heads.transpose(1, 2).reshape(weight.shape)


@wrong("q3", hint="The second half came in backwards: row i belongs with row i + head_dim/2.")
def to_interleaved(weight, head_dim):
    a, b = weight.reshape(-1, 2, head_dim // 2, *weight.shape[1:]).unbind(1)
    return torch.stack((a, b.flip(1)), dim=2).reshape(weight.shape)


@wrong("q3", hint="All heads were taken for one, and their rows are mixed. Split into heads first.")
def to_interleaved(weight, head_dim):
    halves = weight.reshape(2, -1, *weight.shape[1:])
    return halves.transpose(0, 1).reshape(weight.shape)


@wrong(
    "q3", hint="Only the first head is in its new order. `-1` in a reshape stands for all heads."
)
def to_interleaved(weight, head_dim):
    return torch.cat((weight[:head_dim][order(head_dim)], weight[head_dim:]))


@wrong("q3", hint="Only the first head came back. Reorder each of them.")
def to_interleaved(weight, head_dim):
    return weight[order(head_dim)]


# -- q4 ------------------------------------------------------------------------------------------


ROUNDED = 1 + 1e-9


def arcs(dials):
    return dials.trained * dials.frequencies[0, 0]


@wrong("q4", hint="A full turn is 2 pi radians, not 1.")
def outside(dials, length):
    return (arcs(dials) < 1) & (length * dials.frequencies > arcs(dials) * ROUNDED)


@wrong("q4", hint="A full turn is 2 pi in radians; 360 would be degrees.")
def outside(dials, length):
    return (arcs(dials) < 360) & (length * dials.frequencies > arcs(dials) * ROUNDED)


@wrong("q4", hint="A dial that made a full turn in training has shown all of its angles.")
def outside(dials, length):
    return length * dials.frequencies > arcs(dials) * ROUNDED


@wrong("q4", hint="A dial need not come round to be outside. Compare with its arc, not with 2 pi.")
def outside(dials, length):
    return (arcs(dials) < TURN) & (length * dials.frequencies > TURN)


@wrong(
    "q4",
    hint="Coming round is no trouble to a dial that did so in training. Compare each with its own "
    "arc, and only those whose arc is under 2 pi.",
)
def outside(dials, length):
    return length * dials.frequencies > TURN


@wrong("q4", hint="These dials never came round, but some are still inside their arcs: compare.")
def outside(dials, length):
    return np.broadcast_to(arcs(dials) < TURN, dials.frequencies.shape).copy()


@wrong(
    "q4",
    hint="Whether a dial came round counts in training: use the trained length, not the new one.",
)
def outside(dials, length):
    turned = length * dials.frequencies
    return (turned < TURN) & (turned > arcs(dials) * ROUNDED)


@wrong(
    "q4",
    hint="That is where the hand stands at the last position. On its way there it may have left "
    "its arc and come round: leave out the remainder.",
)
def outside(dials, length):
    return (arcs(dials) < TURN) & (length * dials.frequencies % TURN > arcs(dials) * ROUNDED)


@wrong(
    "q4",
    hint="Each method was held to arcs of its own. Training had the frequencies as trained, "
    "`frequencies[0, 0]`.",
)
def outside(dials, length):
    seen = dials.trained * dials.frequencies
    return (seen < TURN) & (length * dials.frequencies > seen * ROUNDED)


@wrong(
    "q4", hint="The dials as trained are all that was looked at: use every method's frequencies."
)
def outside(dials, length):
    found = (arcs(dials) < TURN) & (length * dials.frequencies[0, 0] > arcs(dials) * ROUNDED)
    return np.broadcast_to(found, dials.frequencies.shape).copy()


@wrong("q4", hint="A dial that comes just to the end of its arc is inside: `>`, not `>=`.")
def outside(dials, length):
    return (arcs(dials) < TURN) & (length * dials.frequencies >= arcs(dials))


@wrong(
    "q4",
    hint="A dial that a method brings back to the end of its arc was called outside: rounding did "
    "that. Compare with `seen * (1 + 1e-9)`.",
)
def outside(dials, length):
    return (arcs(dials) < TURN) & (length * dials.frequencies > arcs(dials))


# -- q5 ------------------------------------------------------------------------------------------


def blended(
    head_dim, base, trained, factor, beta_fast, beta_slow, *, turn=TURN, slowed=None, shape=None
):
    """YaRN with one of its parts replaced: the turn, what slow pairs get, the ramp's shape."""
    fresh = thetas(head_dim, base)
    turned = trained * fresh / turn
    first, last = int((turned >= beta_fast).sum()) - 1, int((turned > beta_slow).sum())
    ramp = ((torch.arange(len(fresh), dtype=torch.float64) - first) / (last - first)).clamp(0, 1)
    ramp = ramp if shape is None else shape(ramp)
    slow = fresh / factor if slowed is None else slowed(fresh)
    return Rope(fresh * (1 - ramp) + slow * ramp, 0.1 * math.log(factor) + 1)


@wrong(
    "q5", hint="The ramp is the wrong way round: it is the **slow** pairs that are interpolated."
)
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    given = (head_dim, base, trained, factor, beta_fast, beta_slow)
    return blended(*given, shape=lambda ramp: 1 - ramp)


@wrong("q5", hint="A turn is 2 pi radians: too many pairs were taken for fast.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    return blended(head_dim, base, trained, factor, beta_fast, beta_slow, turn=1.0)


@wrong("q5", hint="The slow dials turn faster than before. Divide by the factor.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    given = (head_dim, base, trained, factor, beta_fast, beta_slow)
    return blended(*given, slowed=lambda fresh: fresh * factor)


@wrong(
    "q5",
    hint="The slow dials are slowed twice. Divide the frequency **or** the position, not both.",
)
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    given = (head_dim, base, trained, factor, beta_fast, beta_slow)
    return blended(*given, slowed=lambda fresh: fresh / factor**2)


@wrong("q5", hint="All dials are slowed alike: that is interpolation. Fast ones stay.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    return Rope(thetas(head_dim, base) / factor, 0.1 * math.log(factor) + 1)


@wrong(
    "q5", hint="That is the NTK-aware way, a larger base. YaRN keeps the base, and sorts the pairs."
)
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    stretched = thetas(head_dim, base * factor ** (head_dim / (head_dim - 2)))
    return Rope(stretched, 0.1 * math.log(factor) + 1)


@wrong("q5", hint="The base is larger by the factor. YaRN keeps the base, and sorts the pairs.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    return Rope(thetas(head_dim, base * factor), 0.1 * math.log(factor) + 1)


@wrong("q5", hint="The ramp goes on past its ends, below 0 and above 1: `.clamp(0, 1)`.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    fresh = thetas(head_dim, base)
    turned = trained * fresh / TURN
    first, last = int((turned >= beta_fast).sum()) - 1, int((turned > beta_slow).sum())
    ramp = (torch.arange(len(fresh), dtype=torch.float64) - first) / (last - first)
    return Rope(fresh * (1 - ramp) + fresh / factor * ramp, 0.1 * math.log(factor) + 1)


@wrong(
    "q5",
    hint="The ramp runs over the number of turns. Here, as in the authors' code, it runs over "
    "the pairs, `i`.",
)
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    fresh = thetas(head_dim, base)
    turned = trained * fresh / TURN
    ramp = ((beta_fast - turned) / (beta_fast - beta_slow)).clamp(0, 1)
    return Rope(fresh * (1 - ramp) + fresh / factor * ramp, 0.1 * math.log(factor) + 1)


@wrong("q5", hint="There is no ramp: pairs between fast and slow are to be blended.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    given = (head_dim, base, trained, factor, beta_fast, beta_slow)
    return blended(*given, shape=lambda ramp: (ramp >= 1).double())


@wrong("q5", hint="The ramp starts one pair late: at the last fast pair it is 0. Mind the `- 1`.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    fresh = thetas(head_dim, base)
    turned = trained * fresh / TURN
    first, last = int((turned >= beta_fast).sum()), int((turned > beta_slow).sum())
    ramp = ((torch.arange(len(fresh), dtype=torch.float64) - first) / (last - first)).clamp(0, 1)
    return Rope(fresh * (1 - ramp) + fresh / factor * ramp, 0.1 * math.log(factor) + 1)


@wrong("q5", hint="The ramp ends one pair early: at the first slow pair, no sooner, it is 1.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    fresh = thetas(head_dim, base)
    turned = trained * fresh / TURN
    first, last = int((turned >= beta_fast).sum()) - 1, int((turned > beta_slow).sum()) - 1
    ramp = ((torch.arange(len(fresh), dtype=torch.float64) - first) / (last - first)).clamp(0, 1)
    return Rope(fresh * (1 - ramp) + fresh / factor * ramp, 0.1 * math.log(factor) + 1)


@wrong(
    "q5",
    hint="The factor was blended, as if the time of a turn were. Blend the two **frequencies**.",
)
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    fresh = thetas(head_dim, base)
    turned = trained * fresh / TURN
    first, last = int((turned >= beta_fast).sum()) - 1, int((turned > beta_slow).sum())
    ramp = ((torch.arange(len(fresh), dtype=torch.float64) - first) / (last - first)).clamp(0, 1)
    return Rope(fresh / (1 - ramp + factor * ramp), 0.1 * math.log(factor) + 1)


@wrong("q5", hint="beta_fast and beta_slow are arguments: 32 and 1 are only their usual values.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    return blended(head_dim, base, trained, factor, 32.0, 1.0)


@wrong("q5", hint="The temperature is still 1: give `Rope` its second value.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    return Rope(blended(head_dim, base, trained, factor, beta_fast, beta_slow).frequencies)


@wrong("q5", hint="The temperature has the logarithm to base 10. `ln` is `math.log`.")
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    found = blended(head_dim, base, trained, factor, beta_fast, beta_slow)
    return Rope(found.frequencies, 0.1 * math.log10(factor) + 1)


@wrong(
    "q5",
    hint="That is what a **score** grows by. Queries and keys are each multiplied, so each gets "
    "its square root: `0.1 * math.log(factor) + 1`.",
)
def yarn(head_dim, base, trained, factor, beta_fast=32.0, beta_slow=1.0):
    found = blended(head_dim, base, trained, factor, beta_fast, beta_slow)
    return Rope(found.frequencies, found.temperature**2)
