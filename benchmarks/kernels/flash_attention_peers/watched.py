"""The forward kernel in Triton's interpreter, with the microscope and without.

Whether Triton interprets is settled for a whole process, so the kernel runs in one of its own,
``python -m benchmarks.kernels.flash_attention_peers.watched``, which does a run for each line that
it is sent, "watched" or "unwatched", and answers with what it found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any

import torch

from toolkit import course
from toolkit.bench import Case
from toolkit.kernels.flash_attention import Tiles, flash_bytes

TOKENS, HEAD_DIM, TILES = 256, 64, Tiles(64, 64, 4, 1)


def watching() -> Case:
    """One causal head in fp32."""
    exact = flash_bytes(
        1, 1, TOKENS, TOKENS, HEAD_DIM, tiles=TILES, causal=True, itemsize=4
    )  # fmt: skip
    process = cache(_start)

    def ask(what: str) -> Callable[[], dict[str, float]]:
        return lambda: _ask(process(), what)

    return Case(
        f"the forward kernel in the interpreter, {TOKENS} tokens",
        {
            "ours": "watched", "tokens": TOKENS, "head_dim": HEAD_DIM, "heads": 1, "causal": 1,
            "dtype": "fp32", "exact_bytes": exact, "threads": 1,
        },
        ask("watched"),
        {"not watched": ask("unwatched")},
        lambda found: found,
        rounds=15,
    )  # fmt: skip


def _start() -> Any:
    command = [sys.executable, "-m", "benchmarks.kernels.flash_attention_peers.watched"]
    given = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=given, cwd=course.root(), **pipes)


def _ask(process: Any, what: str) -> dict[str, float]:
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def _serve() -> None:
    from toolkit.kernels.flash_attention.launch import Options, launch_forward
    from toolkit.kernels.flash_attention.reference import attention_reference
    from toolkit.kernels.trace import trace

    random = torch.Generator().manual_seed(0)
    shape = (1, 1, TOKENS, HEAD_DIM)
    q, k, v = (torch.randn(shape, generator=random) for _ in range(3))
    exact = attention_reference(
        q.double(), k.double(), v.double(),
        causal=True, scale=HEAD_DIM**-0.5, window=None, softcap=None,
    )[0]  # fmt: skip
    options = Options(HEAD_DIM**-0.5, causal=True)
    for line in sys.stdin:
        with trace() if line.strip() == "watched" else nullcontext():
            output, _ = launch_forward(q, k, v, options, TILES)
        found = {"error_millionths": 1e6 * (output - exact).abs().max().item()}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    _serve()
