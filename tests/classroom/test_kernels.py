"""Kernels of a notebook, launched from their source in a clean process."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from toolkit import course
from toolkit.classroom import checks, kernels, notebooks
from toolkit.classroom.answer import Answer, LearnerError
from toolkit.classroom.codec import CodecError
from toolkit.classroom.grading.confine import Confinement
from toolkit.classroom.grading.limits import Limits
from toolkit.classroom.grading.sandbox import Sandbox
from toolkit.classroom.learner import Callback

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is Linux's")

DOUBLE = '''
def double(x_ptr, y_ptr, length, WIDTH: tl.constexpr):
    """y = 2 x"""
    at = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    tl.store(y_ptr + at, 2.0 * tl.load(x_ptr + at, at < length, other=0.0), at < length)
'''
SMALL = "toolkit.kernels.flash_attention.small_kernels"


def answer(source: str = DOUBLE, **others) -> Answer:
    names = dict(others)
    notebooks.define("from __future__ import annotations\n" + source, names)
    return Answer.of(names)


def launch(door: Answer, kernel: str = "double", **options) -> kernels.Launched:
    x = torch.arange(5.0)
    arguments = {"x_ptr": x, "y_ptr": torch.zeros(5), "length": 5, "WIDTH": 4}
    return kernels.launch(door, kernel, (2,), arguments, output="y_ptr", **options)


def test_a_launch_gives_the_output_and_what_the_microscope_saw():
    door = answer()
    found = launch(door)
    assert found.output.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert found.moved == {"x_ptr": 20, "y_ptr": 20}
    assert found.problems == ()
    (call,) = door.call_log
    assert call.function == "double[(2,)]"
    assert call.result is found.output
    assert call.after == [found.moved, []]


def test_a_problem_is_a_sentence_with_the_kernels_own_line():
    (said,) = launch(answer(DOUBLE.replace("other=0.0), at < length", "other=0.0)"))).problems
    assert said.startswith("line 5: 3 elements outside y_ptr, first by program (1, 0, 0)")


def test_what_the_kernel_raises_names_its_line():
    door = answer(DOUBLE.replace("tl.arange(0, WIDTH)", "tl.arange(0, 3)"))
    with pytest.raises(LearnerError) as raised:
        launch(door)
    assert "line 4 of double, `at = tl.program_id(0) * WIDTH + tl.arange(0, 3)`" in str(
        raised.value
    )
    assert "power of 2" in str(raised.value)
    assert door.call_log[-1].error is raised.value


def test_a_kernel_that_is_not_defined_is_said_to_be():
    with pytest.raises(LearnerError, match="`double` is not defined"):
        launch(Answer.of({}))


def test_what_this_process_does_to_triton_and_the_microscope_changes_nothing(monkeypatch):
    import triton

    from toolkit.kernels.trace import launch as microscope
    from toolkit.kernels.trace import record

    monkeypatch.setattr(microscope.Launch, "_find", lambda *_: None)
    monkeypatch.setattr(record.KernelTrace, "bytes_of", lambda *_: 0)
    monkeypatch.setattr(triton.language, "store", None)
    found = launch(answer(DOUBLE.replace(", other=0.0), at < length", ")")))
    assert found.moved["x_ptr"] == 20
    assert len(found.problems) == 1


def test_a_given_function_is_taken_from_the_library_and_earns_nothing_itself():
    q, k, v = torch.randn(3, 20, 16)
    arguments = {"q_ptr": q, "k_ptr": k, "v_ptr": v, "o_ptr": torch.zeros(20, 16), "scale": 0.25}
    arguments |= {"queries": 20, "keys": 20, "DIM": 16, "QUERIES": 16, "KEYS": 16, "CAUSAL": True}
    solution = notebooks.question_cells(notebooks.solution("kernels/flash_attention"))
    (causal,) = [cell for cell in solution if "def causal_walk" in cell]
    own = notebooks.solved(causal).replace("@triton.jit\n", "")
    door = answer(own, walk=Callback(None, 0, "walk"))
    how = {"output": "o_ptr", "beside": SMALL}
    found = kernels.launch(door, "flash_kernel", (2,), arguments, of=["causal_walk", "walk"], **how)
    exact = torch.nn.functional.scaled_dot_product_attention(
        *(x[None] for x in (q, k, v)), is_causal=True, scale=0.25
    )
    torch.testing.assert_close(found.output, exact[0])
    with pytest.raises(CodecError, match="it was given"):
        kernels.launch(door, "flash_kernel", (2,), arguments, of=["walk"], **how)


def test_the_same_mistake_is_known_though_its_sums_round_otherwise():
    door = """
def softmax_kernel(x_ptr, y_ptr, columns, WIDTH: tl.constexpr):
    at = tl.program_id(0) * columns + tl.arange(0, WIDTH)
    x = tl.load(x_ptr + at, tl.arange(0, WIDTH) < columns, other=0.0)
    powers = tl.exp2((x - tl.max(x, 0)) * 1.4426950408889634)
    tl.store(y_ptr + at, powers * (1.0 / tl.sum(powers, 0)), tl.arange(0, WIDTH) < columns)
"""
    names: dict = {}
    notebooks.define("from __future__ import annotations\n" + door, names)
    verdict = checks.judge(checks.load("kernels/flash_attention"), "q2", names)
    assert verdict.hint.startswith("What the mask leaves out is 0 to you")


def test_a_kernel_without_end_is_stopped_and_the_next_one_runs():
    def start() -> Sandbox:
        confinement = Confinement("limits", course.root(), None, False)
        return Sandbox(confinement, 0, Limits(call_seconds=1.0))

    endless = answer(DOUBLE + "    while True:\n        pass\n")
    with kernels.confined(start):
        with pytest.raises(LearnerError, match="TimeLimit: stopped after 1 s"):
            launch(endless)
        assert launch(answer()).output.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_a_process_that_did_not_start_is_started_again():
    started = []

    class Lame(Sandbox):
        def run_cell(self, *arguments):
            raise CodecError("lost")

    def start():
        started.append(1)
        kind = Lame if len(started) == 1 else Sandbox
        return kind(Confinement("limits", course.root(), None, False), 0, Limits())

    with kernels.confined(start):
        with pytest.raises(CodecError, match="lost"):
            launch(answer())
        assert launch(answer()).output.tolist() == [0, 2, 4, 6, 8]
    assert len(started) == 2
