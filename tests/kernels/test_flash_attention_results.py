"""What the page on FlashAttention may say of measurements: it is in the committed JSON.

Nothing here goes by the clock: it looks at what ``benchmarks/kernels/flash_attention.py`` wrote.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton has wheels for Linux only")

from toolkit import course
from toolkit.bench import compare
from toolkit.kernels.compiling import SHARED_LIMITS
from toolkit.kernels.flash_attention import Tiles, flash_bytes

sys.path.append(str(course.root()))

from benchmarks.kernels.flash_attention_peers.compiled import KERNELS, compiling

PATH = course.homes("kernels/flash_attention").results
# Outputs are means of values up to 4, and sums of thousands of fp32 products.
WITHIN_FP32_ROUNDING = 5.0

every_kernel = [(name, head_dim) for head_dim in (64, 128) for name in KERNELS]


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return json.loads(PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases(result) -> dict[str, dict[str, Any]]:
    return {case["name"]: case for case in result["cases"]}


def test_it_names_no_folder_of_the_machine(result):
    assert not re.search(r'"/|/(home|root|tmp|work)/', json.dumps(result))


def test_it_says_which_versions_were_measured(result):
    assert {"torch", "triton"} <= result["versions"].keys()


def test_a_card_is_named_where_one_was_measured(result, cases):
    on_a_gpu = [name for name in cases if name.startswith(("forward,", "backward,", "decoding"))]
    timed = [name for name in on_a_gpu if "compiled" not in name]
    assert bool(timed) == (result["machine"]["gpu"] is not None)


def test_watching_changes_nothing(cases):
    case = cases["the forward kernel in the interpreter, 256 tokens"]
    tiles = Tiles(64, 64, 4, 1)
    exact = flash_bytes(1, 1, 256, 256, 64, tiles=tiles, causal=True, itemsize=4)
    assert case["params"]["exact_bytes"] == exact
    assert case["peers"]["not watched"]["quality"] == case["quality"]
    assert 0 < case["quality"]["error_millionths"] < 10


def test_watching_takes_less_than_as_long_again(cases):
    (peer,) = cases["the forward kernel in the interpreter, 256 tokens"]["peers"].values()
    assert 0.5 < peer["ratio"] < 1.05


@pytest.mark.parametrize("tokens", ["512", "2,048"])
def test_the_reference_is_right_and_a_multiple_slower_than_torchs_kernel(cases, tokens):
    case = cases[f"on a CPU, {tokens} tokens"]
    peer = case["peers"]["SDPA"]
    assert peer["ratio"] < 0.5
    for found in (case["quality"], peer["quality"]):
        assert 0 < found["error_millionths"] < WITHIN_FP32_ROUNDING


@pytest.mark.parametrize(("name", "head_dim"), every_kernel)
def test_the_librarys_present_tiles_were_compiled_without_spills(cases, name, head_dim):
    present = compiling(name, head_dim)
    case = cases[present.name]
    assert case["params"]["ours"] == present.params["ours"]
    found = case["quality"]
    assert found["wgmma"] > 0
    assert found["spilled_bytes"] == 0
    assert found["registers"] <= 255
    assert found["shared_kib"] * 1024 <= SHARED_LIMITS["sm_90"]


def test_other_tiles_would_spill(cases):
    spilled = [
        peer["quality"]["spilled_bytes"]
        for name, head_dim in every_kernel
        for peer in cases[f"{name}, head_dim {head_dim}, compiled for sm_90"]["peers"].values()
    ]
    assert max(spilled) > 1000


@pytest.mark.gpu
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_smallest_case_runs_on_a_gpu(direction):
    from benchmarks.kernels.flash_attention_peers.on_a_gpu import attending

    assert torch.cuda.is_available()
    comparison = compare(attending(direction, 64, 1024, causal=True))
    ours = comparison.quality["error_thousandths"]
    assert comparison.peers.keys() >= {"SDPA, flash", "SDPA, cuDNN", "FlexAttention"}
    # bf16 keeps 8 bits, of outputs up to 4 and gradients up to tens
    assert ours < 200
    assert ours < 2 * comparison.peers["SDPA, flash"].quality["error_thousandths"]


@pytest.mark.gpu
def test_decoding_runs_on_a_gpu():
    from benchmarks.kernels.flash_attention_peers.on_a_gpu import decoding

    comparison = compare(decoding(batch=2, context=512))
    assert comparison.quality["error_thousandths"] < 20
    assert comparison.peers["a copy of as many bytes"].quality == {"error_thousandths": 0.0}
