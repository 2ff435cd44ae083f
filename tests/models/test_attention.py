"""Softmax attention against loops over every number, its masks against their definition."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.models.attention import (
    attention,
    attention_in_chunks,
    attention_plain,
    causal_mask,
)

BOTH = pytest.mark.parametrize("attend", [attention, attention_plain])
# Rounding of sums of a few dozen numbers of size 1.
WITHIN_ROUNDING = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 3e-2}
# batch, heads, kv_heads, queries, keys, dim, value_dim
SIZES = [
    (2, 4, 4, 5, 5, 8, 8),
    (2, 6, 3, 4, 7, 8, 8),
    (1, 9, 3, 1, 6, 16, 16),
    (3, 6, 1, 3, 3, 6, 4),
    (1, 1, 1, 1, 1, 1, 1),
    (2, 6, 2, 2, 33, 5, 7),
]


def draw(batch, heads, kv_heads, queries, keys, dim, value_dim, dtype=torch.float32):
    generator = torch.Generator().manual_seed(heads * keys + dim)
    shapes = (
        (batch, heads, queries, dim),
        (batch, kv_heads, keys, dim),
        (batch, kv_heads, keys, value_dim),
    )
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def draw_mask(*shape):
    generator = torch.Generator().manual_seed(len(shape))
    mask = torch.rand(shape, generator=generator) < 0.6
    mask[..., 0] = True
    return mask


def by_loops(q, k, v, may_look, scale):
    """One score at a time, in Python's floats."""
    batch, heads, queries, _ = q.shape
    shared_by = heads // k.shape[1]
    o = torch.zeros(batch, heads, queries, v.shape[-1], dtype=torch.float64)
    for b, h, i in torch.cartesian_prod(*(torch.arange(n) for n in (batch, heads, queries))):
        query = q[b, h, i].tolist()
        seen = [j for j in range(k.shape[2]) if may_look(b, h, i, j)]
        keys = [k[b, h // shared_by, j].tolist() for j in seen]
        grown = [
            math.exp(scale * sum(x * y for x, y in zip(query, key, strict=True))) for key in keys
        ]
        for weight, j in zip(grown, seen, strict=True):
            o[b, h, i] += weight / sum(grown) * v[b, h // shared_by, j].double()
    return o


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that an operation makes anew."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor) and not func.is_view:
                self.numel = max(self.numel, tensor.numel())
        return out


# Masks


@pytest.mark.parametrize(("queries", "keys"), [(0, 0), (0, 3), (1, 1), (1, 5), (4, 4), (3, 7)])
def test_a_query_sees_its_own_token_and_those_before(queries, keys):
    mask = causal_mask(queries, keys)
    assert mask.shape == (queries, keys)
    for i in range(queries):
        position = keys - queries + i
        assert mask[i].tolist() == [j <= position for j in range(keys)]


@BOTH
def test_a_query_that_may_look_nowhere_gets_zeros(attend):
    q, k, v = draw(1, 4, 2, 3, 3, 8, 8)
    mask = torch.tensor([[False, True, True]])  # the first token is padding
    o = attend(q, k, v, mask=mask, causal=True)
    assert torch.equal(o[:, :, 0], torch.zeros(1, 4, 8))
    assert torch.allclose(o[:, :, 1], v[:, :, 1].repeat_interleave(2, 1), rtol=0, atol=1e-6)


# The formula


@BOTH
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_softmax_of_scaled_products(attend, sizes, causal):
    dim, offset = sizes[5], sizes[4] - sizes[3]
    oracle = by_loops(
        *draw(*sizes, dtype=torch.float64),
        lambda b, h, i, j: not causal or j <= i + offset,
        1 / math.sqrt(dim),
    )
    for dtype in (torch.float64, torch.float32):
        q, k, v = (x.to(dtype) for x in draw(*sizes, dtype=torch.float64))
        o = attend(q, k, v, causal=causal)
        assert o.dtype == dtype
        assert (o - oracle).abs().max() < WITHIN_ROUNDING[dtype]


@BOTH
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("queries", [1, 4, 6])
def test_masks_hide_keys_and_a_scale_replaces_the_usual(attend, causal, queries):
    q, k, v = draw(2, 6, 3, queries, 6, 8, 8, dtype=torch.float64)
    for shape in ((2, 1, 1, 6), (2, 6, queries, 6), (queries, 6), (6, 1, 6)):
        mask = draw_mask(*shape)
        whole = mask.expand(2, 6, queries, 6)

        def may_look(b, h, i, j, whole=whole):
            return whole[b, h, i, j] and (not causal or j <= i + 6 - queries)

        o = attend(q, k, v, mask=mask, causal=causal, scale=0.5)
        assert (o - by_loops(q, k, v, may_look, 0.5)).abs().max() < 1e-13


@pytest.mark.parametrize("sizes", SIZES)
def test_bfloat16_rounds_no_more_than_it_must(sizes):
    q, k, v = draw(*sizes, dtype=torch.bfloat16)
    exact = attention_plain(q.double(), k.double(), v.double(), causal=True)
    o = attention(q, k, v, causal=True)
    assert o.dtype == torch.bfloat16
    assert (o - exact).abs().max() < WITHIN_ROUNDING[torch.bfloat16]


@pytest.mark.parametrize("queries", [1, 3, 4])
def test_gradients_are_those_of_finite_differences(queries):
    inputs = [x.requires_grad_() for x in draw(1, 4, 2, queries, 4, 3, 3, dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v, causal=True), inputs)


def test_shared_keys_are_not_copied_for_each_query_head():
    q, k, v = draw(1, 8, 2, 1, 500, 16, 16)
    with Largest() as largest:
        attention(q, k, v, causal=True)
    assert largest.numel < k.numel()


# Chunks


@pytest.mark.parametrize("chunk", [1, 2, 5, 7, 100])
@pytest.mark.parametrize("sizes", SIZES)
def test_chunks_give_the_whole(chunk, sizes):
    q, k, v = draw(*sizes, dtype=torch.float64)
    whole = attention_plain(q, k, v, causal=True, scale=0.3)
    assert (attention_in_chunks(q, k, v, chunk, scale=0.3) - whole).abs().max() < 1e-13


def test_no_query_is_no_output():
    q, k, v = draw(2, 4, 2, 0, 3, 8, 6)
    for o in (attention(q, k, v, causal=True), attention_in_chunks(q, k, v, 4)):
        assert o.shape == (2, 4, 0, 6)


def test_chunks_never_hold_a_square():
    q, k, v = draw(1, 2, 1, 256, 300, 4, 4)
    with Largest() as largest:
        attention_in_chunks(q, k, v, 16)
    assert largest.numel <= 16 * 300


# Refusals


def changed(**shapes):
    given = {"q": (2, 6, 3, 8), "k": (2, 3, 5, 8), "v": (2, 3, 5, 8), **shapes}
    return [torch.zeros(given[name]) for name in "qkv"]


@BOTH
@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({"q": (6, 3, 8)}, r"must be \(batch, heads, queries, dim\).*got \(6, 3, 8\)"),
        ({"q": (1, 6, 3, 8)}, r"got \(1, 6, 3, 8\), \(2, 3, 5, 8\)"),
        ({"q": (2, 6, 3, 4)}, r"got \(2, 6, 3, 4\)"),
        ({"v": (2, 3, 4, 8)}, r"and \(2, 3, 4, 8\)"),
        ({"q": (2, 4, 3, 8)}, "kv_heads must divide 4 heads, got 3"),
        ({"q": (2, 6, 9, 8)}, "the last of the keys' tokens, got 9 queries and 5 keys"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(attend, shapes, sentence):
    with pytest.raises(ValueError, match=sentence):
        attend(*changed(**shapes), causal=True)


@BOTH
def test_masks_that_do_not_fit_are_refused(attend):
    with pytest.raises(TypeError, match=r"boolean.*got torch\.float32: compare it"):
        attend(*changed(), mask=torch.ones(3, 5))
    # A row for each sequence, not for each query: (batch, keys)
    for shape in ((2, 5), (3, 4), (5,), (1, 2, 6, 3, 5), (2, 3, 3, 5)):
        with pytest.raises(ValueError, match=r"scores' shape \(2, 6, 3, 5\).*got \("):
            attend(*changed(), mask=torch.ones(shape, dtype=torch.bool))


def test_masks_and_chunks_refuse_what_they_cannot_be():
    with pytest.raises(ValueError, match="got 4 queries and 3 keys: leave causal out"):
        causal_mask(4, 3)
    with pytest.raises(ValueError, match="chunk must be at least 1 query, got 0"):
        attention_in_chunks(*changed(), 0)
    with pytest.raises(ValueError, match="got 9 queries and 5 keys"):
        attention_in_chunks(*changed(q=(2, 6, 9, 8)), 4)
    with pytest.raises(ValueError, match="got 1 queries and 0 keys"):
        attention(*changed(q=(2, 6, 1, 8), k=(2, 3, 0, 8), v=(2, 3, 0, 8)), causal=True)
