"""Models in files: the real one, small ones written here, and damaged ones."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import quantize

from toolkit.models.llama import Llama, LlamaConfig, load, save_checkpoint
from toolkit.models.llama.weights import GGUF, take_apart

SIZES = LlamaConfig(
    vocab_size=260,
    width=64,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    ffn_width=96,
    context=32,
    rope_base=5000.0,
    norm_eps=2.0**-16,  # files hold it in fp32
    tied=False,
    eos=(259,),
)


def write_gguf(path: Path, model: Llama, architecture: str = "llama", **extra: object) -> None:
    """A file as llama.cpp's converters write it; matrices in 8 bits."""
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.ffn_width)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    signs = [*byte_signs(), "ab", "<s>", "<pad>", "<end>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(extra.pop("pre", "smollm"))
    writer.add_token_list(signs)
    writer.add_token_types([1] * 257 + [3] * 3)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(259)
    freqs, bias = extra.pop("rope_freqs", None), extra.pop("bias", None)
    for name, value in extra.items():
        writer.add_uint32(f"llama.{name}", value)
    if freqs is not None:
        writer.add_tensor("rope_freqs.weight", freqs)
    if bias is not None:
        writer.add_tensor("blk.0.attn_q.bias", bias)
    for name, weight in take_apart(model, GGUF):
        values = weight.detach().numpy()
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_signs() -> list[str]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    signs = bytes_to_unicode()
    return [signs[byte] for byte in range(256)]


@pytest.fixture(scope="module")
def model() -> Llama:
    torch.manual_seed(11)
    made = Llama(SIZES).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() == 1:
                weight.uniform_(0.5, 1.5)
                continue
            kind = gguf.GGMLQuantizationType.Q8_0  # what it holds is read back to the last bit
            held = gguf.dequantize(quantize(5 * weight.numpy(), kind), kind)
            weight.copy_(torch.from_numpy(held))
    return made


@pytest.fixture(scope="module")
def file(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    write_gguf(path, model)
    return path


def same(found: Llama, expected: Llama) -> None:
    text = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(found(text), expected(text))


def test_a_file_of_any_sizes_is_read(model, file):
    found = load(file)
    assert found.config == SIZES
    assert found.tokenizer.encode("abc") == [256, ord("c")]
    assert found.chat_template is None
    same(found, model)


def test_a_folder_of_any_sizes_is_read(model, tmp_path):
    save_checkpoint(model, tmp_path)
    found = load(str(tmp_path))
    assert found.config == SIZES
    same(found, model)
    with pytest.raises(ValueError, match="this model came without a tokenizer"):
        found.generate(["text"], 1)


def test_weights_come_in_the_type_that_is_asked_for(file):
    found = load(file, dtype=torch.bfloat16)
    assert {weight.dtype for weight in found.parameters()} == {torch.bfloat16}
    logits = found(torch.tensor([[1, 2]])).detach()
    assert logits.dtype == torch.bfloat16
    exact = load(file)(torch.tensor([[1, 2]])).detach()
    bfloat16_rounding = 2**-8 * float(exact.abs().max()) * 4
    assert float((logits - exact).abs().max()) < bfloat16_rounding
    with pytest.raises(TypeError, match="dtype must be one of"):
        load(file, dtype=torch.int8)


def test_frequencies_that_a_file_slows_are_slowed(model, tmp_path):
    slower = np.linspace(1, 4, 8, dtype=np.float32)
    write_gguf(tmp_path / "m.gguf", model, rope_freqs=slower)
    found = load(tmp_path / "m.gguf")
    base = 5000.0 ** (-np.arange(8) / 8)
    np.testing.assert_allclose(found.rope.frequencies, base / slower)
    text = torch.arange(20)[None]
    with torch.no_grad():
        assert not torch.allclose(found(text), model(text), atol=1e-3)
        found.stretch(model.rope, 32)
    same(found, model)


def test_a_model_whose_words_are_not_known_still_reads_tokens(model, tmp_path):
    write_gguf(tmp_path / "m.gguf", model, pre="viking")
    found = load(tmp_path / "m.gguf")
    same(found, model)
    with pytest.raises(ValueError, match="splits words by the rules 'viking'"):
        found.generate(["text"], 1)


# What is refused


def test_another_architecture_is_refused(model, tmp_path):
    write_gguf(tmp_path / "m.gguf", model, architecture="gemma3")
    with pytest.raises(ValueError, match="holds a model of architecture 'gemma3'; only 'llama'"):
        load(tmp_path / "m.gguf")


def test_weights_that_there_is_no_place_for_are_refused(model, tmp_path):
    from safetensors.torch import load_file, save_file

    write_gguf(tmp_path / "m.gguf", model, bias=np.zeros(64, dtype=np.float32))
    with pytest.raises(
        ValueError, match=r"a weight 'blk\.0\.attn_q\.bias', which this LLaMA has no"
    ):
        load(tmp_path / "m.gguf")
    save_checkpoint(model, tmp_path / "folder")
    file = tmp_path / "folder" / "model.safetensors"
    save_file(load_file(file) | {"model.layers.0.self_attn.q_proj.bias": torch.zeros(64)}, file)
    with pytest.raises(ValueError, match=r"q_proj\.bias', which this LLaMA has no place for"):
        load(file)


def test_a_mixture_of_experts_is_refused(model, tmp_path):
    write_gguf(tmp_path / "m.gguf", model, expert_count=8)
    with pytest.raises(ValueError, match=r"says llama\.expert_count, which this LLaMA does not"):
        load(tmp_path / "m.gguf")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_refused(file, tmp_path, share):
    whole = file.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match="is not a GGUF file, or it is cut off"):
        load(tmp_path / "cut.gguf")


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nothing\.gguf, and no asset"):
        load(tmp_path / "nothing.gguf")
    with pytest.raises(FileNotFoundError, match="is no model: it needs config"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "qwen2"}, "of a model of type 'qwen2'; only 'llama'"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "says RoPE of type 'yarn'"),
        ({"rope_scaling": {"type": "linear"}}, "says RoPE of type 'linear'"),
        ({"attention_bias": True}, "says attention_bias True, and this LLaMA has False"),
        ({"hidden_size": None}, "does not say 'hidden_size'"),
        ({"hidden_size": "64"}, "says something that is no size: width must be a whole number"),
        ({"quantization_config": {"bits": 8}}, "says quantization_config {'bits': 8}"),
        ({"intermediate_size": 95}, r"ffn.gate_up.weight is \[192, 64\], and must be \[190, 64\]"),
        ({"num_hidden_layers": 3}, "there is no weight 'model.layers.2"),
    ],
)
def test_a_folder_of_something_else_is_refused(model, tmp_path, change, sentence):
    save_checkpoint(model, tmp_path)
    held = json.loads((tmp_path / "config.json").read_text()) | change
    held = {name: value for name, value in held.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(held))
    with pytest.raises(ValueError, match=sentence):
        load(tmp_path)


def test_weights_that_are_cut_off_are_refused(model, tmp_path):
    save_checkpoint(model, tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged, or cut off"):
        load(tmp_path)


def test_a_model_may_have_several_ends(model, tmp_path):
    save_checkpoint(model, tmp_path)
    config = tmp_path / "config.json"
    held = json.loads(config.read_text())
    for said, expected in [([7, 9], (7, 9)), (7, (7,)), (None, ()), ([], ())]:
        config.write_text(json.dumps(held | {"eos_token_id": said}))
        assert load(tmp_path).config.eos == expected


def test_weights_in_several_files_are_read(model, tmp_path):
    from safetensors.torch import load_file, save_file

    save_checkpoint(model, tmp_path)
    held = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    for part in range(2):
        names = sorted(held)[part::2]
        save_file({name: held[name] for name in names}, tmp_path / f"part-{part}.safetensors")
    same(load(tmp_path), model)
