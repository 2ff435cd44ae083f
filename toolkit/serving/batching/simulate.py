"""A service on a clock of its own: a trace, a policy, and a cost model in place of a model.

    arrivals -> Scheduler.plan -> cost.seconds(work) -> Scheduler.finish -> Schedule

With a pipeline of p stages, p batches are on their way at once. Each of the p has its own
requests, which are dealt out in turn, and an equal share of the blocks; its next batch is planned
when its last one has left the pipeline. A stage takes batches as they come, and waits for one that
is still in the stage before: a bubble.

Source:
    Agrawal et al. 2024, Vidur: simulation by iteration. vLLM 0.2 and Sarathi-Serve schedule
    pipelines so.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from .cost import Cost
from .memory import Blocks, blocks_for
from .recording import Recorder
from .schedule import Schedule
from .scheduler import PolicyError, Scheduler
from .state import LiveRequest, Memory, Policy
from .trace import Trace
from .work import work_of

BLOCK_SIZE = 16


def simulate(
    trace: Trace, policy: Policy, cost: Cost, memory: Callable[[], Memory] | None = None
) -> Schedule:
    """Serve a trace.

    Args:
        trace: the requests.
        policy: says who is next.
        cost: how long a batch takes, and in how many stages.
        memory: makes an empty one for each of the stages' batches; ``cost.memory`` of a
            ``Roofline`` does. By default there are blocks for all at once.
    Raises:
        PolicyError: the policy breaks a rule, or would wait for ever.
        TypeError: ``memory`` makes none.
        ValueError: a request that doesn't fit the memory.
    """
    if memory is not None and not callable(memory):
        raise TypeError(
            f"memory must be a function that makes one, such as lambda: Blocks(9), got {memory!r}"
        )
    lanes = [
        _Lane(trace, first, cost.stages, Scheduler(policy, memory() if memory else _ample(trace)))
        for first in range(cost.stages)
    ]
    recorder = Recorder(sum(lane.scheduler.memory.blocks for lane in lanes), cost.stages)
    stage_free = [0.0] * cost.stages
    last = (trace.prompt_tokens + trace.output_tokens - 1).tolist()
    turns: list[tuple[float, int]] = []
    for number, lane in enumerate(lanes):
        if lane.coming:
            turns.append((lane.next_arrival, number))

    while turns:
        time, number = heappop(turns)
        lane, time = lanes[number], max(time, stage_free[0])
        lane.let_in(time)
        scheduler = lane.scheduler
        batch = scheduler.plan(time)
        if batch.preempted:
            recorder.preempted(batch)
        if not batch.chunks:
            heappush(turns, (time if batch.preempted else lane.wait(), number))
            continue

        work = work_of(batch, scheduler.running)
        seconds = cost.seconds(work)
        entered = []
        for stage, free in enumerate(stage_free):
            time = max(time, free)
            entered.append(time)
            time = stage_free[stage] = time + seconds
        lane.used, lane.until = scheduler.memory.blocks - scheduler.memory.free, time
        used = sum(other.used for other in lanes if other.holds_blocks(entered[0]))

        writing = scheduler.finish(batch)
        for request in writing:
            scheduler.wrote(request, ended=request.known == last[request.id])
        recorder.step(batch, work, writing, entered=entered, seconds=seconds, blocks_used=used)
        if not scheduler.idle:
            heappush(turns, (time, number))
        elif lane.coming:
            heappush(turns, (max(time, lane.next_arrival), number))
    return recorder.schedule(trace.arrival, trace.prompt_tokens)


class _Lane:
    """One of the batches that are on their way at once: its scheduler, and who is still to come."""

    def __init__(self, trace: Trace, first: int, step: int, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.used = 0  # blocks that its last batch had
        self.until = 0.0  # when that batch leaves the pipeline
        self.coming = [LiveRequest.of(request) for request in trace if request.id % step == first]
        self.coming.reverse()

    @property
    def next_arrival(self) -> float:
        return self.coming[-1].arrival

    def holds_blocks(self, time: float) -> bool:
        return self.until > time or not self.scheduler.idle

    def let_in(self, time: float) -> None:
        while self.coming and self.coming[-1].arrival <= time:
            self.scheduler.add(self.coming.pop())

    def wait(self) -> float:
        """Until when a lane waits whose policy has given nobody anything to do."""
        if self.coming:
            return self.next_arrival
        scheduler = self.scheduler
        request = next(iter(scheduler.running.values()), None) or scheduler.waiting[0]
        raise PolicyError(
            f"iteration {scheduler.iterations - 1}, request {request.id}: it has "
            f"{request.left:,} tokens left to compute, the batch is empty, and nobody else is to "
            "arrive who could be waited for"
        )


def _ample(trace: Trace) -> Blocks:
    """Blocks for all requests at once."""
    longest = (trace.prompt_tokens + trace.max_tokens).tolist()
    return Blocks(sum(blocks_for(tokens, BLOCK_SIZE) for tokens in longest), BLOCK_SIZE)
