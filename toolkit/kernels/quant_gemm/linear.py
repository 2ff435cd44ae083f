"""Layers of four-bit weights, and a LLaMA made of them.

The embedding stays as it is, and with it the head: tied or not, a LLaMA multiplies with the head's
weight itself. So do the norms, which are vectors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from toolkit.models.llama import Llama

from .awq import awq
from .gptq import gptq, hessian
from .matmul import DTYPES, prepare, w4a16_matmul
from .record import QuantizedWeight
from .rounding import nf4, round_to_nearest

METHODS = ("rtn", "gptq", "awq", "nf4")
CALIBRATED = ("gptq", "awq")
KINDS = {"attention": ("qkv", "out"), "ffn": ("gate_up", "down")}
"""The matrices of a block, by the part of it that holds them."""


class Int4Linear(nn.Module):
    """A linear layer of a 4-bit weight, in the dtype of what it is given.

    It runs on the device that the weight is on when the layer is made, and stays there.

    Args:
        weight: (out, in); it is laid out for the kernel, and no other copy is kept.
        bias: added to each output.
        column_scales: of AWQ, what each input is divided by, in fp32.
    Raises:
        ValueError: as ``prepare``, or bias or column_scales don't fit the weight.

    ``nbytes`` are those of the weight, packed; column scales are not among them, which a model
    usually folds into what comes before.
    """

    bias: Float[Tensor, " out"] | None
    column_scales: Float[Tensor, " in"] | None

    def __init__(
        self,
        weight: QuantizedWeight,
        bias: Float[Tensor, " out"] | None = None,
        column_scales: Float[Tensor, " in"] | None = None,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        for name, x, size in (
            ("bias", bias, self.out_features),
            ("column_scales", column_scales, self.in_features),
        ):
            if x is not None and x.shape != (size,):
                raise ValueError(f"{name} must be ({size},), got {tuple(x.shape)}")
            self.register_buffer(name, None if x is None else x.detach().clone())
        self.nbytes, self.group_size = weight.nbytes, weight.group_size
        self.packed = prepare(weight)

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        if self.column_scales is not None:
            x = (x.float() / self.column_scales).to(x.dtype)
        y = w4a16_matmul(x, self.packed)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, group_size={self.group_size}"

    def _save_to_state_dict(self, *_: Any) -> None:
        raise ValueError(
            "a layer of 4-bit codes has no weight that a checkpoint could hold: save the model it "
            "was made of, and quantise that again"
        )


@torch.no_grad()
def quantize_model(
    model: Llama,
    method: str = "rtn",
    group_size: int = 64,
    calibration: Int64[Tensor, "texts tokens"] | None = None,
    skip: Collection[str] = (),
) -> Llama:
    """A copy whose blocks multiply with 4-bit weights; it generates as before, and learns nothing.

    The embedding, the head and the norms are left as they are. "gptq" and "awq" look at what each
    layer is given: the calibration text passes through the model once, and each block is quantised
    when the text reaches it, by what the quantised blocks before it make of that text.

    Args:
        model: left as it is.
        method: "rtn", symmetric rounding to nearest; "gptq", symmetric; "awq", asymmetric; "nf4".
        group_size: columns that share a scale: a multiple of 16 that divides the model's widths.
        calibration: tokens of some texts, for "gptq" and "awq"; the others look at none.
        skip: kinds of matrix to leave as they are, of "qkv", "out", "gate_up", "down".
    Raises:
        TypeError: it is no LLaMA, or of another dtype than fp32, fp16 and bf16.
        ValueError: the method or a kind is unknown, there is nothing to quantise, calibration is
            missing or no batch of tokens, or a weight can't be cut into such groups.
    """
    _refuse(model, method, calibration, skip)
    replaced = [linear for block in model.layers for _, _, linear in _linears(block, skip)]
    # What is replaced needs no copy, and no tokenizer changes.
    kept: list[Any] = [linear.weight for linear in replaced]
    kept += [model.tokenizer] if model.has_tokenizer else []
    copy = deepcopy(model, {id(one): one for one in kept}).eval()
    text = calibration if method in CALIBRATED else None
    if text is None:
        for block in copy.layers:
            _quantize_block(block, skip, method, group_size, {})
    else:
        handles: dict[nn.Module, RemovableHandle] = {}

        def on_arrival(block: nn.Module, given: tuple) -> None:
            handles[block].remove()
            _quantize_block(block, skip, method, group_size, _inputs(block, skip, given))

        for block in copy.layers:
            handles[block] = block.register_forward_pre_hook(on_arrival)
        copy.last_states(text)
    return copy.requires_grad_(requires_grad=False)


def _refuse(model: Llama, method: str, calibration: Tensor | None, skip: Collection[str]) -> None:
    if not isinstance(model, Llama):
        raise TypeError(f"model must be a Llama, got {type(model).__name__}: see Int4Linear")
    if model.dtype not in DTYPES:
        raise TypeError(f"model must be of float32, float16 or bfloat16, got {model.dtype}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    kinds = [kind for names in KINDS.values() for kind in names]
    if isinstance(skip, str) or any(kind not in kinds for kind in skip):
        raise ValueError(f"skip must be a list of {', '.join(kinds)}, got {skip!r}")
    if not any(True for block in model.layers for _ in _linears(block, skip)):
        raise ValueError("there is nothing to quantise: all is left out, or is in 4 bits already")
    if method in CALIBRATED:
        if calibration is None:
            raise ValueError(f"{method} looks at activations: give tokens of text as calibration")
        model.check(calibration)


def _linears(block: nn.Module, skip: Collection[str]) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """The matrices that are to be replaced, with their parents and names."""
    for part, names in KINDS.items():
        parent = block.get_submodule(part)
        for name in names:
            linear = parent.get_submodule(name)
            if name not in skip and isinstance(linear, nn.Linear):
                yield parent, name, linear


def _inputs(
    block: nn.Module, skip: Collection[str], given: tuple
) -> dict[str, Float[Tensor, "tokens in"]]:
    """What each matrix of a block is given when the block is called."""
    inputs: dict[str, Tensor] = {}
    handles = []
    for _, name, linear in _linears(block, skip):

        def note(_: nn.Module, seen: tuple, name: str = name) -> None:
            inputs[name] = seen[0].flatten(0, -2)

        handles.append(linear.register_forward_pre_hook(note))
    block(*given)
    for handle in handles:
        handle.remove()
    return inputs


def _quantize_block(
    block: nn.Module, skip: Collection[str], method: str, group_size: int, inputs: dict[str, Tensor]
) -> None:
    for parent, name, linear in list(_linears(block, skip)):
        scales = None
        if method == "rtn":
            weight = round_to_nearest(linear.weight, group_size)
        elif method == "nf4":
            weight = nf4(linear.weight, group_size)
        elif method == "gptq":
            weight = gptq(linear.weight, hessian(inputs[name]), group_size)
        else:
            weight, scales = awq(linear.weight, inputs[name], group_size)
        setattr(parent, name, Int4Linear(weight, linear.bias, scales))
