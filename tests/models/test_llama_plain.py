"""The plain formulas against the modules that say the same faster."""

from __future__ import annotations

import torch

from toolkit.models.llama import Llama, LlamaConfig, Sampling, plain, probabilities

FP32_ROUNDING = {"rtol": 1e-4, "atol": 1e-5}


def taken_apart(model: Llama) -> dict:
    config, blocks = model.config, []
    rows = [count * config.head_dim for count in (config.heads, config.kv_heads, config.kv_heads)]
    for layer in model.layers:
        q, k, v = layer.attention.qkv.weight.split(rows)
        gate, up = layer.ffn.gate_up.weight.chunk(2)
        out, down = layer.attention.out.weight, layer.ffn.down.weight
        norms = {name: getattr(layer, name).weight for name in ("attention_norm", "ffn_norm")}
        blocks.append({"q": q, "k": k, "v": v, "out": out, "gate": gate, "up": up, "down": down})
        blocks[-1] |= norms
    return {"embed": model.embed.weight, "blocks": blocks, "norm": model.norm.weight}


@torch.inference_mode()
def test_the_plain_model_read_in_pieces_is_the_model():
    torch.manual_seed(0)
    model = Llama(LlamaConfig.tiny())
    for weight in model.parameters():  # wide enough that attention and norms matter
        weight.copy_(torch.randn_like(weight) * 0.3 + (weight.dim() == 1))
    config, parts = model.config, taken_apart(model)
    empty = torch.zeros(config.kv_heads, 0, config.head_dim)
    cache = [(empty, empty)] * config.layers
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    expected = model(torch.tensor([ids]))[0]
    for start, end in ((0, 3), (3, 4), (4, 8)):
        found, cache = plain.next_token_logits(ids[start:end], parts, cache, config.rope_base)
        torch.testing.assert_close(found, expected[end - 1], **FP32_ROUNDING)


def test_plain_probabilities_are_the_sampler_s():
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 3
    for dials in ((1.0, None, None), (0.7, 5, None), (1.3, None, 0.8), (2.0, 20, 0.5)):
        expected = probabilities(logits, Sampling(*dials))
        torch.testing.assert_close(
            plain.sampling_probabilities(logits, *dials), expected, **FP32_ROUNDING
        )
