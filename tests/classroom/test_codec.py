"""The codec: what goes in comes out, by type and to the bit, and nothing else gets through."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.classroom.codec import MAX_DEPTH, Codec, CodecError, Record, Stream


def codec(**options) -> Codec:
    objects: list[object] = []

    def export(value):
        objects.append(value)
        return len(objects) - 1, "object", type(value).__name__

    return Codec(
        export=export,
        adopt=lambda handle, kind, name: ("adopted", handle, kind, name),
        home=lambda handle: objects[handle],
        own_id=lambda value: None,
        **options,
    )


def cross(value, **options):
    ends = codec(**options)
    return ends.loads(ends.dumps(value))


def identical(one, other) -> bool:
    """Equal in value and type all the way down, an oracle that shares nothing with the codec."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, dict):
        return identical(list(one.items()), list(other.items()))
    if isinstance(one, set | frozenset):
        return sorted(map(written, one)) == sorted(map(written, other))
    return one == other


def written(value) -> str:
    """A hashable value as text, with the members of sets in one order."""
    if isinstance(value, tuple | frozenset):
        return f"{type(value).__name__}({', '.join(sorted(map(written, value)))})"
    return repr(value)


atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
hashable = st.recursive(
    st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4),
    max_leaves=6,
)
values = st.recursive(
    atoms | st.sets(hashable, max_size=5) | st.frozensets(hashable, max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(hashable, inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_values_round_trip_with_their_types(value):
    assert identical(cross(value), value)


@pytest.mark.parametrize(
    "value",
    [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**5000, -0.0, "\ud800", range(3, -7, -2)],
    ids=[
        "int64+1",
        "uint64",
        "uint64+1",
        "-int64",
        "-int64-1",
        "huge",
        "-0.0",
        "surrogate",
        "range",
    ],
)
def test_edges_round_trip(value):
    assert identical(cross(value), value)
    assert math.copysign(1, cross(-0.0)) == -1


def test_ellipsis_and_bytearray_keep_their_types():
    assert cross(...) is ...
    assert identical(cross(bytearray(b"ab")), bytearray(b"ab"))


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "<u4", ">i8", "f2", "f4", "f8", "c16", "U3", "S2", "M8[s]"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_arrays_round_trip_to_the_bit(dtype, shape):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    back = cross(array)
    assert type(back) is np.ndarray
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, shape, array.tobytes())
    assert back.flags.writeable


def test_structured_and_non_contiguous_arrays_round_trip():
    rows = np.array([(1, 2.5, [1, 2])], [("i", "i8"), ("x", "f8"), ("v", "i2", (2,))])
    assert cross(rows).dtype == rows.dtype
    assert cross(rows).tobytes() == rows.tobytes()
    view = np.arange(12).reshape(3, 4)[::2, ::-1].T
    np.testing.assert_array_equal(cross(view), view)


def test_tensors_without_plain_values_are_refused():
    for tensor in (torch.empty(2, device="meta"), torch.eye(2).to_sparse()):
        with pytest.raises(CodecError, match="only dense tensors"):
            cross(tensor)
    assert torch.equal(cross(torch.tensor([1j]).conj()), torch.tensor([-1j]))
    with pytest.raises(CodecError, match="no dtype 'nn'"):
        codec().loads(msgpack.packb({"tensor": ["nn", [0], b""]}))


def test_numpy_strings_cross_as_str_and_bytes():
    assert identical(cross([np.str_(""), np.bytes_(b"a")]), ["", b"a"])


def test_numpy_scalars_keep_their_dtype():
    for scalar in (np.float32(0.1), np.int8(-3), np.bool_(True), np.float64("nan")):
        assert type(cross(scalar)) is type(scalar)
        assert cross(scalar).tobytes() == scalar.tobytes()


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        torch.bfloat16,
        torch.float16,
        torch.int64,
        torch.bool,
        torch.complex64,
        torch.float8_e4m3fn,
    ],
)
def test_tensors_come_back_as_tensors(dtype):
    tensor = torch.arange(6).reshape(2, 3).to(dtype).T
    back = cross(tensor)
    assert back.dtype is dtype
    assert torch.equal(back.contiguous().view(torch.uint8), tensor.contiguous().view(torch.uint8))
    assert cross(tensor[0, 0]).shape == ()
    assert cross(tensor[:0]).shape == (0, 2)
    assert torch.equal(cross(torch.nn.Parameter(torch.ones(2))), torch.ones(2))


def test_standard_containers_cross_as_dict_and_list():
    assert identical(cross(Counter("aab")), {"a": 2, "b": 1})
    assert identical(cross(OrderedDict(b=1, a=2)), {"b": 1, "a": 2})
    assert identical(cross(defaultdict(list, {0: [1]})), {0: [1]})
    assert identical(cross(deque([1, 2])), [1, 2])


Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True, slots=True)
class Bands:
    b: int
    r: int


def test_records_cross_by_name_and_are_rebuilt_only_with_a_known_class():
    record = cross(Bands(9, 13))
    assert type(record) is Record
    assert (record._name, record.b, record.r) == ("Bands", 9, 13)
    assert cross(Bands(9, 13), records={"Bands": Bands}) == Bands(9, 13)
    assert cross(record) == record  # sent on, it keeps its name
    assert cross(record, records={"Bands": Bands}) == Bands(9, 13)
    assert type(cross(Bands(9, 13), records={"Bands": Pair})) is Record
    assert tuple(cross(Pair(1, "x"))) == (1, "x")
    assert cross({Pair(1, "x")}) == {cross(Pair(1, "x"))}
    assert cross(Pair(1, "x")) != cross(Pair(2, "x"))


def test_generators_are_drained_to_a_stated_length():
    endless = iter(int, 1)
    drawn = cross(endless, max_items=3)
    assert type(drawn) is Stream
    assert (list(drawn), drawn.complete) == ([0, 0, 0], False)
    assert cross((n for n in range(3)), max_items=3).complete is True
    assert list(cross({"a": 1}.keys())) == ["a"]


class EqualToEverything(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    "value",
    [EqualToEverything(3), type("L", (list,), {})([1]), type("S", (str,), {})("a"), object(), len],
    ids=["int", "list", "str", "object", "function"],
)
def test_subclasses_and_objects_cross_only_as_handles(value):
    assert cross(value)[:2] == ("adopted", 0)


def test_array_subclasses_cross_only_as_handles():
    class Lying(np.ndarray):
        def __eq__(self, other):
            return True

    assert cross(np.zeros(3).view(Lying))[:2] == ("adopted", 0)


def test_what_cannot_cross_is_refused_in_a_sentence():
    endless: list = []
    endless.append(endless)
    with pytest.raises(CodecError, match="holds itself"):
        cross(endless)
    with pytest.raises(CodecError, match="Python objects"):
        cross(np.array([object()]))
    nested: list = []
    for _ in range(MAX_DEPTH - 1):
        nested = [nested]
    assert cross(nested) == nested
    deep: dict = {}
    for _ in range(MAX_DEPTH // 2 - 1):
        deep = {"k": deep}
    assert cross(deep) == deep


@pytest.mark.parametrize(
    "tree",
    [
        {"no such tag": 1},
        {"items": [1]},
        {"tuple": [1], "set": [2]},
        {},
        {"array": ["|O", [1], b"12345678"]},
        {"array": ["<f8", [1000], b"short"]},
        {"array": ["<f8", [-1], b"12345678"]},
        {"int": "12_3"},
        {"int": "0x10"},
        {"dict": [[{"dict": []}, 1]]},
        {"handle": ["a", 1, 2]},
        {"scalar": ["<f8", b""]},
        {"range": [0, 1, 0]},
    ],
    ids=str,
)
def test_malformed_messages_are_refused(tree):
    with pytest.raises(CodecError, match="malformed"):
        codec().loads(msgpack.packb(tree))


def test_bytes_that_are_no_message_are_refused():
    for data in (b"", b"\xc1", b"\x92\x01", msgpack.packb(1) + b"\x00"):
        with pytest.raises(CodecError, match="malformed"):
            codec().loads(data)


def test_oversized_values_are_refused_both_ways(monkeypatch):
    monkeypatch.setattr("toolkit.classroom.codec.MAX_BYTES", 1000)
    with pytest.raises(CodecError, match="1,000 can cross"):
        codec().dumps(b"x" * 1001)
    with pytest.raises(CodecError, match="1,000 can cross"):
        codec().loads(b"x" * 1001)


def test_a_set_packs_the_same_in_every_order():
    for members in ([f"w{i}" for i in range(50)], [1, "a", (2, "b"), None, frozenset({3})]):
        forward, backward = set(), set()
        for one, other in zip(members, reversed(members), strict=True):
            forward.add(one)
            backward.add(other)
        assert codec().dumps(forward) == codec().dumps(backward)
