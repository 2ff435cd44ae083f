"""transformers' layers of attention with the weights of ours, and its own caches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import (
    DeepseekV2Config,
    DynamicCache,
    LlamaConfig,
    PreTrainedConfig,
    StaticCache,
)
from transformers.models.deepseek_v2.modeling_deepseek_v2 import (
    DeepseekV2Attention,
    DeepseekV2RotaryEmbedding,
)
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

from toolkit.models.attention import GroupedAttention, HeadCache, LatentAttention, LatentCache
from toolkit.models.positions import to_halves


class Decoder:
    """A layer of transformers with its cache, which holds all tokens but the newest.

    The angles of that token are given ready made, as a whole model would compute them once for
    all of its layers.
    """

    def __init__(
        self,
        layer: nn.Module,
        angles: Tensor | tuple[Tensor, Tensor],
        cached: tuple[Tensor, Tensor],
        config: PreTrainedConfig,
        *,
        static: bool,
    ) -> None:
        self.layer, self.angles = layer.eval(), angles
        context = cached[0].shape[2] + 1
        self.cache = StaticCache(config, max_cache_len=context) if static else DynamicCache()
        self.cache.update(*cached, 0)

    def __call__(self, h: Tensor) -> Tensor:
        """What the layer makes of the newest token, which is then taken out of the cache again."""
        output = self.layer(
            h, position_embeddings=self.angles, attention_mask=None, cache=self.cache
        )[0]
        self.cache.crop(-1)
        return output

    def cache_bytes(self) -> int:
        """Of the tensors that hold the cached tokens and the newest."""
        (layer,) = self.cache.layers
        return layer.keys.untyped_storage().nbytes() + layer.values.untyped_storage().nbytes()


def llama(ours: GroupedAttention, cache: HeadCache, *, static: bool) -> Decoder:
    """transformers' Llama layer. It rotates pairs from the halves of a head, ours neighbours."""
    config = LlamaConfig(
        hidden_size=ours.w_o.out_features,
        num_hidden_layers=1,
        num_attention_heads=ours.heads,
        num_key_value_heads=ours.kv_heads,
        head_dim=ours.head_dim,
        attn_implementation="sdpa",
    )
    layer = LlamaAttention(config, 0)
    layer.q_proj.weight.copy_(to_halves(ours.w_q.weight, ours.head_dim))
    layer.k_proj.weight.copy_(to_halves(ours.w_k.weight, ours.head_dim))
    layer.v_proj.weight.copy_(ours.w_v.weight)
    layer.o_proj.weight.copy_(ours.w_o.weight)
    keys = cache.keys[:, :, : cache.length].unflatten(-1, (-1, 2)).mT.flatten(-2)
    cached = keys, cache.values[:, :, : cache.length]
    angles = LlamaRotaryEmbedding(config)(keys, torch.tensor([[cache.length]]))
    return Decoder(layer, angles, cached, config, static=static)


def deepseek(ours: LatentAttention, cache: LatentCache, *, static: bool) -> Decoder:
    """transformers' DeepSeek-V2 layer; it caches what ours does, and makes all keys anew."""
    config = DeepseekV2Config(
        hidden_size=ours.w_o.out_features,
        num_hidden_layers=1,
        num_attention_heads=ours.heads,
        num_key_value_heads=ours.heads,
        kv_lora_rank=ours.latent,
        q_lora_rank=None,
        qk_rope_head_dim=ours.rope_dim,
        qk_nope_head_dim=ours.head_dim,
        v_head_dim=ours.head_dim,
        attn_implementation="sdpa",
    )

    def by_head(*parts: nn.Linear) -> Tensor:
        """Each head's rows of one matrix over its rows of the other."""
        rows = [part.weight.unflatten(0, (ours.heads, -1)) for part in parts]
        return torch.cat(rows, 1).flatten(0, 1)

    layer = DeepseekV2Attention(config, 0)
    layer.q_proj.weight.copy_(by_head(ours.w_uq, ours.w_qr))
    layer.kv_a_proj_with_mqa.weight.copy_(torch.cat((ours.w_dkv.weight, ours.w_kr.weight)))
    layer.kv_a_layernorm.weight.copy_(ours.norm_kv.weight)
    layer.kv_b_proj.weight.copy_(by_head(ours.w_uk, ours.w_uv))
    layer.o_proj.weight.copy_(ours.w_o.weight)
    tokens = slice(0, cache.length)
    cached = cache.latent[:, None, tokens], cache.rope_key[:, None, tokens]
    angles = DeepseekV2RotaryEmbedding(config)(cached[0], torch.tensor([[cache.length]]))
    return Decoder(layer, angles, cached, config, static=static)
