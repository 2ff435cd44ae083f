"""The microscope on kernels counted by hand, and on kernels with a planted defect each.

A comment ``# name`` at the end of a kernel's line is how a test finds that line.
"""

import importlib
from math import ceil, prod
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl
from hypothesis import given, settings
from hypothesis import strategies as st
from triton.runtime import interpreter
from triton.tools.tensor_descriptor import TensorDescriptor

from toolkit.kernels.trace import TracedTensor, trace

TEXT = Path(__file__).read_text(encoding="utf-8").splitlines()
BLOCK_POINTERS = tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 9)


def line(name):
    (number,) = (i for i, text in enumerate(TEXT, 1) if text.endswith(f"  # {name}"))
    return number


def run(kernel, *args, grid=(1,), **blocks):
    """The one launch's record."""
    with trace() as launches:
        kernel[grid](*args, **blocks)
    (record,) = launches
    return record


def summary(problem):
    return (problem.kind, problem.tensor, problem.line, problem.element, problem.count)


# Kernels without a defect


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(x + at, mask=at < n, other=0.0) + tl.load(y + at, mask=at < n, other=0.0)
    tl.store(out + at, total, mask=at < n)  # add: store


@pytest.mark.parametrize("n", [1, 255, 256, 257, 1000])
def test_vector_add(n):
    x, y, out = torch.arange(n), torch.ones(n), torch.zeros(n)
    x = x.float()
    record = run(add, x, y, out, n, grid=(ceil(n / 256),), BLOCK=256)
    assert torch.equal(out, x + y)
    assert record.problems == ()
    assert [record.bytes_of(name) for name in ("x", "y", "out")] == [4 * n] * 3
    assert (record.loaded_bytes, record.stored_bytes) == (8 * n, 4 * n)
    # The chip adds the masked lanes too.
    assert record.vector_flops == ceil(n / 256) * 256
    assert record.dot_flops == 0
    last = record.of((ceil(n / 256) - 1, 0, 0))
    start = (ceil(n / 256) - 1) * 256
    assert [a.kind for a in last] == ["load", "load", "store"]
    assert [a.step for a in last] == [0, 1, 2]
    assert {(a.tile, a.shape, a.elements) for a in last} == {(((start, n),), (256,), n - start)}


def test_the_record_names_kernel_grid_and_tensors():
    record = run(add, torch.ones(9), torch.ones(9), torch.ones(9), 9, grid=(2, 1, 3), BLOCK=4)
    assert (record.kernel, record.grid) == ("add", (2, 1, 3))
    assert record.tensors[2] == TracedTensor("out", (9,), "float32", 4)
    assert [t.name for t in record.tensors] == ["x", "y", "out"]
    (store, *_) = record.stores("out")
    assert store.line == line("add: store")
    assert record.source.splitlines()[store.line - record.first_line].endswith("# add: store")
    assert record.source.startswith("def add(")
    assert list(dict.fromkeys(a.program for a in record.accesses)) == record.programs()


def test_a_block_of_masked_lanes_accesses_nothing():
    record = run(add, torch.ones(4), torch.ones(4), torch.ones(4), 4, grid=(2,), BLOCK=4)
    empty = record.of((1, 0, 0))
    assert [(a.tensor, a.elements, a.bytes, a.tile) for a in empty] == [
        ("x", 0, 0, ()),
        ("y", 0, 0, ()),
        ("out", 0, 0, ()),
    ]
    assert record.problems == ()


@triton.jit
def matmul(
    a,
    b,
    c,
    m,
    n,
    a_row,
    b_row,
    K: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        inner = start + tl.arange(0, BK)
        at = rows[:, None] * a_row + inner[None, :]
        x = tl.load(a + at, mask=(rows[:, None] < m) & (inner[None, :] < K), other=0.0)
        at = inner[:, None] * b_row + columns[None, :]
        y = tl.load(b + at, mask=(inner[:, None] < K) & (columns[None, :] < n), other=0.0)
        total = tl.dot(x, y, total)
    at = rows[:, None] * n + columns[None, :]
    tl.store(c + at, total, mask=(rows[:, None] < m) & (columns[None, :] < n))


SIZES = st.integers(1, 40)
BLOCKS = st.sampled_from([8, 16, 32])


@settings(deadline=None, max_examples=25)
@given(SIZES, SIZES, SIZES, BLOCKS, BLOCKS, BLOCKS, st.integers(0, 5))
def test_matmul_moves_a_once_per_column_of_tiles_and_b_once_per_row(m, n, k, bm, bn, bk, pad):
    a, b, c = torch.randn(m, k + pad)[:, :k], torch.randn(k, n), torch.zeros(m, n)
    grid = (ceil(m / bm), ceil(n / bn))
    record = run(matmul, a, b, c, m, n, k + pad, n, grid=grid, K=k, BM=bm, BN=bn, BK=bk)
    sums_of_40_products_in_fp32 = 2e-5
    assert torch.allclose(c, a @ b, atol=sums_of_40_products_in_fp32)
    assert record.bytes_of("a") == 4 * m * k * grid[1]
    assert record.bytes_of("b") == 4 * k * n * grid[0]
    assert record.bytes_of("c") == record.stored_bytes == 4 * m * n
    steps = ceil(k / bk)
    assert record.dot_flops == 2 * prod(grid) * bm * bn * steps * bk
    assert record.vector_flops == 0
    assert record.problems == ()
    assert {a.shape for a in record.accesses if a.kind == "dot"} == {(bm, bn, bk)}
    corner = record.loads("a")[steps - 1]
    assert corner.tile == ((0, min(m, bm)), ((steps - 1) * bk, k))


@triton.jit
def softmax(x, out, columns, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    scores = tl.load(x + row * columns + at, mask=at < columns, other=float("-inf"))
    grown = tl.exp(scores - tl.max(scores, 0))
    tl.store(out + row * columns + at, grown / tl.sum(grown, 0), mask=at < columns)


def test_softmax():
    x, out = torch.randn(3, 13), torch.zeros(3, 13)
    record = run(softmax, x, out, 13, grid=(3,), BLOCK=16)
    assert torch.allclose(out, torch.softmax(x, 1))
    assert record.hbm_bytes == 2 * 3 * 13 * 4
    # Of 16: a maximum and a sum by 15 operations each; a difference, an exponential, a quotient.
    assert record.vector_flops == 3 * (15 + 15 + 16 + 16 + 16)
    assert [a.tile for a in record.stores("out")] == [((i, i + 1), (0, 13)) for i in range(3)]


@triton.jit
def gather(x, out, rows, columns, row, column, R: tl.constexpr, C: tl.constexpr):
    i, j = tl.arange(0, R)[:, None], tl.arange(0, C)[None, :]
    on = (i < rows) & (j < columns)
    got = tl.load(x + i * row + j * column, mask=on, other=0)
    tl.store(out + i * columns + j, got, mask=on)


BASE = torch.arange(240.0).reshape(12, 20)


@pytest.mark.parametrize(
    "x",
    [
        BASE[1:7, 2:12],
        BASE[1:7, 2:12].t(),
        BASE[:12].reshape(15, 16).t(),
        BASE[::3, ::4],
        BASE[:, 3:4],
        BASE.half()[2:, 17:],
        BASE[:, :9] > 99,
    ],
    ids=["window", "transposed window", "transposed", "steps", "column", "fp16", "bool"],
)
def test_tiles_are_counted_in_a_views_own_dimensions(x):
    rows, columns = x.shape
    out = torch.zeros(rows, columns, dtype=x.dtype)
    record = run(gather, x, out, rows, columns, *x.stride(), R=16, C=16)
    assert torch.equal(out, x)
    assert record.problems == ()
    (load,), (store,) = record.loads("x"), record.stores("out")
    assert load.tile == store.tile == ((0, rows), (0, columns))
    assert load.elements == x.numel()
    assert load.bytes == store.bytes == x.numel() * x.element_size()


def test_an_element_that_many_lanes_read_moves_once():
    x, out = torch.arange(5.0).expand(4, 5), torch.zeros(4, 5)
    record = run(gather, x, out, 4, 5, *x.stride(), R=4, C=8)
    assert torch.equal(out, x)
    (load,) = record.loads("x")
    assert (load.elements, load.bytes, load.tile) == (5, 20, ((0, 1), (0, 5)))
    assert record.bytes_of("out") == 80


def test_overlapping_windows_are_elements_of_their_own_view():
    x, out = torch.arange(9.0).unfold(0, 4, 1), torch.zeros(6, 4)
    record = run(gather, x, out, 6, 4, *x.stride(), R=8, C=4)
    assert torch.equal(out, x)
    (load,) = record.loads("x")
    assert (load.elements, load.tile) == (9, ((0, 6), (0, 4)))
    assert record.problems == ()


def test_a_tensor_passed_twice_is_two_arguments():
    x = torch.randn(4, 6)
    record = run(gather, x, x, 4, 6, 6, 1, R=4, C=8)
    assert len(record.loads("x")) == len(record.stores("out")) == 1
    assert record.stores("x") == record.loads("out") == []
    assert record.problems == ()


@triton.jit
def scaled(x, at, n):
    return 2 * tl.load(x + at, mask=at < n, other=0.0)  # device function


@triton.jit
def double(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, scaled(x, at, n), mask=at < n)


def test_a_device_functions_load_has_the_functions_own_line():
    x, out = torch.randn(10), torch.zeros(10)
    record = run(double, x, out, 10, grid=(2,), BLOCK=8)
    assert torch.equal(out, 2 * x)
    (at,) = {a.line for a in record.loads("x")}
    assert at == line("device function")
    assert record.source.splitlines()[at - record.first_line].endswith("# device function")


FROM_ANOTHER_FILE = """
import triton
import triton.language as tl

@triton.jit
def fetch(x, at):
    return tl.load(x + at)
"""


@triton.jit
def copy_by_fetch(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = fetch(x, at)  # call
    tl.store(out + at, value)


def test_a_load_in_another_file_has_the_line_of_the_call(tmp_path, monkeypatch):
    (tmp_path / "fetching.py").write_text(FROM_ANOTHER_FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(globals(), "fetch", importlib.import_module("fetching").fetch)
    record = run(copy_by_fetch, torch.ones(4), torch.zeros(4), BLOCK=4)
    assert [a.line for a in record.loads("x")] == [line("call")]


@triton.jit
def histogram(values, counts, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(values + at, mask=at < n, other=0)
    tl.atomic_add(counts + value, 1, mask=at < n)


def test_atomics_do_not_race_and_move_each_element_twice():
    values, counts = torch.tensor([0, 3, 3, 3, 1, 0, 3], dtype=torch.int32), torch.zeros(5).int()
    record = run(histogram, values, counts, 7, grid=(2,), BLOCK=4)
    assert counts.tolist() == [2, 1, 0, 4, 0]
    assert record.problems == ()
    atomics = [a for a in record.accesses if a.kind == "atomic"]
    # Programs see {0, 3} and {1, 0, 3}.
    assert [(a.elements, a.bytes) for a in atomics] == [(2, 16), (3, 24)]
    assert (record.loaded_bytes, record.stored_bytes) == (7 * 4 + 20, 20)


@triton.jit
def claim(owner, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    found = tl.atomic_cas(owner + at, tl.zeros((BLOCK,), tl.int32), at + 1)  # claim
    tl.store(out + at, found)


def test_compare_and_swap_is_an_atomic_and_stays_within_bounds():
    base, out = torch.zeros(8).int(), torch.full((8,), -1).int()
    base[1] = 9
    record = run(claim, base[:5], out, BLOCK=8)
    assert base.tolist() == [1, 9, 3, 4, 5, 0, 0, 0]
    assert out.tolist() == [0, 9, 0, 0, 0, 0, 0, 0]
    (problem,) = record.problems
    assert summary(problem) == ("out of bounds", "owner", line("claim"), (5,), 3)
    assert record.bytes_of("owner") == 2 * 5 * 4


@triton.jit
def copy_by_descriptor(x, out, rows, columns, R: tl.constexpr, C: tl.constexpr):
    source = tl.make_tensor_descriptor(x, [rows, columns], [columns, 1], [R, C])
    target = tl.make_tensor_descriptor(out, [rows, columns], [columns, 1], [R, C])
    i, j = tl.program_id(0) * R, tl.program_id(1) * C
    target.store([i, j], source.load([i, j]))


@triton.jit
def copy_by_host_descriptor(source, target, R: tl.constexpr, C: tl.constexpr):
    i, j = tl.program_id(0) * R, tl.program_id(1) * C
    target.store([i, j], source.load([i, j]))


@triton.jit
def copy_by_block_pointer(x, out, rows, columns, R: tl.constexpr, C: tl.constexpr):
    i, j = tl.program_id(0) * R, tl.program_id(1) * C
    source = tl.make_block_ptr(x, (rows, columns), (columns, 1), (i, j), (R, C), (1, 0))
    target = tl.make_block_ptr(out, (rows, columns), (columns, 1), (i, j), (R, C), (1, 0))
    tl.store(target, tl.load(source, boundary_check=(0, 1)), boundary_check=(0, 1))


@pytest.mark.parametrize(
    "way",
    [
        "device",
        "host",
        pytest.param("pointer", marks=pytest.mark.skipif(not BLOCK_POINTERS, reason="gone in 3.9")),
    ],
)
def test_descriptors_and_block_pointers_access_what_lies_inside(way):
    x, out = torch.randn(6, 20), torch.zeros(6, 20)
    grid, blocks = (2, 2), {"R": 4, "C": 16}
    if way == "device":
        record = run(copy_by_descriptor, x, out, 6, 20, grid=grid, **blocks)
    elif way == "pointer":
        record = run(copy_by_block_pointer, x, out, 6, 20, grid=grid, **blocks)
    else:
        described = [TensorDescriptor.from_tensor(t, [4, 16]) for t in (x, out)]
        record = run(copy_by_host_descriptor, *described, grid=grid, **blocks)
    assert torch.equal(out, x)
    assert record.problems == ()
    assert record.loaded_bytes == record.stored_bytes == 6 * 20 * 4
    source = record.tensors[0].name
    tiles = [((0, 4), (0, 16)), ((0, 4), (16, 20)), ((4, 6), (0, 16)), ((4, 6), (16, 20))]
    assert [a.tile for a in record.loads(source)] == tiles


@triton.jit
def batched_dot(x, out, B: tl.constexpr, N: tl.constexpr):
    b, i, j = tl.arange(0, B)[:, None, None], tl.arange(0, N)[:, None], tl.arange(0, N)
    at = b * N * N + i * N + j
    tl.store(out + at, tl.dot(tl.load(x + at), tl.load(x + at)))


def test_a_batch_of_products_counts_each():
    x, out = torch.randn(4, 16, 16), torch.zeros(4, 16, 16)
    record = run(batched_dot, x, out, B=4, N=16)
    (dot,) = (a for a in record.accesses if a.kind == "dot")
    assert (dot.shape, dot.flops) == ((16, 16, 16), 4 * 2 * 16**3)
    assert (dot.tensor, dot.tile, dot.elements, dot.bytes) == ("", (), 0, 0)


@triton.jit
def weakest(a, b):
    return tl.minimum(a, b)


@triton.jit
def arithmetic(x, out, WHAT: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = tl.load(x + at)
    if WHAT == "fma":
        value = tl.fma(value, value, value)
    elif WHAT == "sigmoid by hand":
        value = 1 / (1 + tl.exp2(value * -1.5))
    elif WHAT == "functions":
        value = tl.exp(tl.sin(tl.cos(tl.erf(tl.sqrt(tl.rsqrt(tl.log(tl.log2(value + 9))))))))
        value = tl.sqrt_rn(tl.div_rn(value, value))
    elif WHAT == "extremes":
        value = tl.clamp(tl.minimum(tl.maximum(value, 0.25), 0.75), 0.5, 0.6)
    elif WHAT == "signs":
        value = -(value - 1) + tl.abs(tl.floor(value))
    elif WHAT == "no floats":
        value = tl.where((at * 3 + 1) % 2 > value.to(tl.int32), value, 0.0)
    elif WHAT == "own reduction":
        value = value * 0 + tl.reduce(value, 0, weakest)
    elif WHAT == "position":
        value = value + tl.argmax(value, 0)
    elif WHAT == "running sum":
        value = tl.cumsum(value, 0)
    elif WHAT == "sum of integers":
        value = value + tl.sum(at, 0)
    tl.store(out + at, value)


@pytest.mark.parametrize(
    ("what", "flops"),
    [
        ("fma", 2 * 8),
        ("sigmoid by hand", 4 * 8),
        ("functions", 11 * 8),
        ("extremes", 3 * 8),
        ("signs", 3 * 8),
        ("no floats", 0),
        ("own reduction", 8 + 8 + 7),
        ("position", 7 + 8),
        ("running sum", 7),
        ("sum of integers", 8),
    ],
)
def test_vector_operations(what, flops):
    record = run(arithmetic, torch.rand(8), torch.zeros(8), WHAT=what, BLOCK=8)
    assert record.vector_flops == flops


@triton.jit
def reduce_2d(x, out, AXIS: tl.constexpr):
    at = tl.arange(0, 4)[:, None] * 8 + tl.arange(0, 8)[None, :]
    tl.store(out + at, tl.load(x + at) * tl.sum(tl.load(x + at), AXIS, keep_dims=True))


@pytest.mark.parametrize(("axis", "sums"), [(None, 1), (0, 8), (1, 4), (-1, 4)])
def test_a_sum_takes_one_operation_less_than_numbers(axis, sums):
    x, out = torch.rand(4, 8), torch.zeros(4, 8)
    record = run(reduce_2d, x, out, AXIS=axis)
    assert record.vector_flops == (32 - sums) + 32


@triton.jit
def pick(x, y, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(tl.where(at < 3, x + at, y + at)))


def test_a_block_of_pointers_into_two_tensors_is_an_access_of_each():
    x, y, out = torch.zeros(8), torch.ones(8), torch.zeros(8)
    record = run(pick, x, y, out, BLOCK=8)
    assert out.tolist() == [0.0] * 3 + [1.0] * 5
    assert [(a.step, a.tensor, a.tile) for a in record.accesses] == [
        (0, "x", ((0, 3),)),
        (1, "y", ((3, 8),)),
        (2, "out", ((0, 8),)),
    ]


@triton.jit
def follow(addresses, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(addresses + tl.program_id(0)).to(tl.pointer_type(tl.float32))
    tl.store(out + tl.program_id(0) * BLOCK + at, tl.load(x + at))  # follow


@triton.jit
def follow_known(x, same, addresses, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    pointer = tl.load(addresses).to(tl.pointer_type(tl.float32))
    tl.store(out + at, tl.load(tl.where(at < 2, x + at, pointer + at)))


def test_a_pointer_read_from_memory_belongs_to_the_first_argument_that_holds_it():
    x, out = torch.rand(4), torch.zeros(4)
    record = run(follow_known, x, x, torch.tensor([x.data_ptr()]), out, BLOCK=4)
    assert torch.equal(out, x)
    assert (record.bytes_of("x"), record.bytes_of("same")) == (16, 0)
    assert record.problems == ()


def test_a_pointer_to_no_argument_is_out_of_bounds():
    x, out = torch.rand(4), torch.ones(4)
    record = run(follow, torch.tensor([x.data_ptr()]), out, BLOCK=4)
    assert out.tolist() == [0.0] * 4
    (problem,) = record.problems
    assert summary(problem) == ("out of bounds", "", line("follow"), (), 4)


@triton.jit
def copy_pair(pair, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(pair[1] + at, tl.load(pair[0] + at))


def test_tensors_in_a_tuple_and_tensors_read_as_another_type_have_their_names():
    pair = (torch.arange(4).int(), torch.zeros(4).int())
    record = run(copy_pair, pair, BLOCK=4)
    assert torch.equal(*pair)
    assert [t.name for t in record.tensors] == ["pair[0]", "pair[1]"]
    assert record.bytes_of("pair[0]") == record.bytes_of("pair[1]") == 16
    out = torch.zeros(4)
    record = run(copy, triton.reinterpret(out, tl.int32), pair[0], 4, BLOCK=4)
    assert record.tensors[0] == TracedTensor("x", (4,), "float32", 4)
    assert record.bytes_of("x") == 16


@triton.jit
def follow_nobody(addresses, BLOCK: tl.constexpr):
    x = tl.load(addresses).to(tl.pointer_type(tl.float32))
    tl.load(x + tl.arange(0, BLOCK), mask=tl.arange(0, BLOCK) < 0)


def test_masked_lanes_may_point_anywhere():
    record = run(follow_nobody, torch.zeros(1, dtype=torch.int64), BLOCK=4)
    assert record.problems == ()
    assert [a.tensor for a in record.accesses] == ["addresses"]


# Planted defects: out of bounds


@triton.jit
def copy_without_mask(x, out, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at)  # no mask: load
    tl.store(out + at, value)  # no mask: store


def test_a_missing_mask():
    # Past the end of x lie elements of out: still not those of x.
    memory = torch.arange(3000.0)
    x, out = memory[:1000], memory[1000:2000]
    memory_before = memory.clone()
    record = run(copy_without_mask, x, out, grid=(4,), BLOCK=256)
    assert torch.equal(out, x)
    assert torch.equal(memory[2000:], memory_before[2000:])
    assert [summary(p) for p in record.problems] == [
        ("out of bounds", "x", line("no mask: load"), (1000,), 24),
        ("out of bounds", "out", line("no mask: store"), (1000,), 24),
    ]
    assert [p.program for p in record.problems] == [(3, 0, 0)] * 2
    assert record.bytes_of("x") == record.bytes_of("out") == 4000


def test_programs_past_the_end_add_up_to_one_problem():
    x, out = torch.rand(10), torch.zeros(48)
    record = run(copy_without_mask, x, out, grid=(3,), BLOCK=16)
    (problem,) = record.problems
    assert summary(problem) == ("out of bounds", "x", line("no mask: load"), (10,), 38)
    assert problem.program == (0, 0, 0)
    assert (out[10:] == 0).all()


def test_an_empty_tensor_has_no_element():
    record = run(copy_without_mask, torch.zeros(0), torch.zeros(4), BLOCK=4)
    (problem,) = record.problems
    assert (problem.tensor, problem.count) == ("x", 4)


def test_a_tensor_of_one_element_has_the_next_out_of_bounds():
    record = run(copy_without_mask, torch.zeros(1), torch.zeros(2), BLOCK=2)
    (problem,) = record.problems
    assert (problem.tensor, problem.element, problem.count) == ("x", (1,), 1)


@triton.jit
def shift(x, out, by, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at - by, mask=at < n, other=7.0), mask=at < n)  # shift


def test_before_the_first_element_and_far_away():
    memory, out = torch.ones(64), torch.zeros(8)
    x = memory[32:40]
    record = run(shift, x, out, 3, 8, BLOCK=8)
    (problem,) = record.problems
    assert summary(problem) == ("out of bounds", "x", line("shift"), (-3,), 3)
    assert out.tolist() == [7.0] * 3 + [1.0] * 5
    record = run(shift, x, out, -(10**9), 8, BLOCK=8)
    (problem,) = record.problems
    assert summary(problem) == ("out of bounds", "x", line("shift"), (10**9,), 8)
    assert record.bytes_of("x") == 0


@triton.jit
def read_rows(x, out, row, C: tl.constexpr):
    i, j = tl.program_id(0), tl.arange(0, C)
    tl.store(out + i * C + j, tl.load(x + i * row + j))  # gap


def test_the_gap_between_the_rows_of_a_view():
    padded, out = torch.ones(4, 8), torch.zeros(4, 8)
    record = run(read_rows, padded[:, :6], out, 8, grid=(4,), C=8)
    (problem,) = record.problems
    assert summary(problem) == ("out of bounds", "x", line("gap"), (0, 6), 8)
    assert out.tolist() == [[1.0] * 6 + [0.0] * 2] * 4


def test_past_and_before_the_elements_that_a_view_repeats():
    record = run(read_rows, torch.ones(5).expand(4, 5), torch.zeros(4, 8), 0, grid=(4,), C=8)
    (problem,) = record.problems
    assert summary(problem) == ("out of bounds", "x", line("gap"), (0, 5), 3)
    padded = torch.ones(4, 8)[1:, :6]
    (problem,) = run(shift, padded, torch.zeros(4), 4, 4, BLOCK=4).problems
    assert summary(problem) == ("out of bounds", "x", line("shift"), (-1, 4), 4)


def test_a_row_too_many():
    record = run(read_rows, torch.ones(3, 8), torch.zeros(4, 8), 8, grid=(4,), C=8)
    (problem,) = record.problems
    assert summary(problem) == ("out of bounds", "x", line("gap"), (3, 0), 8)
    assert problem.program == (3, 0, 0)


# Planted defects: races


@triton.jit
def off_by_one(out, BLOCK: tl.constexpr):
    at = tl.program_id(0) * (BLOCK - 1) + tl.arange(0, BLOCK)
    tl.store(out + at, at.to(tl.float32))  # overlap


def test_programs_that_overlap_by_one():
    record = run(off_by_one, torch.zeros(100), grid=(4,), BLOCK=16)
    (problem,) = record.problems
    assert summary(problem) == ("race", "out", line("overlap"), (15,), 3)
    assert (problem.other_line, problem.other_program) == (line("overlap"), (0, 0, 0))
    assert problem.program == (1, 0, 0)


@triton.jit
def blur(x, by, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    near = at + by
    other = tl.load(x + near, mask=(near >= 0) & (near < n), other=0.0)  # blur: load
    mine = tl.load(x + at, mask=at < n, other=0.0)
    tl.store(x + at, mine + other, mask=at < n)  # blur: store


@pytest.mark.parametrize("by", [-1, 1])
def test_reading_a_neighbours_rows_while_it_writes_them(by):
    record = run(blur, torch.ones(32), by, 32, grid=(4,), BLOCK=8)
    (problem,) = record.problems
    assert {problem.line, problem.other_line} == {line("blur: load"), line("blur: store")}
    assert (problem.kind, problem.tensor, problem.count) == ("race", "x", 3)
    # Looking back, program 1 reads what 0 wrote; looking ahead, 1 writes what 0 read.
    assert problem.line == line("blur: load" if by < 0 else "blur: store")
    assert problem.element == ((7,) if by < 0 else (8,))
    assert (problem.other_program, problem.program) == ((0, 0, 0), (1, 0, 0))


def test_within_one_program_nothing_races():
    assert run(blur, torch.ones(8), 1, 8, grid=(1,), BLOCK=8).problems == ()
    assert run(blur, torch.ones(32), 0, 32, grid=(4,), BLOCK=8).problems == ()


@triton.jit
def sum_by_hand(x, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    before = tl.load(total)  # sum: load
    tl.store(total, before + tl.sum(tl.load(x + at), 0))  # sum: store


@triton.jit
def sum_by_atomics(x, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(total, tl.sum(tl.load(x + at), 0))


def test_accumulating_without_an_atomic():
    x, total = torch.ones(32), torch.zeros(1)
    record = run(sum_by_hand, x, total, grid=(4,), BLOCK=8)
    # The interpreter hides it: the sum is right.
    assert total.item() == 32
    assert [(*summary(p), p.other_line) for p in record.problems] == [
        ("race", "total", line("sum: load"), (0,), 1, line("sum: store")),
        ("race", "total", line("sum: store"), (0,), 1, line("sum: store")),
    ]
    total.zero_()
    record = run(sum_by_atomics, x, total, grid=(4,), BLOCK=8)
    assert (record.problems, total.item()) == ((), 32)


@triton.jit
def last_one_reads(x, FIRST: tl.constexpr):
    if tl.program_id(0) == FIRST:
        tl.atomic_add(x, 1.0)  # mixed: atomic
    else:
        tl.store(x + 1, tl.load(x))  # mixed: load


@pytest.mark.parametrize("first", [0, 1])
def test_an_atomic_races_with_a_plain_load(first):
    record = run(last_one_reads, torch.zeros(2), grid=(2,), FIRST=first)
    (problem,) = record.problems
    assert {problem.line, problem.other_line} == {line("mixed: atomic"), line("mixed: load")}
    assert (problem.kind, problem.tensor, problem.element) == ("race", "x", (0,))


@triton.jit
def one_initialises(total, FIRST: tl.constexpr):
    if tl.program_id(0) == FIRST:
        tl.store(total, 0.0)  # initial store
    else:
        tl.atomic_add(total, 1.0)  # initial atomic


@pytest.mark.parametrize("first", [0, 1])
def test_an_atomic_races_with_a_plain_store(first):
    (problem,) = run(one_initialises, torch.zeros(1), grid=(2,), FIRST=first).problems
    lines = [line("initial store"), line("initial atomic")]
    assert [problem.other_line, problem.line] == (lines if first == 0 else lines[::-1])


@triton.jit
def two_write_one_reads(x, BLOCK: tl.constexpr):
    i, at = tl.program_id(0), tl.arange(0, BLOCK)
    if i == 0:
        tl.store(x + at, 1.0)  # first half
    elif i == 1:
        tl.store(x + BLOCK + at, 1.0)  # second half
    else:
        tl.load(x + at)  # read first
        tl.load(x + tl.arange(0, 2 * BLOCK))  # read both


def test_each_pair_of_lines_has_its_own_elements():
    record = run(two_write_one_reads, torch.zeros(8), grid=(3,), BLOCK=4)
    names = ["first half", "second half", "read first", "read both"]
    first, second, once, both = (line(name) for name in names)
    assert [(p.other_line, p.line, p.element, p.count) for p in record.problems] == [
        (first, once, (0,), 4),
        (first, both, (0,), 4),
        (second, both, (4,), 4),
    ]


@triton.jit
def write_all(out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, 1.0)  # write all
    tl.atomic_add(out + at, 1.0)  # atomic after


def test_all_pairs_of_lines_are_told():
    record = run(write_all, torch.zeros(4), grid=(3,), BLOCK=4)
    store, atomic = line("write all"), line("atomic after")
    pairs = {(p.other_line, p.line): p.count for p in record.problems}
    assert pairs == {(store, store): 4, (atomic, store): 4}


@triton.jit
def copy(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n), mask=at < n)  # copy


def test_views_of_one_storage_share_their_shadow():
    memory = torch.arange(24.0)
    record = run(copy, memory[:16], memory[8:], 16, grid=(2,), BLOCK=8)
    (problem,) = record.problems
    assert summary(problem) == ("race", "x", line("copy"), (8,), 8)
    assert run(copy, memory[:8], memory[8:16], 8, grid=(2,), BLOCK=4).problems == ()


@triton.jit
def word_and_bytes(bytes_, words, start, WORD_FIRST: tl.constexpr):
    if (tl.program_id(0) == 0) == WORD_FIRST:
        tl.store(words + 1, 5)  # word
    else:
        tl.store(bytes_ + start + tl.arange(0, 2), 1)  # bytes


@pytest.mark.parametrize("start", [2, 3, 4, 7, 8, 9])
@pytest.mark.parametrize("word_first", [True, False])
def test_views_of_other_types_share_their_shadow(start, word_first):
    bytes_ = torch.zeros(11, dtype=torch.int8)
    words = bytes_[:8].view(torch.int32)
    record = run(word_and_bytes, bytes_, words, start, grid=(2,), WORD_FIRST=word_first)
    # Word 1 is bytes 4 to 7; elements are those of the later access.
    raced = [byte for byte in (start, start + 1) if 4 <= byte < 8]
    later = ("bytes_", line("bytes")) if word_first else ("words", line("word"))
    element, count = ((raced or [0])[0], len(raced)) if word_first else (1, 1)
    expected = [("race", *later, (element,), count)] if raced else []
    assert [summary(p) for p in record.problems] == expected


@triton.jit
def cast_down(words, SPREAD: tl.constexpr):
    i = tl.program_id(0)
    tl.store(words + 1 + i, 5)
    tl.store(words.to(tl.pointer_type(tl.int8)) + i * SPREAD, 1)


@triton.jit
def cast_up(bytes_, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(bytes_.to(tl.pointer_type(tl.int32)) + at))  # cast up


def test_pointers_cast_to_another_type():
    words = torch.zeros(8, dtype=torch.int32)
    record = run(cast_down, words, grid=(4,), SPREAD=1)
    assert record.problems == ()
    assert record.bytes_of("words") == 4 * (4 + 1)
    assert {a.tile for a in record.stores("words")[1::2]} == {((0, 1),)}
    (problem,) = run(cast_down, words, grid=(4,), SPREAD=0).problems
    assert (problem.kind, problem.element, problem.count) == ("race", (0,), 1)

    pieces, out = torch.ones(6, dtype=torch.int8), torch.zeros(2, dtype=torch.int32)
    record = run(cast_up, pieces, out, BLOCK=2)
    (problem,) = record.problems
    assert summary(problem) == ("out of bounds", "bytes_", line("cast up"), (4,), 1)
    assert [(a.tile, a.elements, a.bytes) for a in record.loads("bytes_")] == [(((0, 4),), 1, 4)]
    assert out.tolist() == [0x01010101, 0]


# The seam itself


def patched_places():
    module, builder = interpreter, interpreter.InterpreterBuilder
    places = {(builder, name) for name in vars(builder) if name.startswith(("create_", "set_"))}
    places |= {(module.GridExecutor, name) for name in ("__call__", "_init_args_hst")}
    places |= {(module.ReduceOps, "apply_impl"), (module.ScanOps, "apply_impl")}
    places |= {(module, "_implicit_cvt")}
    return {(owner, name): vars(owner)[name] for owner, name in places}


@triton.jit
def fails(x):
    tl.store(x, 1.0)
    tl.static_assert(tl.program_id(0) < 1)
    tl.store(x, 2.0)


def test_the_interpreter_is_as_before_after_the_block():
    before = patched_places()
    with trace():
        changed = {place for place, method in patched_places().items() if method != before[place]}
    assert (interpreter.InterpreterBuilder, "create_masked_load") in changed
    assert (interpreter.GridExecutor, "__call__") in changed
    assert patched_places() == before
    with pytest.raises(KeyError), trace():
        raise KeyError
    assert patched_places() == before


def test_a_kernel_that_raises_leaves_what_it_did():
    before, x = patched_places(), torch.zeros(1)
    with trace() as launches:
        copy[(1,)](x, torch.zeros(1), 1, BLOCK=1)
        with pytest.raises(Exception, match="AssertionError"):
            fails[(3,)](x)
    assert patched_places() == before
    assert [record.kernel for record in launches] == ["copy", "fails"]
    assert [(a.program, a.kind) for a in launches[1].accesses] == [
        ((0, 0, 0), "store"),
        ((0, 0, 0), "store"),
        ((1, 0, 0), "store"),
    ]


def test_a_call_that_never_starts_leaves_nothing():
    with pytest.raises(TypeError), trace() as launches:
        copy[(1,)](torch.zeros(1), BLOCK=1)
    assert launches == []


def test_launches_are_listed_in_order_and_none_is_fine():
    with trace() as launches:
        pass
    assert launches == []
    x = torch.zeros(4)
    with trace() as launches:
        copy[(1,)](x, torch.zeros(4), 4, BLOCK=4)
        add[(1,)](x, x, torch.zeros(4), 4, BLOCK=4)
    copy[(1,)](x, torch.zeros(4), 4, BLOCK=4)
    assert [record.kernel for record in launches] == ["copy", "add"]
    assert {len(record.accesses) for record in launches} == {2, 3}


def test_a_trace_within_a_trace_is_refused():
    with trace() as launches:
        with pytest.raises(RuntimeError, match="runs already"), trace():
            pass
        copy[(1,)](torch.zeros(4), torch.zeros(4), 4, BLOCK=4)
    assert len(launches) == 1


@triton.jit
def read_far(x, out, far):
    tl.store(out, tl.load(x + tl.cast(far, tl.int64)))  # far


@pytest.mark.parametrize("far", [2**20, 2**44, 2**46, -(2**45), 2**60])
def test_an_address_far_away_is_out_of_bounds(far):
    record = run(read_far, torch.ones(4), torch.zeros(1), far)
    (problem,) = record.problems
    assert (problem.kind, problem.line) == ("out of bounds", line("far"))
