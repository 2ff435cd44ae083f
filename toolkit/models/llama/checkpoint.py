"""A model as a folder: sizes in ``config.json``, weights in safetensors, as transformers has them.

What is written here is read there, and the other way round. The tokenizer stands beside them in
this course's own form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from toolkit.data.tokenizers import BPE
from toolkit.data.tokenizers import load as load_tokenizer
from toolkit.data.tokenizers.files import atomically, read_json, write_atomically
from toolkit.models.positions import rope

from .config import LlamaConfig
from .model import Llama
from .weights import TRANSFORMERS, assemble, take_apart

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZER, TEMPLATE = "toolkit_tokenizer.json", "chat_template.jinja"
UNKNOWN = {
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_act": "silu",
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
"""Fields whose other values mean something which is not in here."""


def save_checkpoint(model: Llama, folder: str | Path) -> None:
    """Write a model that ``load`` and transformers' ``from_pretrained`` read.

    Each file is there in full or not at all, the weights last.

    Raises:
        ValueError: the model was stretched, which these files can't say.
    """
    config, folder = model.config, Path(folder)
    trained = rope(config.head_dim, config.rope_base)
    if config.context != model.context or not torch.equal(
        trained.frequencies, model.rope.frequencies
    ):
        raise ValueError(
            "this model turns by other angles than its base gives, which its files can't say: "
            "stretch() it back, and again after loading"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CONFIG, json.dumps(_fields(config, model.dtype), indent=2) + "\n")
    for file in (TEMPLATE, TOKENIZER):
        (folder / file).unlink(missing_ok=True)
    if model.chat_template is not None:
        write_atomically(folder / TEMPLATE, model.chat_template)
    if model.has_tokenizer:
        model.tokenizer.save(folder / TOKENIZER)
    weights = {name: weight.cpu().contiguous() for name, weight in take_apart(model, TRANSFORMERS)}
    with atomically(folder / WEIGHTS) as aside:
        save_file(weights, aside, metadata={"format": "pt"})


def read_checkpoint(folder: Path, dtype: torch.dtype) -> Llama:
    """The model in a folder.

    Raises:
        FileNotFoundError: the folder lacks its sizes or its weights.
        ValueError: a file is damaged, or the model is no LLaMA.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / CONFIG).is_file() or not files:
        raise FileNotFoundError(f"{folder} is no model: it needs {CONFIG} and {WEIGHTS}")
    config = read_config(folder / CONFIG)
    place: dict[str, Path] = {}
    try:
        for file in files:
            with safe_open(file, framework="pt") as held:
                place |= dict.fromkeys(held.keys(), file)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged, or cut off: {error}") from None

    def read(name: str) -> Tensor:
        with safe_open(place[name], framework="pt") as held:
            return held.get_tensor(name).to(dtype)

    model = assemble(config, TRANSFORMERS, read, place)
    if (folder / TEMPLATE).is_file():
        model.chat_template = (folder / TEMPLATE).read_text(encoding="utf-8")
    if (folder / TOKENIZER).is_file():
        tokenizer = load_tokenizer(folder / TOKENIZER)
        if not isinstance(tokenizer, BPE):
            raise ValueError(f"{folder / TOKENIZER} holds a {tokenizer.kind}, and not a BPE")
        model.tokenizer = tokenizer
    return model


def read_config(path: Path) -> LlamaConfig:
    """The sizes in a ``config.json`` of transformers.

    Raises:
        ValueError: they are not those of a LLaMA, or one is missing.
    """
    held = read_json(path, "a model's sizes")
    if held.get("model_type") != "llama":
        raise ValueError(
            f"{path} is of a model of type {held.get('model_type')!r}; only 'llama' is read here"
        )
    for name, value in UNKNOWN.items():
        if held.get(name, value) != value:
            raise ValueError(f"{path} says {name} {held[name]!r}, and this LLaMA has {value!r}")
    turning = held.get("rope_parameters") or held.get("rope_scaling") or {}
    kind = turning.get("rope_type", turning.get("type", "default"))
    if kind != "default":
        raise ValueError(
            f"{path} says RoPE of type {kind!r}, and only plain RoPE is read from folders: take "
            f"the model's GGUF"
        )
    eos = held.get("eos_token_id")
    eos = eos if isinstance(eos, list) else [] if eos is None else [eos]
    try:
        heads = held["num_attention_heads"]
        return LlamaConfig(
            vocab_size=held["vocab_size"],
            width=held["hidden_size"],
            layers=held["num_hidden_layers"],
            heads=heads,
            kv_heads=held.get("num_key_value_heads") or heads,
            head_dim=held.get("head_dim") or held["hidden_size"] // heads,
            ffn_width=held["intermediate_size"],
            context=held["max_position_embeddings"],
            rope_base=turning.get("rope_theta", held.get("rope_theta", 10_000.0)),
            norm_eps=held["rms_norm_eps"],
            tied=held.get("tie_word_embeddings", False),
            bos=held.get("bos_token_id"),
            eos=tuple(eos),
        )
    except KeyError as error:
        raise ValueError(f"{path} does not say {error}: it is no whole model") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path} says something that is no size: {error}") from None


def _fields(config: LlamaConfig, dtype: torch.dtype) -> Mapping[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_width,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_base,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "bos_token_id": config.bos,
        "eos_token_id": list(config.eos) or None,
        "dtype": str(dtype).removeprefix("torch."),
    }
