"""What the page on batching may say of measurements: it is in the committed JSON.

Nothing here goes by the clock: it looks at what ``benchmarks/serving/batching.py`` wrote.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest

from toolkit import course

sys.path.append(str(course.root()))

from benchmarks.serving.batching_peers.simulations import POLICIES, SETUPS

PATH = course.homes("serving/batching").results
AZURE = 19_366  # requests


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return json.loads(PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases(result) -> dict[str, dict[str, Any]]:
    return {case["name"]: case for case in result["cases"]}


def qualities(case: dict[str, Any], ours: str) -> dict[str, dict[str, float]]:
    """By contestant, ours among them."""
    peers = {name: peer["quality"] for name, peer in case["peers"].items()}
    return {ours: case["quality"]} | peers


def test_it_names_no_folder_of_the_machine(result):
    assert not re.search(r'"/|/(home|root|tmp|work)/', json.dumps(result))


def test_it_says_which_versions_were_measured(result):
    assert {"torch", "numba", "transformers"} <= result["versions"].keys()


def test_the_whole_trace_is_served_by_each_policy_in_fifteen_seconds_and_a_gigabyte(cases):
    case = cases["Azure conversations"]
    assert case["params"]["requests"] == AZURE
    assert set(POLICIES) == qualities(case, case["params"]["ours"]).keys()
    assert max(case["ours"], *(peer["seconds"] for peer in case["peers"].values())) <= 15
    assert case["peak_mib"] <= 1024


def test_what_clients_see_of_each_policy(cases):
    case = cases["Azure conversations"]
    seen = qualities(case, case["params"]["ours"])
    between = {name: quality["inter_token_p99_ms"] for name, quality in seen.items()}
    assert between["Sarathi"] < between["SplitFuse"] < between["vLLM v1"] < between["vLLM v0"]
    assert seen["Sarathi"]["goodput"] > 1.2 * seen["vLLM v0"]["goodput"]
    static = seen["static, batches of 32"]
    assert static["padding"] > 0.4
    assert static["ttft_mean_ms"] > 100 * seen["continuous"]["ttft_mean_ms"]
    assert all(quality["padding"] == 0 for name, quality in seen.items() if "static" not in name)


def test_time_grows_with_the_iterations_and_no_faster(cases):
    ten = cases["Azure conversations, ten times over"]
    assert ten["params"]["requests"] == 10 * AZURE
    once = ten["peers"]["once"]
    each = once["seconds"] / once["quality"]["iterations"]
    assert ten["ours"] / ten["quality"]["iterations"] < 1.5 * each


def test_sarathis_gain_is_there_and_grows_with_a_pipeline(cases):
    gains = {}
    for setup in SETUPS:
        rates = qualities(cases[setup.name], "Sarathi")
        gains[setup] = (
            rates["Sarathi"]["requests_per_second"] / rates["vLLM v0"]["requests_per_second"]
        )
    mistral, yi, falcon, pipeline = gains.values()
    assert 1.8 < mistral < yi < pipeline
    assert 1.2 < falcon < pipeline


def test_continuous_batching_over_static_with_exponential_answers(cases):
    rates = qualities(cases["exponential answers, OPT-13B"], "vLLM v0")
    paged = rates["vLLM v0"]["tokens_per_second"]
    assert paged > 4 * rates["static, batches of 8"]["tokens_per_second"]
    assert paged > rates["continuous"]["tokens_per_second"]


def test_split_fuse_has_lower_latencies_than_whole_prompts(cases):
    case = cases["fused, Llama-2-70B"]
    for latency in ("end_to_end_mean_s", "inter_token_p95_ms"):
        assert case["peers"]["vLLM v0"]["quality"][latency] > 1.5 * case["quality"][latency]


def test_eight_at_once_write_three_times_as_fast_as_one_at_a_time(cases):
    case = cases["SmolLM2, 8 answers of 128 tokens"]
    written = qualities(case, "ours").values()
    assert all(quality == {"tokens": 1024.0} for quality in written)
    assert case["peers"]["one at a time"]["ratio"] >= 3
    assert case["peers"]["transformers, static batch of 8"]["ratio"] >= 1


def test_the_simulator_foretells_what_the_clock_says(cases):
    (case,) = (case for name, case in cases.items() if name.endswith("by the clock"))
    told, real = case["peers"]["foretold by the simulator"]["quality"], case["quality"]
    for key in ("ttft_mean_ms", "seconds_in_all"):
        assert told[key] == pytest.approx(real[key], rel=0.1)
    # short of the 10 % wanted: the page says that, and why
    assert 0.85 < told["inter_token_p99_ms"] / real["inter_token_p99_ms"] < 1
