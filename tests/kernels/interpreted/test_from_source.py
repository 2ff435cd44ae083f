"""Kernels given as text: what they may not do, and how what goes wrong is said."""

from __future__ import annotations

import textwrap

import pytest
import torch

from toolkit.kernels.from_source import KernelError, launch_from_source


def run(body: str, before: str = "", beside: str | None = None) -> dict:
    source = before + "def kernel(x_ptr, WIDTH: tl.constexpr):\n" + textwrap.indent(body, "    ")
    arguments = {"x_ptr": torch.zeros(4), "WIDTH": 4}
    return launch_from_source([("kernel", source)], beside, "kernel", (2,), arguments)


LANES = "at = x_ptr + tl.arange(0, WIDTH)\n"


def test_it_runs_and_is_watched():
    told = run(LANES + "tl.atomic_add(at, tl.load(at) * 0.0 + 1.0)")
    assert told["tensors"]["x_ptr"].tolist() == [2.0] * 4
    assert told["moved"] == {"x_ptr": 2 * 4 * 4 * (1 + 2)}
    assert told["problems"] == [["race", "x_ptr"]]
    assert told["said"][0].startswith("line 4")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os", "line 3 of kernel: a kernel has no import"),
        ("x_ptr.handle.data.tofile('x')", "line 3 of kernel: a kernel's tensors have no `tofile`"),
        ("x = x_ptr.handle", "no `handle`: `x_ptr.handle`"),
        ("x = x_ptr.__class__", "no `__class__`"),
        ("tl.load = 1", "does not set `tl.load`"),
        ("x = tl.core", "`tl` has no function `core`"),
        ("x = tl.math.exp(1.0)", "`tl` has no function `math`"),
        ("x = tl.__builtins__", "`tl` has no function `__builtins__`"),
        ("x = tl.core.inspect.sys", "a kernel's tensors have no `sys`"),
        ("x = torch.zeros(4)", "a kernel does not know `torch`"),
        ("x = open('x')", "a kernel does not know `open`: it has its parameters"),
        ("x = getattr(x_ptr, 'handle')", "does not know `getattr`"),
        ("x = __builtins__", "does not know `__builtins__`"),
        ("x = f'{x_ptr.handle}'", "a kernel has no f-string"),
        ("x = '{0.handle}'.format(x_ptr)", "no `format`"),
        ("f = lambda: 1", "a kernel has no lambda"),
        ("def f(): pass", "a kernel has no function within it"),
        ("class A: pass", "a kernel has no class"),
        ("global tl", "a kernel has no global"),
        ("match x_ptr:\n    case object(handle=x): pass", "a kernel has no match"),
        ("try: pass\nexcept: pass", "a kernel has no try"),
        ("tl = 1", "`tl` has a meaning here"),
        ("range = 1", "`range` has a meaning here"),
        ("x = y", "a kernel does not know `y`"),
        ("triton.jit", "a kernel does not know `triton`"),
        ("x = tl.arange(0, 3)", "line 3 of kernel, `x = tl.arange(0, 3)`: ValueError: arange's"),
        ("x = (", "`kernel` can't be read: '(' was never closed, in line 2"),
    ],
)  # fmt: skip
def test_what_is_not_tritons_is_refused_with_its_line(body, said):
    with pytest.raises(KernelError) as raised:
        run(body)
    assert said in str(raised.value)


def test_what_stands_around_the_function_is_left_out():
    told = run("pass", before="import os\nos._exit(1)\n@os._exit\n")
    assert told["problems"] == []


def test_lines_are_counted_by_line_feeds_alone():
    # Others end lines in str.splitlines, and not in Python's grammar.
    for other in ("\u2028\x1c\x0c", "\r", "\r\n"):
        told = run("pass", before=f"'''{other}'''\nraise SystemExit\n")
        assert told["problems"] == []


def test_a_default_is_looked_at_like_the_rest():
    source = "def kernel(x_ptr, WIDTH=open('x')): pass"
    with pytest.raises(KernelError, match="does not know `open`"):
        launch_from_source([("kernel", source)], None, "kernel", (1,), {"x_ptr": torch.zeros(1)})


def test_a_name_without_a_function_is_said():
    with pytest.raises(KernelError, match="`kernel` is not a function"):
        launch_from_source([("kernel", "kernel = 1")], None, "kernel", (1,), {})


def test_memory_outside_of_the_tensors_is_out_of_reach():
    told = run("tl.store(x_ptr + 1000000000 + tl.arange(0, WIDTH), 1.0)")
    assert told["problems"] == [["out of bounds", "x_ptr"]]
    told = run(
        "tl.store((tl.arange(0, WIDTH) + 4096).to(tl.int64).to(tl.pointer_type(tl.float32)), 1.0)"
    )
    assert told["problems"] == [["out of bounds", ""]]


def test_a_problem_in_a_function_beside_it_names_that():
    walks = "def walk(output, maximum, total, q, k_ptr, v_ptr, last, limits, keys, scale,\n"
    walks += "    DIM: tl.constexpr, KEYS: tl.constexpr):\n"
    walks += "    k = tl.load(k_ptr + keys * DIM + tl.arange(0, DIM))\n"
    walks += "    return output, maximum, total + 1.0 + tl.sum(k, 0)\n"
    causal = "def causal_walk(output, maximum, total, q, k_ptr, v_ptr, row, queries, keys, scale,\n"
    causal += "    DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr):\n"
    causal += "    return walk(output, maximum, total, q, k_ptr, v_ptr, keys, keys, keys, scale,\n"
    causal += "        DIM, KEYS)\n"
    q, k, v, o = torch.zeros(4, 16, 16)
    sizes = dict.fromkeys(("queries", "keys", "DIM", "QUERIES", "KEYS"), 16)
    told = launch_from_source(
        [("causal_walk", causal), ("walk", walks)],
        "toolkit.kernels.flash_attention.small_kernels",
        "flash_kernel",
        (1,),
        {"q_ptr": q, "k_ptr": k, "v_ptr": v, "o_ptr": o, "scale": 1.0, "CAUSAL": True, **sizes},
    )
    assert told["said"][0].startswith("in walk, line 4: 16 elements outside k_ptr")
