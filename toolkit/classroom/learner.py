"""The learner's end of the line: calls their functions and answers in the codec's bytes.

A request is a packed list ``[operation, max_items, target, ...]``, where generators are drained
to ``max_items``; a reply is ``["ok", value]`` or ``["error", type, message, lines]``. Operations:

==========  ==================================  ==================================================
operation   target, and what follows            the value
==========  ==================================  ==================================================
get         target, attribute or None           the object, or the attribute of it
call        target, args, kwargs                what the call returned
inplace     target, args, kwargs                [what it returned, args, kwargs] afterwards
map         target, rows of args                a packed reply for each row
vjp         target, args, cotangent             the gradient for each argument; None for the rest
source      target                              the text of a function; None if it was given
==========  ==================================  ==================================================

A target is a name in the learner's namespace or the id of a handle. Every request is unpacked
afresh, so a call that changes its arguments changes a copy.
"""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from toolkit.classroom.codec import Codec, CodecError


class NotDefinedError(NameError):
    """A check asked for a name that the notebook has not defined."""


class Callback:
    """The learner's stand-in for a function of the check's own."""

    def __init__(self, learner: Learner, handle: int, name: str) -> None:
        self._learner, self._handle = learner, handle
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._learner.ask(["callback", self._handle, list(args), kwargs])

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return self._learner.ask(["attribute", self._handle, attribute])


class Learner:
    """Serves requests about one namespace.

    Args:
        namespace: the notebook's names.
        ask: sends a packed request to the check's end and returns its packed reply; carries the
            calls of functions that a check passed in.
    """

    def __init__(self, namespace: Mapping[str, Any], ask: Callable[[bytes], bytes]) -> None:
        self._namespace, self._ask = namespace, ask
        self._objects: list[Any] = []
        self._codec = Codec(
            export=self._export,
            adopt=lambda handle, _kind, name: Callback(self, handle, name),
            home=self._object,
            own_id=lambda value: value._handle if type(value) is Callback else None,
            records=namespace,
        )

    def serve(self, request: bytes) -> bytes:
        """Carry out one request. Whatever the learner's code raises becomes an ``error`` reply,
        also where it runs while its result is packed, as a generator does."""
        operation, self._codec.max_items, target, *rest = self._codec.loads(request)
        return self._reply(getattr(self, f"_do_{operation}"), target, *rest)

    def ask(self, request: list[Any]) -> Any:
        """Call back to the check's end and return the value, or raise what it refused with."""
        status, *rest = self._codec.loads(self._ask(self._codec.dumps(request)))
        if status == "ok":
            return rest[0]
        raise RuntimeError(rest[1])

    def _reply(self, operation: Callable[..., Any], *arguments: Any) -> bytes:
        try:
            return self._codec.dumps(["ok", operation(*arguments)])
        except (Exception, SystemExit) as error:
            return self.failed(error)

    def failed(self, error: BaseException) -> bytes:
        """The reply that an exception becomes."""
        reply = ["error", type(error).__name__, _message(error), self._lines(error)]
        return self._codec.dumps(reply)

    def _do_get(self, target: str | int, attribute: str | None) -> Any:
        value = self._target(target)
        return value if attribute is None else getattr(value, attribute)

    def _do_call(self, target: str | int, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return self._target(target)(*args, **kwargs)

    def _do_inplace(self, target: str | int, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return [self._target(target)(*args, **kwargs), args, kwargs]

    def _do_map(self, target: str | int, rows: list[list[Any]]) -> list[bytes]:
        return [self._reply(self._do_call, target, row, {}) for row in rows]

    def _do_vjp(self, target: str | int, args: list[Any], cotangent: Any) -> list[Any]:
        import torch

        inputs = [
            arg.requires_grad_() if torch.is_tensor(arg) and arg.is_floating_point() else arg
            for arg in args
        ]
        wanted = [i for i, arg in enumerate(inputs) if torch.is_tensor(arg) and arg.requires_grad]
        output = self._target(target)(*inputs)
        found = torch.autograd.grad(
            output, [inputs[i] for i in wanted], cotangent, allow_unused=True
        )
        gradients: list[Any] = [None] * len(args)
        for i, gradient in zip(wanted, found, strict=True):
            gradients[i] = gradient
        return gradients

    def _do_source(self, target: str | int) -> str | None:
        value = self._target(target)
        if isinstance(value, Callback):
            return None
        return inspect.getsource(getattr(value, "fn", value))  # a Triton kernel has its own in fn

    def _target(self, target: str | int) -> Any:
        if isinstance(target, int):
            return self._object(target)
        if target not in self._namespace:
            raise NotDefinedError(f"`{target}` is not defined")
        return self._namespace[target]

    def _export(self, value: Any) -> tuple[int, str, str]:
        self._objects.append(value)
        kind = "class" if isinstance(value, type) else "function" if callable(value) else "object"
        named = value if kind != "object" and hasattr(value, "__name__") else type(value)
        return len(self._objects) - 1, kind, str(named.__name__)

    def _object(self, handle: int) -> Any:
        if not 0 <= handle < len(self._objects):
            raise CodecError(f"there is no object with the handle {handle}")
        return self._objects[handle]

    def _lines(self, error: BaseException) -> list[list[Any]]:
        """The traceback, cut to the lines written in the notebook: [function, line, text]."""
        lines = []
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals is self._namespace:
                code = frame.f_code
                text = linecache.getline(code.co_filename, line).strip()[:200]
                lines.append([code.co_name, line, text])
        return lines[-5:]


def _message(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except (Exception, SystemExit):
        return "(its message could not be read)"
