"""Says whether two values are the same, and if not, where they first differ and how to say so.

Types count: a list is not a tuple, True is not 1, a float32 array is not a float64 array. Two
kinds of number are let through because learners can't see the difference: a NumPy scalar stands
for the Python number of its kind, and an int for a float of the same value.
"""

from __future__ import annotations

import cmath
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.classroom.codec import Record, Stream


def difference(actual: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-12) -> str | None:
    """How ``actual`` first differs from ``expected``, as a clause; ``None`` if they are the same.

    Args:
        actual, expected: values as the codec gives them.
        rtol, atol: floats a and e agree if |a - e| <= atol + rtol * |e|; NaN agrees with NaN.
    """
    actual, expected = _python(actual), _python(expected)
    if type(expected) is float and type(actual) is int:
        actual = float(actual)
    if type(actual) is not type(expected):
        return f"it is {_a(actual)}, expected {_a(expected)}"
    match expected:
        case float() | complex():
            return None if _close(actual, expected, rtol, atol) else ""
        case list() | tuple():
            return _items_difference(actual, expected, rtol, atol)
        case dict():
            return _dict_difference(actual, expected, rtol, atol)
        case set() | frozenset():
            return _set_difference(actual, expected)
        case np.ndarray():
            return _array_difference(actual, expected, rtol, atol)
        case Record():
            if actual._name != expected._name or actual._fields != expected._fields:
                return f"it is a {actual._name}, expected a {expected._name}"
            return _items_difference(list(actual), list(expected), rtol, atol, expected._fields)
    if _is_tensor(expected):
        return _tensor_difference(actual, expected, rtol, atol)
    if not _comparable(expected):
        return None if _kind(actual) == _kind(expected) else "it is something else"
    return None if actual == expected else ""


def short(value: Any, width: int = 60) -> str:
    """A value on one line of about ``width`` characters: sets sorted, floats to four digits."""
    return _clip(_text(value), width)


def both(actual: Any, expected: Any) -> tuple[str, str]:
    """Two different values on one line each, with as many digits as it takes to see it."""
    texts = short(actual), short(expected)
    return texts if texts[0] != texts[1] else (repr(actual), repr(expected))


def _clip(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _text(value: Any, depth: int = 0) -> str:
    if depth > 3:
        return "…"
    match _python(value):
        case int() as whole if whole.bit_length() > 256:
            return f"an integer of {whole.bit_length():,} bits"
        case bool() | None | int() | str() | bytes() as plain:
            return repr(plain if not isinstance(plain, str | bytes) else plain[:80])
        case float() as number:
            return f"{number:.4g}"
        case list() as items:
            return "[" + _join(items, depth) + "]"
        case tuple() as items:
            return "(" + _join(items, depth) + ("," if len(items) == 1 else "") + ")"
        case set() | frozenset() as items:
            texts = [_text(item, depth + 1) for item in _in_order(items)]
            return "{" + _cut(texts[:9], len(texts)) + "}" if texts else "set()"
        case dict() as rows:
            texts = [
                f"{_text(k, depth + 1)}: {_text(v, depth + 1)}" for k, v in [*rows.items()][:9]
            ]
            return "{" + _cut(texts, len(rows)) + "}"
        case np.ndarray() as array:
            head = _text(array.tolist()) if array.size <= 12 else ""
            return f"array {array.dtype} {array.shape}{' ' if head else ''}{head}"
        case other if _is_tensor(other):
            return f"tensor {str(other.dtype).removeprefix('torch.')} {tuple(other.shape)}"
        case other:
            return repr(other)


def _in_order(items: Collection[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=repr)


def _join(items: Sequence[Any], depth: int) -> str:
    return _cut([_text(item, depth + 1) for item in items[:9]], len(items))


def _cut(texts: list[str], total: int) -> str:
    return ", ".join(texts) + (f", … {total - len(texts):,} more" if total > len(texts) else "")


def _python(value: Any) -> Any:
    numbers = np.bool_ | np.integer | np.floating | np.complexfloating
    return value.item() if isinstance(value, numbers) else value


def _close(actual: complex, expected: complex, rtol: float, atol: float) -> bool:
    if not cmath.isfinite(expected):
        return actual == expected or (cmath.isnan(actual) and cmath.isnan(expected))
    return abs(actual - expected) <= atol + rtol * abs(expected)


def _items_difference(
    actual: Sequence[Any],
    expected: Sequence[Any],
    rtol: float,
    atol: float,
    names: Sequence[str] | None = None,
) -> str | None:
    if len(actual) != len(expected):
        return f"it has {_count(len(actual), 'item')}, expected {len(expected):,}"
    for index, (a, e) in enumerate(zip(actual, expected, strict=True)):
        found = difference(a, e, rtol, atol)
        if found is not None:
            where = f"field {names[index]}" if names else f"item {index}"
            return _at(where, a, e, found)
    return None


def _dict_difference(
    actual: Mapping[Any, Any], expected: Mapping[Any, Any], rtol: float, atol: float
) -> str | None:
    for key in _only_in(expected, actual):
        return f"the key {short(key)} is missing"
    for key in _only_in(actual, expected):
        return f"the key {short(key)} should not be there"
    for key, value in expected.items():
        found = difference(actual[key], value, rtol, atol)
        if found is not None:
            return _at(f"at key {short(key)}", actual[key], value, found)
    return None


def _set_difference(actual: Any, expected: Any) -> str | None:
    for item in _only_in(expected, actual):
        return f"{short(item)} is missing"
    for item in _only_in(actual, expected):
        return f"{short(item)} should not be in it"
    return None


def _only_in(one: Collection[Any], other: Collection[Any]) -> list[Any]:
    """Members of one that the other lacks, in order; 1 and True are not the same member."""
    there = {(type(_python(item)), item) for item in other}
    return _in_order([item for item in one if (type(_python(item)), item) not in there])


def _array_difference(actual: Any, expected: Any, rtol: float, atol: float) -> str | None:
    if actual.shape != expected.shape:
        return f"its shape is {actual.shape}, expected {expected.shape}"
    if actual.dtype.newbyteorder("=") != expected.dtype.newbyteorder("="):
        return f"its dtype is {actual.dtype}, expected {expected.dtype}"
    if expected.dtype.names:
        parts = {name: (actual[name], expected[name]) for name in expected.dtype.names}
        found = {name: _array_difference(*part, rtol, atol) for name, part in parts.items()}
        return next((f"field {name}: {how}" for name, how in found.items() if how), None)
    if expected.dtype.kind in "fc":
        wrong = ~np.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True)
    else:
        wrong = np.asarray(actual != expected)
    if not wrong.any():
        return None
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = ", ".join(map(str, where))
    a, e = both(actual[where].item(), expected[where].item())
    total = f"{int(wrong.sum()):,} of {wrong.size:,} entries differ, the first at "
    return f"{total}[{place}]: {a}, expected {e}"


def _tensor_difference(actual: Any, expected: Any, rtol: float, atol: float) -> str | None:
    if actual.dtype != expected.dtype:
        return f"its dtype is {actual.dtype}, expected {expected.dtype}"
    exact = actual.double() if str(actual.dtype) == "torch.bfloat16" else actual
    wanted = expected.double() if str(actual.dtype) == "torch.bfloat16" else expected
    return _array_difference(exact.numpy(), wanted.numpy(), rtol, atol)


def _at(where: str, actual: Any, expected: Any, found: str) -> str:
    return f"{where}: {found or '{}, expected {}'.format(*both(actual, expected))}"


def _is_tensor(value: Any) -> bool:
    return type(value).__module__.startswith("torch") and hasattr(value, "detach")


def _comparable(value: Any) -> bool:
    plain = (type(None), bool, int, str, bytes, bytearray, complex, range, type(...), np.generic)
    return isinstance(value, plain)


def _kind(value: Any) -> str:
    return str(getattr(value, "_kind", type(value).__name__))


def _a(value: Any) -> str:
    if value is None:
        return "None"
    if value is ...:
        return "still `...`"
    if type(value) is Stream:
        return "a generator"
    name = {"ndarray": "array"}.get(type(value).__name__, type(value).__name__)
    if name == "Handle":
        name = f"{value._kind} ({value._name})"
    if name == "Record":
        name = value._name
    return f"an {name}" if name[0].lower() in "aeio" else f"a {name}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
