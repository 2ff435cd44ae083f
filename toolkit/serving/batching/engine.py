"""Real tokens: the scheduler's batches, computed by a model.

An iteration is a single forward pass over the chunks of all requests in the batch, whatever their
lengths, prefills and decodes alike:

    policy -> batch -> one row of tokens -> model, over pages -> logits -> a token for whoever
                                                                           has computed all it knows

The same policies and memories drive the simulator. Nothing is padded here, also for a policy that
counts padding, and nothing runs beside it: an iteration is computed when somebody asks for one.

Source:
    Yu et al. 2022, Orca: iterations, and batches of unequal requests.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from toolkit.models.llama import Llama, Sampling

from .answer import GREEDY, Answer, GenerationParams
from .paged import Chunk, Pages, RaggedBatch
from .recording import Recorder
from .schedule import Schedule
from .scheduler import PolicyError, Scheduler
from .state import Batch, LiveRequest, Memory, Policy, Request
from .work import work_of


class PagedMemory(Memory, Protocol):
    """A memory that says which blocks are whose."""

    @property
    def tables(self) -> Mapping[int, Sequence[int]]:
        """The blocks of each request that has begun, in order, by its id."""


class Engine:
    """A model that answers many at once.

    Args:
        model: on a CPU.
        policy: says who is next.
        memory: says in which blocks; empty. The engine sets aside room for all of them.

    Attributes:
        model: see above.
        pages: the blocks themselves.
        answers: to all requests, by their ids, which count from 0.
    """

    def __init__(self, model: Llama, policy: Policy, memory: PagedMemory) -> None:
        if model.device.type != "cpu":
            raise ValueError(
                f"the engine reads its pages on a CPU, and the model is on {model.device}: "
                f"move it there by .cpu()"
            )
        self.model, self._memory = model, memory
        self.pages = Pages(model.config, memory.blocks, memory.block_size, model.dtype)
        self._scheduler = Scheduler(policy, memory)
        self._recorder = Recorder(memory.blocks)
        self.answers: list[Answer] = []
        self._clock_began = time.perf_counter()

    @property
    def now(self) -> float:
        """Seconds since the engine was made."""
        return time.perf_counter() - self._clock_began

    @property
    def idle(self) -> bool:
        """Whether all answers have ended."""
        return self._scheduler.idle

    def submit(
        self,
        prompt: str | Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling = GREEDY,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Answer:
        """Put a request into the queue.

        Args:
            prompt: text, or its tokens.
            max_new_tokens: the most to write.
            sampling: how tokens are chosen; by default the likeliest.
            seed: of what is drawn, as if the request were alone: whoever else is served, it gets
                what ``model.generate([prompt], seed=seed)`` writes.
            stop: texts that end the answer.
        Raises:
            ValueError, TypeError: as ``Llama.generate``; or the memory is too small for it.
        """
        if stop and not self.model.has_tokenizer:
            raise ValueError(self.model.no_tokenizer)
        tokens = self.model.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        ids = self.model.as_ids(tokens)[0].tolist()
        params = GenerationParams(max_new_tokens, sampling, seed, stop, self.model.config.eos)
        return self._send(ids, params, self.now, max_new_tokens)

    def send(self, request: Request) -> Answer:
        """Put a trace's request into the queue: it writes exactly its ``output_tokens``.

        Args:
            request: with tokens; ``arrival`` is by the engine's clock, see ``now``. It gets the id
                that is next here.
        Raises:
            ValueError, TypeError: as ``submit``.
        """
        if request.tokens is None:
            raise ValueError(
                f"request {request.id} has no tokens for a model to read: replay() draws some"
            )
        ids = self.model.as_ids(request.tokens)[0].tolist()
        params = GenerationParams(request.output_tokens)
        return self._send(ids, params, request.arrival, request.max_tokens)

    def cancel(self, answer: Answer) -> None:
        """Leave an answer as it is; one that has ended stays ended.

        Raises:
            ValueError: it is another engine's.
        """
        if answer not in self.answers:
            raise ValueError(f"answer {answer.request.id} is another engine's: cancel it there")
        if not answer.ended:
            self._scheduler.remove(answer.request)
            answer.end("cancelled")

    def run(self) -> None:
        """Write all answers to their ends."""
        while not self.idle:
            self._turn()

    @torch.inference_mode()
    def step(self) -> Batch:
        """Compute one iteration; its batch, which is empty if the policy would rather wait.

        If computing it is interrupted, nothing of it counts, and the next step begins it anew.

        Raises:
            PolicyError: the batch breaks a rule.
        """
        start = self.now
        batch = self._scheduler.plan(start)
        if batch.preempted:
            self._recorder.preempted(batch)
        if batch.chunks:
            work = work_of(batch, self._scheduler.running)
            used = self._memory.blocks - self._memory.free
            writing = self._compute(batch)
            seconds = self.now - start
            self._recorder.step(
                batch, work, writing, entered=[start], seconds=seconds, blocks_used=used
            )
        return batch

    def schedule(self) -> Schedule:
        """The record of all that was computed so far, measured."""
        return self._recorder.schedule(
            [answer.request.arrival for answer in self.answers],
            [answer.request.prompt_tokens for answer in self.answers],
        )

    def _send(
        self, ids: list[int], params: GenerationParams, arrival: float, max_tokens: int
    ) -> Answer:
        if len(ids) + params.max_new_tokens > self.model.context:
            raise ValueError(
                f"the prompt has {len(ids):,} tokens, and {params.max_new_tokens:,} more would not "
                f"fit the context of {self.model.context:,}: shorten it, or ask for fewer"
            )
        size = len(ids)
        request = LiveRequest(len(self.answers), arrival, size, max_tokens, size, tokens=ids)
        self._scheduler.add(request)
        tokenizer = self.model.tokenizer if self.model.has_tokenizer else None
        self.answers.append(Answer(request, ids, params, tokenizer, self._turn))
        return self.answers[-1]

    def _turn(self) -> None:
        batch = self.step()
        if not batch.chunks and not batch.preempted:
            raise PolicyError(
                f"iteration {self._scheduler.iterations - 1}: the batch is empty, although not all "
                f"answers have ended and nobody else is to arrive who could be waited for"
            )

    def _compute(self, batch: Batch) -> list[LiveRequest]:
        """Compute a batch; those that have written a token by it."""
        chunks, ids, last = [], [], {}
        for number, tokens in batch.chunks.items():
            request = self._scheduler.running[number]
            start = request.computed
            chunks.append(Chunk(self._memory.tables[number], start, tokens))
            ids += self.answers[number].known[start : start + tokens]
            if tokens == request.left:
                last[number] = len(ids) - 1
        cache = RaggedBatch(self.pages, chunks)
        states = self.model.last_states(torch.tensor([ids]), cache)[0]
        logits = self.model.logits(states[list(last.values())])
        chosen = {
            number: self.answers[number].choose(row)
            for number, row in zip(last, logits, strict=True)
        }
        # from here on it counts
        writing = self._scheduler.finish(batch)
        for request in writing:
            answer = self.answers[request.id]
            answer.take(chosen[request.id])
            self._scheduler.wrote(request, ended=answer.ended)
        return writing
