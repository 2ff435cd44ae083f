"""GPTQ: round a column, and let the columns not yet rounded make up for its error.

Of the layer's output error |X W^T - X Q^T|^2 the Hessian is H = 2 X^T X, the same for each row of
W. Rounding column q changes the best values of the columns F still free by

    d = -(w_q - round(w_q)) / [H_F^-1]_qq * (H_F^-1)[q, :]

All the inverses that this needs, one for each column, are the rows of one matrix: the upper
Cholesky factor U of H^-1, U^T U = H^-1, for (H_F^-1)[q, q:] = U[q, q] U[q, q:]. So

    e = (w_q - round(w_q)) / U[q, q]          W[:, q:] -= e U[q, q:]

Source:
    Frantar et al. 2022, GPTQ; Frantar and Alistarh 2022, Optimal Brain Compression.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from .record import QuantizedWeight
from .rounding import check_weight, encode, grid


@torch.no_grad()
def hessian(activations: Float[Tensor, "tokens in"]) -> Float32[Tensor, "in in"]:
    """2 X^T X of a layer's inputs; those of several batches add up.

    Raises:
        ValueError: activations are not a finite matrix.
    """
    check_activations(activations)
    return 2 * activations.float().T @ activations.float()


@torch.no_grad()
def gptq(
    weight: Float[Tensor, "out in"],
    hessian: Float[Tensor, "in in"],
    group_size: int = 128,
    *,
    symmetric: bool = True,
    act_order: bool = False,
    damping: float = 0.01,
    block: int = 128,
) -> QuantizedWeight:
    """A weight in 4 bits that keeps the layer's outputs, not its weights, close.

    A group's scale is chosen when its turn comes, for the columns as they are by then. A column
    that is 0 in every activation becomes 0.

    Args:
        weight: as torch's Linear has it.
        hessian: 2 X^T X; its scale does not matter.
        group_size: columns in a group; -1 for one group a row.
        symmetric: no zeros to store.
        act_order: go by falling diagonal of the Hessian, so that the columns that matter most are
            rounded while there are most others to make up for it. Groups are formed in that order.
        damping: added to the diagonal, in parts of its mean.
        block: columns whose updates of all later blocks are done in one product. It changes the
            speed, and the result only by rounding.
    Raises:
        TypeError: the weight is not of floating point.
        ValueError: the weight is not a finite matrix, or cannot be cut into such groups; the
            hessian does not fit it, or is not positive definite; or damping or block.
    """
    size = check_weight(weight, group_size)
    columns = weight.shape[1]
    check_hessian(hessian, columns)
    if damping < 0 or block < 1:
        raise ValueError(f"damping must be >= 0 and block >= 1, got {damping} and {block}")
    diagonal = hessian.diagonal().double()
    order = torch.arange(columns, device=weight.device)
    if act_order:
        order = diagonal.argsort(descending=True, stable=True)
    rows = weight.double().masked_fill(diagonal == 0, 0)[:, order].T.contiguous()
    factor = inverse_factor(hessian.double()[order][:, order], damping)

    codes = torch.empty(rows.shape, dtype=torch.uint8, device=weight.device)
    scales, zeros = [], []
    for group in range(0, columns, size):
        scale, zero = grid(rows[group : group + size].T.float(), symmetric, bits=4)
        for start in range(group, group + size, block):
            end = min(start + block, group + size)
            errors = torch.empty_like(rows[start:end])
            for q in range(start, end):
                codes[q] = encode(rows[q], scale, zero, bits=4)
                rounded = scale * (codes[q].float() - zero)
                errors[q - start] = (rows[q] - rounded) / factor[q, q]
                rows[q + 1 : end] -= torch.outer(factor[q, q + 1 : end], errors[q - start])
            rows[end:] -= factor[start:end, end:].T @ errors
        scales.append(scale)
        zeros.append(zero)

    place = order.argsort()
    return QuantizedWeight(
        codes[place].T.contiguous(),
        torch.stack(scales, 1),
        None if symmetric else torch.stack(zeros, 1),
        None,
        size,
        (place // size).int() if act_order and size < columns else None,
    )


def inverse_factor(hessian: Float64[Tensor, "in in"], damping: float) -> Float64[Tensor, "in in"]:
    """U, upper triangular, with U^T U the inverse of the damped Hessian.

    Raises:
        ValueError: the Hessian is not positive definite even so.
    """
    diagonal = hessian.diagonal()
    damped = hessian + torch.diag(damping * diagonal.mean() + (diagonal == 0))
    lower, failed = torch.linalg.cholesky_ex(damped)
    factor, failed_too = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if failed or failed_too:
        raise ValueError(
            f"hessian must be positive definite with a damping of {damping}: raise it, or take "
            "more activations"
        )
    return factor


def check_activations(activations: Float[Tensor, "tokens in"]) -> None:
    """Raises ValueError for what is not a finite matrix."""
    if activations.ndim != 2 or not activations.numel():
        raise ValueError(
            f"activations must be (tokens, in_features), got {tuple(activations.shape)}"
        )
    if not activations.isfinite().all():
        raise ValueError("activations must be finite, got NaN or inf in them")


def check_hessian(hessian: Float[Tensor, "in in"], columns: int) -> None:
    """Raises ValueError for a Hessian that isn't one of a layer with so many columns."""
    if hessian.shape != (columns, columns):
        raise ValueError(
            f"hessian must be ({columns}, {columns}), in_features twice, got {tuple(hessian.shape)}"
        )
    if not hessian.isfinite().all():
        raise ValueError("hessian must be finite, got NaN or inf in it")
    if not hessian.diagonal().any():
        raise ValueError("hessian must not be all zeros: take activations that are not")
