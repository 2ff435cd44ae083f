"""Costs against published numbers, allocated caches and counted operations."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import DeepseekV3Config, FalconConfig

from toolkit.models.attention import (
    MODELS,
    AttentionShape,
    HeadCache,
    LatentAttention,
    LatentCache,
    attention_plain,
    decoding_step,
    kv_bytes_per_token,
)
from toolkit.models.attention import latent as latent_module
from toolkit.models.positions import rope

BF16 = {
    "Falcon-7B": 8_192,
    "SmolLM2-135M": 23_040,
    "Llama-2-7B": 524_288,
    "Llama-3-8B": 131_072,
    "Llama-3-70B": 327_680,
    "Qwen2.5-72B": 327_680,
    "Llama-3-405B": 516_096,
    "DeepSeek-V2": 69_120,
    "DeepSeek-V3": 70_272,
}
every_model = pytest.mark.parametrize("shape", MODELS, ids=lambda shape: shape.name)


def shape_of(**changed):
    return AttentionShape(
        **{"name": "x", "layers": 3, "heads": 6, "kv_heads": 2, "head_dim": 16, **changed}
    )


LATENT = {"kv_heads": 6, "latent": 20, "rope_dim": 8}
SHAPES = [shape_of(kv_heads=6), shape_of(), shape_of(kv_heads=1), shape_of(**LATENT)]


def allocated(shape, tokens, dtype=torch.bfloat16):
    """The tensors of one layer's cache for one sequence."""
    if shape.kind == "MLA":
        cache = LatentCache(1, tokens, shape.latent, shape.rope_dim, dtype=dtype)
        return cache.latent, cache.rope_key
    cache = HeadCache(1, shape.kv_heads, tokens, shape.head_dim, dtype=dtype)
    return cache.keys, cache.values


# The cache


@every_model
def test_bytes_a_token_are_the_published_ones(shape):
    assert kv_bytes_per_token(shape) == BF16[shape.name]
    assert kv_bytes_per_token(shape, 4) == 2 * BF16[shape.name]


@every_model
def test_bytes_a_token_are_those_that_a_cache_allocates(shape):
    held = sum(tensor.nbytes for tensor in allocated(shape, 7))
    assert shape.layers * held == 7 * kv_bytes_per_token(shape)


def test_the_kinds_of_real_models():
    kinds = {shape.name: shape.kind for shape in MODELS}
    assert kinds == {
        **dict.fromkeys(BF16, "GQA"),
        "Falcon-7B": "MQA",
        "Llama-2-7B": "MHA",
        "DeepSeek-V2": "MLA",
        "DeepSeek-V3": "MLA",
    }
    assert [shape.kind for shape in SHAPES] == ["MHA", "GQA", "MQA", "MLA"]


def test_shapes_are_those_of_transformers_default_configurations():
    by_name = {shape.name: shape for shape in MODELS}
    falcon, config = by_name["Falcon-7B"], FalconConfig()
    assert config.multi_query
    assert (falcon.layers, falcon.heads, falcon.head_dim) == (
        config.num_hidden_layers,
        config.num_attention_heads,
        config.head_dim,
    )
    v3, config = by_name["DeepSeek-V3"], DeepseekV3Config()
    assert (v3.layers, v3.heads, v3.kv_heads) == (
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
    )
    assert (v3.latent, v3.rope_dim) == (config.kv_lora_rank, config.qk_rope_head_dim)
    assert v3.head_dim == config.qk_nope_head_dim == config.v_head_dim


# One step of decoding


@pytest.mark.parametrize("context", [1, 2, 77])
@pytest.mark.parametrize("shape", SHAPES[:3], ids=lambda shape: shape.kind)
def test_a_step_with_cached_heads_costs_what_its_products_cost(shape, context):
    k, v = allocated(shape, context, torch.float32)
    with FlopCounterMode(display=False) as counted:
        attention_plain(torch.zeros(1, shape.heads, 1, shape.head_dim), k, v)
    step = decoding_step(shape, context, bytes_per_value=4)
    assert step.flops == shape.layers * counted.get_total_flops()
    assert step.bytes_read == shape.layers * (k.nbytes + v.nbytes)
    assert step.intensity == step.flops / step.bytes_read


# einsum sums over one token without a product that is counted, so that 2 are the fewest.
@pytest.mark.parametrize("context", [2, 77])
@pytest.mark.parametrize("absorbed", [False, True])
def test_a_step_of_mla_costs_what_its_products_cost(context, absorbed, monkeypatch):
    monkeypatch.setattr(latent_module, "attention", attention_plain)  # whose products are counted
    shape, width = SHAPES[3], 10
    layer = LatentAttention(width, shape.heads, shape.head_dim, shape.latent, rope(shape.rope_dim))
    cache = LatentCache(1, context, shape.latent, shape.rope_dim)
    cache.length = context - 1
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        layer(torch.zeros(1, 1, width), cache, absorbed=absorbed)
    own = (layer.w_dkv, layer.w_kr, layer.w_uq, layer.w_qr, layer.w_o)
    projections = sum(2 * linear.weight.numel() for linear in own)
    step = decoding_step(shape, context, absorbed=absorbed, bytes_per_value=4)
    assert step.flops == shape.layers * (counted.get_total_flops() - projections)

    read = [cache.latent, cache.rope_key, layer.w_uk.weight, layer.w_uv.weight]
    if not absorbed:
        read.append(torch.zeros(shape.heads, context, shape.head_dim + shape.rope_dim))  # keys
        read.append(torch.zeros(shape.heads, context, shape.head_dim))  # values
    assert step.bytes_read == shape.layers * sum(tensor.nbytes for tensor in read)


def test_the_absorbed_way_never_makes_keys_or_values():
    layer = LatentAttention(10, 6, 16, 20, rope(8))
    cache = LatentCache(1, 100, 20, 8)
    cache.length = 99
    with torch.inference_mode(), torch.profiler.profile(profile_memory=True) as profile:
        layer(torch.zeros(1, 1, 10), cache, absorbed=True)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert 0 < largest < cache.latent.nbytes


# Refusals


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"heads": -1}, "heads must be at least 1, got -1"),
        ({"head_dim": 0}, "head_dim must be at least 1, got 0"),
        ({"kv_heads": 0}, "kv_heads must be at least 1, got 0"),
        ({"kv_heads": 4}, "kv_heads must divide 6 heads, got 4"),
        ({**LATENT, "latent": 0}, "both be 0, or for MLA both at least 1, got 0 and 8"),
        ({**LATENT, "rope_dim": 0}, "got 20 and 0"),
        ({**LATENT, "latent": -1, "rope_dim": -1}, "got -1 and -1"),
        ({**LATENT, "kv_heads": 1}, "kv_heads must equal heads, got 1 and 6"),
    ],
)
def test_impossible_shapes_are_refused(changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        shape_of(**changed)


def test_a_step_attends_at_least_to_itself():
    with pytest.raises(ValueError, match=r"context must be at least 1.*got 0"):
        decoding_step(SHAPES[0], 0)
