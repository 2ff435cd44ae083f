"""Who is computed next, in the order in which the ideas came.

static       nobody joins until all have ended
continuous   anybody may join after each iteration (Orca)
vllm_v0      prompts first, blocks as they are needed
sarathi      prompts in chunks beside the decodes
split_fuse   every pass of the same size (DeepSpeed-FastGen)
vllm_v1      one budget, neither prefill nor decode
"""

from .continuous import Continuous
from .sarathi import Sarathi
from .split_fuse import SplitFuse
from .static import Static
from .vllm_v0 import VllmV0
from .vllm_v1 import VllmV1

__all__ = ["Continuous", "Sarathi", "SplitFuse", "Static", "VllmV0", "VllmV1"]
