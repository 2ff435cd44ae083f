"""The queue and the running requests: what a policy decides is checked here, and done.

The simulator and the engine both turn this crank:

    add a request that arrives  ->  plan a batch  ->  (compute it)  ->  finish the batch
"""

from __future__ import annotations

from collections import deque
from numbers import Integral

from .state import Batch, LiveRequest, Memory, Policy, State

PREEMPTIONS = 1000
"""How often a request may lose its blocks: more often, and it never ends."""


class PolicyError(ValueError):
    """A batch that breaks a rule: which iteration, which request, which rule."""


class Scheduler:
    """Requests on their way through.

    Args:
        policy: says who is next.
        memory: empty.

    Attributes:
        waiting: in the order in which they arrived, and in front those that lost their blocks.
        running: in the order in which they began.
        iterations: how many batches were planned.
    """

    def __init__(self, policy: Policy, memory: Memory) -> None:
        self.policy, self.memory = policy, memory
        self.waiting: deque[LiveRequest] = deque()
        self.running: dict[int, LiveRequest] = {}
        self.iterations = 0

    @property
    def idle(self) -> bool:
        """Whether nobody waits or runs."""
        return not self.waiting and not self.running

    def add(self, request: LiveRequest) -> None:
        """A request arrives.

        Raises:
            ValueError: it would not fit the memory were it alone.
        """
        most, size = self.memory.blocks, self.memory.block_size
        if -(-request.longest // size) > most:
            raise ValueError(
                f"request {request.id} may have {request.longest:,} tokens, and the memory holds "
                f"{most * size:,}: give it more blocks, or shorten the request"
            )
        self.waiting.append(request)

    def plan(self, time: float) -> Batch:
        """The policy's next batch, with the memory that it needs; empty if it would rather wait.

        Raises:
            PolicyError: the batch breaks a rule.
        """
        state = State(time, self.waiting, list(self.running.values()), self.memory)
        batch = self.policy.next_batch(state)
        if not isinstance(batch, Batch):
            raise PolicyError(
                f"iteration {self.iterations}: next_batch must give a Batch, got {batch!r}"
            )
        if batch.padding < 0:
            raise PolicyError(
                f"iteration {self.iterations}: padding must be at least 0, got {batch.padding}"
            )
        for number in batch.preempted:
            self._preempt(number, batch)
        begin = set(batch.chunks) - self.running.keys()
        if begin:
            self._begin(batch, begin)
        running, memory, size = self.running, self.memory, self.memory.block_size
        for number, tokens in batch.chunks.items():
            if type(tokens) is not int and not isinstance(tokens, Integral):
                raise self._wrong(number, f"a chunk must be a whole number, got {tokens!r}")
            request = running[number]
            total = request.computed + tokens
            if tokens < 1 or total > request.known:
                raise self._wrong(
                    number,
                    f"a chunk of {tokens:,} tokens, and it has {request.left:,} left to compute",
                )
            if not request.has_room(tokens, size):
                needed = memory.needs(request, total)
                if needed > memory.free:
                    raise self._wrong(
                        number,
                        f"{needed:,} more blocks are needed for {total:,} tokens, and "
                        f"{memory.free:,} are free",
                    )
                memory.grow(request, total)
        self.iterations += 1
        return batch

    def finish(self, batch: Batch) -> list[LiveRequest]:
        """The batch is computed; those that have written a token by it, which is not counted yet.

        Call ``wrote`` for each of them.
        """
        writing = []
        for number, tokens in batch.chunks.items():
            request = self.running.get(number)
            if request is None:  # cancelled on its way
                continue
            request.computed += tokens
            self.memory.wrote(request)
            if request.computed == request.known:
                writing.append(request)
        return writing

    def wrote(self, request: LiveRequest, *, ended: bool) -> None:
        """A running request has written a token, its last one or not."""
        request.known += 1
        if ended:
            self.remove(request)

    def remove(self, request: LiveRequest) -> None:
        """A request leaves, whether it runs or waits."""
        if self.running.get(request.id) is request:
            del self.running[request.id]
            self.memory.release(request)
        else:
            self.waiting.remove(request)

    def _preempt(self, number: int, batch: Batch) -> None:
        request = self.running.pop(number, None)
        if request is None:
            raise self._wrong(number, "it is pre-empted, and does not run")
        if number in batch.chunks:
            raise self._wrong(number, "it is pre-empted, and in the batch as well")
        if request.preemptions == PREEMPTIONS:
            raise self._wrong(number, f"it has lost its blocks {PREEMPTIONS:,} times already")
        self.memory.release(request)
        request.computed = 0
        request.preemptions += 1
        self.waiting.appendleft(request)

    def _begin(self, batch: Batch, begin: set[int]) -> None:
        # nearly always they stand at the head of the queue, which may be long
        found: dict[int, LiveRequest] = {}
        while self.waiting and self.waiting[0].id in begin:
            request = self.waiting.popleft()
            found[request.id] = request
        if len(found) < len(begin):
            later = [request for request in self.waiting if request.id in begin]
            for request in later:
                self.waiting.remove(request)
                found[request.id] = request
        for number in batch.chunks:
            if number not in begin:
                continue
            if number not in found:
                raise self._wrong(number, "it neither runs nor waits")
            request = found[number]
            request.computed = self.memory.admit(request)
            self.running[number] = request

    def _wrong(self, number: int, rule: str) -> PolicyError:
        return PolicyError(f"iteration {self.iterations}, request {number}: {rule}")
