"""Any model, by its name or its file."""

from __future__ import annotations

from pathlib import Path

import torch

from toolkit import assets

from .checkpoint import read_checkpoint
from .gguf_file import read_gguf
from .model import Llama

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def load(
    model: str | Path,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Llama:
    """A model of the LLaMA architecture with its weights, ready to read and write.

    Args:
        model: the name of an asset, such as ``"smollm2-135m-instruct"``, a GGUF file, or a folder
            as ``save_checkpoint`` and transformers write them.
        dtype: of weights and states.
        device: where it will run.
    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it holds no model of this architecture, or a damaged one.
    """
    if dtype not in DTYPES:
        raise TypeError(f"dtype must be one of {', '.join(map(str, DTYPES))}, got {dtype}")
    names = [entry.name for entry in assets.entries()]
    path = assets.get(str(model)) if str(model) in names else Path(model)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file {path}, and no asset of that name; there are: {', '.join(names)}"
        )
    if path.suffix == ".safetensors":
        path = path.parent
    read = read_checkpoint if path.is_dir() else read_gguf
    return read(path, dtype).to(device).eval()
