"""Layers against transformers' on the same weights, and each way of decoding against the others."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import DeepseekV2Config, DeepseekV3Config, LlamaConfig
from transformers.models.deepseek_v2.modeling_deepseek_v2 import (
    DeepseekV2Attention,
    DeepseekV2RotaryEmbedding,
)
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3Attention,
    DeepseekV3RotaryEmbedding,
)
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

from toolkit.models.attention import (
    GroupedAttention,
    HeadCache,
    LatentAttention,
    LatentCache,
    share_heads,
)
from toolkit.models.positions import rope, to_interleaved, yarn

WITHIN_FP32_ROUNDING = 5e-6
WITHIN_FP64_ROUNDING = 1e-10
WIDTH, HEADS, HEAD_DIM, LATENT, ROPE_DIM, QUERY_LATENT = 48, 6, 16, 20, 8, 24


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def tokens(batch=2, length=11, dtype=torch.float32):
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, WIDTH, generator=generator, dtype=dtype)


def random_weights(module):
    """Every weight of transformers' module at random, its norms' too."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        spread = parameter.shape[-1] ** -0.5
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
        if parameter.dim() == 1:
            parameter += 1.0
    return module.eval()


def hidden(length):
    """The mask that transformers adds to the scores."""
    return torch.full((length, length), -torch.inf).triu(1)[None, None]


# Grouped-query attention


def grouped(kv_heads, dtype=torch.float32):
    return GroupedAttention(WIDTH, HEADS, kv_heads, rope(HEAD_DIM), seed=2).to(dtype)


@pytest.mark.parametrize("kv_heads", [6, 3, 2, 1])
def test_grouped_attention_is_that_of_transformers_llama(kv_heads):
    config = LlamaConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=kv_heads,
        head_dim=HEAD_DIM,
        attn_implementation="eager",
    )
    theirs = random_weights(LlamaAttention(config, 0))
    ours = grouped(kv_heads)
    ours.w_q.weight.copy_(to_interleaved(theirs.q_proj.weight, HEAD_DIM))
    ours.w_k.weight.copy_(to_interleaved(theirs.k_proj.weight, HEAD_DIM))
    ours.w_v.weight.copy_(theirs.v_proj.weight)
    ours.w_o.weight.copy_(theirs.o_proj.weight)
    h = tokens()
    turned = LlamaRotaryEmbedding(config)(h, torch.arange(h.shape[1])[None])
    expected = theirs(h, position_embeddings=turned, attention_mask=hidden(h.shape[1]))[0]
    assert (ours(h) - expected).abs().max() < WITHIN_FP32_ROUNDING


@pytest.mark.parametrize("kv_heads", [6, 2, 1])
@pytest.mark.parametrize("pieces", [[1] * 11, [4, 1, 6], [11]])
def test_a_cache_gives_what_one_pass_gives(kv_heads, pieces):
    layer, h = grouped(kv_heads, torch.float64), tokens(dtype=torch.float64)
    cache = HeadCache(2, kv_heads, 12, HEAD_DIM, dtype=torch.float64)
    steps = torch.cat([layer(some, cache) for some in h.split(pieces, 1)], 1)
    assert cache.length == 11
    assert (steps - layer(h)).abs().max() < WITHIN_FP64_ROUNDING


def test_the_same_seed_draws_the_same_weights():
    one, same = grouped(2), grouped(2)
    other = GroupedAttention(WIDTH, HEADS, 2, rope(HEAD_DIM), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.w_k.weight, other.w_k.weight)


# Sharing heads


@pytest.mark.parametrize(("kv_heads", "shared"), [(6, 6), (6, 3), (6, 2), (6, 1), (3, 1), (1, 1)])
@pytest.mark.parametrize("columns", [(), (5,)])
def test_shared_heads_are_means_of_neighbours(kv_heads, shared, columns):
    generator = torch.Generator().manual_seed(kv_heads)
    weight = torch.randn(kv_heads * 4, *columns, generator=generator, dtype=torch.float64)
    each = kv_heads // shared
    means = [
        sum(weight[(new * each + old) * 4 + row] for old in range(each)) / each
        for new in range(shared)
        for row in range(4)
    ]
    result = share_heads(weight, kv_heads, shared)
    assert result.shape == (shared * 4, *columns)
    assert (result - torch.stack(means)).abs().max() < 1e-14


def test_sharing_heads_that_are_the_same_changes_nothing():
    full, few = grouped(6), grouped(2)
    for name in ("w_k", "w_v"):
        alike = getattr(few, name).weight.unflatten(0, (2, HEAD_DIM)).repeat_interleave(3, 0)
        getattr(full, name).weight.copy_(alike.flatten(0, 1))
        getattr(few, name).weight.copy_(share_heads(getattr(full, name).weight, 6, 2))
    for name in ("w_q", "w_o"):
        getattr(few, name).weight.copy_(getattr(full, name).weight)
    assert (full(tokens()) - few(tokens())).abs().max() < WITHIN_FP32_ROUNDING


# Multi-head latent attention


def latent(query_latent=None, dtype=torch.float32, turning=None):
    turning = rope(ROPE_DIM) if turning is None else turning
    layer = LatentAttention(
        WIDTH, HEADS, HEAD_DIM, LATENT, turning, query_latent=query_latent, seed=4
    )
    return layer.to(dtype)


def latent_cache(capacity=12, dtype=torch.float32):
    return LatentCache(2, capacity, LATENT, ROPE_DIM, dtype=dtype)


def in_two(weight, first):
    """Each head's rows, the first of them and the rest."""
    rows = weight.unflatten(0, (HEADS, -1))
    return rows[:, :first].flatten(0, 1), rows[:, first:].flatten(0, 1)


def copy_deepseek(ours, theirs):
    """transformers keeps W^DKV over W^KR, each head's W^UK over its W^UV, its W^UQ over W^QR."""
    ours.w_dkv.weight.copy_(theirs.kv_a_proj_with_mqa.weight[:LATENT])
    ours.w_kr.weight.copy_(theirs.kv_a_proj_with_mqa.weight[LATENT:])
    ours.norm_kv.weight.copy_(theirs.kv_a_layernorm.weight)
    keys, values = in_two(theirs.kv_b_proj.weight, HEAD_DIM)
    ours.w_uk.weight.copy_(keys)
    ours.w_uv.weight.copy_(values)
    if theirs.q_lora_rank is None:
        queries, rotated = in_two(theirs.q_proj.weight, HEAD_DIM)
    else:
        ours.w_dq.weight.copy_(theirs.q_a_proj.weight)
        ours.norm_q.weight.copy_(theirs.q_a_layernorm.weight)
        queries, rotated = in_two(theirs.q_b_proj.weight, HEAD_DIM)
    ours.w_uq.weight.copy_(queries)
    ours.w_qr.weight.copy_(rotated)
    ours.w_o.weight.copy_(theirs.o_proj.weight)


V2 = (DeepseekV2Config, DeepseekV2Attention, DeepseekV2RotaryEmbedding)
V3 = (DeepseekV3Config, DeepseekV3Attention, DeepseekV3RotaryEmbedding)
PLAIN = {"rope_type": "default", "rope_theta": 10_000.0}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 40.0,
    "original_max_position_embeddings": 64,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "beta_fast": 32,
    "beta_slow": 1,
}


def deepseek(version, query_latent, turning):
    """transformers' layer with random weights, and what it gives for some tokens."""
    make_config, make_layer, make_rope = version
    config = make_config(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        kv_lora_rank=LATENT,
        q_lora_rank=query_latent,
        qk_rope_head_dim=ROPE_DIM,
        qk_nope_head_dim=HEAD_DIM,
        v_head_dim=HEAD_DIM,
        max_position_embeddings=64 * 40,
        rope_parameters=turning,
        attn_implementation="eager",
    )
    layer = random_weights(make_layer(config, 0))

    def give(h):
        turned = make_rope(config)(h, torch.arange(h.shape[1])[None])
        mask = hidden(h.shape[1])
        return layer(h, position_embeddings=turned, attention_mask=mask)[0]

    return layer, give


@pytest.mark.parametrize("version", [V2, V3], ids=["V2", "V3"])
@pytest.mark.parametrize("query_latent", [None, QUERY_LATENT])
@pytest.mark.parametrize("absorbed", [False, True])
def test_latent_attention_is_that_of_transformers_deepseek(version, query_latent, absorbed):
    layer, expected = deepseek(version, query_latent, PLAIN)
    ours, h = latent(query_latent), tokens()
    copy_deepseek(ours, layer)
    assert (ours(h, absorbed=absorbed) - expected(h)).abs().max() < WITHIN_FP32_ROUNDING


@pytest.mark.parametrize("version", [V2, V3], ids=["V2", "V3"])
@pytest.mark.parametrize("mscale", [1.0, 0.707])
def test_yarns_temperature_is_on_the_whole_key(version, mscale):
    given = {**YARN, "mscale": mscale, "mscale_all_dim": mscale}
    layer, expected = deepseek(version, QUERY_LATENT, given)
    turning = replace(
        yarn(ROPE_DIM, 10_000.0, 64, 40.0), temperature=1 + 0.1 * mscale * math.log(40)
    )
    ours, h = latent(QUERY_LATENT, turning=turning), tokens(length=90)
    copy_deepseek(ours, layer)
    for absorbed in (False, True):
        assert (ours(h, absorbed=absorbed) - expected(h)).abs().max() < WITHIN_FP32_ROUNDING


@pytest.mark.parametrize("query_latent", [None, QUERY_LATENT])
@pytest.mark.parametrize("length", [1, 2, 33])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, WITHIN_FP32_ROUNDING), (torch.float64, WITHIN_FP64_ROUNDING)],
)
def test_absorbed_is_naive(query_latent, length, dtype, tolerance):
    layer, h = latent(query_latent, dtype), tokens(length=length, dtype=dtype)
    assert (layer(h) - layer(h, absorbed=True)).abs().max() < tolerance


@pytest.mark.parametrize("pieces", [[1] * 11, [4, 1, 6], [11]])
@pytest.mark.parametrize("ways", [[False], [True], [False, True, True]])
def test_a_latent_cache_gives_what_one_pass_gives(pieces, ways):
    layer, h = latent(QUERY_LATENT, torch.float64), tokens(dtype=torch.float64)
    cache = latent_cache(dtype=torch.float64)
    steps = [
        layer(some, cache, absorbed=ways[number % len(ways)])
        for number, some in enumerate(h.split(pieces, 1))
    ]
    assert cache.length == 11
    assert (torch.cat(steps, 1) - layer(h)).abs().max() < WITHIN_FP64_ROUNDING


def test_the_cache_holds_normed_latents_and_one_rotated_key():
    layer, h = latent(), tokens()
    cache = latent_cache()
    layer(h, cache)
    compressed = h @ layer.w_dkv.weight.T
    normed = compressed / (compressed.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    assert (cache.latent[:, :11] - normed).abs().max() < WITHIN_FP32_ROUNDING
    assert not cache.latent[:, 11:].any()
    # A rotation keeps lengths, and leaves the first position as it is.
    key = h @ layer.w_kr.weight.T
    assert (cache.rope_key[:, 0] - key[:, 0]).abs().max() < WITHIN_FP32_ROUNDING
    assert (cache.rope_key[:, :11].norm(dim=-1) - key.norm(dim=-1)).abs().max() < 1e-5
    assert (cache.rope_key[:, 5] - key[:, 5]).abs().max() > 0.1


def test_both_layers_train():
    with torch.inference_mode(False), torch.enable_grad():
        h = tokens().clone()
        for layer in (grouped(2), latent(QUERY_LATENT)):
            layer(h).square().sum().backward()
            assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("layer", "cache"),
    [
        (lambda: grouped(2), lambda: HeadCache(2, 2, 12, HEAD_DIM)),
        (latent, latent_cache),
    ],
    ids=["heads", "latents"],
)
def test_a_cache_taken_back_forgets_what_came_after(layer, cache):
    layer, cache = layer(), cache()
    first, dropped, then = tokens(length=12).split(4, 1)
    layer(torch.cat((first, dropped), 1), cache)
    cache.length = 4
    expected = layer(torch.cat((first, then), 1))[:, 4:]
    assert (layer(then, cache) - expected).abs().max() < WITHIN_FP32_ROUNDING


# Refusals


def test_wrong_heads_are_refused():
    with pytest.raises(ValueError, match="kv_heads must divide 6 heads, got 4"):
        grouped(4)
    with pytest.raises(ValueError, match="kv_heads must divide 6 heads, got 0"):
        grouped(0)
    with pytest.raises(ValueError, match="kv_heads must divide 0 heads, got 1"):
        GroupedAttention(WIDTH, 0, 1, rope(HEAD_DIM))
    weight = torch.zeros(24, 5)
    with pytest.raises(ValueError, match="divide the 24 rows of the weight, got 5"):
        share_heads(weight, 5, 1)
    for shared in (0, 4, 12):
        with pytest.raises(ValueError, match=f"shared must divide 6, got {shared}"):
            share_heads(weight, 6, shared)


@pytest.mark.parametrize("name", ["heads", "head_dim", "latent", "query_latent"])
def test_latent_attention_refuses_sizes_below_1(name):
    sizes = {"heads": 6, "head_dim": 16, "latent": 20, "query_latent": 24, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        LatentAttention(WIDTH, rope=rope(ROPE_DIM), **sizes)


@pytest.mark.parametrize(
    ("layer", "cache"),
    [
        (lambda: grouped(2), lambda: HeadCache(2, 2, 12, HEAD_DIM)),
        (latent, latent_cache),
    ],
    ids=["heads", "latents"],
)
def test_a_cache_refuses_what_does_not_fit(layer, cache):
    layer, cache = layer(), cache()
    layer(tokens(), cache)
    with pytest.raises(ValueError, match="room for 12 tokens and holds 11, so that 2 more"):
        layer(tokens(length=2), cache)
    with pytest.raises(ValueError, match="cache is for 2 sequences, got 1"):
        layer(tokens(batch=1, length=1), cache)
    assert cache.length == 11
