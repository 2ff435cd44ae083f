"""Time ours and each peer pair by pair, so that what slows the machine slows both."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

Contestant = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison on one input.

    Attributes:
        name: what is compared, unique in its benchmark.
        params: sizes and settings, for the record.
        ours: computes the answer from the input, both bound in it.
        peers: the same task by other libraries, by the name to print.
        quality: figures such as recall and error of an answer, ours or a peer's.
        rounds: how often ours is paired with each peer; 0, for runs of minutes, times the run
            whose quality is reported, and no other.
    """

    name: str
    params: Mapping[str, int | float | str]
    ours: Contestant
    peers: Mapping[str, Contestant]
    quality: Callable[[Any], dict[str, float]]
    rounds: int = 5


@dataclass(frozen=True, slots=True)
class Peer:
    """How a peer did.

    Attributes:
        seconds: its median time.
        ratio: the median over rounds of its time divided by ours: above 1, ours is faster.
        spread: the first and third quartile of those ratios.
        quality: of its answer.
    """

    seconds: float
    ratio: float
    spread: tuple[float, float]
    quality: dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How ours and its peers did on one case.

    Attributes:
        name, params: of the case.
        ours: our median time in seconds, over all pairs.
        peers: by name.
        quality: of our answer.
    """

    name: str
    params: dict[str, int | float | str]
    ours: float
    peers: dict[str, Peer]
    quality: dict[str, float]


def compare(
    case: Case,
    *,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[str], None] = lambda contestant: None,
) -> Comparison:
    """Measure a case.

    Every contestant first runs once: that compiles, fills caches and gives the answer whose
    quality is reported. Its time counts only where there are no rounds. Then, round after round,
    ours and each peer run back to back. Who goes first changes from round to round.

    Args:
        case: what to measure.
        clock: gives seconds.
        progress: told the name of each contestant before it runs.
    Returns:
        Comparison.
    """

    def run(name: str, contestant: Contestant) -> tuple[Any, float]:
        progress(name)
        gc.collect()  # one contestant's garbage is not collected on another's time
        start = clock()
        answer = contestant()
        return answer, clock() - start

    def first(name: str, contestant: Contestant) -> tuple[dict[str, float], float]:
        answer, seconds = run(name, contestant)
        return case.quality(answer), seconds

    quality, our_first = first("ours", case.ours)
    firsts = {name: first(name, peer) for name, peer in case.peers.items()}
    ours: dict[str, list[float]] = {name: [] for name in case.peers}
    theirs: dict[str, list[float]] = {name: [] for name in case.peers}
    for turn in range(case.rounds):
        for name, peer in case.peers.items():
            pair = [(ours, "ours", case.ours), (theirs, name, peer)]
            for times, label, contestant in pair if turn % 2 == 0 else reversed(pair):
                times[name].append(run(label, contestant)[1])
    if not case.rounds:
        ours = {name: [our_first] for name in case.peers}
        theirs = {name: [seconds] for name, (_, seconds) in firsts.items()}
    return Comparison(
        name=case.name,
        params=dict(case.params),
        ours=median(time for times in ours.values() for time in times),
        peers={name: _peer(ours[name], theirs[name], firsts[name][0]) for name in case.peers},
        quality=quality,
    )


def _peer(ours: list[float], theirs: list[float], quality: dict[str, float]) -> Peer:
    ratios = np.array(theirs) / np.array(ours)
    first, middle, third = np.percentile(ratios, [25, 50, 75]).tolist()
    return Peer(median(theirs), middle, (first, third), quality)
