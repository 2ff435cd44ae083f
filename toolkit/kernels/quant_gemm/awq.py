"""AWQ: columns that meet large activations are scaled up before rounding, so they lose less.

For positive s, W x = (W diag(s)) (x / s). Rounding W diag(s) instead of W leaves column k an error
1/s_k as large, as long as s does not change the largest weight of many groups. The scales follow
the activations,

    s_k = mean |x_k| ^ alpha         over the geometric mean of the largest and the smallest

and alpha is the one, from 0 (plain rounding) to 1, whose outputs are closest. The authors fold
x / s into whatever makes x; ``Int4Linear`` divides.

Not in here: the search for a clipping range that the authors' code adds.

Source:
    Lin et al. 2023, AWQ: Activation-aware Weight Quantization.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from .gptq import check_activations
from .gptq import hessian as gram
from .record import QuantizedWeight
from .rounding import check_weight, round_to_nearest

SMALLEST = 1e-4


@torch.no_grad()
def awq(
    weight: Float[Tensor, "out in"],
    activations: Float[Tensor, "tokens in"],
    group_size: int = 128,
    *,
    symmetric: bool = False,
    grid: int = 20,
) -> tuple[QuantizedWeight, Float32[Tensor, " in"]]:
    """W diag(s) in 4 bits, and s: the layer is (x / s) times the dequantised weight.

    Args:
        weight: as torch's Linear has it.
        activations: what the layer is given.
        group_size: columns in a group; -1 for one group a row.
        symmetric: no zeros to store.
        grid: steps from alpha 0 to alpha 1.
    Raises:
        TypeError: the weight is not of floating point.
        ValueError: the weight or the activations are not finite matrices of as many columns, the
            weight cannot be cut into such groups, the activations are all 0, or grid is below 1.
    """
    check_weight(weight, group_size)
    check_activations(activations)
    if activations.shape[1] != weight.shape[1]:
        raise ValueError(
            f"activations must have the weight's in_features, {weight.shape[1]}, "
            f"got {activations.shape[1]}"
        )
    if grid < 1:
        raise ValueError(f"grid must be at least 1 step, got {grid}")
    importance = activations.float().abs().mean(0)
    if not importance.any():
        raise ValueError("activations must not be all zeros: they say which columns matter")
    # Errors are compared, so that the largest may be 1: squares of larger ones can overflow.
    weight, products = weight.float(), gram(activations.float() / activations.abs().max())
    least = torch.inf
    for step in range(grid + 1):
        powers = importance.pow(step / grid).clamp(min=SMALLEST)
        scales = powers / (powers.max() * powers.min()).sqrt()
        quantized = round_to_nearest(weight * scales, group_size, symmetric=symmetric)
        difference = quantized.dequantize() / scales - weight
        # |X D^T|^2 = sum of D (X^T X) * D
        error = (difference @ products * difference).sum().item()
        if error < least:
            least, best = error, (quantized, scales)
    return best
