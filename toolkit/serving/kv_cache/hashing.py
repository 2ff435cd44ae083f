"""What a block holds, and all before it, as one short key.

    key_i = H(key_{i-1}, tokens of block i, extras)

Keys and values of a token depend on all tokens before it. So two blocks may stand for one another
only where everything before them is the same as well, and the chain says just that: equal keys,
equal prefixes. Only full blocks have keys.

The hash is BLAKE2b of 16 bytes: whoever could construct two prompts with the same key would read
another one's cache. It is the same in every process, unlike Python's own ``hash``.

Source:
    vLLM's design of automatic prefix caching.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from jaxtyping import Int

from toolkit.arguments import at_least_one

from .contents import whole_numbers

KEY_BYTES = 16
ROOT = bytes(KEY_BYTES)
"""What stands for the parent of a first block."""


def block_keys(
    tokens: Sequence[int] | Int[np.ndarray, " tokens"],
    block_size: int,
    *,
    parent: bytes = ROOT,
    extras: bytes = b"",
) -> list[bytes]:
    """The keys of the full blocks of a text.

    Args:
        tokens: ids; those after the last full block have no key.
        block_size: tokens in a block.
        parent: the key of the block before these tokens, if they are not the first.
        extras: what else keys and values depend on, such as an adapter's name.
    Returns:
        One key of 16 bytes for each full block.
    Raises:
        TypeError: tokens are no whole numbers.
        ValueError: ``block_size`` is below 1.
    """
    at_least_one(block_size=block_size)
    data = whole_numbers("tokens", tokens).astype("<i8", copy=False).tobytes()
    step = 8 * block_size
    keys = []
    for start in range(0, len(data) - step + 1, step):
        parent = blake2b(
            parent + data[start : start + step] + extras, digest_size=KEY_BYTES
        ).digest()
        keys.append(parent)
    return keys
