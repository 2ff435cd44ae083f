"""The codec: the one form in which values cross between a check and a learner's code.

What passes in the notebook must pass in the sandbox, so both use it: in the notebook a value is
packed and unpacked in one process, in the sandbox the bytes go through a pipe. Nothing is pickled,
and no class is imported because the bytes name it.

The bytes are msgpack. ``None``, bool, float, str, bytes, list and integers of 64 bits are
msgpack's own; every msgpack map is a **tagged value** with one key, its tag:

==============  =======================================================================
tag             payload
==============  =======================================================================
int             hexadecimal digits, for integers beyond 64 bits
complex         [real, imaginary]
tuple           the items
set, frozenset  the items, in an order that depends on nothing but them
dict            [key, value] rows, in insertion order
bytearray       the bytes
range           [start, stop, step]
ellipsis        nothing: a ``...`` nobody has filled in
scalar          [dtype, bytes] of a NumPy scalar; ``str_`` and ``bytes_`` cross as str and bytes
array           [dtype, shape, bytes in C order]
tensor          [dtype's name, shape, bytes in C order] of a dense torch tensor
record          [class name, [field, value] rows] of a dataclass or named tuple
stream          [items, complete]: a generator or iterator, drained to a stated length
handle          [id, kind, class name]: an object, class or function that stays where it is
own             id: a handle on its way home
==============  =======================================================================

Only exact types count as values. An int whose class has its own ``__eq__`` is not an int here: it
crosses as a handle, and no check takes it for a number. ``Counter``, ``defaultdict``,
``OrderedDict`` and ``deque`` from the standard library cross as dict and list.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from types import NoneType
from typing import Any

import msgpack
import numpy as np

MAX_BYTES = 64 * 2**20
"""The largest message either side accepts."""
MAX_DEPTH = 100
"""The deepest nesting of lists, dicts and the like; a list that holds itself ends here too."""
MAX_ITEMS = 10_000
"""How many items of a generator are drawn unless the check sets ``answer.max_items``."""

_ATOMS = {NoneType, bool, float, str, bytes}
_DICTS = {dict, Counter, OrderedDict, defaultdict}
_DRAINED: Any = (Iterator, type({}.keys()), type({}.values()), type({}.items()))


class CodecError(Exception):
    """A value or message that can't cross, and why, in one sentence."""


class Stream(list[Any]):
    """What a generator gave: its items, and whether it had ended when drawing stopped."""

    complete: bool

    def __init__(self, items: list[Any], complete: bool) -> None:
        super().__init__(items)
        self.complete = complete


class Record:
    """A dataclass or named tuple of the other side: its class's name and its fields."""

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields)
        self._name = name
        self._fields = tuple(fields)

    def __repr__(self) -> str:
        fields = ", ".join(f"{field}={getattr(self, field)!r}" for field in self._fields)
        return f"{self._name}({fields})"

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, field) for field in self._fields)

    def __eq__(self, other: object) -> bool:
        return type(other) is Record and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return (self._name, self._fields, *self)


class Codec:
    """Packs and unpacks values for one end of the line.

    Args:
        export: gives an object that stays here the payload of its handle: id, kind, class name.
        adopt: makes the stand-in for a handle of the other side.
        home: the object behind one of our own handles that came back.
        own_id: the id, if the object is a stand-in for something of the other side, else None.
        records: classes that records of the other side are rebuilt with, by name; a record of
            another name becomes a ``Record``.
    """

    def __init__(
        self,
        export: Callable[[object], tuple[int, str, str]],
        adopt: Callable[[int, str, str], object],
        home: Callable[[int], object],
        own_id: Callable[[object], int | None],
        records: Mapping[str, Any] | None = None,
        max_items: int = MAX_ITEMS,
    ) -> None:
        self._export, self._adopt, self._home, self._own_id = export, adopt, home, own_id
        self._records = {} if records is None else records
        self.max_items = max_items

    def dumps(self, value: object) -> bytes:
        """Pack a value.

        Raises:
            CodecError: it is nested too deeply, holds itself, or is larger than ``MAX_BYTES``.
        """
        tree = self._tag(value, 0)
        try:
            data = bytes(msgpack.packb(tree, unicode_errors="surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise CodecError(f"the value can't be packed: {error}") from None
        if len(data) > MAX_BYTES:
            raise CodecError(f"the value takes {len(data):,} bytes; {MAX_BYTES:,} can cross")
        return data

    def loads(self, data: bytes) -> Any:
        """Unpack what ``dumps`` of the other end packed.

        Raises:
            CodecError: the bytes are too many, or not of this form.
        """
        if len(data) > MAX_BYTES:
            raise CodecError(f"the message has {len(data):,} bytes; {MAX_BYTES:,} can cross")
        try:
            tree = msgpack.unpackb(data, strict_map_key=False, unicode_errors="surrogatepass")
            return self._untag(tree)
        except CodecError:
            raise
        except Exception as error:
            raise CodecError(f"the message is malformed: {type(error).__name__}: {error}") from None

    # -- packing ---------------------------------------------------------------------------

    def _tag(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**64 else {"int": _digits(value)}
        if depth > MAX_DEPTH:
            raise CodecError(f"the value is nested more than {MAX_DEPTH} deep, or holds itself")
        if kind is list or kind is deque:
            return self._tag_items(value, depth)
        if kind is tuple:
            return {"tuple": self._tag_items(value, depth)}
        if kind in _DICTS:
            rows = dict.items(value)
            return {"dict": [[self._tag(k, depth + 2), self._tag(v, depth + 2)] for k, v in rows]}
        if kind is set or kind is frozenset:
            items = [self._tag(item, depth + 1) for item in value]
            try:
                items.sort()
            except TypeError:
                items.sort(key=lambda item: msgpack.packb(item, unicode_errors="surrogatepass"))
            return {kind.__name__: items}
        return self._tag_rare(value, kind, depth)

    def _tag_items(self, items: Any, depth: int) -> list[Any]:
        if set(map(type, items)) <= _ATOMS:
            return list(items)
        return [self._tag(item, depth + 1) for item in items]

    def _tag_rare(self, value: Any, kind: type, depth: int) -> Any:
        if kind is type(...):
            return {"ellipsis": None}
        if kind is complex:
            return {"complex": [value.real, value.imag]}
        if kind is bytearray:
            return {"bytearray": bytes(value)}
        if kind is range:
            return {"range": [self._tag(n, depth) for n in (value.start, value.stop, value.step)]}
        if kind is np.ndarray:
            return {"array": _pack_array(value)}
        if kind in (np.str_, np.bytes_):
            return value.item()
        if kind.__module__ == "numpy" and isinstance(value, np.generic):
            return {"scalar": [_dtype_name(value.dtype), value.tobytes()]}
        torch = sys.modules.get("torch")
        if torch and kind in (torch.Tensor, torch.nn.Parameter):
            return {"tensor": _pack_tensor(torch, value)}
        own = self._own_id(value)
        if own is not None:
            return {"own": own}
        fields = _fields(value, kind)
        if fields is not None:
            rows = [[name, self._tag(getattr(value, name), depth + 2)] for name in fields]
            name = value._name if kind is Record else kind.__name__  # one that is sent on
            return {"record": [name, rows]}
        if isinstance(value, _DRAINED):
            items: list[Any] = list(itertools.islice(value, self.max_items + 1))
            kept = self._tag_items(items[: self.max_items], depth + 1)
            return {"stream": [kept, len(items) <= self.max_items]}
        return {"handle": list(self._export(value))}

    # -- unpacking -------------------------------------------------------------------------

    def _untag(self, tree: Any) -> Any:
        if type(tree) is list:
            return self._untag_items(tree)
        if type(tree) is not dict:
            return tree
        ((tag, payload),) = tree.items()
        unpack = getattr(self, f"_untag_{tag}", None) if tag in _TAGS else None
        if unpack is None:
            raise CodecError(f"the message is malformed: no value is tagged {tag!r}")
        return unpack(payload)

    def _untag_items(self, items: list[Any]) -> list[Any]:
        kinds = set(map(type, items))
        if dict in kinds or list in kinds:
            return [self._untag(item) for item in items]
        return items

    def _untag_int(self, payload: str) -> int:
        if not re.fullmatch(r"-?[0-9a-f]{1,1000000}", payload):
            raise CodecError("the message is malformed: an integer is not written in digits")
        return int(payload, 16)

    def _untag_complex(self, payload: list[float]) -> complex:
        return complex(*payload)

    def _untag_tuple(self, payload: list[Any]) -> tuple[Any, ...]:
        return tuple(self._untag_items(payload))

    def _untag_set(self, payload: list[Any]) -> set[Any]:
        return set(self._untag_items(payload))

    def _untag_frozenset(self, payload: list[Any]) -> frozenset[Any]:
        return frozenset(self._untag_items(payload))

    def _untag_dict(self, payload: list[list[Any]]) -> dict[Any, Any]:
        return {self._untag(key): self._untag(value) for key, value in payload}

    def _untag_bytearray(self, payload: bytes) -> bytearray:
        return bytearray(payload)

    def _untag_range(self, payload: list[Any]) -> range:
        return range(*self._untag_items(payload))

    def _untag_ellipsis(self, payload: None) -> Any:
        return ...

    def _untag_scalar(self, payload: list[Any]) -> np.generic:
        dtype, data = payload
        scalar: np.generic = np.frombuffer(data, _dtype(dtype), count=1)[0]
        return scalar

    def _untag_array(self, payload: list[Any]) -> np.ndarray[Any, Any]:
        return _unpack_array(payload)

    def _untag_tensor(self, payload: list[Any]) -> Any:
        import torch

        name, shape, data = payload
        dtype = getattr(torch, name)
        if not isinstance(dtype, torch.dtype):
            raise CodecError(f"the message is malformed: torch has no dtype {name!r}")
        flat = (
            torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
        )
        return flat.reshape(shape)

    def _untag_record(self, payload: list[Any]) -> Any:
        name, rows = payload
        if type(name) is not str or any(type(field) is not str for field, _ in rows):
            raise CodecError("the message is malformed: a record and its fields have names")
        fields = {field: self._untag(value) for field, value in rows}
        known = self._records.get(name)
        if isinstance(known, type) and _class_fields(known) == tuple(fields):
            return known(**fields)
        return Record(name, fields)

    def _untag_stream(self, payload: list[Any]) -> Stream:
        items, complete = payload
        return Stream(self._untag_items(items), complete is True)

    def _untag_handle(self, payload: list[Any]) -> Any:
        handle, kind, class_name = payload
        if not (type(handle) is int and type(kind) is str and type(class_name) is str):
            raise CodecError("the message is malformed: a handle is [id, kind, class name]")
        return self._adopt(handle, kind, class_name)

    def _untag_own(self, payload: int) -> Any:
        return self._home(payload)


_TAGS = {name.removeprefix("_untag_") for name in vars(Codec) if name.startswith("_untag_")}
_TAGS.discard("items")


def _digits(value: int) -> str:
    return f"{value:x}"


def _class_fields(kind: type) -> tuple[str, ...] | None:
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    if issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
        return tuple(kind._fields)  # type: ignore[attr-defined]
    return None


def _fields(value: Any, kind: type) -> tuple[str, ...] | None:
    return value._fields if kind is Record else _class_fields(kind)


def _dtype_name(dtype: np.dtype[Any]) -> Any:
    if dtype.hasobject:
        raise CodecError("an array of Python objects can't cross: give it a numeric dtype")
    return dtype.str if dtype.names is None else dtype.descr


def _dtype(name: Any) -> np.dtype[Any]:
    dtype = np.dtype(name if isinstance(name, str) else [_field(*row) for row in name])
    if dtype.hasobject:
        raise CodecError("the message is malformed: an array of Python objects can't cross")
    return dtype


def _field(name: str, dtype: str, shape: list[int] | None = None) -> tuple[Any, ...]:
    return (name, dtype) if shape is None else (name, dtype, tuple(shape))


def _pack_array(array: np.ndarray[Any, Any]) -> list[Any]:
    return [_dtype_name(array.dtype), list(array.shape), array.tobytes()]


def _unpack_array(payload: list[Any]) -> np.ndarray[Any, Any]:
    dtype, shape, data = payload
    if any(type(length) is not int or length < 0 for length in shape):
        raise CodecError(f"the message is malformed: {shape} is no shape")
    return np.frombuffer(bytearray(data), _dtype(dtype)).reshape(shape)


def _pack_tensor(torch: Any, tensor: Any) -> list[Any]:
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        data = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    except RuntimeError as error:  # how torch refuses sparse, meta and nested tensors
        first = str(error).splitlines()[0]
        raise CodecError(f"only dense tensors with values can cross: {first}") from None
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), data]
