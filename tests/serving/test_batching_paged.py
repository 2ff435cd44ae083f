"""Ragged batches over pages: a model's logits are those of each text by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.models.llama import Llama, LlamaConfig
from toolkit.serving.batching.paged import SHORT, Chunk, Pages, RaggedBatch

FP32 = {"rtol": 1e-4, "atol": 1e-4}  # two layers of sums of up to 160 numbers, in another order
CONTEXT = 96


def random_llama(heads: int = 4, kv_heads: int = 2) -> Llama:
    """Small, and different enough from token to token."""
    config = LlamaConfig(97, 48, 2, heads, kv_heads, 12, 64, CONTEXT)
    model = Llama(config, seed=5).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.mul_(8.0)
    return model


MODELS = {kv_heads: random_llama(kv_heads=kv_heads) for kv_heads in (1, 2, 4)}


def text(tokens: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(97, (tokens,), generator=generator).tolist()


@torch.no_grad()
def read(
    model: Llama, texts: list[list[int]], batches: list[list[int]], size: int, pages: Pages
) -> list[torch.Tensor]:
    """The logits of every token of every text; a batch says how many of each one's come next."""
    pages.keys.fill_(torch.nan), pages.values.fill_(torch.nan)  # what is not written is not read
    order = list(range(pages.keys.shape[1]))[::-1]
    tables = [[order.pop() for _ in range(-(-len(ids) // size))] for ids in texts]
    done, found = [0] * len(texts), [[] for _ in texts]
    for batch in batches:
        who = [(row, tokens) for row, tokens in enumerate(batch) if tokens]
        chunks = [Chunk(tables[row], done[row], tokens) for row, tokens in who]
        ids = [i for row, tokens in who for i in texts[row][done[row] : done[row] + tokens]]
        logits = model.logits(model.last_states(torch.tensor([ids]), RaggedBatch(pages, chunks)))
        for (row, tokens), part in zip(who, logits[0].split([n for _, n in who]), strict=True):
            found[row].append(part)
            done[row] += tokens
    return [torch.cat(parts) for parts in found]


@settings(max_examples=50, deadline=None)
@given(data=st.data(), kv_heads=st.sampled_from([1, 2, 4]), size=st.sampled_from([1, 3, 8, 16]))
def test_chunks_of_any_sizes_read_what_a_text_alone_reads(data, kv_heads, size):
    model = MODELS[kv_heads]
    lengths = data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=4))
    texts = [text(length, seed) for seed, length in enumerate(lengths)]
    left, batches = list(lengths), []
    while any(left):
        batch = [data.draw(st.integers(0, min(most, 25))) for most in left]
        if not any(batch):
            batch = [min(most, 1) for most in left]
        batches.append(batch)
        left = [most - taken for most, taken in zip(left, batch, strict=True)]
    pages = Pages(model.config, sum(-(-length // size) for length in lengths), size)
    for ids, found in zip(texts, read(model, texts, batches, size, pages), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(found, model(torch.tensor([ids]))[0], **FP32)


@pytest.mark.parametrize("chunk", [1, SHORT - 1, SHORT, SHORT + 1, 2 * SHORT + 1])
@pytest.mark.parametrize("start", [0, 1, 7, 8, 9, 31])
def test_a_chunk_may_begin_and_end_anywhere_in_a_block(chunk, start):
    model, ids = MODELS[2], text(start + chunk + 1)
    batches = [[start], [chunk], [1]] if start else [[chunk], [1]]
    pages = Pages(model.config, 7, 8)
    (found,) = read(model, [ids], batches, 8, pages)
    with torch.no_grad():
        torch.testing.assert_close(found, model(torch.tensor([ids]))[0], **FP32)


def test_other_dtypes_are_read_as_well():
    model = random_llama().double()
    ids = [text(30), text(9, seed=1)]
    pages = Pages(model.config, 6, 8, torch.float64)
    found = read(model, ids, [[20, 3], [9, 5], [1, 1]], 8, pages)
    for row, logits in zip(ids, found, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([row]))[0]
        torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)


def test_pages_take_two_numbers_a_head_and_dimension():
    config = LlamaConfig.tiny()
    tokens = 2 * config.layers * config.kv_heads * config.head_dim * 4
    assert Pages(config, 5, 16).nbytes == 5 * 16 * tokens
    assert Pages(config, 5, 16, torch.bfloat16).nbytes == 5 * 16 * tokens // 2


def test_a_row_of_another_length_is_refused():
    cache = RaggedBatch(Pages(LlamaConfig.tiny(), 2, 16), [Chunk([0], 0, 3), Chunk([1], 0, 2)])
    assert cache.reserve(1, 5).tolist() == [[0, 1, 2, 0, 1]]
    with pytest.raises(ValueError, match="the chunks are one row of 5 tokens, got 1 of 4"):
        cache.reserve(1, 4)
