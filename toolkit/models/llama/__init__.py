"""A LLaMA, whole: every line between a prompt and its answer, on real weights.

    to explain     plain: the formulas of one text, which the lab asks for
    the model      config; layers: RMSNorm, SwiGLU, attention; model: Llama
    its memory     cache: an interface, and one block of memory that obeys it
    its weights    loading -> gguf_file | checkpoint -> weights
    to write       sampling -> generating; chatting
    to look at     scoring: losses; lens: layer by layer; sharing: fewer key-value heads

Not in here: models of another architecture, mixtures of experts, weights that stay quantised.
"""

from .cache import Cache, KVCache
from .chatting import encode_chat
from .checkpoint import save_checkpoint
from .config import LlamaConfig
from .generating import Generation
from .layers import RMSNorm, SwiGLU
from .lens import Lens, lens
from .loading import load
from .model import Llama
from .plain import (
    block,
    causal_attention,
    next_token_logits,
    rms_norm,
    sampling_probabilities,
    swiglu,
)
from .sampling import Sampling, choose, probabilities
from .scoring import losses, perplexity
from .sharing import share_kv_heads

__all__ = [
    "Cache",
    "Generation",
    "KVCache",
    "Lens",
    "Llama",
    "LlamaConfig",
    "RMSNorm",
    "Sampling",
    "SwiGLU",
    "block",
    "causal_attention",
    "choose",
    "encode_chat",
    "lens",
    "load",
    "losses",
    "next_token_logits",
    "perplexity",
    "probabilities",
    "rms_norm",
    "sampling_probabilities",
    "save_checkpoint",
    "share_kv_heads",
    "swiglu",
]
