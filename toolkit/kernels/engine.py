"""Where a kernel runs: compiled on a GPU, in Triton's interpreter, or as its reference."""

from __future__ import annotations

from importlib.util import find_spec

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
