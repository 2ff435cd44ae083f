"""Every tool that trains a vocabulary, under stated splitting; ``child`` calls this for memory.

The text is lines without their newlines. Nobody normalises, everyone has the single bytes, and
one thread is used. What differs is said by ``SPLITTING``.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from toolkit.data.tokenizers import BPE, GPT2, BytePiece, Unigram

VOCAB_SIZE = 16_000
Encode = Callable[[list[str]], list[list[int]]]

UNSPLIT = {
    "split_by_whitespace": False,
    "split_by_unicode_script": False,
    "split_by_number": False,
}


def one_by_one(tokenizer: Any, lines: list[str]) -> list[list[int]]:
    return [tokenizer.encode(line) for line in lines]


def our_bpe(lines: list[str], vocab_size: int, pattern: Any) -> Encode:
    return partial(one_by_one, BPE.train(lines, vocab_size, pattern))


def our_unigram(lines: list[str], vocab_size: int) -> Encode:
    model = Unigram.train(lines, vocab_size, max_length=32, character_coverage=0.9999)
    return partial(one_by_one, model)


def our_bytepiece(lines: list[str], vocab_size: int, **settings: Any) -> Encode:
    model = BytePiece.train(lines, vocab_size, normalize="NFC", **settings)
    return partial(one_by_one, model)


def by_sentencepiece(lines: list[str], vocab_size: int, kind: str, **splitting: Any) -> Encode:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=kind,
        vocab_size=vocab_size,
        character_coverage=0.9999,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        max_sentence_length=1_000_000,
        num_threads=1,
        minloglevel=2,
        **splitting,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return lambda texts: processor.encode(texts, num_threads=1)


def by_tokenizers(lines: list[str], vocab_size: int, words: bool) -> Encode:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=None if words else 36,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return lambda texts: [found.ids for found in tokenizer.encode_batch_fast(texts)]


WHOLE, WORDS = "whole lines", "words"
TOOLS: dict[str, Callable[[list[str], int], Encode]] = {
    "our BytePiece": partial(our_bytepiece, spell_rare=False),
    "ours with rare characters spelt": our_bytepiece,
    "our BytePiece, two threads": partial(our_bytepiece, spell_rare=False, workers=2),
    "our Unigram": our_unigram,
    f"our BPE, {WHOLE}": partial(our_bpe, pattern=None),
    f"our BPE, {WORDS}": partial(our_bpe, pattern=GPT2),
    f"SentencePiece BPE, {WHOLE}": partial(
        by_sentencepiece, kind="bpe", max_sentencepiece_length=36, **UNSPLIT
    ),
    f"SentencePiece BPE, {WORDS}": partial(by_sentencepiece, kind="bpe"),
    f"SentencePiece Unigram, {WHOLE}": partial(
        by_sentencepiece, kind="unigram", max_sentencepiece_length=32, **UNSPLIT
    ),
    f"SentencePiece Unigram, {WORDS}": partial(by_sentencepiece, kind="unigram"),
    f"tokenizers BPE, {WHOLE}": partial(by_tokenizers, words=False),
    f"tokenizers BPE, {WORDS}": partial(by_tokenizers, words=True),
}
SPLITTING = {
    "our BytePiece": "lines only; pieces to 36 bytes",
    "ours with rare characters spelt": "lines only; pieces to 36 bytes",
    "our Unigram": "lines only; pieces to 32 characters",
    f"our BPE, {WHOLE}": "lines only; pieces of any length",
    f"our BPE, {WORDS}": "GPT-2's regular expression",
    f"SentencePiece BPE, {WHOLE}": "lines only; pieces to 36 characters",
    f"SentencePiece BPE, {WORDS}": "its default: spaces, scripts and numbers; to 16 characters",
    f"SentencePiece Unigram, {WHOLE}": "lines only; pieces to 32 characters",
    f"SentencePiece Unigram, {WORDS}": "its default: spaces, scripts and numbers; to 16 characters",
    f"tokenizers BPE, {WHOLE}": "lines only; pieces to 36 bytes",
    f"tokenizers BPE, {WORDS}": "GPT-2's regular expression",
    "bytepiece": "lines only; pieces to 36 bytes",
}


class Session:
    """One tool and its lines; the loops of ours are compiled before anything is measured."""

    def prepare(self, tool: str, vocab_size: int, training: list[str], held_out: list[str]) -> None:
        self._train = partial(TOOLS[tool], training, vocab_size)
        self._held_out = held_out
        if tool.startswith("our"):
            TOOLS[tool](training[:2000], 3000)(held_out[:10])

    def train(self) -> None:
        self._encode = self._train()

    def figures(self) -> dict[str, float]:
        size = sum(len(line.encode()) for line in self._held_out)
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            tokens = sum(map(len, self._encode(self._held_out)))
            taken.append(time.perf_counter() - start)
        return {"bytes_per_token": size / tokens, "encoding_mb_s": size / min(taken) / 1e6}
