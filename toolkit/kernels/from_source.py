"""Runs a kernel that is given as text, under the microscope, and lets it do nothing else.

Triton's interpreter runs a kernel as Python, so a kernel could do anything that Python can. Here it
may do what Triton's compiler would take: use its parameters and variables, ``tl``, the kernels
beside it and a few of Python's functions. Such a kernel reaches neither files nor the microscope
that watches it, and memory only through loads and stores, which the microscope holds to the
tensors that it was launched with.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import linecache
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from .trace import KernelTrace, Problem, trace

BUILTINS = frozenset({"float", "int", "len", "max", "min", "range"})
ATTRIBUTES = frozenset(
    {
        *("T", "dtype", "element_ty", "shape", "to", "cast", "sum", "max", "min", "abs", "exp"),
        *("sqrt", "trans", "permute", "reshape", "view", "expand_dims", "broadcast_to"),
    }
)
"""What a kernel may take of its tensors."""
NOT_TRITONS = {
    ast.Import: "import",
    ast.ImportFrom: "import",
    ast.Global: "global",
    ast.Nonlocal: "nonlocal",
    ast.FunctionDef: "function within it",
    ast.AsyncFunctionDef: "function within it",
    ast.Lambda: "lambda",
    ast.ClassDef: "class",
    ast.Try: "try",
    ast.TryStar: "try",
    ast.With: "with",
    ast.AsyncWith: "with",
    ast.Match: "match",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Await: "await",
    ast.Delete: "del",
    ast.JoinedStr: "f-string",
}


class KernelError(Exception):
    """What is wrong with a kernel, in a sentence that names the line."""


def launch_from_source(
    sources: Sequence[tuple[str, str]],
    beside: str | None,
    kernel: str,
    grid: tuple[int, ...],
    arguments: dict[str, Any],
) -> dict[str, Any]:
    """Launch a kernel once.

    Args:
        sources: names of functions and the text that defines each; lines are counted from its
            ``@triton.jit``.
        beside: a module of ours whose kernels are there too, except those in ``sources``.
        kernel: the one to launch.
        grid: programs along x, y and z.
        arguments: by parameter. Tensors are changed in place.
    Returns:
        ``tensors``: those of the arguments, afterwards; ``moved``: the bytes of each; ``problems``:
        kind and tensor of each; ``said``: each in a sentence.
    Raises:
        KernelError: the text is no kernel, or it raised.
    """
    file = _file(tuple((name, source) for name, source in sources), beside)
    try:
        with trace() as launches:
            file.kernels[kernel][grid](**arguments)
    except Exception as error:
        raise KernelError(file.blame(error)) from None
    (found,) = launches
    return _told(found, file, arguments)


@lru_cache(maxsize=64)
def _file(sources: tuple[tuple[str, str], ...], beside: str | None) -> _File:
    # The interpreter takes as long to read a kernel as to run a small one.
    return _File(sources, beside)


def _told(found: KernelTrace, file: _File, arguments: dict[str, Any]) -> dict[str, Any]:
    names = [tensor.name for tensor in found.tensors]
    return {
        "tensors": {name: arguments[name] for name in names},
        "moved": {name: found.bytes_of(name) for name in names},
        "problems": [[problem.kind, problem.tensor] for problem in found.problems],
        "said": [file.sentence(problem) for problem in found.problems],
    }


class _File:
    """One file made of all functions, since the microscope names a line by its number alone.

    Attributes:
        kernels: by name.
    """

    def __init__(self, sources: Sequence[tuple[str, str]], beside: str | None) -> None:
        functions = {name: _function(name, source) for name, source in sources}
        self._theirs = list(functions)
        for name, source in _kernels_of(beside) if beside else ():
            functions.setdefault(name, source)
        for name in self._theirs:
            _refuse(name, functions[name], set(functions))
        self._starts: list[tuple[int, str]] = []
        self._lines: list[str] = []
        for name, source in functions.items():
            self._starts.append((len(self._lines), name))
            self._lines += [f"{line}\n" for line in ("@triton.jit", *source.split("\n"))]
        self.kernels = self._define()

    def _define(self) -> dict[str, Any]:
        import triton

        text, self._name = "".join(self._lines), f"<kernels {hash(tuple(self._lines))}>"
        linecache.cache[self._name] = (len(text), None, self._lines, self._name)
        names = {"triton": triton, "tl": triton.language}
        exec(compile(text, self._name, "exec"), names)
        return names

    def sentence(self, problem: Problem) -> str:
        """What a problem says, with lines counted in the function that they are of."""
        name, line = self._place(problem.line)
        other = self._place(problem.other_line)[1] if problem.other_line else 0
        said = str(replace(problem, line=line, other_line=other))
        return said if name == self._theirs[0] else f"in {name}, {said}"

    def blame(self, error: BaseException) -> str:
        """What a kernel raised and where; the interpreter wraps it in errors of its own."""
        lines = self._lines_in(error)
        while error.__cause__ is not None:
            error = error.__cause__
            lines += self._lines_in(error)
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        if not lines:
            return said
        name, line = self._place(lines[-1])
        return f"line {line} of {name}, `{self._lines[lines[-1] - 1].strip()}`: {said}"

    def _lines_in(self, error: BaseException) -> list[int]:
        frames = traceback.walk_tb(error.__traceback__)
        return [line for frame, line in frames if frame.f_code.co_filename == self._name]

    def _place(self, line: int) -> tuple[str, int]:
        start, name = max(start for start in self._starts if start[0] < line)
        return name, line - start


def _function(name: str, source: str) -> str:
    """The text of one function, without its decorators."""
    text = textwrap.dedent(source).replace("\r\n", "\n").replace("\r", "\n")
    try:
        found = ast.parse(text).body
    except SyntaxError as error:
        raise KernelError(f"`{name}` can't be read: {error.msg}, in line {error.lineno}") from None
    lines = text.split("\n")
    for node in found:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return "\n".join(lines[node.lineno - 1 : node.end_lineno])
    raise KernelError(f"`{name}` is not a function that `def` defines")


def _kernels_of(module: str) -> Iterator[tuple[str, str]]:
    for name, value in vars(importlib.import_module(module)).items():
        if inspect.isfunction(getattr(value, "fn", None)):
            yield name, _function(name, inspect.getsource(value.fn))


def _refuse(name: str, source: str, beside: set[str]) -> None:
    """Refuse what Triton's compiler would refuse, or what could reach out of a kernel."""
    import triton.language as tl

    match ast.parse(source).body:
        case [ast.FunctionDef() as function]:
            pass
        case _:
            raise KernelError(f"`{name}` is not one function")
    stored = {
        node.id if isinstance(node, ast.Name) else node.arg
        for node in ast.walk(function)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
    }
    if taken := stored & ({"tl", "triton"} | BUILTINS | beside):
        raise KernelError(f"{name}: `{min(taken)}` has a meaning here: give your own another name")
    known = stored | {"tl"} | BUILTINS | beside
    nodes = [
        (f"line {getattr(node, 'lineno', 0) + 1} of {name}", node)
        for node in ast.walk(function)
        if node is not function
    ]
    for where, node in nodes:
        if type(node) in NOT_TRITONS:
            raise KernelError(f"{where}: a kernel has no {NOT_TRITONS[type(node)]}")
    for where, node in nodes:
        if isinstance(node, ast.Name) and node.id not in known:
            rest = ", ".join(sorted(beside - {name} | BUILTINS))
            raise KernelError(
                f"{where}: a kernel does not know `{node.id}`: it has its parameters, its "
                f"variables, `tl`, and {rest}"
            )
    for where, node in nodes:
        if isinstance(node, ast.Attribute):
            _refuse_attribute(node, where, tl)


def _refuse_attribute(node: ast.Attribute, where: str, tl: Any) -> None:
    whole = ast.unparse(node)
    if not isinstance(node.ctx, ast.Load):
        raise KernelError(f"{where}: a kernel does not set `{whole}`")
    if isinstance(node.value, ast.Name) and node.value.id == "tl":
        if node.attr not in tl.__all__ or inspect.ismodule(getattr(tl, node.attr)):
            raise KernelError(f"{where}: `tl` has no function `{node.attr}`")
    elif node.attr not in ATTRIBUTES:
        raise KernelError(f"{where}: a kernel's tensors have no `{node.attr}`: `{whole}`")
