"""What the page on four-bit weights may say of measurements: it is in the committed JSON.

Nothing here goes by the clock: it looks at what ``benchmarks/kernels/quant_gemm.py`` wrote.
"""

from __future__ import annotations

import json
import re
import sys
from itertools import product
from typing import Any

import pytest
import torch

from toolkit import course
from toolkit.bench import compare
from toolkit.models.llama.layers import FEW_ROWS

sys.path.append(str(course.root()))

from benchmarks.kernels.quant_gemm import LARGE, ROWS, SMOLLM2
from benchmarks.kernels.quant_gemm_peers.language import METHODS as OF_SMOLLM2
from benchmarks.kernels.quant_gemm_peers.products import multiplying
from benchmarks.kernels.quant_gemm_peers.sentences import METHODS as OF_MINILM

PATH = course.homes("kernels/quant_gemm").results
FP32_SUMS = 5.0  # millionths: of sums of up to 4,096 products
BF16 = 1e6 * 2**-8  # millionths: half a unit of x, of a scale and of y, and a little

every_product = [(size, rows) for size, rows in product(LARGE, ROWS)]
every_product += [(size, 1) for size in SMOLLM2]


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return json.loads(PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases(result) -> dict[str, dict[str, Any]]:
    return {case["name"]: case for case in result["cases"]}


def qualities(case: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By method, ours among them."""
    peers = {name: peer["quality"] for name, peer in case["peers"].items()}
    return {case["params"]["ours"]: case["quality"]} | peers


def test_it_names_no_folder_of_the_machine(result):
    assert not re.search(r'"/|/(home|root|tmp|work)/', json.dumps(result))


def test_it_says_which_versions_were_measured(result):
    assert {"torch", "triton", "numba", "transformers"} <= result["versions"].keys()


def test_a_card_is_named_where_one_was_measured(result, cases):
    on_a_gpu = [name for name in cases if name.startswith("on a GPU")]
    assert bool(on_a_gpu) == (result["machine"]["gpu"] is not None)


def test_methods_that_look_at_activations_keep_more_of_minilm_than_rounding(cases):
    found = qualities(cases["MiniLM, quantised"])
    assert found.keys() == OF_MINILM.keys()
    error = {name: quality["layer_error"] for name, quality in found.items()}
    assert error["GPTQ, symmetric, activation order"] < error["GPTQ, symmetric"]
    assert error["GPTQ, symmetric"] < error["to nearest, symmetric"]
    assert error["GPTQ, asymmetric, activation order"] < error["to nearest, asymmetric"]
    assert error["AWQ, asymmetric"] < error["to nearest, asymmetric"]
    assert error["W8A8"] < error["GPTQ, asymmetric, activation order"]


def test_gptq_in_activation_order_is_best_of_four_bits_on_minilm(cases):
    found = qualities(cases["MiniLM, quantised"])
    best = found.pop("GPTQ, asymmetric, activation order")
    assert best["worse_layers"] == 0
    assert 0.8 < best["same_top_1"] < 0.9
    assert 0.04 < best["layer_error"] < 0.06
    for name, quality in found.items():
        if name not in ("W8A8", "fp32, as trained"):
            assert quality["layer_error"] > best["layer_error"]


def test_awq_is_best_of_four_bits_on_smollm2_and_gptq_hardly_beats_rounding(cases):
    found = {n: q["perplexity"] for n, q in qualities(cases["SmolLM2, quantised"]).items()}
    shipped = found.pop("Q4_1, as shipped")
    assert min(found, key=found.__getitem__) == "AWQ, asymmetric"
    plain = found["to nearest, symmetric"]
    assert 0 < plain - found["GPTQ, symmetric"] < (plain - shipped) / 5


def test_minilm_as_trained_agrees_with_itself(cases):
    found = qualities(cases["MiniLM, quantised"])["fp32, as trained"]
    assert found["layer_error"] == 0
    assert found["same_top_1"] == found["shared_top_10"] == 1


def test_four_bits_are_an_eighth_of_fp32_and_the_scales(cases):
    found = {name: q["megabytes"] for name, q in qualities(cases["MiniLM, quantised"]).items()}
    symmetric, fp32 = found["to nearest, symmetric"], found["fp32, as trained"]
    assert symmetric / fp32 == pytest.approx((4 + 16 / 128) / 32, rel=1e-3)


def test_smollm2_as_shipped_reads_best_and_is_what_greedy_tokens_are_compared_with(cases):
    found = qualities(cases["SmolLM2, quantised"])
    assert found.keys() == OF_SMOLLM2.keys()
    shipped = found.pop("Q4_1, as shipped")
    assert shipped["same_greedy"] == 1
    for quality in found.values():
        assert quality["perplexity"] > shipped["perplexity"]
        assert 0 < quality["same_greedy"] < 1


def test_rounding_in_groups_of_32_is_not_what_the_file_holds(cases):
    found = qualities(cases["SmolLM2, quantised"])
    again = found["to nearest, asymmetric, groups of 32"]
    assert again["megabytes"] < found["Q4_1, as shipped"]["megabytes"]
    assert again["perplexity"] < found["to nearest, asymmetric"]["perplexity"]


@pytest.mark.parametrize(("size", "rows"), every_product)
def test_products_are_right(cases, size, rows):
    outputs, inputs = size
    case = cases[f"{inputs} x {outputs}, M = {rows}"]
    assert 0 < case["quality"]["error_millionths"] < FP32_SUMS
    errors = {name: peer["quality"]["error_millionths"] for name, peer in case["peers"].items()}
    assert 0 < errors.pop("torch, int4") < BF16
    assert len(errors) == (2 if rows <= FEW_ROWS else 1)
    for error in errors.values():
        assert 0 < error < FP32_SUMS


@pytest.mark.parametrize("size", ["4096 x 4096", "4096 x 11008"])
def test_one_row_takes_half_of_fp32s_time_or_less(cases, size):
    for peer in ("torch, fp32", "fp32, weights left"):
        assert cases[f"{size}, M = 1"]["peers"][peer]["ratio"] >= 2


@pytest.mark.parametrize("batch", [1, 8])
def test_both_models_wrote_as_many_tokens(cases, batch):
    case = cases[f"SmolLM2 writing, batch {batch}"]
    wanted = {"tokens": batch * case["params"]["new_tokens"]}
    assert case["quality"] == case["peers"]["fp32"]["quality"] == wanted


def test_one_token_at_a_time_four_bits_are_faster(cases):
    assert cases["SmolLM2 writing, batch 1"]["peers"]["fp32"]["ratio"] > 1.3


def test_the_page_says_where_four_bits_lose(cases):
    fp32 = {name: case["peers"].get("torch, fp32", {}).get("ratio") for name, case in cases.items()}
    assert fp32["4096 x 4096, NF4, M = 1"] < 1.1
    assert sum(fp32[f"{inputs} x {outputs}, M = 1"] < 1 for outputs, inputs in SMOLLM2) >= 2
    assert fp32["4096 x 4096, M = 64"] < 1
    assert cases["SmolLM2 writing, batch 8"]["peers"]["fp32"]["ratio"] < 1
    for case in cases.values():
        if "torch, int4" in case["peers"]:
            assert case["peers"]["torch, int4"]["ratio"] < 1


@pytest.mark.gpu
def test_the_smallest_case_runs_on_a_gpu():
    from benchmarks.kernels.quant_gemm_peers import on_a_gpu

    assert torch.cuda.is_available()
    comparison = compare(on_a_gpu.multiplying(1, 512, 512))
    fp16_sums = 2_000  # millionths
    assert comparison.quality["error_millionths"] < fp16_sums
    assert comparison.peers.keys() == {"torch, fp16", "a copy of as many bytes"}


def test_a_small_product_is_measured():
    comparison = compare(multiplying(2, 64, 128))
    assert comparison.quality["error_millionths"] < FP32_SUMS
    assert comparison.peers.keys() == {"torch, fp32", "torch, int4", "fp32, weights left"}
