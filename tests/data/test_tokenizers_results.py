"""What the tokenizers' page may say of speed, compression and memory: it is in the committed JSON.

Nothing here goes by the clock: it looks at what ``benchmarks/data/tokenizers.py`` wrote.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from toolkit import course

PATH = course.homes("data/tokenizers").results
TEXTS = ("English", "Chinese", "10,000 varied texts", "one varied text")
WHOLE = "lines only; "
LEARNT = {"bytes_per_token", "encoding_mb_s", "training_mib"}


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return json.loads(PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases(result) -> dict[str, dict[str, Any]]:
    return {case["name"]: case for case in result["cases"]}


def speeds(case: dict[str, Any]) -> dict[str, float]:
    """MB/s of ours and of each peer."""
    seconds = {name: peer["seconds"] for name, peer in case["peers"].items()}
    return {
        name: case["params"]["bytes"] / taken / 1e6
        for name, taken in ({"ours": case["ours"]} | seconds).items()
    }


def test_it_names_no_folder_of_the_machine(result):
    assert not re.search(r'"/|/(home|root|tmp|work)/', json.dumps(result))


def test_it_says_which_versions_were_measured(result, cases):
    assert {"sentencepiece", "tiktoken", "tokenizers"} <= result["versions"].keys()
    assert {case["params"].get("bytepiece", "0.6.3") for case in cases.values()} == {"0.6.3"}


@pytest.mark.parametrize("peer", ["tokenizers", "tiktoken"])
@pytest.mark.parametrize("texts", TEXTS)
def test_bpe_gives_every_text_the_peers_ids(cases, texts, peer):
    case = cases[f"encoding by BPE, {texts}, beside {peer}"]
    assert case["peers"][peer]["quality"] == case["quality"]
    assert case["quality"]["identical"] == 1.0
    assert case["params"]["threads"] == 1


def test_varied_texts_are_ten_thousand(cases):
    for peer in ("tokenizers", "tiktoken"):
        case = cases[f"encoding by BPE, 10,000 varied texts, beside {peer}"]
        assert case["params"]["texts"] == 10_000


@pytest.mark.parametrize("texts", TEXTS)
def test_bpe_encodes_as_fast_as_tokenizers_and_half_as_fast_as_tiktoken(cases, texts):
    for peer, least in (("tokenizers", 1.0), ("tiktoken", 0.5)):
        case = cases[f"encoding by BPE, {texts}, beside {peer}"]
        assert case["peers"][peer]["ratio"] >= least, peer


def test_bytepiece_learns_the_packages_vocabulary_ten_times_as_fast(cases):
    case = cases["learning BytePiece"]
    package = case["peers"]["bytepiece"]
    assert package["quality"]["agreement"] >= 0.99
    assert package["ratio"] >= 10


def test_each_reads_the_others_model_and_cuts_every_line_as_it_does(cases):
    read_by_ours = cases["learning BytePiece"]["peers"]["bytepiece"]["quality"]
    read_by_theirs = cases["encoding by BytePiece, lines"]["peers"]["bytepiece"]["quality"]
    assert (read_by_ours["identical"], read_by_theirs["identical"]) == (1.0, 1.0)


def test_bytepiece_encodes_short_lines_five_times_as_fast_as_the_package(cases):
    assert cases["encoding by BytePiece, lines"]["peers"]["bytepiece"]["ratio"] >= 5


def test_bytepiece_encodes_a_long_line_as_fast_as_many_short_ones_and_the_package_does_not(cases):
    kilobytes = ("10", "100", "1,000")
    measured = [speeds(cases[f"encoding by BytePiece, lines of {size} kB"]) for size in kilobytes]
    ours = [speed["ours"] for speed in measured]
    theirs = [speed["bytepiece"] for speed in measured]
    assert min(ours) > 0.8 * max(ours)
    assert theirs[2] < theirs[0] / 3
    assert ours[2] > 20 * theirs[2]


def test_unigram_compresses_no_worse_than_sentencepiece_at_the_same_splitting(cases):
    case = cases["learning Unigram, whole lines"]
    peer = case["peers"]["SentencePiece Unigram"]
    assert case["quality"]["bytes_per_token"] >= 0.99 * peer["quality"]["bytes_per_token"]
    assert peer["ratio"] > 1


@pytest.mark.parametrize("model", ["BytePiece", "Unigram"])
def test_sentencepiece_cuts_lines_by_our_models_as_we_do(cases, model):
    case = cases[f"SentencePiece model of {model}"]
    assert case["peers"]["SentencePiece"]["quality"]["identical"] >= 0.995


def learnt(cases: dict[str, dict[str, Any]]) -> list[tuple[str, str, dict[str, float]]]:
    """The rows of the table of compression: tool, splitting, figures."""
    rows = []
    for name, case in cases.items():
        if name.startswith("learning ") and "memory" not in name:
            answers = {"ours": case["quality"]} | {
                peer: found["quality"] for peer, found in case["peers"].items()
            }
            for tool, quality in answers.items():
                splitting = case["params"][f"splitting of {tool}"]
                rows.append((f"{tool} in {name}", splitting, quality))
    return rows


def test_every_vocabulary_is_of_one_size_from_the_same_lines_and_says_how_they_were_split(cases):
    trained = [case for name, case in cases.items() if "splitting of ours" in case["params"]]
    for key in ("bytes", "lines", "held_out_bytes", "vocab_size", "threads"):
        assert len({case["params"][key] for case in trained}) == 1
    assert trained[0]["params"]["vocab_size"] == 16_000
    rows = learnt(cases)
    assert len(rows) == 12
    for tool, splitting, quality in rows:
        assert splitting, tool
        assert quality.keys() >= LEARNT, tool
        assert all(value > 0 for value in quality.values()), tool


def test_splitting_decides_more_than_the_tool(cases):
    """Who may keep lines whole compresses better, but for BytePiece, which is last either way."""
    whole, words, bytepiece = [], [], []
    for tool, split, found in learnt(cases):
        group = whole if split.startswith(WHOLE) else words
        group = bytepiece if "learning BytePiece" in tool else group
        group.append(found["bytes_per_token"])
    assert (len(whole), len(words), len(bytepiece)) == (5, 4, 3)
    assert max(bytepiece) < min(words)
    assert max(words) < min(whole)
    assert max(bytepiece) - min(bytepiece) < 0.01  # rare characters spelt or not


def test_of_the_published_claims_memory_stands_and_speed_of_learning_does_not(cases):
    package = cases["learning BytePiece"]["peers"]["bytepiece"]
    others = cases["learning BPE, whole lines"]["peers"]
    others = others | cases["learning Unigram, whole lines"]["peers"]
    for tool, found in others.items():
        assert package["quality"]["training_mib"] < found["quality"]["training_mib"], tool
    assert package["seconds"] > 10 * others["SentencePiece BPE"]["seconds"]


def test_where_ours_loses(cases):
    """As the page says, and the benchmark's ledger."""
    for name in ("learning BPE, whole lines", "learning as each tool splits by default"):
        assert cases[name]["peers"]["SentencePiece BPE"]["ratio"] < 1
    whole = cases["learning BPE, whole lines"]
    for found in (*learnt(cases),):
        assert found[2]["training_mib"] <= whole["quality"]["training_mib"]
    for model in ("BytePiece", "Unigram"):
        assert cases[f"SentencePiece model of {model}"]["peers"]["SentencePiece"]["ratio"] < 1


def test_memory_of_learning_grows_with_the_text_and_less_than_threefold_for_a_second_thread(cases):
    case = cases["learning BytePiece, memory"]
    one, two = case["quality"], case["peers"]["ours, two threads"]["quality"]
    sizes = [name for name in one if name.startswith("mib_at_")]
    assert len(sizes) == 4
    assert [one[name] for name in sizes] == sorted(one[name] for name in sizes)
    assert one["gb_per_gb"] > 0
    assert 0 < two["gb_per_gb"] < 3 * one["gb_per_gb"]
