"""What the page on attention may say of time and memory: it is in the committed JSON.

Nothing here goes by the clock: it looks at what ``benchmarks/models/attention.py`` wrote.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from toolkit import course
from toolkit.models.attention import AttentionShape, kv_bytes_per_token

PATH = course.homes("models/attention").results
CONTEXTS = (512, 2048, 8192, 32_768)
KINDS = ("MHA", "GQA", "MQA", "MLA, absorbed", "MLA, naive")
# Outputs are below 1, and sums of thousands of fp32 products round in the sixth place.
WITHIN_FP32_ROUNDING = 20.0

every_step = [(kind, context) for kind in KINDS for context in CONTEXTS]


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return json.loads(PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases(result) -> dict[str, dict[str, Any]]:
    return {case["name"]: case for case in result["cases"]}


def step(cases: dict[str, dict[str, Any]], kind: str, context: int) -> dict[str, Any]:
    return cases[f"one step by {kind}, {context:,} tokens"]


def seconds(case: dict[str, Any]) -> float:
    """Of one step of ours."""
    return case["ours"] / case["params"]["steps"]


def cache_mib(case: dict[str, Any]) -> float:
    return case["quality"]["cache_mib"]


def test_it_names_no_folder_of_the_machine(result):
    assert not re.search(r'"/|/(home|root|tmp|work)/', json.dumps(result))


def test_it_says_which_versions_were_measured(result):
    assert {"torch", "transformers"} <= result["versions"].keys()


def test_every_kind_was_measured_at_every_context(cases):
    names = {f"one step by {kind}, {context:,} tokens" for kind, context in every_step}
    assert names | {"a prompt of 512 tokens", "a prompt of 2,048 tokens"} == cases.keys()
    sizes = [{case["params"][key] for case in cases.values()} for key in ("threads", "dtype")]
    assert sizes == [{1}, {"fp32"}]


@pytest.mark.parametrize(("kind", "context"), every_step)
def test_ours_and_every_peer_give_the_step_of_double_precision(cases, kind, context):
    case = step(cases, kind, context)
    other = "ours, naive" if kind == "MLA, absorbed" else "transformers, static cache"
    assert case["peers"].keys() == {"transformers", other}
    for found in (case["quality"], *(peer["quality"] for peer in case["peers"].values())):
        assert found.keys() == {"error_millionths", "cache_mib"}
        assert found["error_millionths"] < WITHIN_FP32_ROUNDING


def test_angles_in_double_precision_pay_far_into_a_text(cases):
    case = step(cases, "MHA", 8192)
    theirs = case["peers"]["transformers"]["quality"]["error_millionths"]
    assert theirs > 3 * case["quality"]["error_millionths"]


@pytest.mark.parametrize("tokens", ["512", "2,048"])
def test_a_prompt_is_that_of_double_precision(cases, tokens):
    case = cases[f"a prompt of {tokens} tokens"]
    for found in (case["quality"], *(peer["quality"] for peer in case["peers"].values())):
        assert 0 < found["error_millionths"] < WITHIN_FP32_ROUNDING


@pytest.mark.parametrize(("kind", "context"), every_step)
def test_the_cache_takes_the_bytes_that_its_shape_says(cases, kind, context):
    params = step(cases, kind, context)["params"]
    shape = AttentionShape(
        kind,
        layers=1,
        heads=params["heads"],
        kv_heads=params.get("kv_heads", params["heads"]),
        head_dim=params["head_dim"],
        latent=params.get("latent", 0),
        rope_dim=params.get("rope_dim", 0),
    )
    assert shape.kind == kind[:3]
    expected = kv_bytes_per_token(shape, 4) * context / 2**20
    case = step(cases, kind, context)
    assert cache_mib(case) == pytest.approx(expected, rel=1e-3)
    for peer in case["peers"].values():
        assert peer["quality"]["cache_mib"] == pytest.approx(expected, rel=1e-2)


def test_mla_keeps_a_seventh_of_what_heads_of_their_own_do(cases):
    ratio = cache_mib(step(cases, "MHA", 8192)) / cache_mib(step(cases, "MLA, absorbed", 8192))
    assert 7 <= ratio < 8


@pytest.mark.parametrize("kind", ["GQA", "MQA"])
def test_fewer_keys_are_read_in_less_time_but_less_so_than_by_their_bytes(cases, kind):
    mha, few = step(cases, "MHA", 32_768), step(cases, kind, 32_768)
    assert 1 < seconds(mha) / seconds(few) < cache_mib(mha) / cache_mib(few)


@pytest.mark.parametrize("context", [8192, 32_768])
def test_the_absorbed_way_is_ten_times_as_fast_as_the_naive(cases, context):
    case = step(cases, "MLA, absorbed", context)
    for peer in ("ours, naive", "transformers"):  # which has the naive way only
        assert case["peers"][peer]["ratio"] > 10, peer


def test_a_seventh_of_the_cache_is_nowhere_near_a_seventh_of_the_time(cases):
    mha, mla = (step(cases, kind, 32_768) for kind in ("MHA", "MLA, absorbed"))
    assert seconds(mha) / seconds(mla) < 3


def test_the_naive_way_takes_ten_times_the_memory_of_the_absorbed(cases):
    naive, absorbed = (step(cases, f"MLA, {way}", 32_768) for way in ("naive", "absorbed"))
    assert naive["peak_mib"] > 10 * absorbed["peak_mib"]
    assert naive["peak_mib"] > 5 * cache_mib(naive)


def test_a_cache_that_grows_by_copying_costs_a_multiple(cases):
    peers = step(cases, "MHA", 8192)["peers"]
    assert peers["transformers"]["ratio"] > 2
    assert peers["transformers"]["seconds"] > 2 * peers["transformers, static cache"]["seconds"]


def test_with_a_static_cache_transformers_takes_about_the_same_time(cases):
    ratio = step(cases, "MHA", 8192)["peers"]["transformers, static cache"]["ratio"]
    assert 0.7 < ratio < 1.5


def test_a_prompt_pays_for_its_scores_and_not_for_copies_of_keys(cases):
    peers = cases["a prompt of 2,048 tokens"]["peers"]
    assert peers["the formula"]["ratio"] > 2
    assert 0.8 < peers["torch's kernel, keys copied"]["ratio"] < 1.3
