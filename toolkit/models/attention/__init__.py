"""Attention in which heads share keys and values, and what each kind costs.

    the formula     softmax: plain, fast, and in chunks of queries
    layers          grouped: multi-head, grouped-query, multi-query; latent: MLA
    to decode       caches: of heads, of latents
    to count        cost: bytes of the cache, work of one decoding step, real models' shapes

Not in here: positions (toolkit.models.positions), kernels, paged caches, sliding windows and
other sparse attention.
"""

from .caches import HeadCache, LatentCache
from .cost import MODELS, AttentionShape, StepCost, decoding_step, kv_bytes_per_token
from .grouped import GroupedAttention, share_heads
from .latent import LatentAttention, absorbed_attention
from .softmax import attention, attention_in_chunks, attention_plain, causal_mask

__all__ = [
    "MODELS",
    "AttentionShape",
    "GroupedAttention",
    "HeadCache",
    "LatentAttention",
    "LatentCache",
    "StepCost",
    "absorbed_attention",
    "attention",
    "attention_in_chunks",
    "attention_plain",
    "causal_mask",
    "decoding_step",
    "kv_bytes_per_token",
    "share_heads",
]
