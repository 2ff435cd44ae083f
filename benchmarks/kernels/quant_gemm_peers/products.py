"""Products on a CPU beside fp32's, by torch and with the weights left, and torch's int4 kernel.

All multiply with the same codes. torch's int4 kernel is given x and scales in bf16, in which it is
fast; the others have fp32 for x.
Weights are made when they are first asked for, so that the peak of memory counts that too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import linear

from toolkit.bench import Case
from toolkit.kernels.quant_gemm import QuantizedWeight, nf4, prepare, round_to_nearest, w4a16_matmul
from toolkit.models.llama import layers

WORK = 2**28  # weights' worth of products in a call, for a few rows of x
MOST = 300  # calls

Step = Callable[[], Tensor]


def multiplying(
    rows: int, outputs: int, inputs: int, group: int = 128, method: str = "to nearest"
) -> Case:
    """x (rows, inputs) times the transposed weight (outputs, inputs)."""
    calls = min(MOST, max(2, WORK // (outputs * inputs * max(1, rows // 2))))

    def x() -> Tensor:
        return torch.randn(rows, inputs, generator=torch.Generator().manual_seed(1))

    def contestant(make: Callable[[Tensor], Step]) -> Step:
        step = cache(lambda: make(x()))

        @torch.inference_mode()
        def call() -> Tensor:
            for _ in range(calls):
                answer = step()()
            return answer

        return call

    def weight() -> QuantizedWeight:
        return _weight(outputs, inputs, group, method)

    def ours(x: Tensor) -> Step:
        packed = _prepared(outputs, inputs, group, method)
        return lambda: w4a16_matmul(x, packed)

    def fp32(x: Tensor) -> Step:
        wide = _wide(outputs, inputs, group, method)
        return lambda: linear(x, wide)

    def weights_left(x: Tensor) -> Step:
        wide = _wide(outputs, inputs, group, method)
        return lambda: layers.linear(x, wide)

    def int4(x: Tensor) -> Step:
        packed, scales_and_zeros = _for_torch(outputs, inputs, group)
        multiply = torch.ops.aten._weight_int4pack_mm_for_cpu
        short = x.bfloat16()
        return lambda: multiply(short, packed, group, scales_and_zeros)

    def quality(y: Tensor) -> dict[str, float]:
        exact = x().double() @ weight().dequantize().double().T
        return {"error_millionths": ((y - exact).norm() / exact.norm()).item() * 1e6}

    peers = {"torch, fp32": contestant(fp32)}
    if method == "to nearest":
        peers["torch, int4"] = contestant(int4)
    if rows <= layers.FEW_ROWS:
        peers["fp32, weights left"] = contestant(weights_left)
    kind = "" if method == "to nearest" else f", {method}"
    return Case(
        f"{inputs} x {outputs}{kind}, M = {rows}",
        {
            "rows": rows, "inputs": inputs, "outputs": outputs, "group": group, "calls": calls,
            "threads": torch.get_num_threads(),
        },
        contestant(ours),
        peers,
        quality,
    )  # fmt: skip


@cache
def _weight(outputs: int, inputs: int, group: int, method: str) -> QuantizedWeight:
    random = torch.Generator().manual_seed(0)
    drawn = torch.randn(outputs, inputs, generator=random)
    return nf4(drawn, group) if method == "NF4" else round_to_nearest(drawn, group)


@cache
def _prepared(outputs: int, inputs: int, group: int, method: str) -> object:
    return prepare(_weight(outputs, inputs, group, method))


@cache
def _wide(outputs: int, inputs: int, group: int, method: str) -> Tensor:
    return _weight(outputs, inputs, group, method).dequantize()


@cache
def _for_torch(outputs: int, inputs: int, group: int) -> tuple[Tensor, Tensor]:
    weight = _weight(outputs, inputs, group, "to nearest")
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(weight.codes.int(), 2)
    # w = scale * (code - 8) + zero
    scales = weight.scales.T.bfloat16()
    both = torch.stack([scales, torch.zeros_like(scales)], -1)
    return packed, both.contiguous()
