"""FlashAttention on a GPU where there is one; and anywhere: compiled, watched, and on a CPU.

On a GPU: bf16, 16,384 tokens a batch in sequences of 1,024 to 16,384, heads that make 2,048 numbers
together, as the papers have it; and decoding, whose peer is a copy that moves as many bytes. A call
does the same work ``calls`` times. ``error_thousandths`` is the greatest difference from double
precision, of one head. Anywhere: the kernels compiled for an H100 at the library's tiles and at
others (the seconds are the compiler's, the quality what came out); the forward kernel in Triton's
interpreter, watched by the microscope and not; and ``flash_attention`` on a CPU, which is its
formula, beside torch's kernel.

Ledger
------
GPU: still without a measurement, for want of a card; so these are predictions and nothing else
    Tile sizes. Predicted: r rows of queries do r operations for each byte of K and V, so that 128
    halve the bytes of 64. An H100's ridge is at 295; what is missing, its L2 cache gives, which
    holds K and V of a head. Larger tiles find no registers.
    Measured, by compiling for an H100: with 8 warps the forward has 128 x 128 in 219 registers at
    head_dim 64; at 128 that spills 16 bytes a thread, and 128 x 64 takes 195 registers. With 4
    warps 128 x 128 spills 440 and 3,988 bytes. The keys' gradients at head_dim 128 have 32 x 128 in
    238 registers; 64 x 128 spills 208 bytes, and 64 x 64 with 4 warps 748.
    Warps. Predicted: 8 where 4 spill; else no difference.
    Rows for the matrix unit. Predicted: an H100's takes 64 rows at a time.
    Measured, by compiling: so; with 32 rows of queries the queries' gradients have no wgmma at all.
    Stages. Predicted: 3 hide the loads of the next tile where shared memory has room; the backward,
    with more operands, has room for 2.
    exp2 in place of exp. Predicted: a multiplication saved for each score, up to 3 %.
    Skipping tiles that causal queries don't see. Predicted: half the time for long sequences.
    No mask on tiles that all queries see. Predicted: 5 to 10 %, as few tiles lie on the diagonal.
    The heaviest programs first. Predicted: a shorter tail, up to 10 % at 4,096 tokens and below.
    Not done: a persistent grid (predicted: 2 to 5 %, by hiding the last store), tensor descriptors
    (5 to 15 %, as TMA frees registers), warp specialisation (10 to 25 %, as in FlashAttention-3).
    Backward. Predicted: 7 products for the 5 counted, so at most 5/7 of the forward's TFLOP/s.
    Decoding. Predicted: 80 % of a copy's bytes a second.
Watching a kernel
    Measured: a tenth to a quarter more. What takes the time is the interpreter itself, some hundred
    operations of NumPy for each tile. triton-viz 3.0 is no peer here: under triton 3.7.1 it raises
    at a kernel that calls another.
On a CPU
    Measured: the reference takes 3 to 5 times as long as torch's kernel at 512 tokens, 12 times at
    2,048, where its scores no longer fit in the caches. It also computes the masked half of them.
Where ours loses
    On a CPU, to torch's kernel, by those factors: the reference is there to be compared with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

import torch

from toolkit import course
from toolkit.bench import Case

sys.path.append(str(course.root()))  # the command doesn't look there

from benchmarks.kernels.flash_attention_peers.compiled import KERNELS, compiling
from benchmarks.kernels.flash_attention_peers.on_a_gpu import attending, decoding
from benchmarks.kernels.flash_attention_peers.reference import on_a_cpu
from benchmarks.kernels.flash_attention_peers.watched import watching

PACKAGES = ("torch", "triton")

torch.set_num_threads(1)

SEQUENCES = (1_024, 2_048, 4_096, 8_192, 16_384)


def cases() -> Iterator[Case]:
    """Ours and each peer on the same input, one after the other, as the inputs are large."""
    yield watching()
    for tokens in (512, 2_048):
        yield on_a_cpu(tokens)
    for head_dim, name in product((64, 128), KERNELS):
        yield compiling(name, head_dim)
    if not torch.cuda.is_available():
        return
    for direction, head_dim, causal in product(("forward", "backward"), (64, 128), (False, True)):
        for sequence in SEQUENCES:
            yield attending(direction, head_dim, sequence, causal=causal)
    yield decoding()
