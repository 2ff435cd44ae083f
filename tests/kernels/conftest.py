"""Kernels in Triton's interpreter run in a process of their own."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
import torch

# Whether Triton interprets or compiles is settled once in a process, when it is imported.
collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted"]
if find_spec("triton") is None:  # it has wheels for Linux only
    collect_ignore += [
        "test_compiling.py",
        "test_flash_attention_compiled.py",
        "test_interpreted.py",
        "test_quant_gemm_compiled.py",
        "test_timeline.py",
    ]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The tensors are small: a second thread only waits for the first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
