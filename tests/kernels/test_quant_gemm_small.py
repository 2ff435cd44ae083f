"""The lab's own code beside the library's, and a kernel that is the same in both homes."""

from __future__ import annotations

import ast
import math

import pytest
import torch

from toolkit import course
from toolkit.classroom import notebooks
from toolkit.kernels import quant_gemm
from toolkit.kernels.quant_gemm import (
    crossover,
    gptq,
    hessian,
    ideal_bytes,
    pack,
    pack_nibbles,
    quantize,
    round_column,
    round_to_nearest,
    speedup,
    unpack_nibbles,
)
from toolkit.kernels.quant_gemm.gptq import inverse_factor
from toolkit.kernels.roofline import CARDS, Card, attainable

LAB = "kernels/quant_gemm"
H200 = CARDS["H200 SXM"]


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("symmetric", [True, False])
def test_groups_are_quantized_as_the_rows_of_a_weight_are(symmetric):
    weight = draw(6, 64)
    weight[2] = 0
    whole = round_to_nearest(weight, 16, symmetric=symmetric)
    codes, scales, zeros = quantize(weight.view(-1, 16), symmetric)
    assert torch.equal(codes.view(6, 64), whole.codes)
    assert scales.dtype == torch.float16
    assert torch.equal(scales.view(6, 4).float(), whole.scales)
    expected = torch.full_like(zeros, 8) if symmetric else whole.zeros.flatten()
    assert torch.equal(zeros, expected)


def test_words_are_those_of_a_gptq_checkpoint_and_come_back():
    weight = round_to_nearest(draw(16, 64), 32)
    words = pack_nibbles(weight.codes)
    assert torch.equal(words, pack(weight, "gptq_v2").qweight)
    assert torch.equal(unpack_nibbles(words), weight.codes)
    eight = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8]], dtype=torch.uint8)
    assert pack_nibbles(eight).item() & 0xFFFFFFFF == 0x87654321


@pytest.mark.parametrize("symmetric", [True, False])
def test_column_after_column_is_gptq(symmetric):
    weight, curvature = draw(5, 24), hessian(draw(200, 24) @ draw(24, 24))
    whole = gptq(weight, curvature, 8, symmetric=symmetric)
    factor, left = inverse_factor(curvature.double(), 0.01), weight.double()
    for column in range(24):
        if column % 8 == 0:
            _, scales, zeros = quantize(left[:, column : column + 8].float(), symmetric)
        codes, left = round_column(left, factor, column, scales.float(), zeros)
        assert torch.equal(codes, whole.codes[:, column])
    torch.testing.assert_close(left.float(), whole.dequantize())


def seconds(card: Card, batch: int, columns: int, depth: int, moved: float) -> float:
    operations = 2 * batch * columns * depth
    return operations / attainable(card, operations / moved)


@pytest.mark.parametrize(("columns", "depth"), [(4096, 4096), (28672, 8192), (576, 1536)])
@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_what_is_gained_is_what_the_roofline_says_and_ends_where_it_says(card, columns, depth):
    arguments = (card.peaks["16-bit"], card.bandwidth)
    less, nothing = crossover(columns, depth, 64, *arguments)
    most = speedup(1, columns, depth, 64, *arguments)
    for batch in (1, less - 1, less, nothing - 1, nothing, nothing + 1, 10 * nothing):
        four = seconds(card, batch, columns, depth, ideal_bytes(batch, columns, depth, 64))
        sixteen_bytes = 2 * (batch * depth + batch * columns + columns * depth)
        sixteen = seconds(card, batch, columns, depth, sixteen_bytes)
        gained = speedup(batch, columns, depth, 64, *arguments)
        assert gained == pytest.approx(sixteen / four)
        assert (gained > 1) == (batch < nothing)
        assert gained <= most


def test_a_small_layer_gains_at_any_batch():
    arguments = (H200.peaks["16-bit"], H200.bandwidth)
    assert crossover(256, 256, 128, *arguments) == (math.inf, math.inf)
    assert speedup(10**6, 256, 256, 128, *arguments) > 1


def functions(source: str) -> dict[str, str]:
    """The functions of a module or cell by name, less their docstrings and decorators."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            found[node.name] = ast.dump(node.args) + "".join(map(ast.dump, body))
    return found


def test_the_lab_holds_the_librarys_kernel():
    folder = course.homes(LAB).library
    ours = functions((folder / "small_kernels.py").read_text(encoding="utf-8"))
    cells = notebooks.question_cells(notebooks.solution(LAB))
    theirs = functions("\n".join(map(notebooks.solved, cells)))
    assert {name: theirs.get(name) for name in ours} == ours


def test_what_is_not_there_has_no_kernel():
    with pytest.raises(AttributeError, match="no attribute 'w4a8_kernel'"):
        _ = quant_gemm.w4a8_kernel
