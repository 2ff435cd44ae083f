"""A model from a GGUF file, whose weights may be quantised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.data.tokenizers import BPE
from toolkit.data.tokenizers.gguf_vocabulary import open_gguf
from toolkit.models.positions import Rope

from .config import LlamaConfig
from .model import Llama
from .weights import GGUF, assemble

FREQUENCIES = "rope_freqs.weight"
UNKNOWN = ("expert_count", "rope.scaling.type", "attention.sliding_window")
"""Fields of LLaMA-like models that mean something which is not in here."""


def read_gguf(path: Path, dtype: torch.dtype) -> Llama:
    """The model in a file, its tokenizer and its chat template; weights are dequantised.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is no GGUF, is cut off, or holds another architecture.
    """
    from gguf import dequantize

    reader = open_gguf(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    config = read_config(reader, path, tied=GGUF.output not in tensors)
    template = reader.fields.get("tokenizer.chat_template")
    template = None if template is None else template.contents()
    tokenizer: BPE | str
    try:
        tokenizer = BPE.from_gguf(path, reader)
    except ValueError as error:
        tokenizer = str(error)
    reader.fields.clear()  # 150 MB of small objects, which the weights can do with

    def read(name: str) -> Tensor:
        values = dequantize(tensors[name].data, tensors[name].tensor_type)
        return torch.from_numpy(np.require(values, requirements="W")).to(dtype)

    model = assemble(config, GGUF, read, set(tensors) - {FREQUENCIES})
    if FREQUENCIES in tensors:  # Llama 3.1 and later: what each frequency is divided by
        slower = read(FREQUENCIES).double()
        model.stretch(Rope(model.rope.frequencies / slower), config.context)
    model.chat_template = template
    if isinstance(tokenizer, BPE):
        model.tokenizer = tokenizer
    else:
        model.no_tokenizer = tokenizer
    return model


def read_config(reader: Any, path: Path, tied: bool) -> LlamaConfig:
    """The sizes that a file states.

    Raises:
        ValueError: they are not those of a LLaMA, or one is missing.
    """

    def held(name: str, *default: Any) -> Any:
        field = reader.fields.get(name)
        if field is None and not default:
            raise ValueError(f"{path} does not say {name!r}: it is no whole model")
        return default[0] if field is None else field.contents()

    architecture = held("general.architecture")
    if architecture != "llama":
        raise ValueError(
            f"{path} holds a model of architecture {architecture!r}; only 'llama' is read here"
        )
    for name in UNKNOWN:
        if held(f"llama.{name}", 0):
            raise ValueError(f"{path} says llama.{name}, which this LLaMA does not have")
    eos = held("tokenizer.ggml.eos_token_id", None)
    width, heads = held("llama.embedding_length"), held("llama.attention.head_count")
    return LlamaConfig(
        vocab_size=len(held("tokenizer.ggml.tokens")),
        width=width,
        layers=held("llama.block_count"),
        heads=heads,
        kv_heads=held("llama.attention.head_count_kv", heads),
        head_dim=held("llama.rope.dimension_count", width // heads),
        ffn_width=held("llama.feed_forward_length"),
        context=held("llama.context_length"),
        rope_base=held("llama.rope.freq_base", 10_000.0),
        norm_eps=held("llama.attention.layer_norm_rms_epsilon"),
        tied=tied,
        bos=held("tokenizer.ggml.bos_token_id", None),
        eos=() if eos is None else (eos,),
    )
