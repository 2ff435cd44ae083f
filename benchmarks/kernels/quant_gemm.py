"""Four-bit weights: what each method keeps of two models, and how fast their products are.

MiniLM is fp32 as trained: every method quantises its layers, calibrated on some licences, and is
judged on others. SmolLM2's file is in 4 bits already; the methods round it again, and are judged
by the weights as shipped, on another kind of text. Products are of fp32 x on a CPU, beside torch in
fp32 and torch's int4 kernel. On a GPU, where there is one, they are beside torch in fp16.

Ledger
------
MiniLM
    Predicted: GPTQ keeps most of four bits, AWQ less, both more than rounding to nearest.
    Measured: layers' outputs are off by 10 % by symmetric rounding, by 8 % with AWQ, by 5 to 6 %
    with GPTQ; no layer is worse by GPTQ. NF4 has 7.6 % and looks at no text. W8A8: 1.5 %.
SmolLM2
    Predicted: the same order as for MiniLM.
    Measured: another. By perplexity AWQ is best, 21.4 beside 18.2 as shipped and 26.0 for symmetric
    rounding; GPTQ, 25.1, hardly beats that. It is symmetric here, and is calibrated on licences,
    whose Hessian is not that of Python's help. Asymmetric rounding in groups of 32 is not the file:
    its zero is a code, the file's least weight any number.
Products on a CPU
    Predicted, by the bytes: at one row 7.75 times fp32.
    Measured: 3.8 times at 4,096 x 4,096 and at 4,096 x 11,008, beside torch. Making numbers of
    codes takes longer than reading them. Up to 8 rows fp32 is also tried with the weights on the
    left, which at 2 to 4 rows is the faster way: 1.7 to 2.5 times there. From 32 on there is no
    gain.
SmolLM2 writing
    Predicted: blocks and head are 538 MB in fp32, and 170 with blocks in 4 bits: up to 3.2 times.
    Measured: 1.5 times at one text. It was 1.8 until fp32 read its weights twice as fast, see
    models/llama. Its layers are small; see below.
GPU: still without a measurement, for want of a card
    Predicted, by the bytes: at most 3.88 times fp16 at one row in groups of 128.
Where ours loses
    To torch's int4 kernel, which takes 0.3 to 0.6 of our time: it is written for AVX-512 and takes
    x in bf16, at an error 5,000 times ours.
    To fp32 where weights stay in the caches: 0.6 to 0.75 of our time for three of SmolLM2's four
    layers. A third of ours is the way through Python.
    NF4, whose levels are looked up one by one, takes as long as fp32.
    To fp32 with SmolLM2 writing eight texts at once: 0.86 of our time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

import torch

from toolkit import course
from toolkit.bench import Case

sys.path.append(str(course.root()))  # the command doesn't look there

from benchmarks.kernels.quant_gemm_peers import language, products, sentences

PACKAGES = ("torch", "triton", "numba", "transformers")

ROWS = (1, 2, 4, 8, 16, 32, 64)
LARGE = ((4096, 4096), (11_008, 4096))
SMOLLM2 = ((960, 576), (576, 576), (3072, 576), (576, 1536))
"""(outputs, inputs) of its blocks' four matrices."""

ON_A_GPU = ((4096, 4096), (8192, 8192), (28_672, 8192))


def cases() -> Iterator[Case]:
    """Quality, then products on a CPU, then on a GPU."""
    yield sentences.retrieving()
    yield language.reading()
    for (outputs, inputs), rows in product(LARGE, ROWS):
        yield products.multiplying(rows, outputs, inputs)
    yield products.multiplying(1, 4096, 4096, group=64, method="NF4")
    for outputs, inputs in SMOLLM2:
        yield products.multiplying(1, outputs, inputs, group=64)
    for batch in (1, 8):
        yield language.writing(batch)
    if not torch.cuda.is_available():
        return
    from benchmarks.kernels.quant_gemm_peers import on_a_gpu  # with triton

    for (outputs, inputs), rows in product(ON_A_GPU, (1, 2, 4, 8, 16, 32, 64, 128)):
        yield on_a_gpu.multiplying(rows, outputs, inputs)
