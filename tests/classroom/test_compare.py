"""What counts as the same value, and how a difference is said."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch

from toolkit.classroom.codec import Record, Stream
from toolkit.classroom.compare import difference, short


def named(value):
    """Its repr, with a set's members in order, so that all of pytest's workers agree."""
    if isinstance(value, set):
        return "{" + ", ".join(sorted(map(repr, value))) + "}"
    return repr(value)


SAME = [
    (1, 1),
    (1, np.int64(1)),
    (0.1 + 0.2, 0.3),
    (1, 1.0),
    (np.float64(0.5), 0.5),
    (float("nan"), float("nan")),
    (float("inf"), float("inf")),
    ([1, (2.0, "a")], [1, (2.0, "a")]),
    ({"a": {1, 2}}, {"a": {2, 1}}),
    (np.array([1.0, np.nan]), np.array([1.0 + 1e-12, np.nan])),
    (np.zeros((2, 0)), np.zeros((2, 0))),
    (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
    (Record("Bands", {"b": 9}), Record("Bands", {"b": 9})),
    (None, None),
    (np.complex128(1 + 1e-12j), 1 + 0j),
    (np.array([1], ">u4"), np.array([1], "<u4")),
    (np.array([(1, np.nan)], "i8,f8"), np.array([(1, np.nan)], "i8,f8")),
    ({1, np.int64(2)}, {1, 2}),
]

DIFFERENT = [
    (True, 1, "it is a bool, expected an int"),
    (1, True, "it is an int, expected a bool"),
    (1.0, 1, "it is a float, expected an int"),
    (0.5, 1 / 3, ""),
    (2, 1.0, ""),
    (float("nan"), 0.0, ""),
    (0.0, float("nan"), ""),
    (float("inf"), float("-inf"), ""),
    (None, {1}, "it is None, expected a set"),
    (..., 0.5, "it is still `...`, expected a float"),
    ([1, 2], (1, 2), "it is a list, expected a tuple"),
    (Stream([1], True), [1], "it is a generator, expected a list"),
    ([1], [1, 2], "it has 1 item, expected 2"),
    ([1, [2, 3]], [1, [2, 4]], "item 1: item 1: 3, expected 4"),
    ({"a", "b"}, {"a", "c"}, "'c' is missing"),
    ({"a", "b"}, {"a"}, "'b' should not be in it"),
    ({True}, {1}, "1 is missing"),
    ({1.0: 2}, {1: 2}, "the key 1 is missing"),
    ([0.33333], [1 / 3], "item 0: 0.33333, expected 0.3333333333333333"),
    (
        np.array([(1, 2)], "i8,f8"),
        np.array([(1, 3)], "i8,f8"),
        "field f1: 1 of 1 entries differ, the first at [0]: 2, expected 3",
    ),
    ({"a": 1}, {"a": 1, "b": 2}, "the key 'b' is missing"),
    ({"a": 1, "b": 2}, {"a": 1}, "the key 'b' should not be there"),
    ({"a": 1}, {"a": 2}, "at key 'a': 1, expected 2"),
    (np.zeros(2), np.zeros((2, 1)), "its shape is (2,), expected (2, 1)"),
    (np.zeros(2, "f4"), np.zeros(2), "its dtype is float32, expected float64"),
    (
        np.array([[1, 2], [3, 5]]),
        np.array([[1, 2], [4, 4]]),
        "2 of 4 entries differ, the first at [1, 0]: 3, expected 4",
    ),
    ([1, 2], np.array([1, 2]), "it is a list, expected an array"),
    (torch.ones(2), torch.zeros(2), "2 of 2 entries differ, the first at [0]: 1, expected 0"),
    (Record("B", {"b": 1}), Record("B", {"b": 2}), "field b: 1, expected 2"),
    (Record("A", {"b": 1}), Record("B", {"b": 1}), "it is a A, expected a B"),
]


@pytest.mark.parametrize(("actual", "expected"), SAME, ids=named)
def test_the_same(actual, expected):
    assert difference(actual, expected) is None


@pytest.mark.parametrize(("actual", "expected", "how"), DIFFERENT, ids=named)
def test_different(actual, expected, how):
    assert difference(actual, expected) == how


def test_a_number_too_long_to_write_is_counted():
    assert short(10**5000) == "an integer of 16,610 bits"


def test_tolerance_is_the_callers():
    assert difference(1.001, 1.0, rtol=1e-2) is None
    assert difference(1.001, 1.0, rtol=1e-4) == ""
    assert difference(np.float64([1e-9]), np.float64([0.0]), atol=1e-8) is None


def test_values_are_written_on_one_short_line():
    pair = namedtuple("pair", "a b")
    assert short({"b", "a"}) == "{'a', 'b'}"
    assert short({10, 9, 11}) == "{9, 10, 11}"
    assert short({"a", 1, None}) == "{'a', 1, None}"
    assert short(1 / 3) == "0.3333"
    assert short([1, (2,), {"k": None}]) == "[1, (2,), {'k': None}]"
    assert short(set(range(100))).endswith("91 more}")
    assert len(short(list(range(10**6)))) <= 60
    assert len(short("x" * 1000)) <= 60
    assert short(np.zeros((100, 2), "f4")) == "array float32 (100, 2)"
    assert short(np.arange(3)) == "array int64 (3,) [0, 1, 2]"
    assert short(torch.zeros(3)) == "tensor float32 (3,)"
    assert short(np.float32(0.5)) == "0.5"
    assert short(pair(1, 2)) == "(1, 2)"
    assert short({"a": [[[[[1]]]]]}) == "{'a': [[[…]]]}"
