"""What runs without a kernel: reference, refusals, costs; and on a GPU the kernels themselves."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from toolkit.kernels.engine import chip, engine
from toolkit.kernels.flash_attention import (
    Tiles,
    attention,
    attention_bytes,
    attention_flops,
    flash_attention,
    flash_attention_varlen,
    flash_bytes,
    flash_decode,
    visible,
)

FP32 = 1e-5


def draw(seed, *shape, dtype=torch.float32, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device, dtype).requires_grad_()


def test_on_a_cpu_the_reference_runs():
    assert engine(torch.zeros(1)) == "reference"
    assert chip(torch.zeros(1)) == "cpu"


def test_who_sees_whom():
    assert visible(2, 4, causal=True).tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert visible(3, 2, causal=True).tolist() == [[0, 0], [1, 0], [1, 1]]
    assert visible(3, 3, window=1, causal=True).tolist() == torch.eye(3).bool().tolist()
    assert visible(2, 3, window=2).tolist() == [[1, 1, 1], [0, 1, 1]]


@pytest.mark.parametrize("causal", [False, True])
def test_the_reference_is_torchs(causal):
    q, k, v = draw(0, 2, 6, 50, 32), draw(1, 2, 2, 50, 32), draw(2, 2, 2, 50, 32)
    ours = attention(q, k, v, causal=causal)
    wanted = sdpa(q, k, v, is_causal=causal, enable_gqa=True)
    assert (ours - wanted).abs().max() < FP32
    assert torch.equal(ours, flash_attention(q, k, v, causal=causal))
    gradients = (torch.autograd.grad(x.sin().sum(), (q, k, v)) for x in (ours, wanted))
    assert max((a - b).abs().max() for a, b in zip(*gradients, strict=True)) < 10 * FP32


def test_the_reference_with_a_mask_is_torchs():
    q, k, v = draw(0, 1, 2, 30, 16), draw(1, 1, 2, 70, 16), draw(2, 1, 2, 70, 16)
    mask = visible(30, 70, causal=True, window=9)
    ours = attention(q, k, v, causal=True, window=9, scale=0.5)
    assert (ours - sdpa(q, k, v, attn_mask=mask, scale=0.5)).abs().max() < FP32


def test_a_softcap_bounds_the_scores():
    q, k, v = (draw(n, 1, 1, 8, 16) for n in range(3))
    _, lse = flash_attention(q, k, v, scale=1e4, softcap=2.0, return_lse=True)
    # eight scores of -2 to 2
    assert lse.max() <= 2.0 + torch.log(torch.tensor(8.0))
    assert (attention(q, k, v, softcap=1e6) - attention(q, k, v)).abs().max() < FP32


def test_a_query_that_sees_nothing_gets_zeros_and_no_gradient():
    q, k, v = draw(0, 1, 1, 5, 16), draw(1, 1, 1, 3, 16), draw(2, 1, 1, 3, 16)
    output, lse = flash_attention(q, k, v, causal=True, return_lse=True)
    assert not output[0, 0, :2].any()
    assert lse[0, 0].isneginf().tolist() == [True, True, False, False, False]
    (gradient,) = torch.autograd.grad(output.sum(), q)
    assert gradient.isfinite().all()
    assert not gradient[0, 0, :2].any()


def test_packed_is_one_by_one():
    lengths_q, lengths_k = [3, 0, 20], [8, 2, 20]
    starts_q, starts_k = (
        torch.tensor([0, *x]).cumsum(0, dtype=torch.int32) for x in (lengths_q, lengths_k)
    )
    q, k, v = draw(0, 23, 4, 16), draw(1, 30, 2, 16), draw(2, 30, 2, 16)
    output, lse = flash_attention_varlen(q, k, v, starts_q, starts_k, causal=True, return_lse=True)
    assert output.shape == q.shape
    assert lse.shape == (4, 23)
    alone = [
        sdpa(*(x.transpose(0, 1)[None] for x in (q[:3], k[:8], v[:8])), enable_gqa=True,
             attn_mask=visible(3, 8, causal=True)),
        sdpa(*(x.transpose(0, 1)[None] for x in (q[3:], k[10:], v[10:])), enable_gqa=True,
             is_causal=True),
    ]  # fmt: skip
    wanted = torch.cat([x[0].transpose(0, 1) for x in alone])
    assert (output - wanted).abs().max() < FP32


def test_decoding_reads_the_blocks_of_its_table():
    k_cache, v_cache = draw(1, 6, 4, 2, 16).detach(), draw(2, 6, 4, 2, 16).detach()
    q = draw(0, 2, 4, 16).detach()
    table = torch.tensor([[5, 0, 3], [2, 1, 4]], dtype=torch.int32)
    output = flash_decode(q, k_cache, v_cache, table, torch.tensor([9, 4], dtype=torch.int32))
    k = torch.cat([k_cache[5], k_cache[0], k_cache[3][:1]]).transpose(0, 1)[None]
    v = torch.cat([v_cache[5], v_cache[0], v_cache[3][:1]]).transpose(0, 1)[None]
    wanted = sdpa(q[:1, :, None], k, v, enable_gqa=True)[0, :, 0]
    assert (output[0] - wanted).abs().max() < FP32
    other = sdpa(
        q[1:, :, None], k_cache[2].transpose(0, 1)[None], v_cache[2].transpose(0, 1)[None],
        enable_gqa=True,
    )  # fmt: skip
    assert (output[1] - other[0, :, 0]).abs().max() < FP32


def test_no_gradients_flow_through_decoding():
    cache, table = torch.zeros(2, 4, 1, 16), torch.zeros(1, 1, dtype=torch.int32)
    output = flash_decode(draw(0, 1, 1, 16), cache, cache, table, torch.ones(1, dtype=torch.int32))
    assert not output.requires_grad


def test_the_reference_is_exact_under_autocast():
    q, k, v = (draw(n, 1, 2, 30, 32) for n in range(3))
    wanted, wanted_lse = flash_attention(q, k, v, return_lse=True)
    with torch.autocast("cpu", torch.bfloat16):
        output, lse = flash_attention(q, k, v, return_lse=True)
    assert torch.equal(output, wanted)
    assert torch.equal(lse, wanted_lse)


def test_bf16_is_rounded_once():
    q, k, v = (draw(n, 1, 2, 30, 32, dtype=torch.bfloat16) for n in range(3))
    exact = attention(q.float(), k.float(), v.float())
    assert torch.equal(attention(q, k, v), exact.bfloat16())


SOUND = {"q": (1, 4, 8, 32), "k": (1, 2, 8, 32), "v": (1, 2, 8, 32)}


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"q": (4, 8, 32)}, r"q must be \(batch, heads, seq, head_dim\), got \(4, 8, 32\)"),
        ({"q": (1, 3, 8, 32)}, "multiple of KV heads, got 3 and 2"),
        ({"q": (2, 4, 8, 32)}, "same batch, got 2 and 1"),
        ({"v": (1, 2, 9, 32)}, r"same shape, got \(1, 2, 8, 32\) and \(1, 2, 9, 32\)"),
        (
            {"q": (1, 4, 8, 64)},
            "head_dim must be 16 to 256 and the same for q and k, got 64 and 32",
        ),
        (dict.fromkeys("qkv", (1, 2, 8, 8)), "head_dim must be 16 to 256"),
        (dict.fromkeys("qkv", (1, 2, 8, 257)), "head_dim must be 16 to 256"),
    ],
)
def test_shapes_that_do_not_fit(shapes, said):
    tensors = {name: torch.zeros(shape) for name, shape in (SOUND | shapes).items()}
    for function in (attention, flash_attention):
        with pytest.raises(ValueError, match=said):
            function(**tensors)


def test_dtypes_devices_and_strides_that_do_not_fit():
    tensors = {name: torch.zeros(shape) for name, shape in SOUND.items()}
    with pytest.raises(TypeError, match=r"got k of torch.float16 and q of torch.float32"):
        flash_attention(**tensors | {"k": tensors["k"].half()})
    with pytest.raises(TypeError, match=r"float32, float16 or bfloat16, got q of torch.float64"):
        flash_attention(**{name: x.double() for name, x in tensors.items()})
    with pytest.raises(ValueError, match="v must be on q's device, cpu, got meta"):
        flash_attention(**tensors | {"v": tensors["v"].to("meta")})
    turned = torch.zeros(1, 2, 32, 8).transpose(2, 3)
    with pytest.raises(ValueError, match=r"k's last dimension must be contiguous, got strides"):
        flash_attention(**tensors | {"k": turned})


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"window": 0}, "window must be a whole number, at least 1, got 0"),
        ({"window": 2.5}, r"window must be a whole number, at least 1, got 2\.5"),
        ({"softcap": 0.0}, r"softcap must be a finite number above 0, got 0\.0"),
        ({"softcap": float("nan")}, "softcap must be a finite number above 0, got nan"),
        ({"softcap": float("inf")}, "softcap must be a finite number above 0, got inf"),
        ({"scale": float("nan")}, "scale must be a finite number, got nan"),
        ({"scale": "0.5"}, "scale must be a finite number, got '0.5'"),
    ],
)
def test_rules_that_make_no_sense(rules, said):
    tensors = {name: torch.zeros(shape) for name, shape in SOUND.items()}
    with pytest.raises(ValueError, match=said):
        flash_attention(**tensors, **rules)


@pytest.mark.parametrize(
    ("starts", "said"),
    [
        ([0, 9], r"cu_seqlens_q must rise from 0 to the total of 8 rows, got \[0, 9\]"),
        ([1, 8], "must rise from 0"),
        ([0, 5, 3, 8], "must rise from 0"),
        ([0, 4, 8], "the same sequences, got 2 and 1"),
        ([0], "at least two entries"),
    ],
)
def test_starts_that_do_not_fit(starts, said):
    q, k, v = torch.zeros(8, 4, 32), torch.zeros(8, 2, 32), torch.zeros(8, 2, 32)
    whole = torch.tensor([0, 8], dtype=torch.int32)
    with pytest.raises(ValueError, match=said):
        flash_attention_varlen(q, k, v, torch.tensor(starts, dtype=torch.int32), whole)
    with pytest.raises(ValueError, match="vector of int32"):
        flash_attention_varlen(q, k, v, whole.long(), whole)
    with pytest.raises(ValueError, match="cu_seqlens_k must be contiguous"):
        flash_attention_varlen(q, k, v, whole, torch.stack([whole, whole], 1)[:, 1])


def test_caches_that_do_not_fit():
    q, cache = torch.zeros(2, 4, 32), torch.zeros(6, 4, 2, 32)
    table, lens = torch.zeros(2, 3, dtype=torch.int32), torch.ones(2, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"k_cache must be \(blocks, block_size"):
        flash_decode(q, cache[0], cache, table, lens)
    with pytest.raises(ValueError, match="a row for each of q's 2 sequences"):
        flash_decode(q, cache, cache, table[:1], lens)
    with pytest.raises(ValueError, match=r"context_lens must be int32"):
        flash_decode(q, cache, cache, table, lens.long())
    for splits in (0, 129):
        with pytest.raises(ValueError, match=f"num_splits must be 1 to 128, got {splits}"):
            flash_decode(q, cache, cache, table, lens, num_splits=splits)
    with pytest.raises(ValueError, match=r"context_lens must be 0 to 12, .* got \[1, 13\]"):
        flash_decode(q, cache, cache, table, torch.tensor([1, 13], dtype=torch.int32))
    for block in (-1, 6):
        with pytest.raises(ValueError, match=f"the cache's 6 blocks, got 0 to {block}|got -1 to 0"):
            flash_decode(q, cache, cache, torch.tensor([[0], [block]], dtype=torch.int32), lens)
    with pytest.raises(ValueError, match="block_size of 0"):
        flash_decode(q, cache[:, :0], cache[:, :0], table, lens)


def test_flops_are_the_papers():
    assert attention_flops(2, 3, 64, 64, 32) == 4 * 2 * 3 * 64 * 64 * 32
    assert attention_flops(1, 1, 64, 64, 32, causal=True) == 2 * 64 * 64 * 32


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize(("queries", "keys"), [(128, 128), (100, 130), (130, 100)])
def test_bytes_are_those_of_the_tiles_that_someone_sees(causal, window, queries, keys):
    tiles = Tiles(32, 16, 4, 1)
    seen = visible(queries, keys, causal=causal, window=window)
    expected = 2 * 3 * queries * (2 * 64 * 2 + 4)
    for low in range(0, queries, 32):
        for start in range(0, keys, 16):
            if seen[low : low + 32, start : start + 16].any():
                expected += 2 * 3 * 2 * 64 * 2 * min(16, keys - start)
    got = flash_bytes(2, 3, queries, keys, 64, tiles=tiles, causal=causal, window=window)
    # the last block's rows past the end are no queries, and yet they widen what it visits
    slack = 2 * 3 * 2 * 64 * 2 * 32 if queries % 32 else 0
    assert expected <= got <= expected + slack


def test_bytes_of_the_formula():
    # two blocks of queries and two of keys, each of 64: Q and K twice, S four times, P, V twice, O
    bytes_of_s = 128 * 128 * 4
    whole = 128 * 32 * 2
    assert attention_bytes(1, 1, 128, 128, 32, tiles=Tiles(64, 64, 4, 1)) == (
        2 * whole + 2 * whole + 4 * bytes_of_s + 2 * whole + whole
    )


RULES = [
    {},
    {"causal": True},
    {"causal": True, "window": 300},
    {"window": 300},
    {"causal": True, "softcap": 20.0},
]


@pytest.mark.gpu
@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("dim", [16, 64, 72, 128, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_a_gpu(dtype, dim, rules):
    q = draw(0, 2, 4, 1000, dim, dtype=dtype, device="cuda")
    k, v = (draw(n, 2, 2, 1100, dim, dtype=dtype, device="cuda") for n in (1, 2))
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    seen = visible(1000, 1100, **{n: r for n, r in rules.items() if n != "softcap"}, device="cuda")
    scores = exact[0] @ exact[1].repeat_interleave(2, 1).mT * dim**-0.5
    if "softcap" in rules:
        scores = rules["softcap"] * torch.tanh(scores / rules["softcap"])
    wanted = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ exact[2].repeat_interleave(2, 1)
    output = flash_attention(q, k, v, **rules)
    assert engine(q) == "triton"
    # P and the outputs are rounded to the dtype's digits; fp32 goes by three TF32 products
    eps = {torch.float32: 2e-6, torch.float16: 2**-11, torch.bfloat16: 2**-8}[dtype]
    assert (output - wanted).abs().max() < 4 * eps * v.abs().max()
    d_output = draw(4, *output.shape, dtype=dtype, device="cuda").detach()
    ours = torch.autograd.grad(output, (q, k, v), d_output, retain_graph=True)
    theirs = torch.autograd.grad(wanted, exact, d_output.double())
    for got, want in zip(ours, theirs, strict=True):
        assert (got - want).abs().max() < 20 * eps * want.abs().max()
    again = torch.autograd.grad(output, (q, k, v), d_output)
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("causal", [False, True])
def test_on_a_gpu_like_torchs_flash(causal):
    q, k, v = (draw(n, 2, 4, 2048, 128, dtype=torch.bfloat16, device="cuda") for n in range(3))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        wanted = sdpa(q, k, v, is_causal=causal)
    exact = attention(q.float(), k.float(), v.float(), causal=causal)
    ours = flash_attention(q, k, v, causal=causal)
    error, theirs = (ours - exact).abs().max(), (wanted - exact).abs().max()
    assert error < 2 * theirs


@pytest.mark.gpu
@pytest.mark.parametrize("block_size", [16, 48, 256])
def test_decoding_on_a_gpu(block_size):
    contexts = [1, 0, 4000, 777]
    most = -(-4000 // block_size)
    order = torch.randperm(4 * most, generator=torch.Generator().manual_seed(3))
    table = order.view(4, most).int().cuda()
    shape = (len(order), block_size, 2, 128)
    k, v = (draw(n, *shape, dtype=torch.bfloat16, device="cuda").detach() for n in (1, 2))
    q = draw(0, 4, 8, 128, dtype=torch.bfloat16, device="cuda").detach()
    output = flash_decode(q, k, v, table, torch.tensor(contexts, dtype=torch.int32).cuda())
    for row, context in enumerate(contexts):
        keys, values = (x[table[row].long()].flatten(0, 1)[:context] for x in (k, v))
        wanted = attention(
            q[row, None, :, None].float(),
            *(x.transpose(0, 1)[None].float() for x in (keys, values)),
        )
        assert (output[row] - wanted[0, :, 0]).abs().max() < 0.02
