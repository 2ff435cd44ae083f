"""Plausible wrong answers to the batching lab, each with the hint that mends it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from toolkit.classroom import wrong


class Request(NamedTuple):
    id: int
    known: int
    computed: int
    longest: int


def blocks_of(tokens):
    return math.ceil(tokens / 16)


def decoding(request):
    return request.known - request.computed == 1 and request.computed > 0


# -- q1 ------------------------------------------------------------------------------------------


@wrong(
    "q1", hint="TTFT is how long the client waited: take the arrival off the first token's time."
)
def latencies(arrival, times):
    if len(times) == 1:
        return times[0], math.nan, math.nan
    tpot = (times[-1] - times[0]) / (len(times) - 1)
    return times[0], tpot, float(np.diff(times).max())


@wrong("q1", hint="Between n tokens there are n - 1 gaps: TPOT divides by one less.")
def latencies(arrival, times):
    if len(times) == 1:
        return times[0] - arrival, math.nan, math.nan
    tpot = (times[-1] - times[0]) / len(times)
    return times[0] - arrival, tpot, float(np.diff(times).max())


@wrong(
    "q1",
    hint="TPOT begins with the first token. What came before is TTFT, and would be counted twice.",
)
def latencies(arrival, times):
    if len(times) == 1:
        return times[0] - arrival, math.nan, math.nan
    return times[0] - arrival, (times[-1] - arrival) / len(times), float(np.diff(times).max())


@wrong(
    "q1",
    hint="Your longest gap may be the wait for the first token. That is TTFT: only gaps between "
    "two tokens count.",
)
def latencies(arrival, times):
    longest = float(np.diff([arrival, *times]).max())
    if len(times) == 1:
        return times[0] - arrival, math.nan, math.nan
    return times[0] - arrival, (times[-1] - times[0]) / (len(times) - 1), longest


@wrong("q1", hint="A request of one token has no gap, and you divide by their number: return nan.")
def latencies(arrival, times):
    tpot = (times[-1] - times[0]) / (len(times) - 1)
    return times[0] - arrival, tpot, float(np.diff(times).max())


@wrong(
    "q1",
    hint="0 seconds for a token would be the best of all. Of a request of one token nothing is "
    "known: nan.",
)
def latencies(arrival, times):
    if len(times) == 1:
        return times[0] - arrival, 0.0, 0.0
    tpot = (times[-1] - times[0]) / (len(times) - 1)
    return times[0] - arrival, tpot, float(np.diff(times).max())


# -- q2 ------------------------------------------------------------------------------------------


def goodput_of(requests, ttft, gap):
    met = sum(
        times[0] - arrival <= ttft and max(np.diff(times), default=0.0) <= gap
        for arrival, times in requests
    )
    return met / seconds_of(requests)


def seconds_of(requests):
    return max(times[-1] for _, times in requests) - min(arrival for arrival, _ in requests)


def p99_of(requests):
    return float(np.percentile(np.concatenate([np.diff(times) for _, times in requests]), 99))


@wrong(
    "q2",
    hint="You put the tokens of all requests in a row before you took the differences: from one "
    "request to the next there is no gap.",
)
def summary(requests, ttft, gap):
    everything = [time for _, times in requests for time in times]
    return float(np.percentile(np.diff(everything), 99)), goodput_of(requests, ttft, gap)


@wrong(
    "q2",
    hint="That is the mean of each request's P99. A percentile of percentiles is none: put all "
    "gaps together first.",
)
def summary(requests, ttft, gap):
    each = [np.percentile(np.diff(times), 99) for _, times in requests if len(times) > 1]
    return float(np.mean(each)), goodput_of(requests, ttft, gap)


@wrong(
    "q2",
    hint="That is the P99 of TPOT, of one mean a request, in which no stall is seen. Take all "
    "gaps.",
)
def summary(requests, ttft, gap):
    each = [(times[-1] - times[0]) / (len(times) - 1) for _, times in requests if len(times) > 1]
    return float(np.percentile(each, 99)), goodput_of(requests, ttft, gap)


@wrong(
    "q2",
    hint="That is the P99 of one gap a request, its longest. Most gaps are shorter: take all.",
)
def summary(requests, ttft, gap):
    each = [np.diff(times).max() for _, times in requests if len(times) > 1]
    return float(np.percentile(each, 99)), goodput_of(requests, ttft, gap)


@wrong("q2", hint="`np.percentile` takes per cent, 0 to 100: 99, not 0.99.")
def summary(requests, ttft, gap):
    gaps = np.concatenate([np.diff(times) for _, times in requests])
    return float(np.percentile(gaps, 0.99)), goodput_of(requests, ttft, gap)


@wrong(
    "q2",
    hint="**At most** the target: a request exactly at it has met it, so compare with `<=`.",
)
def summary(requests, ttft, gap):
    met = sum(
        times[0] - arrival < ttft and max(np.diff(times), default=0.0) < gap
        for arrival, times in requests
    )
    return p99_of(requests), met / seconds_of(requests)


@wrong(
    "q2",
    hint="Requests of one token are lost: their longest gap is nan, and nan is not `<=` anything. "
    "They meet the target.",
)
def summary(requests, ttft, gap):
    met = sum(
        times[0] - arrival <= ttft and max(np.diff(times), default=math.nan) <= gap
        for arrival, times in requests
    )
    return p99_of(requests), met / seconds_of(requests)


@wrong("q2", hint="That is a share, the attainment. Goodput is per second: divide by the time.")
def summary(requests, ttft, gap):
    return p99_of(requests), goodput_of(requests, ttft, gap) * seconds_of(requests) / len(requests)


@wrong("q2", hint="The clock starts with the first arrival, which is not at 0.")
def summary(requests, ttft, gap):
    met = goodput_of(requests, ttft, gap) * seconds_of(requests)
    return p99_of(requests), met / max(times[-1] for _, times in requests)


@wrong(
    "q2",
    hint="The requests are in no order: the first arrival is the least of all, the last token the "
    "latest of all.",
)
def summary(requests, ttft, gap):
    met = goodput_of(requests, ttft, gap) * seconds_of(requests)
    return p99_of(requests), met / (requests[-1][1][-1] - requests[0][0])


@wrong(
    "q2",
    hint="You compare TPOT with the target of the gap, and a mean hides a stall. Take the longest.",
)
def summary(requests, ttft, gap):
    met = sum(
        times[0] - arrival <= ttft and np.mean(np.diff(times) if len(times) > 1 else [0.0]) <= gap
        for arrival, times in requests
    )
    return p99_of(requests), met / seconds_of(requests)


# -- q3 ------------------------------------------------------------------------------------------


@wrong(
    "q3",
    hint="You skip the one that does not fit and take one behind it: a long request could wait for "
    "ever. `break`, not `continue`.",
)
def admit(running, waiting, max_batch, blocks):
    reserved = sum(blocks_of(request.longest) for request in running)
    joining = []
    for request in waiting:
        needed = blocks_of(request.longest)
        if len(running) + len(joining) < max_batch and reserved + needed <= blocks:
            reserved += needed
            joining.append(request.id)
    return joining


@wrong(
    "q3",
    hint="What is reserved for those that run is missing: they will write their answers too.",
)
def admit(running, waiting, max_batch, blocks):
    reserved, joining = 0, []
    for request in waiting:
        reserved += blocks_of(request.longest)
        if len(running) + len(joining) == max_batch or reserved > blocks:
            break
        joining.append(request.id)
    return joining


@wrong(
    "q3",
    hint="You reserve what requests have now, `known`. Orca reserves what each can have in the "
    "end, `longest`.",
)
def admit(running, waiting, max_batch, blocks):
    reserved = sum(blocks_of(request.known) for request in running)
    joining = []
    for request in waiting:
        reserved += blocks_of(request.known)
        if len(running) + len(joining) == max_batch or reserved > blocks:
            break
        joining.append(request.id)
    return joining


@wrong(
    "q3",
    hint="For those that run you count what they have now. They go on writing: reserve `longest` "
    "for them too.",
)
def admit(running, waiting, max_batch, blocks):
    reserved = sum(blocks_of(request.computed) for request in running)
    joining = []
    for request in waiting:
        reserved += blocks_of(request.longest)
        if len(running) + len(joining) == max_batch or reserved > blocks:
            break
        joining.append(request.id)
    return joining


@wrong(
    "q3",
    hint="For those that join you count what they have now. They will write, too: reserve "
    "`longest` for them.",
)
def admit(running, waiting, max_batch, blocks):
    reserved = sum(blocks_of(request.longest) for request in running)
    joining = []
    for request in waiting:
        reserved += blocks_of(request.known)
        if len(running) + len(joining) == max_batch or reserved > blocks:
            break
        joining.append(request.id)
    return joining


@wrong("q3", hint="Those that run are in the batch already, and take places in it.")
def admit(running, waiting, max_batch, blocks):
    reserved = sum(blocks_of(request.longest) for request in running)
    joining = []
    for request in waiting:
        reserved += blocks_of(request.longest)
        if len(joining) == max_batch or reserved > blocks:
            break
        joining.append(request.id)
    return joining


@wrong("q3", hint="The last block may be used too: stop where it is **more** than there is.")
def admit(running, waiting, max_batch, blocks):
    reserved = sum(blocks_of(request.longest) for request in running)
    joining = []
    for request in waiting:
        reserved += blocks_of(request.longest)
        if len(running) + len(joining) == max_batch or reserved >= blocks:
            break
        joining.append(request.id)
    return joining


@wrong(
    "q3",
    hint="You add tokens and round up once. A block belongs to one request: round up for each.",
)
def admit(running, waiting, max_batch, blocks):
    tokens = sum(request.longest for request in running)
    joining = []
    for request in waiting:
        tokens += request.longest
        if len(running) + len(joining) == max_batch or blocks_of(tokens) > blocks:
            break
        joining.append(request.id)
    return joining


@wrong(
    "q3",
    hint="`longest` is in tokens, and memory in blocks of 16: `blocks_of(request.longest)`.",
)
def admit(running, waiting, max_batch, blocks):
    reserved = sum(request.longest for request in running)
    joining = []
    for request in waiting:
        reserved += request.longest
        if len(running) + len(joining) == max_batch or reserved > blocks:
            break
        joining.append(request.id)
    return joining


@wrong("q3", hint="These are requests. The answer is a list of their ids.")
def admit(running, waiting, max_batch, blocks):
    reserved = sum(blocks_of(request.longest) for request in running)
    joining = []
    for request in waiting:
        reserved += blocks_of(request.longest)
        if len(running) + len(joining) == max_batch or reserved > blocks:
            break
        joining.append(request)
    return joining


@wrong(
    "q3",
    hint="That is static batching: nobody joins while anybody runs. After each iteration somebody "
    "may.",
)
def admit(running, waiting, max_batch, blocks):
    reserved, joining = 0, []
    for request in [] if running else waiting:
        reserved += blocks_of(request.longest)
        if len(joining) == max_batch or reserved > blocks:
            break
        joining.append(request.id)
    return joining


# -- q4 ------------------------------------------------------------------------------------------


def dealt(requests, budget):
    chunks, left = {}, budget
    for request in requests:
        chunk = min(request.known - request.computed, left)
        if chunk > 0:
            chunks[request.id] = chunk
            left -= chunk
    return chunks


def in_order(running, waiting):
    decodes = [request for request in running if decoding(request)]
    return decodes + [request for request in running if not decoding(request)] + waiting


@wrong(
    "q4",
    hint="You go through `running` in its own order, so that a prompt may leave nothing for "
    "decodes behind it. First all that decode.",
)
def chunk_sizes(running, waiting, budget):
    return dealt(running + waiting, budget)


@wrong(
    "q4",
    hint="New prompts come before those that have begun here. These would never be done: `waiting` "
    "comes last.",
)
def chunk_sizes(running, waiting, budget):
    decodes = [request for request in running if decoding(request)]
    prompts = [request for request in running if not decoding(request)]
    return dealt(decodes + waiting + prompts, budget)


@wrong(
    "q4",
    hint="Prompts come first here, as in vLLM v0, and answers stand still for them. Decodes first.",
)
def chunk_sizes(running, waiting, budget):
    prompts = [request for request in running if not decoding(request)]
    decodes = [request for request in running if decoding(request)]
    return dealt(prompts + waiting + decodes, budget)


@wrong(
    "q4",
    hint="The budget is for all together: take off what the batch has so far.",
)
def chunk_sizes(running, waiting, budget):
    return {
        request.id: min(request.known - request.computed, budget)
        for request in in_order(running, waiting)
    }


@wrong(
    "q4",
    hint="You take a prompt only as a whole. Where it does not fit, take the part that does.",
)
def chunk_sizes(running, waiting, budget):
    chunks, left = {}, budget
    for request in in_order(running, waiting):
        chunk = request.known - request.computed
        if chunk > left:
            break
        chunks[request.id] = chunk
        left -= chunk
    return chunks


@wrong(
    "q4",
    hint="`known` counts what is computed already. What is left is `known - computed`: no token is "
    "computed twice.",
)
def chunk_sizes(running, waiting, budget):
    chunks, left = {}, budget
    for request in in_order(running, waiting):
        chunk = 1 if decoding(request) else min(request.known, left)
        if min(chunk, left) > 0:
            chunks[request.id] = chunk
            left -= chunk
    return chunks


@wrong("q4", hint="Who gets no token is not in the batch: leave out chunks of 0.")
def chunk_sizes(running, waiting, budget):
    chunks, left = {}, budget
    for request in in_order(running, waiting):
        chunks[request.id] = min(request.known - request.computed, left)
        left -= chunks[request.id]
    return chunks


@wrong(
    "q4",
    hint="Your decodes don't count, so that the batch has more tokens than the budget.",
)
def chunk_sizes(running, waiting, budget):
    chunks = {request.id: 1 for request in running if decoding(request)}
    prompts = [request for request in running if not decoding(request)]
    return {**chunks, **dealt(prompts + waiting, budget)}


@wrong(
    "q4",
    hint="If there are more decodes than tokens in the budget, only so many of them may be in the "
    "batch. Sarathi takes them all; here the budget is kept.",
)
def chunk_sizes(running, waiting, budget):
    chunks = {request.id: 1 for request in running if decoding(request)}
    prompts = [request for request in running if not decoding(request)]
    return {**chunks, **dealt(prompts + waiting, max(budget - len(chunks), 0))}


@wrong(
    "q4",
    hint="You share the budget out evenly. It goes to the first, as much as there is, then the "
    "next.",
)
def chunk_sizes(running, waiting, budget):
    requests = in_order(running, waiting)
    each = budget // max(len(requests), 1)
    chunks = {one.id: min(one.known - one.computed, each) for one in requests}
    return {number: chunk for number, chunk in chunks.items() if chunk > 0}


# -- q5 ------------------------------------------------------------------------------------------


def need_of(request, chunks):
    chunk = chunks.get(request.id, 0)
    return blocks_of(request.computed + chunk) - blocks_of(request.computed)


def roomy(running, chunks, free, *, pop=-1, gives=None, need=need_of):
    """The right answer, and places to go wrong in it."""
    gives = gives or (lambda request: blocks_of(request.computed))
    kept, granted, lost = list(running), {}, []
    for request in running:
        if request.id in lost:
            break
        needed = need(request, chunks)
        while needed > free and request.id not in lost:
            last = kept.pop(pop)
            free += gives(last)
            lost.append(last.id)
        if request.id in chunks and request.id not in lost:
            free -= needed
            granted[request.id] = chunks[request.id]
    return granted, lost


@wrong(
    "q5",
    hint="The one that needs a block loses its own here, though others began later. Those go "
    "first, the last of them first.",
)
def make_room(running, chunks, free):
    granted, lost = {}, []
    for request in running:
        if need_of(request, chunks) > free:
            lost.append(request.id)
            free += blocks_of(request.computed)
        elif request.id in chunks:
            free -= need_of(request, chunks)
            granted[request.id] = chunks[request.id]
    return granted, lost


@wrong(
    "q5",
    hint="The first to have begun goes here, who has waited longest and has most to lose. The last "
    "goes.",
)
def make_room(running, chunks, free):
    kept, granted, lost = list(running), {}, []
    for request in running:
        while request.id not in lost and need_of(request, chunks) > free:
            first = kept.pop(0)
            granted.pop(first.id, None)
            free += blocks_of(first.computed)
            lost.append(first.id)
        if request.id in chunks and request.id not in lost:
            free -= need_of(request, chunks)
            granted[request.id] = chunks[request.id]
    return granted, lost


@wrong(
    "q5",
    hint="Somebody goes as soon as nothing is free, although nothing is needed: who has room in "
    "its last block needs no other.",
)
def make_room(running, chunks, free):
    return roomy(running, chunks, free, need=lambda request, chunks: request.id in chunks)


@wrong(
    "q5",
    hint="Who loses its blocks gives back **all** of them, `blocks_of(last.computed)`, not one.",
)
def make_room(running, chunks, free):
    return roomy(running, chunks, free, gives=lambda request: 1)


@wrong(
    "q5",
    hint="What somebody loses is free for others: `free += blocks_of(last.computed)`.",
)
def make_room(running, chunks, free):
    return roomy(running, chunks, free, gives=lambda request: 0)


@wrong(
    "q5",
    hint="Only computed tokens are in memory: of one that decodes `known` is one more, and it has "
    "no block for that yet.",
)
def make_room(running, chunks, free):
    return roomy(running, chunks, free, gives=lambda request: blocks_of(request.known))


@wrong(
    "q5",
    hint="You count a chunk's blocks by themselves. It first fills the block that is begun: "
    "`blocks_of(computed + chunk) - blocks_of(computed)`.",
)
def make_room(running, chunks, free):
    def need(request, chunks):
        return blocks_of(chunks.get(request.id, 0))

    return roomy(running, chunks, free, need=need)


@wrong(
    "q5",
    hint="One goes, and that may not be enough for a long chunk: `while`, not `if`.",
)
def make_room(running, chunks, free):
    kept, granted, lost = list(running), {}, []
    for request in running:
        if request.id in lost:
            break
        needed = need_of(request, chunks)
        if needed > free:
            last = kept.pop()
            free += blocks_of(last.computed)
            lost.append(last.id)
        if request.id in chunks and request.id not in lost:
            free -= needed
            granted[request.id] = chunks[request.id]
    return granted, lost


@wrong(
    "q5",
    hint="One that has lost its blocks still has a chunk in your batch. Nothing of it can be "
    "computed now.",
)
def make_room(running, chunks, free):
    _, lost = roomy(running, chunks, free)
    return dict(chunks), lost


@wrong(
    "q5",
    hint="What is taken is not free any more: `free -= needed`.",
)
def make_room(running, chunks, free):
    kept, granted, lost = list(running), {}, []
    for request in running:
        if request.id in lost:
            break
        while need_of(request, chunks) > free and request.id not in lost:
            last = kept.pop()
            free += blocks_of(last.computed)
            lost.append(last.id)
        if request.id in chunks and request.id not in lost:
            granted[request.id] = chunks[request.id]
    return granted, lost


@wrong(
    "q5",
    hint="The last itself has nobody behind it that could go. You give it its chunk all the same, "
    "without a block.",
)
def make_room(running, chunks, free):
    kept, granted, lost = list(running), {}, []
    for request in running:
        if request.id in lost:
            break
        needed = need_of(request, chunks)
        while needed > free and kept[-1] is not request:
            last = kept.pop()
            free += blocks_of(last.computed)
            lost.append(last.id)
        if request.id in chunks:
            free -= needed
            granted[request.id] = chunks[request.id]
    return granted, lost


@wrong(
    "q5",
    hint="The last itself sits out here, and keeps its blocks. It has to lose them, or two that "
    "need a block each would wait for each other for ever.",
)
def make_room(running, chunks, free):
    kept, granted, lost = list(running), {}, []
    for request in running:
        if request.id in lost:
            break
        needed = need_of(request, chunks)
        while needed > free and kept[-1] is not request:
            last = kept.pop()
            free += blocks_of(last.computed)
            lost.append(last.id)
        if request.id in chunks and needed <= free:
            free -= needed
            granted[request.id] = chunks[request.id]
    return granted, lost


@wrong(
    "q5", hint="The first to lose its blocks stands first in the list: they go from the last on."
)
def make_room(running, chunks, free):
    granted, lost = roomy(running, chunks, free)
    return granted, lost[::-1]


# -- q6 ------------------------------------------------------------------------------------------


class Books:
    """What the lab has written already, and the parts that wrong policies share."""

    def __init__(self, budget, max_batch, blocks):
        self.budget, self.max_batch, self.blocks = budget, max_batch, blocks
        self.waiting, self.running = {}, {}

    def hear(self, events):
        for what, number, *sizes in events:
            if what == "arrived":
                self.waiting[number] = Request(number, sizes[0], 0, sizes[1])
            elif what == "lost":
                request = self.running.pop(number)
                self.waiting = {number: request._replace(computed=0), **self.waiting}
            elif what == "computed":
                request = self.waiting.pop(number, None) or self.running[number]
                self.running[number] = request._replace(computed=request.computed + sizes[0])
            elif what == "wrote":
                request = self.running[number]
                self.running[number] = request._replace(known=request.known + 1)
            elif what == "ended":
                del self.running[number]

    def next_batch(self, events):
        self.hear(events)
        return self.decide(list(self.running.values()), list(self.waiting.values()))

    def free(self, running):
        return self.blocks - sum(blocks_of(request.computed) for request in running)

    def joining(self, running, waiting):
        """As many of the queue as there are places, and blocks for their prompts."""
        free = self.blocks - sum(blocks_of(request.known) for request in running)
        joining = []
        for request in waiting[: self.max_batch - len(running)]:
            free -= blocks_of(request.known)
            if free < 0:
                break
            joining.append(request)
        return joining

    def decide(self, running, waiting):
        """The right answer."""
        chunks, lost = roomy(running, dealt(in_order(running, []), self.budget), self.free(running))
        if lost:
            return chunks, lost
        return dealt(in_order(running, self.joining(running, waiting)), self.budget), []


@wrong(
    "q6",
    hint="More begins here than memory has blocks for. Running requests get theirs through "
    "`make_room`; others begin only if there are blocks for their prompts, beside "
    "`blocks_of(request.known)` of each that runs.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        new = waiting[: self.max_batch - len(running)]
        return dealt(in_order(running, new), self.budget), []


@wrong(
    "q6",
    hint="There are blocks for prompts when they begin, but answers grow, and then nobody makes "
    "room: `make_room`.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        return dealt(in_order(running, self.joining(running, waiting)), self.budget), []


@wrong("q6", hint="`max_batch` counts those that run and those that begin together.")
class StallFree(Books):
    def joining(self, running, waiting):
        most, self.max_batch = self.max_batch, self.max_batch + len(running)
        joining = super().joining(running, waiting)
        self.max_batch = most
        return joining


@wrong(
    "q6",
    hint="Running requests and new ones get a budget each, and that makes two. Put them through "
    "one `chunk_sizes`.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        chunks, lost = roomy(running, dealt(in_order(running, []), self.budget), self.free(running))
        if lost:
            return chunks, lost
        return {**chunks, **dealt(self.joining(running, waiting), self.budget)}, []


@wrong(
    "q6",
    hint="Whole prompts: one of 600 tokens does not fit a budget of 512, and waits for ever with "
    "all behind it. Take them in chunks.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        chunks, lost = roomy(running, dealt(in_order(running, []), self.budget), self.free(running))
        if lost:
            return chunks, lost
        left = self.budget - sum(chunks.values())
        for request in self.joining(running, waiting):
            if request.known > left:
                break
            chunks[request.id] = request.known
            left -= request.known
        return chunks, []


@wrong(
    "q6",
    hint="You compute all of `known` again in each iteration. What is left of a request is "
    "`known - computed`.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        again = [request._replace(computed=0) for request in self.joining([], running + waiting)]
        return dealt(again, self.budget), []


@wrong(
    "q6",
    hint="Requests that decode get their tokens, and new prompts a chunk; but a prompt that has "
    "begun is forgotten, and never gets another.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        decodes = [request for request in running if decoding(request)]
        chunks, lost = roomy(decodes, dealt(decodes, self.budget), self.free(running))
        if lost:
            return chunks, lost
        return dealt(decodes + self.joining(running, waiting), self.budget), []


@wrong(
    "q6",
    hint="Others begin in the iteration in which somebody lost its blocks. That one stands first "
    "in the queue now: where `lost` is not empty, return.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        _, lost = roomy(running, dealt(in_order(running, []), self.budget), self.free(running))
        kept = [request for request in running if request.id not in lost]
        new = self.joining(kept, waiting)
        return dealt(in_order(kept, new), self.budget), lost


@wrong(
    "q6",
    hint="The shortest prompt first: a long one might wait for ever. Requests begin in the order "
    "of the queue.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        return super().decide(running, sorted(waiting, key=lambda request: request.known))


@wrong(
    "q6",
    hint="You go past the one at the head of the queue that does not fit: it would be overtaken "
    "for ever. Stop there.",
)
class StallFree(Books):
    def joining(self, running, waiting):
        free = self.blocks - sum(blocks_of(request.known) for request in running)
        joining = []
        for request in waiting:
            if blocks_of(request.known) <= free and len(running + joining) < self.max_batch:
                free -= blocks_of(request.known)
                joining.append(request)
        return joining


@wrong(
    "q6",
    hint="One request runs at a time, as if you kept blocks for 12,000 tokens that nobody writes, "
    "like Orca. Others fit beside it: ask for blocks for the prompt, and `make_room` when "
    "there are none.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        reserved = sum(blocks_of(request.longest) for request in running)
        new = []
        for request in waiting[: self.max_batch - len(running)]:
            reserved += blocks_of(request.longest)
            if reserved > self.blocks:
                break
            new.append(request)
        return dealt(in_order(running, new), self.budget), []


@wrong(
    "q6",
    hint="Prompts come before decodes here, as in vLLM v0, and answers stand still. Decodes first: "
    "they take a few tokens of the budget.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        chunks, lost = roomy(running, dealt(in_order(running, []), self.budget), self.free(running))
        if lost:
            return chunks, lost
        prompts = [request for request in running if not decoding(request)]
        decodes = [request for request in running if decoding(request)]
        return dealt(prompts + self.joining(running, waiting) + decodes, self.budget), []


@wrong(
    "q6",
    hint="An iteration of yours computes prompts or decodes, never both. Prompts fill what the "
    "decodes leave of the budget.",
)
class StallFree(Books):
    def decide(self, running, waiting):
        chunks, lost = roomy(running, dealt(in_order(running, []), self.budget), self.free(running))
        if lost:
            return chunks, lost
        prompts = [request for request in running if not decoding(request)]
        prompts += self.joining(running, waiting)
        return dealt(prompts or running, self.budget), []


@wrong(
    "q6",
    hint="Nobody begins here while anybody writes, as in static batching: the answers of a batch "
    "end one by one, and its places stay empty. Let others join in each iteration.",
)
class StallFree(Books):
    def joining(self, running, waiting):
        return [] if any(map(decoding, running)) else super().joining(running, waiting)


@wrong("q6", hint="Two things come back, also when nobody loses its blocks: `return chunks, []`.")
class StallFree(Books):
    def decide(self, running, waiting):
        chunks, _ = super().decide(running, waiting)
        return chunks
