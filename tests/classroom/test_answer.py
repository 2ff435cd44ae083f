"""The door: calls, handles, callbacks, in-place calls, batches and gradients, in one process."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.classroom import notebooks
from toolkit.classroom.answer import MAX_CALLBACKS, Answer, LearnerError
from toolkit.classroom.codec import CodecError, Stream
from toolkit.classroom.learner import Callback

NOTEBOOK = """
import torch

def add(a, b=1):
    return a + b

def spoil(items):
    items.append("spoilt")
    return len(items)

def divide(a, b):
    return a / b

def twice(f, x):
    return f(f(x))

def forever(f):
    while True:
        f(1)

def give_back(f):
    return f

def count():
    n = 0
    while True:
        yield n
        n += 1

def leave():
    raise SystemExit(3)

def product(x, y):
    return (x * y).sum(-1)

class Counter:
    kind = "counter"

    def __init__(self, start=0):
        self.value = start

    def up(self, by=1):
        self.value += by
        return self

threshold = 0.8
"""


@pytest.fixture
def answer() -> Answer:
    names: dict = {}
    exec(compile(NOTEBOOK, "notebook", "exec"), names)
    return Answer.of(names)


def test_a_call_gives_the_result_and_is_logged(answer):
    assert answer.add(2, b=3) == 5
    (call,) = answer.call_log
    assert (call.function, call.args, call.kwargs, call.result) == ("add", (2,), {"b": 3}, 5)


def test_a_fresh_copy_goes_in_on_every_call(answer):
    items = ["mine"]
    assert answer.spoil(items) == 2
    assert answer.spoil(items) == 2
    assert items == ["mine"]


def test_an_in_place_call_returns_the_arguments_as_it_left_them(answer):
    after = answer.call_inplace("spoil", ["a"])
    assert (after.result, after.args) == (2, [["a", "spoilt"]])
    assert answer.call_log[-1].result == 2
    assert answer.call_log[-1].after == [[["a", "spoilt"]], {}]


def test_a_batch_logs_every_row_and_stops_at_the_first_that_raises(answer):
    assert answer.map("add", [(1, 2), (3, 4)]) == [3, 7]
    assert [call.result for call in answer.call_log] == [3, 7]
    with pytest.raises(LearnerError, match="ZeroDivisionError"):
        answer.map(answer.divide, [(1, 2), (1, 0), (4, 2)])
    assert [call.result for call in answer.call_log[2:]] == [0.5, None]


def test_variables_and_missing_names(answer):
    assert answer.get("threshold") == 0.8
    with pytest.raises(LearnerError, match="`jaccard` is not defined") as caught:
        answer.jaccard(1)
    assert caught.value.kind == "NotDefinedError"


def test_an_error_brings_its_type_message_and_the_learners_own_lines(answer):
    with pytest.raises(LearnerError) as caught:
        answer.divide(1, 0)
    error = caught.value
    assert (error.kind, error.message) == ("ZeroDivisionError", "division by zero")
    assert [line[0] for line in error.lines] == ["divide"]
    assert error.lines[0][1] == NOTEBOOK.splitlines().index("    return a / b") + 1
    with pytest.raises(LearnerError, match="SystemExit: 3"):
        answer.leave()


def test_objects_stay_on_the_learners_side_and_their_methods_are_called_there(answer):
    counter = answer.Counter(start=5)
    assert counter.up().up(by=2).value == 8
    assert counter.value == 8
    assert answer.get("Counter").kind == "counter"
    assert answer.add(counter.value) == 9
    with pytest.raises(LearnerError, match="AttributeError"):
        counter.missing  # noqa: B018
    names = [call.function for call in answer.call_log]
    assert names[:4] == ["Counter", "Counter.up", "Counter.up", "Counter.value"]
    with pytest.raises(AttributeError, match="can't be set"):
        counter.value = 9


def test_a_function_of_the_checks_own_is_called_back(answer):
    calls = []

    def double(x):
        calls.append(x)
        return 2 * x

    assert answer.twice(double, 3) == 12
    assert calls == [3, 6]
    assert answer.give_back(double) is double


def test_a_callback_that_raises_is_the_learners_to_see(answer):
    def refuse(x):
        raise ValueError("no")

    with pytest.raises(LearnerError, match="RuntimeError: no"):
        answer.twice(refuse, 1)


def test_callbacks_are_counted_and_their_depth_is_limited(answer, monkeypatch):
    monkeypatch.setattr("toolkit.classroom.answer.MAX_CALLBACKS", 50)
    seen = []
    with pytest.raises(LearnerError, match="may be called 50 times"):
        answer.forever(seen.append)
    assert len(seen) == 50
    assert MAX_CALLBACKS > 50

    fresh = Answer.of({"twice": lambda f, x: f(x)})

    def deeper(x):
        return fresh.twice(deeper, x + 1)

    with pytest.raises(LearnerError, match="16 deep"):
        fresh.twice(deeper, 0)


def test_generators_are_drained(answer):
    assert type(answer.count()) is Stream
    answer.max_items = 3
    drawn = answer.count()
    assert (list(drawn), drawn.complete) == ([0, 1, 2], False)


def test_code_that_runs_while_its_result_is_packed_is_the_learners_too():
    def leaving():
        yield 1
        raise SystemExit

    def failing():
        yield 1
        raise ValueError("boom")

    answer = Answer.of({"leaving": leaving, "failing": failing})
    with pytest.raises(LearnerError, match="SystemExit"):
        answer.leaving()
    with pytest.raises(LearnerError, match="ValueError: boom"):
        answer.failing()
    with pytest.raises(LearnerError, match="ValueError: boom"):
        answer.map("failing", [()])


def test_a_batch_packs_each_result_before_the_next_call():
    buffer: list[int] = []

    def append(n):
        buffer.append(n)
        return buffer

    assert Answer.of({"append": append}).map("append", [(1,), (2,)]) == [[1], [1, 2]]


def test_what_cannot_cross_back_is_said_as_such():
    answer = Answer.of({"objects": lambda: np.array([object()])})
    with pytest.raises(CodecError, match="Python objects"):
        answer.objects()


def test_gradients_are_taken_on_the_learners_side(answer):
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    y = torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    cotangent = torch.tensor([1.0, 10.0])
    gx, gy = answer.vjp("product", [x, y], cotangent)
    torch.testing.assert_close(gx, y * cotangent[:, None])
    torch.testing.assert_close(gy, x * cotangent[:, None])


def test_only_values_and_functions_can_be_passed(answer):
    with pytest.raises(CodecError, match="passes values and functions"):
        answer.add(object())
    with pytest.raises(AttributeError):
        answer._private  # noqa: B018


def test_a_functions_source_crosses_and_one_that_was_given_has_none():
    names: dict = {"given": Callback(None, 0, "given")}
    notebooks.define("def add(a, b):\n    return a + b\n", names)
    answer = Answer.of(names)
    assert answer.source("add") == "def add(a, b):\n    return a + b\n"
    assert answer.source("given") is None
    assert answer.call_log == []
    with pytest.raises(LearnerError, match="`other` is not defined"):
        answer.source("other")
    assert answer.call_log[-1].function == "other"


def test_a_source_that_is_no_text_is_refused():
    reply = Answer.of({})._codec.dumps(["ok", [1]])
    with pytest.raises(CodecError, match="a source is text"):
        Answer(lambda _: reply).source("add")
