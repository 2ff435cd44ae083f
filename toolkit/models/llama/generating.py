"""Writing on: read the prompts once, then choose a token, read it, choose the next."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.data.tokenizers import BPE

from .sampling import Sampling, choose

if TYPE_CHECKING:
    from .model import Llama


class Generation(Iterator[list[int | None]]):
    """Tokens as they are written: each step gives one for every prompt, None where it has ended.

    Attributes:
        tokens: what was written after each prompt so far.
        new_text: what the last step made certain of each answer's text, where the model has a
            tokenizer: whole characters, and nothing of a text to stop at.
        ended: whether each answer is whole: it had its end token, which is not among ``tokens``,
            or a text to stop at, or as many tokens as were asked for.
    """

    def __init__(
        self,
        model: Llama,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        sampling: Sampling,
        seed: int,
        stop: Sequence[str],
    ) -> None:
        self._model, self._prompts = model, prompts
        self._most, self._sampling = max_new_tokens, sampling
        self._dice = [np.random.default_rng([seed, row]) for row in range(len(prompts))]
        self._cache = model.cache(len(prompts), max(map(len, prompts)) + max_new_tokens)
        self._last: Int64[Tensor, "batch 1"] | None = None
        self._listeners = None
        if model.has_tokenizer:
            self._listeners = [Listener(model.tokenizer, stop) for _ in prompts]
        self.tokens: list[list[int]] = [[] for _ in prompts]
        self.new_text = [""] * len(prompts)
        self.ended = [False] * len(prompts)

    @torch.inference_mode()
    def __next__(self) -> list[int | None]:
        if all(self.ended):
            raise StopIteration
        logits = self._read_prompts() if self._last is None else self._read(self._last)[:, 0]
        uniform = torch.tensor([dice.random() for dice in self._dice], dtype=torch.float64)
        chosen = choose(logits, self._sampling, uniform)
        self._last = chosen[:, None]
        return [self._write(row, token) for row, token in enumerate(chosen.tolist())]

    def run(self) -> list[list[int]]:
        """Write to the end; all tokens."""
        for _ in self:
            pass
        return self.tokens

    def texts(self) -> list[str]:
        """Write to the end; all texts, up to where they were to stop.

        Raises:
            ValueError: the model has no tokenizer.
        """
        if self._listeners is None:
            raise ValueError(self._model.no_tokenizer)
        self.run()
        return [listener.said for listener in self._listeners]

    def _read_prompts(self) -> Float[Tensor, "batch vocab"]:
        lengths = [len(prompt) for prompt in self._prompts]
        ids = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
        for row, prompt in enumerate(self._prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        states = self._model.last_states(ids.to(self._model.device), self._cache)
        self._cache.keep(lengths)
        rows = torch.arange(len(lengths), device=states.device)
        ends = torch.tensor(lengths, device=states.device) - 1
        return self._model.logits(states[rows, ends])

    def _read(self, ids: Int64[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens vocab"]:
        return self._model.logits(self._model.last_states(ids, self._cache))

    def _write(self, row: int, token: int) -> int | None:
        """Add a token to a prompt's answer, unless that has ended, or ends by it."""
        self.new_text[row] = ""
        if self.ended[row]:
            return None
        end = token in self._model.config.eos
        if not end:
            self.tokens[row].append(token)
        self.ended[row] = end or len(self.tokens[row]) == self._most
        if self._listeners is not None:
            listener = self._listeners[row]
            heard = "" if end else listener.hear(token)
            self.ended[row] |= listener.stopped
            self.new_text[row] = heard + (listener.rest() if self.ended[row] else "")
        return None if end else token


class Listener:
    """The text of tokens as they come.

    Args:
        tokenizer: whose tokens.
        stop: texts at which to stop listening.

    ``said`` is what is certain so far, and ``stopped`` whether a text to stop at was heard.
    """

    def __init__(self, tokenizer: BPE, stop: Sequence[str] = ()) -> None:
        self._tokenizer, self._stop = tokenizer, stop
        self._longest = max(map(len, stop), default=1)
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._doubtful = ""  # it may turn out to be the beginning of a text to stop at
        self.said = ""
        self.stopped = False

    def hear(self, token: int) -> str:
        """What one more token makes certain."""
        return self._certain(self._decoder.decode(self._tokenizer.piece(token)), self._longest - 1)

    def rest(self) -> str:
        """What is left to say when no more tokens come."""
        return self._certain(self._decoder.decode(b"", final=True), 0)

    def _certain(self, text: str, doubtful: int) -> str:
        if self.stopped:
            return ""
        text = self._doubtful + text
        found = [text.find(stop) for stop in self._stop if stop in text]
        self.stopped = bool(found)
        certain = min(found) if found else max(len(text) - doubtful, 0)
        self._doubtful = text[certain:]
        self.said += text[:certain]
        return text[:certain]
