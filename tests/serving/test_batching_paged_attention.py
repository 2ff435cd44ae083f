"""Attention over pages, beside the formula in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.models.attention import attention_plain
from toolkit.serving.batching.paged_attention import paged_attention, paged_attention_plain

FP32 = {"rtol": 1e-5, "atol": 2e-6}  # sums of up to a few hundred numbers of about 1


def drawn(
    contexts: list[int], heads: int, kv_heads: int, dim: int, size: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[list[int]]]:
    """Queries, keys, values and tables: blocks lie anywhere, and what no table reaches is nan."""
    generator = torch.Generator().manual_seed(seed)
    held = [-(-context // size) for context in contexts]
    blocks = sum(held) + 3
    order = torch.randperm(blocks, generator=generator).tolist()
    tables = [[order.pop() for _ in range(count)] for count in held]
    keys, values = torch.full((2, blocks, size, kv_heads, dim), torch.nan)
    for table, context in zip(tables, contexts, strict=True):
        for place in range(context):
            slot = table[place // size], place % size
            keys[slot] = torch.randn(kv_heads, dim, generator=generator)
            values[slot] = torch.randn(kv_heads, dim, generator=generator)
    queries = torch.randn(len(contexts), heads, dim, generator=generator)
    return queries, keys, values, tables


def compiled(queries, keys, values, tables, contexts) -> torch.Tensor:
    begins = np.cumsum([0, *map(len, tables)])[:-1]
    flat = np.array([block for table in tables for block in table])
    return paged_attention(queries, keys, values, flat, begins, np.array(contexts))


@settings(max_examples=60, deadline=None)
@given(
    contexts=st.lists(st.integers(1, 70), min_size=1, max_size=5),
    kv_heads=st.integers(1, 3),
    shared_by=st.integers(1, 4),
    dim=st.sampled_from([2, 16, 24, 64]),
    size=st.sampled_from([1, 2, 7, 16]),
    seed=st.integers(0, 2**31),
)
def test_it_is_the_formula(contexts, kv_heads, shared_by, dim, size, seed):
    queries, keys, values, tables = drawn(contexts, kv_heads * shared_by, kv_heads, dim, size, seed)
    expected = paged_attention_plain(queries, keys, values, tables, contexts)
    found = compiled(queries, keys, values, tables, contexts)
    torch.testing.assert_close(found.double(), expected, **FP32)


@pytest.mark.parametrize("context", [1, 15, 16, 17, 32, 33, 300])
def test_at_the_edges_of_blocks(context):
    queries, keys, values, tables = drawn([context], 9, 3, 64, 16, seed=context)
    expected = paged_attention_plain(queries, keys, values, tables, [context])
    found = compiled(queries, keys, values, tables, [context])
    torch.testing.assert_close(found.double(), expected, **FP32)


def test_the_formula_is_the_one_of_the_attention_chapter():
    contexts = [1, 16, 21]
    queries, keys, values, tables = drawn(contexts, 6, 2, 8, 4, seed=0)
    found = paged_attention_plain(queries, keys, values, tables, contexts)
    for row, (table, context) in enumerate(zip(tables, contexts, strict=True)):
        k, v = (
            torch.cat([kept[block] for block in table])[:context].double().transpose(0, 1)[None]
            for kept in (keys, values)
        )
        q = queries[row].double()[None, :, None]
        torch.testing.assert_close(found[row], attention_plain(q, k, v)[0, :, 0])


def test_scores_of_any_size_do_not_overflow():
    queries, keys, values, tables = drawn([40, 40], 4, 2, 16, 16, seed=1)
    queries *= torch.tensor([100.0, -100.0])[:, None, None]
    keys[tables[0][2]] *= 50  # the largest come last, and the smallest
    expected = paged_attention_plain(queries, keys, values, tables, [40, 40])
    found = compiled(queries, keys, values, tables, [40, 40])
    close_scores = {"rtol": 2e-2, "atol": 2e-2}  # a score of 1e4 is rounded by 1e-3
    torch.testing.assert_close(found.double(), expected, **close_scores)


def test_rows_of_one_request_share_a_table():
    queries, keys, values, tables = drawn([20], 4, 2, 16, 8, seed=2)
    three = torch.cat([queries, 2 * queries, -queries])
    contexts = [18, 19, 20]
    found = paged_attention(
        three, keys, values, np.array(tables[0]), np.zeros(3, int), np.array(contexts)
    )
    expected = paged_attention_plain(three, keys, values, tables * 3, contexts)
    torch.testing.assert_close(found.double(), expected, **FP32)
