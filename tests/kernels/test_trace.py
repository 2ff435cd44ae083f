"""The record's arithmetic and sentences, and what ``trace()`` refuses."""

import importlib.util
import math
import pickle
import subprocess
import sys

import pytest

from toolkit.kernels.trace import Access, KernelTrace, Problem, TracedTensor, trace


def access(program, step, kind, tensor, moved, flops=0):
    return Access(program, step, kind, tensor, ((0, 1),), (16,), 1, moved, flops, 7)


@pytest.fixture
def record():
    first, second = (0, 0, 0), (0, 1, 0)
    return KernelTrace(
        kernel="product",
        source="def product(): ...",
        first_line=3,
        grid=(1, 2, 1),
        tensors=(TracedTensor("x", (9,), "float32", 4), TracedTensor("y", (3,), "float16", 2)),
        accesses=(
            access(first, 0, "load", "x", 100),
            access(first, 1, "dot", "", 0, flops=4000),
            access(first, 2, "store", "y", 10),
            access(second, 0, "load", "y", 1),
            access(second, 1, "atomic", "x", 60),
            access(second, 2, "dot", "", 0, flops=96),
        ),
        problems=(),
        vector_flops=5,
    )


def test_an_atomic_is_half_a_load_and_half_a_store(record):
    assert (record.loaded_bytes, record.stored_bytes) == (100 + 1 + 30, 10 + 30)
    assert record.hbm_bytes == 171


def test_intensity_divides_all_operations_by_all_bytes(record):
    assert (record.dot_flops, record.flops) == (4096, 4101)
    assert record.intensity == 4101 / 171


def test_a_kernel_that_moves_nothing_has_infinite_intensity():
    idle = KernelTrace("idle", "", 1, (1, 1, 1), (), (), (), 0)
    assert idle.hbm_bytes == 0
    assert idle.intensity == math.inf


def test_accesses_by_tensor_and_by_program(record):
    assert (record.bytes_of("x"), record.bytes_of("y")) == (160, 11)
    assert record.loads("x") == [record.accesses[0]]
    assert record.stores("y") == [record.accesses[2]]
    assert record.stores("x") == []
    assert record.of((0, 1, 0)) == list(record.accesses[3:])


def test_programs_come_in_the_interpreters_order():
    grid = KernelTrace("idle", "", 1, (2, 1, 2), (), (), (), 0)
    assert grid.programs() == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]
    assert grid.of((1, 0, 1)) == []


@pytest.mark.parametrize("ask", [KernelTrace.bytes_of, KernelTrace.loads, KernelTrace.stores])
def test_a_name_that_no_tensor_has_is_refused(record, ask):
    with pytest.raises(ValueError, match=r"^product has the tensors x, y, got 'z'$"):
        ask(record, "z")


def test_a_program_outside_the_grid_is_refused(record):
    with pytest.raises(ValueError, match=r"lie in the grid \(1, 2, 1\), got \(1, 0, 0\)$"):
        record.of((1, 0, 0))


def test_the_record_is_plain_data(record):
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (
            Problem("out of bounds", "x", 12, (3, 0, 0), (1000,), 24),
            "line 12: 24 elements outside x, first by program (3, 0, 0) at x[1000]; "
            "the mask must leave them out",
        ),
        (
            Problem("out of bounds", "", 5, (0, 0, 0), (), 1),
            "line 5: 1 element outside any argument, first by program (0, 0, 0); "
            "the mask must leave them out",
        ),
        (
            Problem("race", "y", 14, (1, 0, 0), (4, 0), 8, 12, (0, 0, 0)),
            "lines 12 and 14: programs (0, 0, 0) and (1, 0, 0) both access y[4, 0] and at least "
            "one writes it without an atomic, in an order that a GPU leaves open "
            "(8 elements in all)",
        ),
        (
            Problem("race", "y", 14, (1, 0, 0), (63,), 1, 14, (0, 0, 0)),
            "line 14: programs (0, 0, 0) and (1, 0, 0) both access y[63] and at least "
            "one writes it without an atomic, in an order that a GPU leaves open "
            "(1 element in all)",
        ),
    ],
)
def test_a_problem_is_one_sentence(problem, sentence):
    assert str(problem) == sentence


def test_without_triton_it_says_where_there_is_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton.runtime.interpreter", None)
    with pytest.raises(RuntimeError, match=r"not installed.*Linux"), trace():
        pass


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_with_the_interpreter_off_it_says_how_to_turn_it_on(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    code = "from toolkit.kernels.trace import trace\nwith trace(): pass"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert "RuntimeError" in run.stderr
    assert "set TRITON_INTERPRET=1 before triton is first imported" in run.stderr
