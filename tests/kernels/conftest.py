"""Kernels in Triton's interpreter run in a process of their own."""

from __future__ import annotations

import os
from importlib.util import find_spec

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
