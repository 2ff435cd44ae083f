"""Where a token stands, told to attention: RoPE, and how it is stretched past its training.

    to turn       rope: pairs as complex numbers, in both layouts, and from one to the other
    to stretch    scaling: interpolation, NTK-aware, dynamic NTK, YaRN; stale: keys in a cache
    to contrast   others: sinusoidal embeddings, ALiBi
    to look at    dials: the frequencies as a record, and positions as digits

Not in here: attention itself, position embeddings that are learnt, and those of images.
"""

from .dials import Dials, dials, digits, outside
from .others import alibi_bias, alibi_slopes, sinusoidal
from .rope import Layout, Rope, rope, rotate, rotate_plain, to_halves, to_interleaved, turns
from .scaling import dynamic_ntk, interpolation, ntk_aware, yarn
from .stale import StaleScores, stale_scores

__all__ = [
    "Dials",
    "Layout",
    "Rope",
    "StaleScores",
    "alibi_bias",
    "alibi_slopes",
    "dials",
    "digits",
    "dynamic_ntk",
    "interpolation",
    "ntk_aware",
    "outside",
    "rope",
    "rotate",
    "rotate_plain",
    "sinusoidal",
    "stale_scores",
    "to_halves",
    "to_interleaved",
    "turns",
    "yarn",
]
