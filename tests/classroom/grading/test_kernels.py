"""Kernels are graded by their source, whatever a notebook does to triton or to the microscope."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from toolkit.classroom import notebooks

LAB = "kernels/flash_attention"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's, and so is Triton"),
    pytest.mark.timeout(600),
]

ALL = [4, 4, 5, 4, 3]
RACES = """
@triton.jit
def value_gradient_kernel(
    p_ptr, do_ptr, dv_ptr, tokens, DIM: tl.constexpr, BLOCK: tl.constexpr
):
    queries = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, DIM)
    do_at = do_ptr + queries[:, None] * DIM + dims[None, :]
    do = tl.load(do_at, queries[:, None] < tokens, other=0.0)
    for start in range(0, tokens, BLOCK):
        keys = start + tl.arange(0, BLOCK)
        inside = (queries[:, None] < tokens) & (keys[None, :] < tokens)
        p = tl.load(p_ptr + queries[:, None] * tokens + keys[None, :], inside, other=0.0)
        dv_at = dv_ptr + keys[:, None] * DIM + dims[None, :]
        dv = tl.load(dv_at, keys[:, None] < tokens, other=0.0)
        tl.store(dv_at, dv + tl.dot(tl.trans(p), do), keys[:, None] < tokens)
"""
LOADS_ALL = """
@triton.jit
def causal_walk(
    output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,
    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):
    limits = row + tl.arange(0, QUERIES) + keys - queries + 1
    output, maximum, total = walk(
        output, maximum, total, q, k_ptr, v_ptr, keys, limits, keys, scale, DIM, KEYS
    )
    return output, maximum, total
"""
BLINDS = """
import gc
import toolkit.kernels.trace as package
from toolkit.kernels.trace import launch, record, seam, shadow

shadow.Shadow.note = lambda self, *args: []
launch.Launch._find = lambda self, *args: None
launch.Launch.access = lambda self, kind, pointers, mask, size, line: mask
record.KernelTrace.bytes_of = lambda self, name: 0
record.KernelTrace.problems = ()
package.trace = seam.trace = None
"""
PATCHES = """
import inspect
import triton.runtime.interpreter as interpreter

interpreter.InterpreterBuilder.create_masked_load = None
triton.jit = lambda function: function
inspect.getsource = lambda value: inspect.cleandoc(value.__doc__ or "")
"""
IN_THE_KERNEL = '''
@triton.jit
def value_gradient_kernel(
    p_ptr, do_ptr, dv_ptr, tokens, DIM: tl.constexpr, BLOCK: tl.constexpr
):
    """dV."""
    import torch, gc
    for found in gc.get_objects():
        if type(found).__name__ == "Launch":
            found._find = lambda *rest: None
'''
WITHOUT_END = '''
@triton.jit
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    """One row."""
    while True:
        pass
'''
TAKES_ANOTHERS = """
from toolkit.kernels.flash_attention.small_kernels import walk
"""
GIVEN = """
walk = lab.given("q3")
"""


def notebook(**sources: str) -> str:
    """The solved lab as an ``.ipynb``, with other cells for some questions, and one ``after``."""
    made = nbformat.reads(notebooks.make_lab(LAB), as_version=4)
    for cell, solved in zip(made.cells, notebooks.solution(LAB).cells, strict=True):
        for tag in cell.metadata.get("tags", []):
            cell.source = sources.get(tag, notebooks.solved(solved.source))
    if "after" in sources:
        made.cells.append(nbformat.v4.new_code_cell(sources["after"], metadata={"tags": ["q5"]}))
    return nbformat.writes(made)


CLASS = {
    "honest": ({}, ALL),
    "races": ({"q5": RACES}, [*ALL[:4], 0]),
    "races_and_blinds": ({"q5": RACES, "after": BLINDS}, [*ALL[:4], 0]),
    "loads_all_and_blinds": ({"q4": LOADS_ALL, "after": BLINDS}, [4, 4, 5, 2, 3]),
    "patches": ({"after": PATCHES}, [4, 0, 0, 0, 0]),
    "meddles_in_the_kernel": ({"q5": IN_THE_KERNEL}, [*ALL[:4], 0]),
    "without_end": ({"q2": WITHOUT_END}, [4, 0, *ALL[2:]]),
    "takes_the_librarys": ({"q3": TAKES_ANOTHERS}, [4, 4, 0, 0, 3]),
    "takes_what_is_given": ({"q3": GIVEN}, [4, 4, 0, 4, 3]),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> dict[str, list[int]]:
    folder: Path = tmp_path_factory.mktemp("class")
    (folder / "submissions").mkdir()
    for student, (sources, _) in CLASS.items():
        (folder / "submissions" / f"{student}.ipynb").write_text(notebook(**sources))
    command = [sys.executable, "-m", "toolkit.cli", "grade", LAB, str(folder / "submissions")]
    command += ["-o", str(folder / "results"), "--seed", "20240601"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    with open(folder / "results" / "grades.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["student"]: [int(row[f"q{n}"]) for n in range(1, 6)] for row in rows}


@pytest.mark.parametrize("student", CLASS)
def test_a_kernel_earns_what_its_source_deserves(graded, student):
    assert graded[student] == CLASS[student][1]
