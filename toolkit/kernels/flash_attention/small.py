"""Online softmax in NumPy: the loop of FlashAttention, for one query and with nothing around it.

Its twin on a GPU is ``small_kernels.walk``; the full kernel is ``forward.flash_forward``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float


def online_attention(
    load: Callable[
        [int], tuple[Float[np.ndarray, " keys_of_tile"], Float[np.ndarray, "keys_of_tile dim"]]
    ],
    tiles: int,
) -> Float[np.ndarray, " dim"]:
    """softmax(scores) @ values, in one pass over tiles of keys.

    Args:
        load: fetches a tile by its number, from 0: the scores of its keys and their values.
        tiles: how many there are, at least one.
    Returns:
        The mean of all values, by the softmax of all scores.
    Source:
        Milakov and Gimelshein 2018, Online normalizer calculation for softmax.
    """
    maximum, total, output = -math.inf, 0.0, np.zeros(())
    for tile in range(tiles):
        scores, values = load(tile)
        # m' = max(m, max s)    a = e^(m - m')    p = e^(s - m')
        higher = max(maximum, scores.max())
        fade = np.exp(maximum - higher)
        weights = np.exp(scores - higher)
        # l' = a l + sum p      o' = a o + p v
        total = fade * total + weights.sum()
        output = fade * output + weights @ values
        maximum = higher
    return output / total
