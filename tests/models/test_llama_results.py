"""What the chapter's page and ledger say of the benchmark's results."""

from __future__ import annotations

import pytest

from toolkit import course
from toolkit.viz import Speeds

MEASURED = {case.name: case.case for case in Speeds.read(course.homes("models/llama").results)}


@pytest.mark.parametrize(("batch", "faster"), [(1, 1.8), (8, 1.2)])
def test_the_same_is_written_and_faster(batch, faster):
    case = MEASURED[f"writing, batch {batch}"]
    theirs = case["peers"]["transformers"]
    assert case["quality"]["tokens"] == theirs["quality"]["tokens"] == 64 * batch
    assert case["quality"]["tokens_of_transformers"] == 1
    assert theirs["ratio"] >= faster


def test_a_text_is_read_as_well():
    case = MEASURED["reading 512 tokens"]
    theirs = case["peers"]["transformers"]["quality"]["perplexity"]
    assert case["quality"]["perplexity"] == pytest.approx(theirs, rel=1e-4)


def test_it_is_loaded_within_6_seconds_and_1200_mb():
    case = MEASURED["from nothing to a token"]
    ours, theirs = case["quality"], case["peers"]["transformers"]["quality"]
    assert ours["says_paris"] == theirs["says_paris"] == 1
    assert ours["loading_s"] < 6
    assert ours["peak_mib"] * 2**20 < 1.2e9
    assert ours["peak_mib"] < theirs["peak_mib"]
