"""What a client holds: an answer that is being written, and what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.arguments import whole_number
from toolkit.data.tokenizers import BPE
from toolkit.models.llama import Sampling, choose
from toolkit.models.llama.generating import Listener

from .state import LiveRequest

GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """How an answer is to be written, and where it ends.

    Attributes:
        max_new_tokens: it has no more.
        sampling: how tokens are chosen.
        seed: of its draws, which depend on nothing else than the place of a token in the answer.
        stop: texts that end it, and are not said.
        ends: tokens that end it, and are not in it.
    Raises:
        ValueError, TypeError: one is outside its range.
    """

    max_new_tokens: int
    sampling: Sampling = GREEDY
    seed: int = 0
    stop: Sequence[str] = ()
    ends: Collection[int] = ()

    def __post_init__(self) -> None:
        for name, least in (("max_new_tokens", 1), ("seed", 0)):
            if whole_number(name, getattr(self, name)) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if isinstance(self.stop, str) or not all(isinstance(s, str) and s for s in self.stop):
            raise TypeError(f"stop must be a list of texts, none of them empty, got {self.stop!r}")


class Answer:
    """An answer, token by token. Whoever iterates it turns the engine, for everybody.

    Args:
        request: as the scheduler sees it.
        known: the request's tokens; what is written is added to them.
        params: how to write it.
        tokenizer: for its text, where the model has one.
        turn: computes one iteration.

    Attributes:
        request, known, params: see above.
        tokens: written so far, without one that ends it.
        text: what is certain of its text so far: whole characters, nothing of a text to stop at.
            Once it has ended, all of it.
        reason: why it has ended: ``"end"`` (by a token), ``"stop"`` (by a text), ``"length"`` or
            ``"cancelled"``; None until then.
    """

    def __init__(
        self,
        request: LiveRequest,
        known: list[int],
        params: GenerationParams,
        tokenizer: BPE | None,
        turn: Callable[[], None],
    ) -> None:
        self.request, self.known, self.params = request, known, params
        self.tokens: list[int] = []
        self.text = ""
        self.reason: str | None = None
        self._listener = None if tokenizer is None else Listener(tokenizer, params.stop)
        rng = np.random.default_rng([params.seed, 0])  # as ``Llama.generate`` has it
        self._uniform = torch.from_numpy(rng.random(params.max_new_tokens))
        self._turn = turn

    @property
    def ended(self) -> bool:
        """Whether it is whole, or was cancelled."""
        return self.reason is not None

    def __iter__(self) -> Iterator[int]:
        """Its tokens, from the first on, as they are written."""
        place = 0
        while True:
            if place < len(self.tokens):
                yield self.tokens[place]
                place += 1
            elif self.ended:
                return
            else:
                self._turn()

    def pieces(self) -> Iterator[str]:
        """Its text, from the beginning, in pieces as they become certain."""
        place = 0
        while True:
            if place < len(self.text):
                piece, place = self.text[place:], len(self.text)
                yield piece
            elif self.ended:
                return
            else:
                self._turn()

    def choose(self, logits: Float[Tensor, " vocab"]) -> int:
        """The token that comes next; asked once more, the same one."""
        place = len(self.tokens)
        uniform = self._uniform[place : place + 1]
        return int(choose(logits[None], self.params.sampling, uniform))

    def take(self, token: int) -> None:
        """One more token, by which it may end."""
        self.known.append(token)
        if token in self.params.ends:
            self.end("end")
            return
        self.tokens.append(token)
        if self._listener is not None:
            self.text += self._listener.hear(token)
            if self._listener.stopped:
                self.end("stop")
                return
        if len(self.tokens) == self.params.max_new_tokens:
            self.end("length")

    def end(self, reason: str) -> None:
        """No more tokens come."""
        self.reason = reason
        if self._listener is not None:
            self.text += self._listener.rest()
