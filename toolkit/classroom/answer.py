"""The check's end of the line: ``answer``, the only door to a learner's code.

``answer.jaccard(a, b)`` sends a fresh copy of the arguments through the codec, runs the learner's
``jaccard`` and brings the result back the same way. Every call is logged, so that a failure can
say what was called with what. In the notebook ``Answer.of(namespace)`` has the learner's end in
the same process; a grader gives ``Answer`` a ``send`` that goes to a sandbox instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from toolkit.classroom.codec import MAX_ITEMS, Codec, CodecError
from toolkit.classroom.learner import Learner

MAX_CALLBACKS = 100_000
"""How often one check's own functions may be called back."""
MAX_CALLBACK_DEPTH = 16
"""How deeply calls and callbacks may nest."""


class LearnerError(Exception):
    """What the learner's code raised: its type, its message, and the lines of theirs."""

    def __init__(self, kind: str, message: str, lines: Sequence[Sequence[Any]] = ()) -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind, self.message, self.lines = kind, message, lines


@dataclass(slots=True)
class Call:
    """One entry of the call log: what was called with what, and what came of it.

    ``args`` is ``None`` where an attribute or variable was read; ``after`` holds the arguments as
    an in-place call left them; ``tolerance`` is how far two results may lie apart, relatively and
    absolutely, and still be the same.
    """

    function: str
    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    after: Any = None
    error: LearnerError | None = None
    tolerance: tuple[float, float] = (1e-9, 1e-12)


class InPlace(NamedTuple):
    """A call's result, and its arguments as the call left them."""

    result: Any
    args: list[Any]
    kwargs: dict[str, Any]


class Remote:
    """A function of the learner's, by name; calling it calls theirs."""

    def __init__(self, answer: Answer, target: str) -> None:
        self._answer, self._target = answer, target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer._call(self._target, self._target, args, kwargs)


class Handle:
    """An object, class or function that stays on the learner's side.

    Attributes and methods are reached as on the object itself: each is one request.
    """

    def __init__(self, answer: Answer, handle: int, kind: str, name: str) -> None:
        self._answer, self._handle, self._kind, self._name = answer, handle, kind, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer._call(self._handle, self._name, args, kwargs)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        name = f"{self._name}.{attribute}"
        value = self._answer._logged(name, None, {}, ["get", self._handle, attribute]).result
        if type(value) is Handle:
            value._name = name
            self._answer.call_log.pop()  # a method on its way to be called
        return value

    def __setattr__(self, attribute: str, value: Any) -> None:
        if not attribute.startswith("_"):
            raise AttributeError(f"{self._name}.{attribute} is the learner's: it can't be set")
        super().__setattr__(attribute, value)

    def __repr__(self) -> str:
        return f"<{self._kind} {self._name} of the notebook>"


def _is_line(line: Any) -> bool:
    """Whether it is [function, line number, text], and no longer than a learner's end sends."""
    match line:
        case [str(function), int(number), str(text)]:
            return len(function) <= 200 and len(text) <= 200 and 0 <= number < 2**31
    return False


def _nothing_given(question: str) -> Any:
    raise CodecError(f"nothing is given for {question}")


class Answer:
    """What a check sees of a notebook.

    Args:
        send: carries a packed request to the learner's end and returns the packed reply.
        given: what a notebook in a sandbox gets when it asks for a question's given answer.
        passed: the functions that crossed before, which the notebook may still hold.

    Attributes:
        max_items: how many items of a generator are drawn; a check may set it.
        call_log: every call so far.
        trouble: the first failed ``expect``, or the first limit that was broken in a function of
            the check's own: kept here, where the learner's code can't swallow it.
    """

    def __init__(
        self,
        send: Callable[[bytes], bytes],
        given: Callable[[str], Any] = _nothing_given,
        passed: list[Callable[..., Any]] | None = None,
    ) -> None:
        self._send, self._given = send, given
        self.max_items = MAX_ITEMS
        self.trouble: Any = None
        self._functions = [] if passed is None else passed
        self._callbacks = self._depth = 0
        self.call_log: list[Call] = []
        self._codec = Codec(
            export=self._export,
            adopt=lambda handle, kind, name: Handle(self, handle, kind, name),
            home=self._function,
            own_id=self._own_id,
        )

    def _own_id(self, value: object) -> int | None:
        return value._handle if type(value) is Handle and value._answer is self else None

    @classmethod
    def of(cls, namespace: Mapping[str, Any]) -> Answer:
        """An answer whose learner's end is ``namespace``, in this process."""
        answer = cls(lambda request: learner.serve(request))
        learner = Learner(namespace, answer.serve_callback)
        return answer

    def __getattr__(self, name: str) -> Remote:
        if name.startswith("_"):
            raise AttributeError(name)
        return Remote(self, name)

    def get(self, name: str) -> Any:
        """The value of one of the learner's variables; a class or function comes as a handle."""
        return self._logged(name, None, {}, ["get", name, None]).result

    def source(self, name: str) -> str | None:
        """The text of one of the learner's functions; ``None`` of one that was given."""
        found = self._logged(name, None, {}, ["source", name]).result
        if not isinstance(found, str | None):
            raise CodecError("the message is malformed: a source is text")
        self.call_log.pop()  # two texts may do the same
        return found

    def call_inplace(self, function: Remote | Handle | str, *args: Any, **kwargs: Any) -> InPlace:
        """Call a function that may change its arguments, and see them afterwards."""
        target, name = self._where(function)
        call = self._logged(name, args, kwargs, ["inplace", target, list(args), kwargs])
        found = InPlace(*call.result)
        call.result, call.after = found.result, [found.args, found.kwargs]
        return found

    def map(self, function: Remote | Handle | str, rows: Iterable[Sequence[Any]]) -> list[Any]:
        """Call a function once for each row of arguments, in one round trip.

        Raises:
            LearnerError: from the first call that raised; the calls before it are in the log.
        """
        target, name = self._where(function)
        rows = [list(row) for row in rows]
        results = []
        for row, reply in zip(rows, self._ask(["map", target, rows]), strict=True):
            call = Call(name, row)
            self.call_log.append(call)
            try:
                call.result = self._read(reply)
            except LearnerError as error:
                call.error = error
                raise
            results.append(call.result)
        return results

    def vjp(
        self, function: Remote | Handle | str, args: Sequence[Any], cotangent: Any
    ) -> list[Any]:
        """The gradient of <cotangent, function(*args)> for each floating-point tensor argument."""
        target, name = self._where(function)
        return self._logged(name, args, {}, ["vjp", target, list(args), cotangent]).result

    def serve_callback(self, request: bytes) -> bytes:
        """Carry out the learner's call of a function that the check passed in."""
        self._callbacks += 1
        self._depth += 1
        try:
            if self._callbacks > MAX_CALLBACKS or self._depth > MAX_CALLBACK_DEPTH:
                raise CodecError(
                    f"a function passed in may be called {MAX_CALLBACKS:,} times, "
                    f"{MAX_CALLBACK_DEPTH} deep"
                )
            reply = ["ok", self._call_back(self._codec.loads(request))]
        except Exception as error:
            if isinstance(error, CodecError):
                self.trouble = self.trouble or error
            reply = ["error", type(error).__name__, str(error)]
        finally:
            self._depth -= 1
        return self._codec.dumps(reply)

    def _call_back(self, request: list[Any]) -> Any:
        match request:
            case ["callback", int(handle), list(args), dict(kwargs)]:
                return self._function(handle)(*args, **kwargs)
            case ["attribute", int(handle), str(name)]:
                value = self._function(handle)
                if type(value) is Handle:  # of a given object; never of the check's own functions
                    return getattr(value, name)
                raise AttributeError(name)
            case ["given", str(question)]:
                return self._given(question)
        raise CodecError("the message is malformed: a callback names a function and arguments")

    def as_crossed(self, value: Any) -> Any:
        """A value as it looks after crossing: what an expected value is compared as."""
        return self._codec.loads(self._codec.dumps(value))

    def _call(
        self, target: str | int, name: str, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Any:
        return self._logged(name, args, kwargs, ["call", target, list(args), kwargs]).result

    def _logged(
        self, name: str, args: Sequence[Any] | None, kwargs: dict[str, Any], request: list[Any]
    ) -> Call:
        call = Call(name, args, kwargs)
        self.call_log.append(call)
        try:
            call.result = self._ask(request)
        except LearnerError as error:
            call.error = error
            raise
        return call

    def _ask(self, request: list[Any]) -> Any:
        operation, *rest = request
        return self._read(self._send(self._codec.dumps([operation, self.max_items, *rest])))

    def _read(self, reply: bytes) -> Any:
        match self._codec.loads(reply):
            case ["ok", value]:
                return value
            case ["error", "CodecError", str(message), list()]:
                raise CodecError(message)
            case ["error", str(kind), str(message), list(lines)]:
                raise LearnerError(kind[:100], message[:2000], [*filter(_is_line, lines)][:5])
        raise CodecError("the message is malformed: a reply is ok or error")

    def _where(self, function: Remote | Handle | str) -> tuple[str | int, str]:
        if isinstance(function, str):
            return function, function
        if isinstance(function, Remote):
            return function._target, function._target
        return function._handle, function._name

    def _export(self, value: object) -> tuple[int, str, str]:
        if not callable(value):
            raise CodecError(f"a check passes values and functions, not {type(value).__name__}")
        self._functions.append(value)
        return len(self._functions) - 1, "function", getattr(value, "__name__", "function")

    def _function(self, handle: int) -> Callable[..., Any]:
        if not 0 <= handle < len(self._functions):
            raise CodecError(f"there is no function with the handle {handle}")
        return self._functions[handle]
