"""Texts cut by one vocabulary and its merges: BPE beside tokenizers and tiktoken, one thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import tiktoken
from tokenizers import Tokenizer, models, pre_tokenizers

from toolkit.bench import Case
from toolkit.data.tokenizers import BPE
from toolkit.data.tokenizers.gguf_vocabulary import byte_signs
from toolkit.data.tokenizers.splitting import GPT2_REGEX

from . import corpora
from .corpora import share_equal
from .processes import ONE_THREAD

os.environ.update(ONE_THREAD)  # before tokenizers starts its threads

Ids = list[list[int]]


@cache
def by_tokenizers() -> Tokenizer:
    """SmolLM2's tokenizer by Hugging Face's library."""
    ours, signs = corpora.smollm2(), byte_signs()
    names = ["".join(signs[byte] for byte in piece) for piece in ours.tokens]
    vocabulary = {name: id for id, name in enumerate(names) if id >= corpora.SPECIAL}
    merges = [(names[a], names[b]) for a, b in ours.merges]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), words])
    return tokenizer


@cache
def by_tiktoken() -> tiktoken.Encoding:
    ranks = corpora.ranks()
    return tiktoken.Encoding("x", pat_str=GPT2_REGEX, mergeable_ranks=ranks, special_tokens={})


def encoded_by_tokenizers(texts: list[str]) -> Ids:
    return [found.ids for found in by_tokenizers().encode_batch_fast(texts)]


def encoded_by_tiktoken(texts: list[str]) -> Ids:
    return [by_tiktoken().encode_ordinary(text) for text in texts]


def encoding(name: str, texts: list[str]) -> list[Case]:
    """Texts by SmolLM2's merges beside tokenizers, and by its ranks beside tiktoken."""
    size = corpora.size_of(texts)
    contests: list[tuple[str, BPE, Callable[[list[str]], Ids], str]] = [
        (
            "tokenizers",
            corpora.smollm2(),
            encoded_by_tokenizers,
            "numbers, then GPT-2's words",
        ),
        ("tiktoken", corpora.by_ranks(), encoded_by_tiktoken, "GPT-2's words"),
    ]

    def case(peer: str, model: BPE, theirs: Callable[[list[str]], Ids], words: str) -> Case:
        def ours() -> Ids:
            return [model.encode(text) for text in texts]

        wanted = cache(ours)
        return Case(
            name=f"encoding by BPE, {name}, beside {peer}",
            params={
                "texts": len(texts),
                "bytes": size,
                "threads": 1,
                "vocabulary": f"SmolLM2's, {model.vocab_size - len(model.special)} tokens",
                "splitting": words,
            },
            ours=ours,
            peers={peer: lambda: theirs(texts)},
            quality=lambda ids: {
                "identical": share_equal(ids, wanted()),
                "bytes_per_token": size / sum(map(len, ids)),
            },
        )

    return [case(*contest) for contest in contests]
