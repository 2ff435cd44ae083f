"""The checks of the batching lab. Expected values come from sorted lists, from trying all prefixes
of a queue, and from dealing out tokens one by one. A whole policy serves in the library's
simulator, and a referee watches it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from toolkit.classroom import expect, question, require
from toolkit.kernels.roofline import CARDS
from toolkit.serving.batching import (
    MODELS,
    Batch,
    Blocks,
    LogNormal,
    PolicyError,
    Roofline,
    Schedule,
    State,
    Targets,
    Trace,
    VllmV0,
    metrics,
    simulate,
)
from toolkit.serving.batching.informed import Informed

BLOCK = 16


@dataclass(frozen=True)
class Request:
    """Crosses to the learner's class of this name."""

    id: int
    known: int
    computed: int
    longest: int


def blocks_of(tokens: int) -> int:
    return len(range(0, tokens, BLOCK))


# -- q1 ------------------------------------------------------------------------------------------

TICK = 1 / 64
"""Times are multiples of it, so that differences are exact and a target can be met to the dot."""


def draw_times(rng: np.random.Generator, tokens: int, most: int = 20) -> tuple[float, list[float]]:
    """An arrival and token times, the first of them long after it; gaps are less than ``most``."""
    steps = rng.integers(1, most, tokens)
    steps[0] += 40
    arrival = int(rng.integers(100, 400))
    return arrival * TICK, (TICK * (arrival + np.cumsum(steps))).tolist()


def gaps_of(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


@question(
    "q1",
    points=1,
    hints=[
        "All three are differences: `times[0] - arrival`, then `times[-1] - times[0]`, then of "
        "each token and the one before.",
        "Between n tokens there are n - 1 gaps: divide by `len(times) - 1`.",
        "`max(b - a for a, b in zip(times, times[1:]))` is the longest gap.",
    ],
)
def one_request_in_three_times(answer, rng):
    """TTFT, TPOT and the longest gap of a request of several tokens."""
    for tokens in (2, 3, 12, 40):
        arrival, times = draw_times(rng, tokens)
        gaps = gaps_of(times)
        expect(
            answer.latencies(arrival, times),
            (times[0] - arrival, sum(gaps) / len(gaps), max(gaps)),
        )


@question(
    "q1",
    points=1,
    hints=["One token has no other to wait for: return `math.nan` twice, before you divide by 0."],
)
def one_token_has_a_first_and_no_gap(answer, rng):
    """A request of one token has a TTFT, and nan for the rest."""
    arrival, times = draw_times(rng, 1)
    expect(answer.latencies(arrival, times), (times[0] - arrival, math.nan, math.nan))


# -- q2 ------------------------------------------------------------------------------------------


def percentile_99(values: list[float]) -> float:
    """Between the two values that the place falls between, in proportion."""
    place = 0.99 * (len(values) - 1)
    below = math.floor(place)
    low, high = sorted(values)[below], sorted(values)[math.ceil(place)]
    return low + (place - below) * (high - low)


def served(requests, ttft: float, gap: float) -> tuple[float, float]:
    met = 0
    for arrival, times in requests:
        met += times[0] - arrival <= ttft and all(one <= gap for one in gaps_of(times))
    everything = [time for _, times in requests for time in times]
    span = max(everything) - min(arrival for arrival, _ in requests)
    return percentile_99([one for _, times in requests for one in gaps_of(times)]), met / span


@question(
    "q2",
    points=1,
    hints=[
        "Put the gaps of all requests into one list, and take one percentile of it. From the last "
        "token of one request to the first of the next there is no gap.",
        "`np.percentile(gaps, 99)`, as a `float`.",
    ],
)
def p99_is_of_all_gaps(answer, rng):
    """The P99 of inter-token latency is over the gaps of all requests."""
    for count in (3, 12):
        requests = []
        for turn in range(count):  # each long after the one before
            # of many lengths, so that few gaps are as long as the longest of their request
            arrival, times = draw_times(rng, int(rng.integers(2, 40)), most=2000)
            requests.append((arrival + 2000 * turn, [time + 2000 * turn for time in times]))
        p99, _ = served(requests, 1.0, 1.0)
        found = answer.summary(requests, 1.0, 1.0)
        expect(found[0], p99)


@question(
    "q2",
    points=1,
    hints=[
        "Count those whose TTFT is at most `ttft` and whose longest gap is at most `gap`; divide "
        "by the seconds from the first arrival to the last token of all.",
        "`math.nan <= gap` is False, and so is `math.nan > gap`.",
    ],
)
def goodput_counts_kept_promises(answer, rng):
    """Goodput counts requests that met both targets, to the dot, in the time that all took."""
    requests = [draw_times(rng, int(rng.integers(2, 8))) for _ in range(12)]
    requests += [draw_times(rng, 1), draw_times(rng, 1)]
    firsts = sorted(times[0] - arrival for arrival, times in requests)
    longest = sorted(max(gaps_of(times), default=0.0) for _, times in requests)
    for ttft, gap in ((firsts[9], longest[9]), (firsts[-1], longest[6]), (firsts[6], longest[-1])):
        requests = [requests[i] for i in rng.permutation(len(requests))]
        _, goodput = served(requests, ttft, gap)
        found = answer.summary(requests, ttft, gap)
        expect(found[1], goodput)


# -- q3 ------------------------------------------------------------------------------------------


def draw_queue(rng: np.random.Generator, count: int, first: int) -> list[Request]:
    """Those that wait, with ids that are not in order: some had come back to the front."""
    prompts = rng.integers(1, 300, count)
    longest = prompts + rng.integers(1, 700, count)
    ids = first + rng.permutation(count)
    rows = zip(ids.tolist(), prompts.tolist(), longest.tolist(), strict=True)
    return [Request(id, prompt, 0, most) for id, prompt, most in rows]


def draw_running(rng: np.random.Generator, count: int) -> list[Request]:
    """Those that have written something."""
    begun = []
    for request in draw_queue(rng, count, 0):
        known = int(rng.integers(request.known + 1, request.longest + 1))
        begun.append(replace(request, known=known, computed=known - 1))
    return begun


def longest_prefix(running, waiting, max_batch: int, blocks: int) -> list[int]:
    """By trying all prefixes, the longest first."""
    for size in range(len(waiting), 0, -1):
        everyone = running + waiting[:size]
        reserved = sum(blocks_of(request.longest) for request in everyone)
        if len(everyone) <= max_batch and reserved <= blocks:
            return [request.id for request in waiting[:size]]
    return []


def admitted(answer, running, waiting, max_batch: int, blocks: int) -> None:
    found = answer.admit(running, waiting, max_batch, blocks)
    expect(found, longest_prefix(running, waiting, max_batch, blocks))


@question(
    "q3",
    points=1,
    hints=[
        "Go through the queue, and stop where the batch is full.",
        "Those that run are in the batch already: `len(running) + len(joining) == max_batch`.",
    ],
)
def a_batch_has_so_many_places(answer, rng):
    """With memory for all, as many join as there are places."""
    running, waiting = draw_running(rng, 3), draw_queue(rng, 6, 10)
    for max_batch in (3, 5, 20):
        admitted(answer, running, waiting, max_batch, 10_000)
    admitted(answer, [], waiting, 4, 10_000)
    admitted(answer, running, [], 4, 10_000)


@question(
    "q3",
    points=1,
    hints=[
        "Begin with what is reserved: `sum(blocks_of(request.longest) for request in running)`.",
        "Add `blocks_of(request.longest)` of one after the other, and stop where it is more than "
        "`blocks`.",
    ],
)
def memory_is_reserved_for_the_longest(answer, rng):
    """With places for all, as many join as there are blocks for the longest that each may be."""
    for _ in range(4):
        running, waiting = draw_running(rng, 4), draw_queue(rng, 24, 10)
        reserved = sum(blocks_of(request.longest) for request in running + waiting[:4])
        admitted(answer, running, waiting, 100, reserved)  # full to the last block
        admitted(answer, running, waiting, 100, reserved - 1)


@question(
    "q3",
    points=1,
    hints=["`break` where one does not fit: nobody behind it may join, however short."],
)
def nobody_overtakes(answer, rng):
    """Who does not fit waits, and all behind it too."""
    running, waiting = draw_running(rng, 2), draw_queue(rng, 6, 10)
    waiting[2] = replace(waiting[2], longest=5000)
    waiting[3:] = [replace(request, known=5, longest=9) for request in waiting[3:]]
    few = sum(blocks_of(request.longest) for request in running + waiting[:2])
    admitted(answer, running, waiting, 100, few + 100)


@question(
    "q3",
    points=1,
    hints=["A block is one request's: `blocks_of` of each, and then the sum, not the other way."],
)
def blocks_are_not_shared(answer, rng):
    """Each request's blocks are rounded up by themselves."""
    running = [Request(id, 20, 19, 16 * int(rng.integers(3, 9)) + 1) for id in range(4)]
    waiting = [Request(id, 5, 0, 16 * int(rng.integers(3, 9)) + 1) for id in range(4, 12)]
    for size in (2, 5):
        room = sum(blocks_of(request.longest) for request in running + waiting[:size])
        admitted(answer, running, waiting, 100, room)


# -- q4 ------------------------------------------------------------------------------------------


def token_by_token(running, waiting, budget: int) -> dict[int, int]:
    """Deal the budget out one token at a time, always to the first who has any left to compute."""
    new = {request.id for request in waiting}
    ranked = []
    for place, request in enumerate(running + waiting):
        left = request.known - request.computed
        decodes = left == 1 and request.computed > 0
        ranked.append((request.id in new, not decodes, place, request.id, left))
    tokens = [number for *_, number, left in sorted(ranked) for _ in range(left)][:budget]
    return dict(Counter(tokens))


def draw_mixed(rng: np.random.Generator) -> list[Request]:
    """Some decode, some are in the middle of their prompts, in any order."""
    begun = []
    for number in rng.permutation(6).tolist():
        known = int(rng.integers(20, 200))
        computed = known - 1 if number % 2 else int(rng.integers(1, known - 5))
        begun.append(Request(number, known, computed, known + 100))
    return begun


def sized(answer, running, waiting, budget: int) -> None:
    expect(answer.chunk_sizes(running, waiting, budget), token_by_token(running, waiting, budget))


@question(
    "q4",
    points=1,
    hints=[
        "A request has `request.known - request.computed` tokens left. One that decodes has 1.",
        "`chunks[request.id] = request.known - request.computed` for all of `running + waiting`, "
        "while the budget is ample.",
    ],
)
def all_that_is_left_where_the_budget_is_ample(answer, rng):
    """With budget for all, each computes what it has left."""
    running, waiting = draw_mixed(rng), draw_queue(rng, 3, 10)
    sized(answer, running, waiting, 5000)
    sized(answer, [], waiting, 5000)
    sized(answer, running, [], 5000)
    sized(answer, [], [], 5000)


@question(
    "q4",
    points=1,
    hints=[
        "Keep what is left of the budget: `chunk = min(request.known - request.computed, left)`, "
        "and then `left -= chunk`.",
        "Where the chunk is 0, leave the request out.",
    ],
)
def the_budget_is_filled_and_kept(answer, rng):
    """The budget is filled to the token, and kept: the last one gets a part of its prompt."""
    for _ in range(4):
        waiting = draw_queue(rng, 6, 10)
        budget = sum(request.known for request in waiting[:3])
        for tokens in (budget - 1, budget, budget + 1, 7):
            sized(answer, [], waiting, tokens)


@question(
    "q4",
    points=1,
    hints=[
        "Three lists, one after the other: those of `running` that decode, the others of "
        "`running`, and `waiting`.",
    ],
)
def decodes_then_begun_then_new(answer, rng):
    """First who decodes, then who has begun, then who is new."""
    for _ in range(4):
        running, waiting = draw_mixed(rng), draw_queue(rng, 4, 10)
        begun = sum(request.known - request.computed for request in running)
        for budget in (3, 10, begun // 2, begun, begun + 30):
            sized(answer, running, waiting, budget)


@question(
    "q4",
    points=1,
    hints=["Decodes count, too: with a budget of 2, only two of three that decode get a token."],
)
def decodes_count(answer, rng):
    """Decodes are in the budget, even if there are more of them than tokens."""
    running = [replace(request, computed=request.known - 1) for request in draw_mixed(rng)]
    for budget in (2, 5, 9):
        sized(answer, running, draw_queue(rng, 2, 10), budget)


# -- q5 ------------------------------------------------------------------------------------------


def room_for(running, chunks: dict[int, int], free: int) -> tuple[dict[int, int], list[int]]:
    """By trying how many of the last must lose their blocks.

    As soon as the first i of n can have theirs beside all others, nobody more has to go; each goes
    for the first that finds too few blocks, one by one.
    """
    need = [
        blocks_of(request.computed + chunks.get(request.id, 0)) - blocks_of(request.computed)
        for request in running
    ]
    for gone in range(len(running) + 1):
        left = len(running) - gone
        given_back = sum(blocks_of(request.computed) for request in running[left:])
        if sum(need[:left]) <= free + given_back:
            break
    kept = [request.id for request in running[:left]]
    granted = {number: chunks[number] for number in kept if number in chunks}
    return granted, [request.id for request in reversed(running[left:])]


def draw_decodes(rng: np.random.Generator, full: list[bool]) -> list[Request]:
    """Those that decode, some of them with their last block full."""
    begun = []
    for number, is_full in zip(rng.permutation(len(full)).tolist(), full, strict=True):
        computed = 16 * int(rng.integers(1, 9)) + (0 if is_full else int(rng.integers(1, 15)))
        begun.append(Request(number, computed + 1, computed, computed + 50))
    return begun


def made_room(answer, running, chunks: dict[int, int], free: int) -> None:
    expect(answer.make_room(running, chunks, free), room_for(running, chunks, free))


def one_each(running) -> dict[int, int]:
    return {request.id: 1 for request in running}


@question(
    "q5",
    points=1,
    hints=[
        "How many blocks does a chunk need? Those for `computed + chunk` tokens, less those for "
        "`computed`.",
        "As long as `needed <= free`, take them: `free -= needed`, and the chunk is granted.",
    ],
)
def nobody_goes_while_there_is_room(answer, rng):
    """While there are blocks enough, nobody loses any; who has room in its last needs none."""
    running = draw_decodes(rng, [True, False, True, False])
    made_room(answer, running, one_each(running), 2)
    running = draw_decodes(rng, [False] * 5)
    made_room(answer, running, one_each(running), 0)
    running = [Request(id, 400, 16 * int(rng.integers(9)) + 5, 500) for id in range(4)]
    made_room(answer, running, {request.id: 20 for request in running[:3]}, 3)
    made_room(answer, [], {}, 3)


@question(
    "q5",
    points=1,
    hints=[
        "`while needed > free`: `last = kept.pop()`, with `kept = list(running)` before the loop.",
        "It gives back `blocks_of(last.computed)` blocks, and its id goes to the lost ones. Go on "
        "until a request comes that has lost its own.",
    ],
)
def the_last_to_begin_goes(answer, rng):
    """While there are too few, the last to have begun loses all of its blocks."""
    for size in (4, 7):
        for free in range(3):
            running = draw_decodes(rng, [True] * size)
            made_room(answer, running, one_each(running), free)
    running = draw_decodes(rng, [True, True, False, True, False, True])
    made_room(answer, running, one_each(running), 0)
    running = [Request(id, 17, 16, 40) for id in rng.permutation(6).tolist()]
    made_room(answer, running, one_each(running), 0)
    # a prompt takes a long chunk, for which several must go; the last is in no chunk at all
    for full in ([True] * 3, [False, True] * 3):
        running = [Request(9, 900, 64, 999), *draw_decodes(rng, full)]
        chunks = {9: 16 * sum(blocks_of(request.computed) for request in running[-3:])}
        made_room(answer, running, chunks | one_each(running[1:-1]), 0)


@question(
    "q5",
    points=1,
    hints=[
        "A request may find nobody behind it. It is then the last of `kept` itself: it loses its "
        "blocks, and gets no chunk.",
    ],
)
def the_last_loses_its_own(answer, rng):
    """Who is the last itself loses its own blocks, and gets no chunk."""
    running = draw_decodes(rng, [True, False, False, True])
    made_room(answer, running, one_each(running), 1)
    running = draw_decodes(rng, [True])
    made_room(answer, running, one_each(running), 0)


# -- q6 ------------------------------------------------------------------------------------------

CARD = Roofline(MODELS["Mistral-7B"], CARDS["A100 80GB SXM"])
MOST_ITERATIONS = 3000
"""One request at a time takes a third of it."""


class Referee:
    """Passes on what a policy says, if it keeps the rules that a scheduler does not hold it to."""

    def __init__(self, answer, budget: int, max_batch: int, blocks: int) -> None:
        self._step = answer.StallFree(budget, max_batch, blocks).next_batch
        self._informed = Informed(self._decide)
        self.budget, self.max_batch = budget, max_batch
        self.iteration = -1
        self.reply: Any = None

    def next_batch(self, state: State) -> Batch:
        self.iteration += 1
        batch = self._informed.next_batch(state)
        present = [*state.running, *state.waiting]
        if self.iteration == MOST_ITERATIONS:
            raise self._broken(present[0].id, "it is not served yet, and the check ends here")
        if present and not batch.chunks and not batch.preempted:
            one = present[0]
            raise self._broken(one.id, f"it has {one.left:,} tokens left, and the batch is empty")
        self._budget(batch)
        self._places(state, batch)
        return batch

    def _decide(self, events):
        self.reply = self._step(events)
        match self.reply:
            case (dict(chunks), list(lost)):
                numbers = [*chunks, *chunks.values(), *lost]
                if all(type(number) is int or isinstance(number, np.integer) for number in numbers):
                    whole = {int(number): int(tokens) for number, tokens in chunks.items()}
                    return whole, [int(number) for number in lost]
        shape = "it should be two: a dict of tokens by id, and a list of ids"
        raise PolicyError(f"iteration {self.iteration}: {shape}")

    def _budget(self, batch: Batch) -> None:
        tokens = 0
        for number, chunk in batch.chunks.items():
            tokens += chunk
            if tokens > self.budget:
                rule = f"with its {chunk:,} tokens the batch has {tokens:,}"
                raise self._broken(number, f"{rule}, and the budget is {self.budget:,}")

    def _places(self, state: State, batch: Batch) -> None:
        queue = batch.preempted[::-1] + [request.id for request in state.waiting]
        run = {request.id for request in state.running} - set(batch.preempted)
        new = [number for number in batch.chunks if number not in run | set(batch.preempted)]
        for number in new:
            if number in queue[len(new) :]:
                ahead = next(other for other in queue if other not in new)
                lost = "has just lost its blocks and " if ahead in batch.preempted else ""
                rule = f"it begins, and request {ahead} {lost}stands before it in the queue"
                raise self._broken(number, rule)
        if len(run) + len(new) > self.max_batch:
            many = f"{len(run) + len(new)} would run"
            raise self._broken(new[-1], f"it begins, and {many}; at most {self.max_batch} may")

    def _broken(self, number: int, rule: str) -> PolicyError:
        return PolicyError(f"iteration {self.iteration}, request {number}: {rule}")


def keeps_the_rules(
    answer, trace: Trace, budget: int, max_batch: int, blocks: int
) -> Schedule | None:
    """Serve a trace; None where a rule is broken, which the check then is about."""
    referee = Referee(answer, budget, max_batch, blocks)
    try:
        return simulate(trace, referee, CARD, lambda: Blocks(blocks))
    except PolicyError as error:
        require(False, str(error), referee.reply)
        return None


def draw_trace(
    rng: np.random.Generator,
    count: int,
    prompts: tuple[int, int],
    outputs: tuple[int, int],
    *,
    apart: float = 0.0,
    max_tokens: int = 400,
) -> Trace:
    return Trace(
        arrival=apart * np.arange(count),
        prompt_tokens=rng.integers(*prompts, count),
        output_tokens=rng.integers(*outputs, count),
        max_tokens=max_tokens,
    )


@question(
    "q6",
    points=1,
    hints=[
        "Before anything else, let one request be served from its prompt to its end: "
        "`chunk_sizes(running, waiting, self.budget)` is a batch that keeps the budget.",
        "Return two things, also where nobody loses anything: `chunks, []`.",
    ],
)
def one_at_a_time(answer, rng):
    """Requests that come one by one are served, each in chunks and then token by token."""
    trace = draw_trace(rng, 4, (600, 1300), (1, 8), apart=10.0)
    keeps_the_rules(answer, trace, 512, 8, 500)


@question(
    "q6",
    points=1,
    hints=[
        "Only so many of the queue may begin: `waiting[: self.max_batch - len(running)]`.",
        "Requests begin in the order of the queue, and `chunk_sizes` keeps it.",
    ],
)
def many_at_once(answer, rng):
    """Of many that come at once as many run as may, in order, within the budget."""
    trace = draw_trace(rng, 20, (20, 300), (6, 20))
    keeps_the_rules(answer, trace, 256, 6, 2000)


@question(
    "q6",
    points=1,
    hints=[
        "Free are `self.blocks - sum(blocks_of(request.computed) for request in running)`. Give "
        "the running ones their chunks first, through `make_room`, and where somebody lost its "
        "blocks, begin nobody else.",
        "Who may begin? In the order of the queue, those for whose whole prompt there are blocks, "
        "beside `blocks_of(request.known)` of each that runs.",
    ],
)
def memory_is_short(answer, rng):
    """Where memory is short, nobody takes a block that isn't there, and all are served."""
    trace = draw_trace(rng, 10, (60, 100), (48, 64))
    keeps_the_rules(answer, trace, 128, 10, 40)


TARGETS = Targets(ttft=0.6, inter_token=0.05)
PROMPTS = LogNormal(mean=1600, median=1500, most=3000)
OUTPUTS = LogNormal(mean=20, median=16, most=64)
BETTER = 1.5
V0_SERVES = range(10, 31)
"""Of 80 requests, as promised: so that 1.5 times as many is neither little nor too much."""


def draw_load(rng: np.random.Generator) -> tuple[Trace, float]:
    """Eighty requests, and what vLLM v0 makes of them."""
    while True:
        seed = int(rng.integers(2**31))
        drawn = Trace.synthetic(80, 8.0, prompts=PROMPTS, outputs=OUTPUTS, seed=seed)
        trace = replace(drawn, max_tokens=12_000)
        found = metrics(simulate(trace, VllmV0(16), CARD, lambda: Blocks(1000)), TARGETS)
        if round(found.attainment * len(trace)) in V0_SERVES:
            return trace, found.goodput


@question(
    "q6",
    points=2,
    hints=[
        "If many have their first token late, too few run at once: prompts wait for memory that is "
        "set aside for answers nobody writes, or the budget isn't filled.",
        "If many wait too long between two tokens, somebody's answer stands still while prompts "
        "are computed: decodes come first, in each iteration.",
    ],
)
def goodput_beats_vllm_v0(answer, rng):
    """Its goodput is at least 1.5 times that of vLLM v0."""
    trace, v0 = draw_load(rng)
    schedule = keeps_the_rules(answer, trace, 512, 16, 1000)
    if schedule is None:
        return
    mine = metrics(schedule, TARGETS).goodput
    first = int((schedule.first_token - schedule.arrival > TARGETS.ttft).sum())
    stalled = sum(
        max(np.diff(schedule.tokens(row)), default=0.0) > TARGETS.inter_token
        for row in range(len(trace))
    )
    require(
        mine >= BETTER * v0,
        f"its goodput is {mine:.2f} requests a second, and vLLM v0 has {v0:.2f}: of 80 requests, "
        f"{first} had their first token late, and {stalled} waited too long for another",
        answer.call_log[-1].result,
    )
