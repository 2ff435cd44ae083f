"""SmolLM2 in the engine: under every policy each answer is what transformers writes by itself.

What transformers writes, and how far ahead the best token was, is in tests/models.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from toolkit.models.llama import Llama, load
from toolkit.serving.batching import (
    Blocks,
    Continuous,
    Sarathi,
    SplitFuse,
    Static,
    VllmV0,
    VllmV1,
)
from toolkit.serving.batching.answer import Answer
from toolkit.serving.batching.engine import Engine
from toolkit.serving.kv_cache import PrefixBlocks, RadixMemory

FILE = Path(__file__).parents[1] / "models" / "smollm_greedy.json"
HELD = json.loads(FILE.read_text(encoding="utf-8"))["prompts"]
END = 2
A_TIE = 1e-3  # of the two best logits: either may be taken
FP32 = 1e-3  # 30 layers of sums of up to 1,536 numbers, in another order
POLICIES = {
    "static": Static(5),
    "continuous": Continuous(8),
    "vllm v0": VllmV0(8),
    "sarathi": Sarathi(16),
    "split fuse": SplitFuse(24),
    "vllm v1": VllmV1(20),
}


@pytest.fixture(scope="module")
def smollm() -> Llama:
    return load("smollm2-135m-instruct")


def served(engine: Engine, rows: list[dict], tokens: int) -> None:
    """Have the prompts answered: up to the first tie, as transformers does."""
    answers = [engine.submit(row["ids"], tokens) for row in rows]
    engine.run()
    for row, answer in zip(rows, answers, strict=True):
        ahead = row["ahead"][:tokens]
        known = next((place for place, gap in enumerate(ahead) if gap < A_TIE), len(ahead))
        expected = [token for token in row["tokens"][:known] if token != END]
        assert answer.tokens[: len(expected)] == expected, row["prompt"]
        if END in row["tokens"][:known]:
            assert answer.tokens == expected
            assert answer.reason == "end"


def test_answers_are_those_of_transformers(smollm):
    served(Engine(smollm, Sarathi(16), Blocks(40)), HELD[:8], 8)


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_64_tokens_under_every_policy_are_those_of_transformers(smollm, policy):
    served(Engine(smollm, POLICIES[policy], Blocks(120)), HELD[::3], 64)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [PrefixBlocks, RadixMemory])
def test_answers_to_what_was_asked_before_are_the_same(smollm, memory):
    engine = Engine(smollm, VllmV1(20), memory(200, 4))
    served(engine, HELD[::2], 16)
    asked_first = engine.schedule().prefill_tokens.sum()
    served(engine, HELD[::2], 16)
    asked_again = engine.schedule().prefill_tokens.sum() - asked_first
    assert asked_again < 0.5 * asked_first


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["vllm v0", "sarathi"])
def test_they_are_also_where_blocks_were_lost(smollm, policy):
    engine = Engine(smollm, POLICIES[policy], Blocks(17))
    served(engine, HELD[::3], 64)
    assert engine.schedule().preemptions.sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["vllm v0", "sarathi"])
def test_logits_are_those_of_the_whole_text(smollm, policy, monkeypatch):
    seen: dict[int, list[torch.Tensor]] = {}
    choose = Answer.choose

    def heard(answer: Answer, row: torch.Tensor) -> int:
        seen.setdefault(answer.request.id, []).append(row.clone())
        return choose(answer, row)

    monkeypatch.setattr(Answer, "choose", heard)
    engine = Engine(smollm, POLICIES[policy], Blocks(60))
    served(engine, HELD[:10], 24)
    for answer in engine.answers:
        text = torch.tensor([answer.known])
        with torch.inference_mode():
            expected = smollm(text)[0, answer.request.prompt_tokens - 1 : -1]
        assert float((torch.stack(seen[answer.request.id]) - expected).abs().max()) < FP32
