"""What the page on positions may say of perplexity and speed: it is in the committed JSON.

Nothing here goes by the clock: it looks at what ``benchmarks/models/positions.py`` wrote.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from toolkit import course

PATH = course.homes("models/positions").results
STRETCHING = "perplexity of SmolLM2 against context"
PEERS = {"linear": 4_096, "yarn": 4_096, "dynamic": 9_216}
TURNING = ("decoding, batch 1", "decoding, batch 8", "a prompt of 2,048 tokens")
TRAINED, TWICE = 8_192, 16_384
FORGETTING = "the last 8,192 tokens only"
STRETCHED = ("NTK-aware, factor 2", "NTK-aware, factor 4", "dynamic NTK", "YaRN, factor 2")


@pytest.fixture(scope="module")
def cases() -> dict[str, dict[str, Any]]:
    result = json.loads(PATH.read_text(encoding="utf-8"))
    assert not re.search(r'"/|/(home|root|tmp|work)/', json.dumps(result))
    return {case["name"]: case for case in result["cases"]}


@pytest.fixture(scope="module")
def perplexity(cases) -> dict[str, dict[int, float]]:
    """By method and length."""
    case = cases[STRETCHING]
    found = {"as trained": case["quality"]}
    found |= {name: peer["quality"] for name, peer in case["peers"].items()}
    return {
        name: {int(key.removeprefix("at_")): value for key, value in row.items()}
        for name, row in found.items()
    }


def test_all_methods_read_the_same_lengths_up_to_twice_the_trained_one(cases, perplexity):
    assert cases[STRETCHING]["params"]["trained"] == TRAINED
    assert len({tuple(row) for row in perplexity.values()}) == 1
    assert {TRAINED, TWICE} <= perplexity["as trained"].keys()
    assert max(perplexity["as trained"]) == TWICE


def test_as_trained_the_model_holds_on_for_a_while_and_then_falls_apart(perplexity):
    as_trained, forgetting = perplexity["as trained"], perplexity[FORGETTING]
    assert as_trained[10_240] < 1.1 * forgetting[10_240]
    assert as_trained[12_288] > 2 * forgetting[12_288]
    assert as_trained[TWICE] > 100 * forgetting[TWICE]


def test_within_training_two_methods_change_nothing(perplexity):
    for name in ("dynamic NTK", FORGETTING):
        for length, value in perplexity["as trained"].items():
            if length <= TRAINED:
                assert perplexity[name][length] == value


def test_dynamic_ntk_at_twice_the_length_is_ntk_aware_by_two(perplexity):
    assert perplexity["dynamic NTK"][TWICE] == perplexity["NTK-aware, factor 2"][TWICE]


def test_stretched_the_model_survives_and_gains_nothing_over_forgetting(perplexity):
    forgetting = perplexity[FORGETTING]
    for name, found in perplexity.items():
        for length in found:
            if length > TRAINED:
                times = found[length] / forgetting[length]
                assert times > 0.99, (name, length)
                assert times < 1.16 or name not in STRETCHED, (name, length)


def test_yarn_is_the_best_at_twice_the_length_and_dynamic_ntk_before_that(perplexity):
    for length, best in (
        (10_240, "dynamic NTK"),
        (12_288, "dynamic NTK"),
        (TWICE, "YaRN, factor 2"),
    ):
        values = {name: perplexity[name][length] for name in STRETCHED}
        assert min(values, key=values.__getitem__) == best


def test_the_larger_base_costs_more_than_it_mends(perplexity):
    """Factor 4 brings back the 11 dials that factor 2 leaves outside, and is worse everywhere."""
    for length, value in perplexity["NTK-aware, factor 4"].items():
        assert value > perplexity["NTK-aware, factor 2"][length]


def test_a_fixed_factor_costs_texts_that_need_none(perplexity):
    for length, value in perplexity["as trained"].items():
        if length <= TRAINED:
            assert value < perplexity["YaRN, factor 2"][length] < 1.03 * value


def test_interpolation_without_training_is_two_to_four_times_as_bad(perplexity):
    for length, value in perplexity[FORGETTING].items():
        assert 2 < perplexity["interpolation, factor 2"][length] / value < 4.5


def test_yarns_temperature_helps_at_twice_the_length_and_not_before(perplexity):
    sharper, plain = perplexity["YaRN, factor 2"], perplexity["YaRN, factor 2, no temperature"]
    assert sharper[TWICE] < plain[TWICE]
    assert sharper[12_288] > plain[12_288]


@pytest.mark.parametrize("kind", PEERS)
def test_transformers_loses_as_much_on_every_token(cases, kind):
    case = cases[f"{kind}, {PEERS[kind]:,} tokens, beside transformers"]
    assert case["quality"]["largest_difference"] < 1e-3
    assert case["peers"]["transformers"]["quality"]["largest_difference"] == 0


@pytest.mark.parametrize("size", TURNING)
def test_it_turns_faster_than_transformers_where_neighbours_are_pairs(cases, size):
    peers = cases[f"turning queries and keys, {size}"]["peers"]
    assert peers["ours, halves"]["ratio"] > 1
    assert peers["transformers"]["ratio"] > 2


def test_in_halves_it_is_faster_in_decoding_and_no_slower_than_half_as_much_again(cases):
    for size in TURNING:
        peers = cases[f"turning queries and keys, {size}"]["peers"]
        times = peers["ours, halves"]["ratio"] / peers["transformers"]["ratio"]
        assert times < (1.5 if "prompt" in size else 0.7)


@pytest.mark.parametrize("size", TURNING)
def test_it_turns_as_exactly_as_transformers(cases, size):
    case = cases[f"turning queries and keys, {size}"]
    for found in (case["quality"], *(peer["quality"] for peer in case["peers"].values())):
        assert found["error_1e-7"] < 10  # numbers of up to 5, in fp32
