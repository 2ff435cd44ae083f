"""The lab's own code: the online softmax in NumPy, and kernels that are the same in both homes."""

from __future__ import annotations

import ast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toolkit import course
from toolkit.classroom import notebooks
from toolkit.kernels import flash_attention
from toolkit.kernels.flash_attention import online_attention

LAB = "kernels/flash_attention"
SCORES = st.floats(-1e4, 1e4)


@given(scores=arrays(np.float64, st.integers(1, 40), elements=SCORES), data=st.data())
def test_tiles_of_any_sizes_give_the_softmax_of_all_scores(scores, data):
    values = np.random.default_rng(len(scores)).standard_normal((len(scores), 3))
    ends = sorted(data.draw(st.sets(st.integers(1, len(scores)), max_size=6)) | {len(scores)})
    bounds = list(zip([0, *ends], ends, strict=False))
    fetched = []

    def load(tile):
        fetched.append(tile)
        start, end = bounds[tile]
        return scores[start:end], values[start:end]

    exact = torch.from_numpy(scores).softmax(0) @ torch.from_numpy(values)
    np.testing.assert_allclose(online_attention(load, len(bounds)), exact, rtol=1e-9, atol=1e-12)
    assert fetched == list(range(len(bounds)))


def functions(source: str) -> dict[str, str]:
    """The functions of a module or cell by name, less their docstrings and decorators."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            found[node.name] = ast.dump(node.args) + "".join(map(ast.dump, body))
    return found


def test_the_lab_holds_the_librarys_kernels():
    folder = course.homes(LAB).library
    ours = functions((folder / "small_kernels.py").read_text(encoding="utf-8"))
    theirs = functions("\n".join(map(notebooks.solved, cells())))
    assert {name: theirs.get(name) for name in ours} == ours


def cells() -> list[str]:
    return notebooks.question_cells(notebooks.solution(LAB))


def test_what_is_not_there_has_no_kernel():
    with pytest.raises(AttributeError, match="no attribute 'walks'"):
        _ = flash_attention.walks
