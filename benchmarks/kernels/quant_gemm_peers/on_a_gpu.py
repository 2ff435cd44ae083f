"""Products on a GPU in fp16, beside ``torch.matmul`` and a copy that moves as many bytes.

A contestant does the same work ``calls`` times and waits for the GPU once, at the end. It goes from
weight to weight, as a model does, so that none is still in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from toolkit.bench import Case
from toolkit.kernels.quant_gemm import (
    QuantizedWeight,
    autotune,
    ideal_bytes,
    prepare,
    round_to_nearest,
    w4a16_matmul,
)

GROUP, WEIGHTS, CALLS = 128, 8, 40


def multiplying(rows: int, outputs: int, inputs: int) -> Case:
    """x (rows, inputs) times the transposed weight (outputs, inputs)."""
    moved = ideal_bytes(rows, outputs, inputs, GROUP)

    def x() -> Tensor:
        random = torch.Generator("cuda").manual_seed(1)
        return torch.randn(rows, inputs, generator=random, device="cuda", dtype=torch.float16)

    @cache
    def steps() -> tuple[list[Callable[[], Tensor]], list[Callable[[], Tensor]]]:
        given, weights = x(), [_weight(outputs, inputs, seed) for seed in range(WEIGHTS)]
        packed = [prepare(weight) for weight in weights]
        wide = [weight.dequantize().half() for weight in weights]
        autotune(given, packed[0])
        return (
            [lambda w=w: w4a16_matmul(given, w) for w in packed],
            [lambda w=w: torch.matmul(given, w.T) for w in wide],
        )

    def contestant(which: int) -> Callable[[], Tensor]:
        def call() -> Tensor:
            for number in range(CALLS):
                answer = steps()[which][number % WEIGHTS]()
            torch.cuda.synchronize()
            return answer

        return call

    @cache
    def halves() -> list[tuple[Tensor, Tensor]]:
        size = moved // 2
        return [
            (torch.empty(size, dtype=torch.uint8, device="cuda"), _bytes(size))
            for _ in range(WEIGHTS)
        ]

    def copy() -> None:
        for number in range(CALLS):
            target, source = halves()[number % WEIGHTS]
            target.copy_(source)
        torch.cuda.synchronize()

    def quality(y: Any) -> dict[str, float]:
        if y is None:
            return {}
        last = _weight(outputs, inputs, (CALLS - 1) % WEIGHTS).dequantize().double()
        exact = x().double() @ last.T
        return {"error_millionths": ((y - exact).norm() / exact.norm()).item() * 1e6}

    return Case(
        f"on a GPU, {inputs} x {outputs}, M = {rows}",
        {
            "rows": rows, "inputs": inputs, "outputs": outputs, "group": GROUP, "calls": CALLS,
            "bytes": moved, "dtype": "fp16",
        },
        contestant(0),
        {"torch, fp16": contestant(1), "a copy of as many bytes": copy},
        quality,
    )  # fmt: skip


def _weight(outputs: int, inputs: int, seed: int) -> QuantizedWeight:
    random = torch.Generator("cuda").manual_seed(seed)
    drawn = torch.randn(outputs, inputs, generator=random, device="cuda", dtype=torch.float16)
    return round_to_nearest(drawn, GROUP)


def _bytes(size: int) -> Tensor:
    return torch.ones(size, dtype=torch.uint8, device="cuda")
