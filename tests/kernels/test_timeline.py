"""What a timeline says of a launch, and the build that records one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from toolkit.kernels.compiling import compile_for
from toolkit.kernels.flash_attention.naive import mix_tile
from toolkit.kernels.timeline import Timeline, clocked, timeline


def draw(rows, multiprocessors=2):
    """A timeline of (multiprocessor, start, end)."""
    processor, start, end = np.array(rows).T
    return Timeline("k", "card", multiprocessors, processor, start, end)


def test_two_full_waves():
    made = draw([(0, 0, 10), (1, 0, 10), (0, 10, 20), (1, 10, 20)])
    assert (made.duration, made.at_once, made.waves) == (20, 2, 2.0)
    assert made.idle == 0.0
    assert made.tail == 0


def test_a_tail():
    made = draw([(0, 0, 10), (1, 0, 10), (0, 10, 20)])
    assert made.waves == 1.5
    assert made.idle == 0.25
    assert made.tail == 10


def test_programs_that_share_a_multiprocessor_are_busy_once():
    made = draw([(0, 0, 10), (0, 2, 5), (0, 8, 14), (0, 18, 20), (1, 0, 20)])
    # 0 to 14 and 18 to 20 of 20, and all of the other's 20
    assert made.idle == pytest.approx(1 - (16 + 20) / 40)
    assert made.at_once == 3


def test_a_multiprocessor_without_a_program_is_idle():
    assert draw([(0, 0, 10), (1, 0, 10)], multiprocessors=4).idle == 0.5


@triton.jit
def leaves_early(x_ptr, size):
    if tl.program_id(0) > size:
        return
    tl.store(x_ptr, 1.0)


def test_an_early_return_is_refused():
    with pytest.raises(ValueError, match="leaves_early returns early"):
        clocked(leaves_early)


def test_a_python_function_is_refused():
    with pytest.raises(TypeError, match="got function"):
        clocked(draw)


def test_the_build_with_clocks_compiles_and_reads_them():
    arguments = {
        "clocks_ptr": "*i64", "p_ptr": "*fp32", "v_ptr": "*fp16", "o_ptr": "*fp16",
        "queries": "i32", "keys": "i32", "DIM": 64, "QUERIES": 64, "KEYS": 64,
        "PRECISION": "ieee",
    }  # fmt: skip
    assembly = compile_for(clocked(mix_tile), "sm_90", arguments).assembly
    assert assembly.count("%globaltimer") == 2
    assert assembly.count("%smid") == 1
    del arguments["clocks_ptr"]
    assert "%globaltimer" not in compile_for(mix_tile, "sm_90", arguments).assembly


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu():
    with pytest.raises(RuntimeError, match="needs an NVIDIA GPU"):
        timeline(mix_tile, (1, 1))


@pytest.mark.gpu
def test_on_a_gpu():
    heads, length = 8, 2048
    p = torch.rand(heads, length, length, device="cuda")
    v, o = torch.rand(2, heads, length, 64, device="cuda", dtype=torch.float16)
    made = timeline(
        mix_tile, (length // 64, heads), p, v, o, length, length,
        DIM=64, QUERIES=64, KEYS=64, PRECISION="ieee",
    )  # fmt: skip
    assert len(made.start) == length // 64 * heads
    assert (made.end > made.start).all()
    assert 0.0 <= made.idle < 1.0
    assert set(made.processor) <= set(range(made.multiprocessors))
