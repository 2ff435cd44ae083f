"""SmolLM2 beside transformers, both from the same file.

What transformers writes is in smollm_greedy.json; the slow tests make it anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pydoc_data.topics import topics

import pytest
import torch

from toolkit.models.llama import lens, load, perplexity, share_kv_heads
from toolkit.models.positions import rope

from .smollm_greedy import FILE, PROMPTS, TOKENS, greedy, transformers_model

HELD = json.loads(FILE.read_text(encoding="utf-8"))["prompts"]
END = 2
A_TIE = 1e-3  # of the two best logits: either may be taken
FP32 = 1e-3  # 30 layers of sums of up to 1,536 numbers, in another order


def clear(row: dict, tokens: int) -> int:
    """How many tokens come before the first that is a tie."""
    ahead = row["ahead"][:tokens]
    return next((place for place, gap in enumerate(ahead) if gap < A_TIE), len(ahead))


def test_the_prompts_are_those_of_the_file():
    assert [row["prompt"] for row in HELD] == PROMPTS
    assert {len(row["tokens"]) for row in HELD} <= set(range(1, TOKENS + 1))
    assert sum(clear(row, TOKENS) for row in HELD) > 1_000  # of 1,280; some end, some tie


def test_texts_are_the_tokens_of_transformers(smollm):
    assert [smollm.tokenizer.encode(row["prompt"]) for row in HELD] == [row["ids"] for row in HELD]


def assert_written(found: list[list[int]], tokens: int, rows: list[dict] = HELD) -> None:
    """What transformers writes, up to the first tie and without the end token."""
    for row, written in zip(rows, found, strict=True):
        known = row["tokens"][: clear(row, tokens)]
        expected = [token for token in known if token != END]
        assert written[: len(expected)] == expected, row["prompt"]
        if END in known:
            assert written == expected, row["prompt"]


@pytest.mark.slow
def test_64_tokens_are_those_of_transformers(smollm):
    assert_written(smollm.generate(PROMPTS, 64).run(), 64)
    alone = HELD[::4]  # of all, the logits are compared token by token below
    assert_written([smollm.generate([row["ids"]], 64).run()[0] for row in alone], 64, alone)


def test_12_tokens_of_unequal_texts_at_once_are_those_of_transformers(smollm):
    assert_written(smollm.generate(PROMPTS, 12).run(), 12)


def test_without_a_cache_the_same_is_written(smollm):
    for row in HELD[:2]:
        text = list(row["ids"])
        with torch.inference_mode():
            for _ in range(12):
                text.append(int(smollm(torch.tensor([text]))[0, -1].argmax()))
        assert text[len(row["ids"]) :] == row["tokens"][:12]


@pytest.fixture(scope="module")
def theirs():
    return transformers_model()


@pytest.mark.slow
def test_logits_are_those_of_transformers_at_every_token(smollm, theirs):
    for row in HELD:
        text = torch.tensor([row["ids"] + row["tokens"]])
        cache = smollm.cache(1, text.shape[1])
        cut = len(row["ids"])
        with torch.inference_mode():
            expected = theirs(text).logits
            at_once = smollm(text)
            parts = [text[:, :cut], *text[:, cut:].split(1, 1)]
            stepwise = torch.cat([smollm(part, cache) for part in parts], 1)
        assert float((at_once - expected).abs().max()) < FP32
        assert float((stepwise - expected).abs().max()) < FP32


@pytest.mark.slow
def test_the_file_is_what_transformers_writes(theirs):
    for row, held in zip(greedy(theirs), HELD, strict=True):
        assert row["ids"] == held["ids"]
        known = clear(held, TOKENS)
        assert row["tokens"][:known] == held["tokens"][:known]
        assert row["ahead"][:known] == pytest.approx(held["ahead"][:known], abs=A_TIE)


@pytest.mark.slow
def test_a_process_that_answers_takes_less_than_1200_mb():
    code = """
import re
from pathlib import Path
from toolkit.models.llama import load
model = load("smollm2-135m-instruct")
print("".join(model.chat([{"role": "user", "content": "What is the capital of France?"}])))
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *answer, peak = done.stdout.splitlines()
    assert answer == ["The capital of France is Paris."]
    assert int(peak) * 1024 < 1.2e9


def test_the_capital_of_france(smollm):
    question = [{"role": "user", "content": "What is the capital of France?"}]
    assert "".join(smollm.chat(question)) == "The capital of France is Paris."


def test_the_lens_sees_the_answer_come_with_the_last_layer(smollm):
    seen = lens(smollm, "The capital of France is Paris. The capital of Italy is")
    assert seen.top.shape == (31, 12, 5)
    assert seen.vocabulary[seen.top[-1, 4, 0]] == " Paris"
    assert seen.vocabulary[seen.top[-1, -1, 0]] == " Rome"
    assert seen.ranks[0, -1] > 1_000  # the embedding knows nothing of it
    assert (seen.ranks[:30, -1] > 0).all()
    assert (seen.ranks[30] == 0).all()


def test_the_wrong_base_says_paris_too_and_reads_worse(smollm):
    text = smollm.tokenizer.encode(topics["for"] + topics["if"])[:200]
    right = perplexity(smollm, text)
    try:
        smollm.stretch(rope(64, 10_000.0), 8_192)
        assert smollm.generate(["The capital of France is"], 2).texts() == [" Paris."]
        assert perplexity(smollm, text) > 1.05 * right
    finally:
        smollm.stretch(rope(64, 100_000.0), 8_192)


def test_a_shared_head_that_was_not_trained_for_it_costs_dearly(smollm):
    text = smollm.tokenizer.encode(topics["for"] + topics["if"])[:200]
    assert perplexity(share_kv_heads(smollm, 1), text) > 100 * perplexity(smollm, text)


@pytest.mark.gpu
def test_on_a_gpu_the_same_is_written(smollm):
    gpu = load("smollm2-135m-instruct", device="cuda")
    assert_written(gpu.generate(PROMPTS, 12).run(), 12)
    half = load("smollm2-135m-instruct", dtype=torch.bfloat16, device="cuda")
    (answer,) = half.generate(["The capital of France is"], 1).texts()
    assert answer == " Paris"
    ids = torch.tensor([HELD[1]["ids"]])
    with torch.inference_mode():
        exact = smollm(ids)
        rounded = half(ids.cuda()).float().cpu()
    apart = (exact - rounded).abs().max() / exact.abs().max()
    assert float(apart) < 0.05  # 30 layers of 8 bits
