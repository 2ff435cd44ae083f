"""What is kept of the tokens so far, so that a step of decoding makes only the new one.

Both caches are made for a number of tokens and filled from the left. They differ in what they
keep: the keys and values of every KV head, or MLA's latent and the one rotated key.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


class HeadCache:
    """Keys and values of every KV head, for MHA, GQA and MQA.

    Args:
        batch: sequences.
        kv_heads: heads of keys and values.
        capacity: tokens of a sequence that fit.
        head_dim: numbers of a key or value.
        dtype, device: of the tensors.
    """

    def __init__(
        self,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (batch, kv_heads, capacity, head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0

    def append(
        self,
        keys: Float[Tensor, "batch kv_heads new head_dim"],
        values: Float[Tensor, "batch kv_heads new head_dim"],
    ) -> tuple[
        Float[Tensor, "batch kv_heads tokens head_dim"],
        Float[Tensor, "batch kv_heads tokens head_dim"],
    ]:
        """Add new tokens; give the keys and values of all so far, as views.

        Raises:
            ValueError: they don't fit.
        """
        end = _written(self.length, (self.keys, keys), (self.values, values))
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class LatentCache:
    """MLA's compressed keys and values, c^KV, and the rotated key k^R that all heads share.

    Args:
        batch: sequences.
        capacity: tokens of a sequence that fit.
        latent: numbers of a latent, d_c.
        rope_dim: numbers of the rotated key, d_h^R.
        dtype, device: of the tensors.
    """

    def __init__(
        self,
        batch: int,
        capacity: int,
        latent: int,
        rope_dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.latent = torch.zeros((batch, capacity, latent), dtype=dtype, device=device)
        self.rope_key = torch.zeros((batch, capacity, rope_dim), dtype=dtype, device=device)
        self.length = 0

    def append(
        self,
        latent: Float[Tensor, "batch new latent"],
        rope_key: Float[Tensor, "batch new rope_dim"],
    ) -> tuple[Float[Tensor, "batch tokens latent"], Float[Tensor, "batch tokens rope_dim"]]:
        """Add new tokens; give the latents and rotated keys of all so far, as views.

        Raises:
            ValueError: they don't fit.
        """
        end = _written(self.length, (self.latent, latent), (self.rope_key, rope_key))
        self.length = end
        return self.latent[:, :end], self.rope_key[:, :end]


def _written(start: int, *pairs: tuple[Tensor, Tensor]) -> int:
    """Write each pair's new tokens into its buffer, whose last axis but one is tokens."""
    buffer, new = pairs[0]
    capacity, end = buffer.shape[-2], start + new.shape[-2]
    if end > capacity:
        raise ValueError(
            f"the cache has room for {capacity} tokens and holds {start}, so that "
            f"{new.shape[-2]} more don't fit: make it larger"
        )
    if new.shape[0] != buffer.shape[0]:
        raise ValueError(
            f"the cache is for {buffer.shape[0]} sequences, got {new.shape[0]}: make one for each "
            "batch"
        )
    for buffer, new in pairs:
        buffer[..., start:end, :] = new
    return end
