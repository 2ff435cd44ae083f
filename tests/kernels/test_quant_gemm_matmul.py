"""Products with four-bit weights on a CPU, layers of them, and whole models; on a GPU if there."""

from __future__ import annotations

import os
import platform
import re
import signal
from copy import deepcopy
from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.kernels.quant_gemm import cpu
from toolkit.kernels.quant_gemm.linear import Int4Linear, quantize_model
from toolkit.kernels.quant_gemm.matmul import prepare, w4a16_matmul
from toolkit.kernels.quant_gemm.packing import pack
from toolkit.kernels.quant_gemm.record import QuantizedWeight
from toolkit.kernels.quant_gemm.rounding import nf4, round_to_nearest
from toolkit.models.llama import Llama, LlamaConfig, save_checkpoint

FP32 = 1e-6  # of a sum of magnitudes: eight partial sums of up to 600 terms in fp32
ROUNDED = {torch.float32: 0.0, torch.float16: 2**-11, torch.bfloat16: 2**-8}  # half a unit


def draw(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def random_weight(seed, rows, columns, group, kind="symmetric", act_order=False):
    generator = torch.Generator().manual_seed(seed)

    def nibbles(*shape):
        return torch.randint(0, 16, shape, generator=generator, dtype=torch.uint8)

    g_idx = torch.arange(columns, dtype=torch.int32) // group
    return QuantizedWeight(
        codes=nibbles(rows, columns),
        scales=draw(seed, rows, columns // group).half().float(),
        zeros=nibbles(rows, columns // group) if kind == "asymmetric" else None,
        codebook=draw(seed + 1, 16) if kind == "codebook" else None,
        group_size=group,
        g_idx=g_idx[torch.randperm(columns, generator=generator)] if act_order else None,
    )


def by_hand(x, weight):
    """The product in float64 from the codes, and the sum of magnitudes that its error goes by."""
    group = torch.arange(weight.shape[1]) // weight.group_size
    group = group if weight.g_idx is None else weight.g_idx.long()
    if weight.codebook is not None:
        levels = weight.codebook.double()[weight.codes.long()]
    elif weight.zeros is not None:
        levels = weight.codes.double() - weight.zeros.double()[:, group]
    else:
        levels = weight.codes.double() - 8
    dense = (levels * weight.scales.double()[:, group]).T
    # The zero is taken off a sum of codes: what is summed is larger than what is left.
    whole = (weight.scales.double()[:, group].abs() * (levels.abs() + 16)).T
    return x.double() @ dense, x.double().abs() @ whole


def compare(x, weight):
    y, (wanted, size) = w4a16_matmul(x, weight), by_hand(x, weight)
    assert y.dtype == x.dtype
    assert y.shape == wanted.shape
    assert ((y - wanted).abs() <= FP32 * size + ROUNDED[x.dtype] * wanted.abs()).all()


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(0, 40), out=st.integers(1, 70), groups=st.integers(1, 4),
    group=st.sampled_from([16, 32, 48, 128]), dtype=st.sampled_from(list(ROUNDED)),
    kind=st.sampled_from(["symmetric", "asymmetric", "codebook"]), act_order=st.booleans(),
)  # fmt: skip
def test_any_shape(rows, out, groups, group, dtype, kind, act_order):
    weight = random_weight(out, out, groups * group, group, kind, act_order)
    compare(draw(rows, rows, groups * group, dtype=dtype), weight)


@pytest.mark.parametrize("rows", [1, 32, 33])
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric", "codebook"])
def test_more_rows_than_one_call_of_the_blas_takes(rows, kind):
    compare(draw(0, rows, 64), random_weight(0, 600, 64, 32, kind))


@pytest.mark.parametrize("rows", [1, 2, 33])
def test_threads_change_nothing(rows, monkeypatch):
    monkeypatch.setattr(cpu, "SPLIT", 1)
    x, weight = draw(0, rows, 128), prepare(random_weight(0, 300, 128, 64))
    alone = w4a16_matmul(x, weight)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    pool, others = cpu._pool, []
    monkeypatch.setattr(cpu, "_pool", lambda threads: others.append(threads) or pool(threads))
    assert torch.equal(w4a16_matmul(x, weight), alone)
    # two more do a part each; many rows go to the BLAS
    assert others == ([2, 2] if rows <= cpu.LARGE else [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(cpu, "SPLIT", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    x, weight = draw(0, 1, 128), prepare(random_weight(0, 300, 128, 64))
    wanted = w4a16_matmul(x, weight)
    child = os.fork()
    if not child:
        signal.alarm(20)  # a child that waits for ever fails, too
        os._exit(0 if torch.equal(w4a16_matmul(x, weight), wanted) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_leading_dimensions_and_strides():
    weight = random_weight(0, 24, 64, 32)
    x = draw(1, 2, 3, 64)
    flat = w4a16_matmul(x.view(6, 64), weight)
    assert torch.equal(w4a16_matmul(x, weight), flat.view(2, 3, 24))
    # a row alone is summed in another order
    assert torch.allclose(w4a16_matmul(x[0, 0], weight), flat[0], atol=1e-4)
    turned = x.view(6, 64).T.contiguous().T
    assert torch.equal(w4a16_matmul(turned, prepare(weight)), flat)


def test_codes_are_the_ones_that_torchs_kernel_multiplies_with():
    weight = round_to_nearest(draw(0, 64, 128), 32, symmetric=False)
    x = draw(1, 4, 128, dtype=torch.bfloat16)
    codes = weight.codes.int()
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 2)
    # torch has w = scale * (code - 8) + zero, rounded to bf16
    offset = weight.scales * (8 - weight.zeros.float())
    both = torch.stack([weight.scales.T, offset.T], -1).bfloat16().contiguous()
    theirs = torch.ops.aten._weight_int4pack_mm_for_cpu(x, packed, 32, both)
    ours = w4a16_matmul(x, weight)
    assert (ours - theirs).abs().max() < 2**-6 * ours.abs().max()


def test_what_is_refused():
    weight = random_weight(0, 32, 64, 32)
    with pytest.raises(ValueError, match="64 columns"):
        w4a16_matmul(draw(0, 2, 65), weight)
    with pytest.raises(ValueError, match="64 columns"):
        w4a16_matmul(torch.tensor(1.0), weight)
    with pytest.raises(TypeError, match="float64"):
        w4a16_matmul(draw(0, 2, 64).double(), weight)
    with pytest.raises(TypeError, match="list"):
        w4a16_matmul([1.0], weight)
    with pytest.raises(ValueError, match="device, cpu, got meta"):
        w4a16_matmul(torch.empty(2, 64, device="meta"), weight)
    with pytest.raises(ValueError, match="gradient"):
        w4a16_matmul(draw(0, 2, 64).requires_grad_(), weight)
    with pytest.raises(ValueError, match="4 bits, got 8"):
        prepare(replace(weight, bits=8))
    with pytest.raises(ValueError, match="multiple of 16 to multiply with, got 8"):
        prepare(random_weight(0, 32, 64, 8))
    uneven = (torch.arange(64) > 30).int()
    with pytest.raises(ValueError, match=r"32 columns in g_idx, got \[31, 33\]"):
        prepare(replace(weight, g_idx=uneven))
    with pytest.raises(ValueError, match="weight is on meta"):
        prepare(replace(weight, codes=weight.codes.to("meta")))


def test_a_layer():
    weight, bias, scales = random_weight(0, 32, 64, 32), draw(1, 32), draw(2, 64).abs() + 0.1
    x = draw(3, 5, 64)
    layer = Int4Linear(weight, bias, scales)
    wanted = (x / scales) @ weight.dequantize().T + bias
    assert torch.allclose(layer(x), wanted, atol=1e-4)
    assert layer(x.bfloat16()).dtype == torch.bfloat16
    assert layer.nbytes == weight.nbytes
    assert "group_size=32" in repr(layer)
    with pytest.raises(ValueError, match=r"bias must be \(32,\), got \(31,\)"):
        Int4Linear(weight, bias[1:])
    with pytest.raises(ValueError, match="no weight that a checkpoint could hold"):
        layer.state_dict()


def test_a_layers_column_scales_keep_their_digits_in_fp16():
    weight, scales = random_weight(0, 32, 64, 32), draw(2, 64).abs() / 3 + 0.1
    x = draw(3, 5, 64).half()
    expected = w4a16_matmul((x.float() / scales).half(), prepare(weight))
    assert torch.equal(Int4Linear(weight, None, scales)(x), expected)


def test_a_layer_inside_of_what_torch_compiles_gives_the_same():
    layer, x = Int4Linear(random_weight(0, 32, 64, 32)), draw(3, 5, 64)
    compiled = torch.compile(lambda x: layer(x) + 1, backend="eager")
    with torch.no_grad():
        assert torch.equal(compiled(x), layer(x) + 1)


@pytest.fixture(scope="module")
def llama():
    config = LlamaConfig(
        vocab_size=100, width=64, layers=2, heads=4, kv_heads=2, head_dim=16, ffn_width=96,
        context=64, rope_base=10_000.0, norm_eps=1e-5, tied=True, bos=None, eos=(),
    )  # fmt: skip
    return Llama(config, seed=1).eval()


@pytest.fixture(scope="module")
def text():
    return torch.randint(0, 100, (8, 32), generator=torch.Generator().manual_seed(0))


def linears(model):
    for block in model.layers:
        yield from (block.attention.qkv, block.attention.out, block.ffn.gate_up, block.ffn.down)


@pytest.mark.parametrize("method", ["rtn", "gptq", "awq", "nf4"])
def test_a_model_generates(llama, text, method):
    before = {name: weight.clone() for name, weight in llama.state_dict().items()}
    quantized = quantize_model(llama, method, 32, text)
    for linear in linears(quantized):
        assert isinstance(linear, Int4Linear)
        assert linear.group_size == 32
        assert (linear.column_scales is not None) == (method == "awq")
        assert len(linear.packed.levels) == (16 if method == "nf4" else 0)
        symmetric = bool((linear.packed.zeros[0] == 8).all())
        assert symmetric == (method in ("rtn", "gptq"))
    assert not any(block._forward_pre_hooks for block in quantized.layers)
    assert all(torch.equal(weight, before[name]) for name, weight in llama.state_dict().items())
    assert all(weight.requires_grad for weight in llama.parameters())
    assert quantized.embed.weight is not llama.embed.weight

    logits, wanted = quantized(text), llama(text).detach()
    assert 0 < (logits - wanted).square().mean() < 0.1 * wanted.var()
    ids = [3, 1, 4, 1, 5]
    (written,) = quantized.generate([ids], 8).run()
    for _ in range(8):
        ids.append(quantized(torch.tensor([ids]))[0, -1].argmax().item())
    assert list(written) == ids[5:]


def test_rounding_to_nearest_is_the_model_with_dequantised_weights(llama, text):
    quantized, dense = quantize_model(llama, "rtn", 32), quantize_model(llama, "rtn", 32)
    for block, own in zip(dense.layers, llama.layers, strict=True):
        for part, name in (
            (block.attention, "qkv"), (block.attention, "out"),
            (block.ffn, "gate_up"), (block.ffn, "down"),
        ):  # fmt: skip
            held = own.get_submodule("ffn" if part is block.ffn else "attention")
            weight = held.get_submodule(name).weight
            linear = torch.nn.Linear(*weight.T.shape, bias=False)
            linear.weight.data = round_to_nearest(weight.detach(), 32).dequantize()
            setattr(part, name, linear)
    assert torch.allclose(quantized(text), dense(text), atol=1e-5)


def test_gptq_looks_at_what_the_quantised_blocks_before_it_give(llama, text):
    seen = []
    quantized = quantize_model(llama, "gptq", 32, text, skip=("out", "gate_up", "down"))
    handle = quantized.layers[1].attention.qkv.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].flatten(0, 1))
    )
    quantized(text)
    handle.remove()
    from toolkit.kernels.quant_gemm.gptq import gptq, hessian

    weight = gptq(llama.layers[1].attention.qkv.weight.detach(), hessian(seen[0]), 32)
    x = draw(0, 3, 64)
    assert torch.equal(quantized.layers[1].attention.qkv(x), Int4Linear(weight)(x))


def test_what_is_skipped(llama):
    quantized = quantize_model(llama, "nf4", 32, skip=("down",))
    for own, block in zip(llama.layers, quantized.layers, strict=True):
        assert torch.equal(block.ffn.down.weight, own.ffn.down.weight)
        assert isinstance(block.ffn.gate_up, Int4Linear)


def test_models_that_are_refused(llama, text, tmp_path):
    with pytest.raises(TypeError, match="float32, float16 or bfloat16, got"):
        quantize_model(deepcopy(llama).double())
    with pytest.raises(TypeError, match="must be a Llama, got Linear"):
        quantize_model(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="rtn, gptq, awq, nf4, got 'best'"):
        quantize_model(llama, "best")
    with pytest.raises(ValueError, match="gptq looks at activations"):
        quantize_model(llama, "gptq")
    with pytest.raises(ValueError, match="token 100 is not in the vocabulary"):
        quantize_model(llama, "awq", 32, text + 1)
    with pytest.raises(ValueError, match="skip must be a list of"):
        quantize_model(llama, skip=("head",))
    with pytest.raises(ValueError, match="group"):
        quantize_model(llama, group_size=64)
    quantized = quantize_model(llama, group_size=32)
    with pytest.raises(ValueError, match="nothing to quantise"):
        quantize_model(quantized, group_size=32)
    with pytest.raises(ValueError, match="no weight that a checkpoint could hold"):
        save_checkpoint(quantized, tmp_path)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="looks for x86's instructions")
def test_the_loops_are_vector_instructions():
    # compiled here: what comes from numba's cache has no assembly to look at
    loops = (cpu.widen, cpu.add_products, cpu.add_codes)
    widen, add_products, add_codes = (numba.njit(loop.py_func) for loop in loops)
    tile, x, wide = np.zeros(1024, np.uint8), np.ones(32, np.float32), np.empty(2048, np.float32)
    widen(tile, np.empty(0, np.float32), wide)
    add_products(x, wide, x.copy())
    add_codes(x, x, tile, x.copy())
    for loop, instruction in (
        (widen, "cvtdq2ps"), (add_products, "mulps"),
        (add_codes, "cvtdq2ps"), (add_codes, "mulps"),
    ):  # fmt: skip
        (assembly,) = loop.inspect_asm().values()
        assert re.search(rf"\bv?{instruction}\b", assembly)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", list(ROUNDED))
@pytest.mark.parametrize("rows", [1, 16, 100])
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_on_a_gpu(dtype, rows, kind):
    weight = random_weight(0, 200, 512, 128, kind, act_order=True)
    x = draw(1, rows, 512, dtype=dtype)
    parts = {name: getattr(weight, name) for name in ("codes", "scales", "zeros", "g_idx")}
    there = {name: None if part is None else part.cuda() for name, part in parts.items()}
    y, (wanted, size) = w4a16_matmul(x.cuda(), replace(weight, **there)), by_hand(x, weight)
    assert ((y.cpu() - wanted).abs() <= FP32 * size + ROUNDED[dtype] * wanted.abs()).all()


@pytest.mark.gpu
def test_autotuning_remembers_the_best():
    from toolkit.kernels.quant_gemm import launch

    weight = random_weight(0, 256, 512, 128)
    weight = replace(weight, codes=weight.codes.cuda(), scales=weight.scales.cuda())
    x, packed = draw(1, 1, 512, dtype=torch.float16).cuda(), prepare(weight)
    wanted = w4a16_matmul(x, packed)
    plan = launch.autotune(x, packed)
    assert plan in launch.MEASURED.values()
    assert (w4a16_matmul(x, packed) - wanted).abs().max() <= 2**-9 * wanted.abs().max()


@pytest.mark.gpu
def test_a_weight_stays_where_it_was_prepared():
    packed = prepare(random_weight(0, 32, 64, 32))
    with pytest.raises(ValueError, match="weight's device, cpu, got cuda:0"):
        w4a16_matmul(draw(0, 1, 64).cuda(), packed)
    on_gpu = nf4(draw(0, 32, 64).cuda(), 32)
    with pytest.raises(ValueError, match="looks none up in a codebook"):
        prepare(on_gpu)


def test_outputs_lie_in_order():
    weight = round_to_nearest(torch.randn(40, 64, generator=torch.Generator().manual_seed(0)), 32)
    for rows in (1, 3, 40):
        assert w4a16_matmul(torch.ones(rows, 64), weight).is_contiguous()


def test_what_is_no_quantised_weight_is_refused():
    weight = round_to_nearest(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)), 32)
    for wrong in (torch.ones(64, 64), pack(weight, "gptq_v2")):
        with pytest.raises(TypeError, match="qweight must be a QuantizedWeight or what prepare"):
            w4a16_matmul(torch.ones(1, 64), wrong)
