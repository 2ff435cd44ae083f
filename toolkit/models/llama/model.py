"""The model: an embedding, blocks, and the embedding once more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from jaxtyping import Complex64, Float, Int64
from torch import Tensor, nn

from toolkit.arguments import whole_number
from toolkit.data.tokenizers import BPE
from toolkit.models.positions import Rope, rope, turns

from .cache import Cache, KVCache
from .chatting import encode_chat
from .config import LlamaConfig
from .generating import Generation
from .layers import Block, Embedding, Linear, RMSNorm, linear
from .sampling import Sampling


class Llama(nn.Module):
    """A model of the LLaMA architecture.

    Args:
        config: its sizes.
        seed: of the weights, which are small random numbers at first.

    ``tokenizer`` and ``chat_template`` come with the file that a model is loaded from; a model
    made here has none. ``rope`` and ``context`` are the rotations and the room that it reads with.

    Source:
        Touvron et al. 2023.
    """

    chat_template: str | None = None
    _tokenizer: BPE | None = None
    no_tokenizer = "this model came without a tokenizer: give it one, or give tokens, not text"

    def __init__(self, config: LlamaConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = Embedding(config.vocab_size, config.width)
            self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
            self.norm = RMSNorm(config.width, config.norm_eps)
            if not config.tied:
                self.output = Linear(config.width, config.vocab_size)
        with torch.device("cpu"):  # angles are numbers, also while the weights are none yet
            self.stretch(rope(config.head_dim, config.rope_base), config.context)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights and states."""
        return self.embed.weight.dtype

    @property
    def tokenizer(self) -> BPE:
        """What cuts its text.

        Raises:
            ValueError: it has none.
        """
        if self._tokenizer is None:
            raise ValueError(self.no_tokenizer)
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: BPE | None) -> None:
        self._tokenizer = tokenizer

    @property
    def has_tokenizer(self) -> bool:
        """Whether it has one."""
        return self._tokenizer is not None

    def stretch(self, rope: Rope, context: int) -> None:
        """Turn queries and keys by other angles from here on, in texts of up to ``context`` tokens.

        What is cached already was turned by the old ones.
        """
        self.rope, self.context = rope, context
        self._turns: Complex64[Tensor, "context pairs"] = turns(rope, torch.arange(context))

    def cache(self, batch: int, capacity: int) -> KVCache:
        """A cache for so many texts of up to so many tokens.

        Raises:
            ValueError: the model's context is shorter.
        """
        self.check_length(capacity)
        return KVCache(self.config, batch, capacity, self.dtype, self.device)

    def forward(
        self, ids: Int64[Tensor, "batch tokens"], cache: Cache | None = None
    ) -> Float[Tensor, "batch tokens vocab"]:
        """The logits of what follows each token.

        Args:
            ids: tokens. Shorter texts are padded on the right, with any token: no text sees it.
            cache: what was read before; ``ids`` follow it, and join it.
        Raises:
            ValueError, TypeError: a token is not in the vocabulary, or there are more than the
                context has room for.
        """
        self.check(ids)
        return self.logits(self.last_states(ids, cache))

    def last_states(
        self, ids: Int64[Tensor, "batch tokens"], cache: Cache | None = None
    ) -> Float[Tensor, "batch tokens width"]:
        """The states of all tokens after the last block. ``ids`` are not checked."""
        for states in self.states(ids, cache):
            last = states
        return last

    def states(
        self, ids: Int64[Tensor, "batch tokens"], cache: Cache | None = None
    ) -> Iterator[Float[Tensor, "batch tokens width"]]:
        """The states of all tokens: as embedded, then after each block. ``ids`` are not checked."""
        if cache is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        else:
            positions = cache.reserve(*ids.shape)
        if self._turns.device != ids.device:
            self._turns = self._turns.to(ids.device)
        turning = self._turns[positions][:, None]
        x = self.embed(ids)
        yield x
        for place, block in enumerate(self.layers):
            x = block(x, turning, cache, place)
            yield x

    def logits(self, states: Float[Tensor, "... width"]) -> Float[Tensor, "... vocab"]:
        """The logits of states: how well each token's own row fits, after one more norm."""
        output = self.embed if self.config.tied else self.output
        return linear(self.norm(states), output.weight)

    def generate(
        self,
        prompts: Sequence[Sequence[int]] | Sequence[str],
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Generation:
        """Continue prompts, all at once, step by step.

        Args:
            prompts: texts, or their tokens; they may differ in length, and each is continued as if
                it were alone.
            max_new_tokens: the most to write after each.
            temperature, top_k, top_p: see ``Sampling``; a temperature of 0 takes the likeliest.
            seed: of what is drawn. A prompt's draws depend on its place among the prompts alone.
            stop: texts that end an answer.
        Returns:
            An iterator of steps; ``run()`` gives all tokens at once, ``texts()`` all text.
        Raises:
            ValueError, TypeError: a prompt is empty, has a token that is not in the vocabulary, or
                leaves too little of the context; or an argument is outside its range.
        """
        sampling = Sampling(temperature, top_k, top_p)
        seed, most = whole_number("seed", seed), whole_number("max_new_tokens", max_new_tokens)
        if most < 1 or seed < 0:
            name, value = ("max_new_tokens", most) if most < 1 else ("seed", seed)
            raise ValueError(f"{name} must be at least {int(most < 1)}, got {value}")
        if isinstance(prompts, str) or not len(prompts):
            raise TypeError(f"prompts must be a list of at least one text, got {prompts!r}")
        texts = not isinstance(stop, str) and all(isinstance(text, str) and text for text in stop)
        if not texts:
            raise TypeError(f"stop must be a list of texts, none of them empty, got {stop!r}")
        if stop and not self.has_tokenizer:
            raise ValueError(self.no_tokenizer)
        rows = [
            self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
            for prompt in prompts
        ]
        rows = [self.as_ids(row)[0].tolist() for row in rows]
        for place, row in enumerate(rows):
            if len(row) + most > self.context:
                raise ValueError(
                    f"prompt {place} has {len(row):,} tokens, and {most:,} more would not fit "
                    f"the context of {self.context:,}: shorten it, or ask for fewer"
                )
        return Generation(self, rows, most, sampling, seed, stop)

    def chat(
        self, messages: Sequence[Mapping[str, str]], max_new_tokens: int = 256, **options: Any
    ) -> Iterator[str]:
        """The answer to a conversation, in pieces of whole characters as they are written.

        Args:
            messages: each with a ``role``, ``"system"``, ``"user"`` or ``"assistant"``, and its
                ``content``.
            max_new_tokens: the most to write.
            options: others that ``generate`` takes.
        Raises:
            ValueError, TypeError: the model has no template, the messages are no conversation, or
                as ``generate`` raises.
        """
        writing = self.generate([encode_chat(self, messages)], max_new_tokens, **options)
        return (writing.new_text[0] for _ in writing if writing.new_text[0])

    def as_ids(self, tokens: Sequence[int]) -> Int64[Tensor, "1 tokens"]:
        """One text's tokens as a batch.

        Raises:
            ValueError, TypeError: they are no whole numbers, or as ``forward`` refuses them.
        """
        if isinstance(tokens, Real):
            raise TypeError(
                f"a text must be a list of tokens, got {tokens!r}: put the tokens of one text in a "
                f"list of their own"
            )
        ids = torch.tensor([[whole_number("a token", token) for token in tokens]])
        self.check(ids.to(torch.int64))
        return ids

    def check(self, ids: Int64[Tensor, "batch tokens"]) -> None:
        """Refuse what is no batch of tokens of this model's."""
        if ids.dim() != 2 or ids.dtype != torch.int64:
            raise TypeError(
                f"ids must be an int64 tensor of [batch, tokens], got {ids.dtype} {list(ids.shape)}"
            )
        if not ids.numel():
            raise ValueError("a text must have at least one token: there is nothing to follow")
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high >= self.config.vocab_size:
            raise ValueError(
                f"token {low if low < 0 else high} is not in the vocabulary: "
                f"ids are 0 to {self.config.vocab_size - 1}"
            )
        self.check_length(ids.shape[1])

    def check_length(self, tokens: int) -> None:
        """Refuse a text of more tokens than the context has."""
        if tokens > self.context:
            raise ValueError(
                f"{tokens:,} tokens are more than the model's context of {self.context:,}: "
                f"shorten the text, or stretch() the model"
            )
