"""Where a kernel runs, compiled, interpreted or as its reference, and what is asked of a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

TRITON = find_spec("triton") is not None


def interpreting() -> bool:
    """Whether Triton runs kernels in its interpreter, which is settled when triton is imported."""
    if not TRITON:
        return False
    import triton

    return not isinstance(triton.language.sigmoid, triton.JITFunction)


def engine(tensor: Tensor) -> str:
    """What runs a kernel on this tensor.

    "interpreter" where ``TRITON_INTERPRET=1`` was set before triton was imported, else "triton",
    compiled, for a tensor on a GPU, else "reference", torch's operators.
    """
    if interpreting():
        return "interpreter"
    return "triton" if TRITON and tensor.is_cuda else "reference"


def chip(tensor: Tensor) -> str:
    """The GPU a tensor is on, as compilers call it: "sm_90", "gfx942"; "cpu" without one."""
    if not tensor.is_cuda:
        return "cpu"
    if torch.version.hip:
        return torch.cuda.get_device_properties(tensor.device).gcnArchName.split(":")[0]
    major, minor = torch.cuda.get_device_capability(tensor.device)
    return f"sm_{major}{minor}"


def row_for(table: Mapping[str, Any], chip: str) -> Any:
    """A chip's row of a table of tiles; one that has none gets that for little shared memory."""
    like = {"sm_100": "sm_90"}.get(chip, chip)
    return table[like if like in table else "small"]


def multiprocessors(tensor: Tensor) -> int:
    """Those of the GPU that a tensor is on; a few without one, so that work is split there too."""
    if not tensor.is_cuda:
        return 4
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


def precision(tensor: Tensor) -> str:
    """How fp32 products are made: three TF32 products keep fp32's digits on NVIDIA's units."""
    return "tf32x3" if chip(tensor).startswith("sm_") else "ieee"


def on_its_device(launch: Callable[..., Any]) -> Callable[..., Any]:
    """Triton launches on the present device: make it the one that the first tensor is on."""

    @wraps(launch)
    def launched(tensor: Tensor, *arguments: Any, **named: Any) -> Any:
        with torch.cuda.device_of(tensor):
            return launch(tensor, *arguments, **named)

    return launched
