"""The kernels, as Triton's interpreter runs them, against attention in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.kernels.engine import engine
from toolkit.kernels.flash_attention import (
    Tiles,
    flash_attention,
    flash_attention_varlen,
    flash_decode,
)
from toolkit.kernels.flash_attention.launch import Options, launch_backward, launch_forward
from toolkit.kernels.flash_attention.naive import naive_attention

FP32 = 1e-5  # outputs are means of values up to 4, sums of up to 512 terms in fp32
FP16 = 6e-3  # P, dS and the outputs are rounded to 11 bits, beside values up to 4
GRADIENT = 3  # gradients are sums of such errors


def slow(*values):
    """Values that are tried with SLOW=1 alone: a minute in all."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def draw(seed, *shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


def by_hand(q, k, v, causal=False, scale=None, window=None, softcap=None):
    """Attention in float64, written without the library's code: one query at a time."""
    q, k, v = q.double(), k.double(), v.double()
    batch, heads, queries, dim = q.shape
    keys, group = k.shape[2], heads // k.shape[1]
    outputs, lses = [], []
    for head in range(heads):
        for row in range(queries):
            at = row + keys - queries
            end = min(keys, at + 1) if causal else keys
            begin = max(0, at - window + 1) if window else 0
            if begin >= end:
                outputs.append(torch.zeros(batch, dim).double())
                lses.append(torch.full((batch,), -torch.inf).double())
                continue
            scores = torch.einsum("bd,bkd->bk", q[:, head, row], k[:, head // group, begin:end])
            scores = scores * (dim**-0.5 if scale is None else scale)
            if softcap:
                scores = softcap * torch.tanh(scores / softcap)
            lses.append(scores.logsumexp(1))
            seen = v[:, head // group, begin:end]
            outputs.append(torch.einsum("bk,bkd->bd", scores.softmax(1), seen))
    shape = (heads, queries, batch)
    output = torch.stack(outputs).view(*shape, dim).permute(2, 0, 1, 3)
    return output, torch.stack(lses).view(shape).permute(2, 0, 1)


def compare(q, k, v, tolerance=FP32, **rules):
    """Outputs, log-sum-exps and all gradients, through both results."""
    output, lse = flash_attention(q, k, v, return_lse=True, **rules)
    wanted, wanted_lse = by_hand(q, k, v, **rules)
    assert output.dtype == q.dtype
    assert lse.dtype == torch.float32
    assert (output - wanted).abs().max() < tolerance
    assert torch.equal(lse.isinf(), wanted_lse.isinf())
    seen = ~lse.isinf()
    assert not seen.any() or (lse - wanted_lse)[seen].abs().max() < tolerance
    d_output = draw(11, *output.shape).detach()
    d_lse = draw(12, *lse.shape).detach()
    ours, theirs = (
        torch.autograd.grad((o * d_output).sum() + (s[seen] * d_lse[seen]).sum(), (q, k, v))
        for o, s in ((output.float(), lse), (wanted, wanted_lse))
    )
    for name, got, want in zip("qkv", ours, theirs, strict=True):
        largest = max(1.0, want.abs().max().item())
        assert (got.double() - want).abs().max() < GRADIENT * tolerance * largest, f"d{name}"


def test_the_interpreter_is_what_runs():
    assert engine(torch.zeros(1)) == "interpreter"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("causal", [False, True])
def test_two_tiles_and_a_bit(dtype, causal):
    q, k, v = (draw(n, 2, 2, 131, 64, dtype=dtype) for n in range(3))
    compare(q, k, v, FP32 if dtype == torch.float32 else FP16, causal=causal)


def test_512_keys():
    q, k, v = draw(0, 1, 1, 70, 64), draw(1, 1, 1, 512, 64), draw(2, 1, 1, 512, 64)
    compare(q, k, v, causal=True)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 1)])
def test_heads_share_keys(heads, kv_heads):
    q, k, v = draw(0, 2, heads, 40, 32), draw(1, 2, kv_heads, 70, 32), draw(2, 2, kv_heads, 70, 32)
    compare(q, k, v, causal=True)


@pytest.mark.parametrize("dim", [16, 17, *slow(40, 64, 96), 128, 250])
def test_any_head_dim(dim):
    q, k, v = (draw(n, 1, 1, 20, dim) for n in range(3))
    compare(q, k, v, causal=True)


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 200), (200, 1), (65, 64), (130, 70)])
def test_causal_is_aligned_at_the_last_query(queries, keys):
    q, k, v = draw(0, 1, 1, queries, 16), draw(1, 1, 1, keys, 16), draw(2, 1, 1, keys, 16)
    compare(q, k, v, causal=True)


@pytest.mark.parametrize("window", [1, *slow(3, 63), 64, *slow(65, 129, 199, 200), 2**31 - 1])
@pytest.mark.parametrize("causal", [False, True])
def test_windows(window, causal):
    q, k, v = draw(0, 1, 1, 150, 16), draw(1, 1, 1, 200, 16), draw(2, 1, 1, 200, 16)
    compare(q, k, v, causal=causal, window=window)


@pytest.mark.parametrize("softcap", [1e-3, 0.5, 30.0, 1e6])
def test_softcap(softcap):
    q, k, v = (draw(n, 1, 2, 80, 32) for n in range(3))
    compare(q, k, v, causal=True, softcap=softcap)


@pytest.mark.parametrize("scale", [-0.5, 0.0, 2])
def test_any_scale(scale):
    q, k, v = (draw(n, 1, 2, 70, 32) for n in range(3))
    # at a scale of 2 scores are up to 50, and fp32 has so many digits less of them
    compare(q, k, v, 5 * FP32, causal=True, scale=scale)


def test_large_scores_do_not_overflow():
    q, k, v = (draw(n, 1, 1, 70, 32) for n in range(3))
    # scores up to thousands, and log-sum-exps as large: fp32 keeps 7 digits of them
    output, lse = flash_attention(q, k, v, scale=100.0, return_lse=True)
    wanted, wanted_lse = by_hand(q, k, v, scale=100.0)
    assert (lse / wanted_lse - 1).abs().max() < 1e-6
    assert (output - wanted).abs().max() < 1e-3


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    queries=st.integers(1, 100),
    keys=st.integers(1, 100),
    kv_heads=st.integers(1, 2),
    group=st.integers(1, 3),
    dim=st.integers(16, 48),
    causal=st.booleans(),
    window=st.none() | st.integers(1, 110),
    softcap=st.none() | st.floats(1.0, 50.0),
)
def test_any_shape(queries, keys, kv_heads, group, dim, causal, window, softcap):
    q = draw(0, 1, kv_heads * group, queries, dim)
    k, v = draw(1, 1, kv_heads, keys, dim), draw(2, 1, kv_heads, keys, dim)
    compare(q, k, v, causal=causal, window=window, softcap=softcap)


@pytest.mark.parametrize("sizes", [(16, 64), *slow((16, 16), (64, 16), (128, 32)), (32, 128)])
@pytest.mark.parametrize("window", [None, 50])
def test_tiles_of_any_size_give_the_same(sizes, window):
    tiles = Tiles(*sizes, 4, 1)
    q, k, v = (draw(n, 1, 2, 130, 32) for n in range(3))
    options = Options(scale=0.3, causal=True, window=window)
    output, lse = launch_forward(q, k, v, options, tiles)
    wanted, _ = by_hand(q, k, v, causal=True, scale=0.3, window=window)
    assert (output - wanted).abs().max() < FP32
    d_output, d_lse = draw(5, *output.shape).detach(), torch.zeros_like(lse)
    with torch.no_grad():
        ours = launch_backward(q, k, v, output, lse, d_output, d_lse, options, tiles)
    theirs = torch.autograd.grad(wanted, (q, k, v), d_output.double())
    assert max((a - b).abs().max() for a, b in zip(ours, theirs, strict=True)) < 10 * FP32


def test_strided_inputs():
    # (batch, seq, heads, dim) as a model has it, turned without a copy; heads from a wider row
    wide = draw(0, 2, 50, 3, 2, 32)
    q, k, v = (wide[:, :, n].transpose(1, 2) for n in range(3))
    compare(q, k, v, causal=True)


def test_gradients_are_the_same_in_every_run():
    q, k, v = (draw(n, 1, 4, 100, 32) for n in range(3))
    k, v = k[:, :2], v[:, :2]
    runs = [torch.autograd.grad(flash_attention(q, k, v).sin().sum(), (q, k, v)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_second_derivatives_are_refused():
    q, k, v = (draw(n, 1, 1, 20, 16) for n in range(3))
    with pytest.raises(RuntimeError, match="no second derivatives, and create_graph=True asks"):
        torch.autograd.grad(flash_attention(q, k, v).sum(), q, create_graph=True)


def test_starts_that_change_before_the_backward_are_noticed():
    q, k, v = (draw(n, 20, 1, 16) for n in range(3))
    starts = packed([12, 8])
    output = flash_attention_varlen(q, k, v, starts, starts)
    starts[1] = 5
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_rows_past_what_32_bits_count():
    # 60 rows that span as much as 200,000 rows of 12,288 numbers do
    far = 2**31 // 58
    room = torch.empty(59 * far + 32, dtype=torch.float16)
    rows = room.as_strided((1, 1, 60, 32), (0, 0, far, 1))
    rows.copy_(draw(1, 1, 1, 60, 32, dtype=torch.float16).detach())
    output, _ = launch_forward(rows, rows, rows, Options(scale=0.2), Tiles(16, 16, 4, 1))
    assert (output - by_hand(rows, rows, rows, scale=0.2)[0]).abs().max() < FP16


def test_bf16_is_computed_in_fp32():
    q, k, v = (draw(n, 1, 1, 70, 32, dtype=torch.bfloat16) for n in range(3))
    output = flash_attention(q, k, v, causal=True)
    assert output.dtype == torch.bfloat16
    assert (output - by_hand(q, k, v, causal=True)[0]).abs().max() < 2**-8 * 4
    (gradient,) = torch.autograd.grad(output.sum(), (q,))
    assert gradient.dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(0, 2, 5, 16), (2, 2, 0, 16)])
def test_nothing_gives_nothing(shape):
    q, k, v = (draw(n, *shape) for n in range(3))
    output = flash_attention(q, k, v)
    assert output.shape == shape
    output.sum().backward()
    assert q.grad.shape == shape


def test_no_keys_give_zeros():
    q, k, v = draw(0, 1, 2, 5, 16), draw(1, 1, 2, 0, 16), draw(2, 1, 2, 0, 16)
    output, lse = flash_attention(q, k, v, return_lse=True)
    assert not output.any()
    assert lse.isneginf().all()
    assert not torch.autograd.grad(output.sum(), q)[0].any()


def packed(lengths):
    return torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)


@pytest.mark.parametrize("rules", [{}, {"causal": True}, {"causal": True, "window": 20}])
def test_packed_sequences(rules):
    lengths_q, lengths_k = [5, 0, 70, 64, 1], [9, 3, 130, 64, 0]
    starts_q, starts_k = packed(lengths_q), packed(lengths_k)
    q = draw(0, sum(lengths_q), 4, 32)
    k, v = draw(1, sum(lengths_k), 2, 32), draw(2, sum(lengths_k), 2, 32)
    output, lse = flash_attention_varlen(q, k, v, starts_q, starts_k, return_lse=True, **rules)
    parts = zip(q.split(lengths_q), k.split(lengths_k), v.split(lengths_k), strict=True)
    done = [
        by_hand(*(x.transpose(0, 1)[None] for x in part), **rules) for part in parts if len(part[0])
    ]
    wanted = torch.cat([o[0].transpose(0, 1) for o, _ in done])
    wanted_lse = torch.cat([s[0] for _, s in done], 1)
    assert (output - wanted).abs().max() < FP32
    assert torch.nan_to_num(lse - wanted_lse, 0.0).abs().max() < FP32
    d_output = draw(3, *output.shape).detach()
    ours = torch.autograd.grad(output, (q, k, v), d_output)
    theirs = torch.autograd.grad(wanted, (q, k, v), d_output.double())
    for got, want in zip(ours, theirs, strict=True):
        assert (got - want).abs().max() < 10 * FP32


@pytest.mark.parametrize("rules", [{}, {"window": 50}, {"softcap": 3.0}])
@pytest.mark.parametrize("num_splits", [None, *slow(1, 3), 7])
@pytest.mark.parametrize("block_size", [16, 48])
def test_paged_decoding(rules, num_splits, block_size):
    contexts = [0, 1, 77, 190]
    most = -(-max(contexts) // block_size)
    order = torch.randperm(len(contexts) * most, generator=torch.Generator().manual_seed(3))
    table = order.view(len(contexts), most).int()
    k_cache, v_cache = (draw(n, len(order), block_size, 2, 32).detach() for n in (1, 2))
    q = draw(0, len(contexts), 6, 32).detach()
    lens = torch.tensor(contexts, dtype=torch.int32)
    output, lse = flash_decode(
        q, k_cache, v_cache, table, lens, num_splits=num_splits, return_lse=True, **rules
    )
    for row, context in enumerate(contexts):
        slots = [(table[row, j // block_size], j % block_size) for j in range(context)]
        k, v = (
            torch.stack([cache[slot] for slot in slots], 1)[None]
            if slots
            else torch.zeros(1, 2, 0, 32)
            for cache in (k_cache, v_cache)
        )
        wanted, wanted_lse = by_hand(q[row, None, :, None], k, v, causal=True, **rules)
        assert (output[row] - wanted[0, :, 0]).abs().max() < FP32
        assert torch.nan_to_num(lse[row] - wanted_lse[0, :, 0], 0.0).abs().max() < FP32


def test_decoding_in_half_precision():
    table = torch.arange(8, dtype=torch.int32).view(2, 4)
    lens = torch.tensor([60, 33], dtype=torch.int32)
    for dtype in (torch.float16, torch.bfloat16):
        k, v = (draw(n, 8, 16, 1, 64, dtype=dtype).detach() for n in (1, 2))
        q = draw(0, 2, 20, 64, dtype=dtype).detach()
        output = flash_decode(q, k, v, table, lens)
        assert output.dtype == dtype
        for row, context in enumerate(lens.tolist()):
            keys, values = (x[table[row].long()].flatten(0, 1)[:context, 0] for x in (k, v))
            wanted = by_hand(q[row, None, :, None], keys[None, None], values[None, None])[0]
            assert (output[row] - wanted[0, :, 0]).abs().max() < 2 * FP16


def test_the_naive_kernels_agree():
    q, k, v = draw(0, 2, 100, 32), draw(1, 2, 70, 32), draw(2, 2, 70, 32)
    with torch.no_grad():
        output = naive_attention(q, k, v, Tiles(32, 64, 4, 1))
    assert (output - by_hand(q[None], k[None], v[None])[0][0]).abs().max() < FP32
