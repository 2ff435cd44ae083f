"""The engine: whoever else is served, and in whatever chunks, each answer is that of its prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.data.tokenizers import BPE
from toolkit.models.llama import Llama, LlamaConfig, Sampling
from toolkit.serving.batching import (
    Batch,
    Blocks,
    Continuous,
    PolicyError,
    Request,
    Sarathi,
    SplitFuse,
    Static,
    Trace,
    VllmV0,
    VllmV1,
    simulate,
)
from toolkit.serving.batching import answer as answer_module
from toolkit.serving.batching.answer import Answer
from toolkit.serving.batching.engine import Engine
from toolkit.serving.batching.replay import replay, with_prompts
from toolkit.serving.kv_cache import PrefixBlocks, RadixMemory

A_TIE = 1e-3  # of the two best logits: either may be taken
FP32 = {"rtol": 1e-4, "atol": 1e-4}  # two layers of sums of up to 160 numbers, in another order
POLICIES = {
    "static": Static(3),
    "continuous": Continuous(4),
    "vllm v0": VllmV0(4, watermark=0.0),
    "sarathi": Sarathi(7),
    "split fuse": SplitFuse(12),
    "vllm v1": VllmV1(9),
}
MEMORIES = {"blocks": Blocks, "prefix": PrefixBlocks, "radix": RadixMemory}


def random_llama() -> Llama:
    """Small, and different enough from token to token; bytes are its tokens."""
    model = Llama(LlamaConfig.tiny(context=128), seed=3).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.mul_(8.0)
    model.tokenizer = BPE([bytes([byte]) for byte in range(256)], [])
    return model


MODEL = random_llama()
HELLO = "Hello! You are a helpful assistant. "
PROMPTS = [
    HELLO + "What is a block?",
    "a",
    HELLO + "What is a page?",
    "Once upon a time, in a village by the sea,",
    "Why?",
    HELLO + "What is a block?",
    "def fibonacci(n):\n    return n if",
]
TOKENS = [list(prompt.encode()) for prompt in PROMPTS]


@torch.no_grad()
def certain(prompt: list[int], tokens: list[int]) -> int:
    """How many tokens come before the first that is a tie, by the model's whole pass."""
    best = MODEL(torch.tensor([prompt + tokens]))[0, len(prompt) - 1 : -1].topk(2).values
    ties = torch.nonzero(best[:, 0] - best[:, 1] < A_TIE)
    return int(ties[0]) if len(ties) else len(tokens)


def assert_alone(answer: Answer, prompt: list[int], tokens: int) -> None:
    """What the model writes for the prompt alone, up to the first tie."""
    (expected,) = MODEL.generate([prompt], tokens).run()
    known = certain(prompt, expected)
    assert answer.tokens[:known] == expected[:known]
    assert len(answer.tokens) == tokens or known < tokens


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("policy", POLICIES)
def test_each_answer_is_that_of_its_prompt_alone(policy, memory, monkeypatch):
    logits: dict[int, list[torch.Tensor]] = {}
    choose = Answer.choose

    def heard(answer: Answer, row: torch.Tensor) -> int:
        logits.setdefault(answer.request.id, []).append(row.clone())
        return choose(answer, row)

    monkeypatch.setattr(Answer, "choose", heard)
    engine = Engine(MODEL, POLICIES[policy], MEMORIES[memory](60, 8))
    lengths = [20, 3, 30, 12, 1, 20, 9]
    answers = [engine.submit(*asked) for asked in zip(TOKENS[:5], lengths, strict=False)]
    for _ in range(8):
        engine.step()
    answers += [engine.submit(*asked) for asked in zip(TOKENS[5:], lengths[5:], strict=True)]
    engine.run()
    for answer, prompt, length in zip(answers, TOKENS, lengths, strict=True):
        assert_alone(answer, prompt, length)
        text = torch.tensor([prompt + answer.tokens])
        with torch.no_grad():
            expected = MODEL(text)[0, len(prompt) - 1 : -1]
        torch.testing.assert_close(torch.stack(logits[answer.request.id]), expected, **FP32)
    assert sum(certain(p, a.tokens) for p, a in zip(TOKENS, answers, strict=True)) > 60


@pytest.mark.parametrize("memory", ["prefix", "radix"])
def test_what_was_computed_before_is_not_computed_again(memory):
    engine = Engine(MODEL, VllmV1(64), MEMORIES[memory](60, 8))
    first = engine.submit(PROMPTS[0], 10)
    engine.run()
    again, other = engine.submit(PROMPTS[0], 10), engine.submit(PROMPTS[2], 10)
    engine.run()
    schedule = engine.schedule()
    computed = np.bincount(schedule.chunk_request, schedule.chunk_tokens)
    whole = len(TOKENS[0]) // 8 * 8
    shared = len(HELLO + "What is a ") // 8 * 8
    assert computed.tolist() == [
        len(TOKENS[0]) + 9,
        len(TOKENS[0]) + 9 - whole,
        len(TOKENS[2]) + 9 - shared,
    ]
    assert again.tokens == first.tokens
    assert_alone(other, TOKENS[2], 10)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("policy", ["vllm v0", "sarathi", "split fuse", "vllm v1"])
def test_a_request_that_lost_its_blocks_goes_on_as_if_nothing_had_been(policy, memory):
    held = MEMORIES[memory](14, 8)
    engine = Engine(MODEL, POLICIES[policy], held)
    answers = [engine.submit(prompt, 40) for prompt in TOKENS]
    engine.run()
    assert engine.schedule().preemptions.sum() > 0
    assert held.free == held.blocks
    for answer, prompt in zip(answers, TOKENS, strict=True):
        assert_alone(answer, prompt, 40)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_legal_batches_give_the_same_answers(data):
    """A policy that draws who computes how much, and who loses its blocks."""

    class Drawn:
        def next_batch(self, state):
            batch, free = Batch(), state.memory.free
            for request in [*state.running, *state.waiting]:
                begun = any(request is other for other in state.running)
                if begun and data.draw(st.integers(0, 9)) == 0:
                    batch.preempted.append(request.id)
                    continue
                hit = 0 if begun else state.memory.hit(request)
                tokens = data.draw(st.integers(0, min(request.left - hit, 14)))
                needed = state.memory.needs(request, request.computed + hit + tokens)
                if tokens and needed <= free:
                    batch.chunks[request.id] = tokens
                    free -= needed
                elif not begun:
                    break
            return batch

    memory = data.draw(st.sampled_from(list(MEMORIES.values())))(24, data.draw(st.integers(3, 9)))
    engine = Engine(MODEL, Drawn(), memory)
    prompts = [TOKENS[0][-14:], TOKENS[1], [*TOKENS[0][-14:], 7], TOKENS[4]]
    answers = [engine.submit(prompt, 6) for prompt in prompts]
    for _ in range(400):
        engine.step()
        if engine.idle:
            break
    for answer, prompt in zip(answers, prompts, strict=True):
        (expected,) = MODEL.generate([prompt], 6).run()
        known = min(certain(prompt, expected), len(answer.tokens))
        assert answer.tokens[:known] == expected[:known]
    if engine.idle:
        assert memory.free == memory.blocks


# Clients


def test_tokens_and_texts_come_as_they_are_written():
    engine = Engine(MODEL, Sarathi(16), Blocks(60, 8))
    first, second = engine.submit(PROMPTS[3], 12), engine.submit(PROMPTS[4], 30)
    seen = []
    for token in first:
        seen.append(token)
        assert seen == first.tokens  # nothing is written ahead
    assert first.reason == "length"
    assert 0 < len(second.tokens) < 30  # it was served beside the other
    pieces = list(second.pieces())
    assert len(pieces) > 5
    assert "".join(pieces) == second.text
    assert [first.text, second.text] == [
        MODEL.generate([prompt], length).texts()[0]
        for prompt, length in ((PROMPTS[3], 12), (PROMPTS[4], 30))
    ]
    assert list(first) == first.tokens == seen  # from the beginning once more
    assert engine.idle


def test_a_cancelled_request_leaves_the_others_alone():
    memory = Blocks(30, 8)
    engine = Engine(MODEL, VllmV1(16, max_num_seqs=2), memory)
    running, other, waiting = (engine.submit(prompt, 15) for prompt in TOKENS[2:5])
    for _ in range(9):
        engine.step()
    assert running.tokens
    assert waiting.request.computed == 0
    written = list(running.tokens)
    engine.cancel(running)
    engine.cancel(waiting)
    engine.run()
    assert (running.reason, waiting.reason, other.reason) == ("cancelled", "cancelled", "length")
    assert list(running) == running.tokens == written
    assert list(waiting) == []
    assert_alone(other, TOKENS[3], 15)
    assert memory.free == memory.blocks
    engine.cancel(other)  # too late
    assert other.reason == "length"


def test_a_request_may_be_cancelled_at_any_time_and_only_here():
    memory = Blocks(30, 8)
    engine, other = (Engine(MODEL, VllmV1(16), blocks) for blocks in (memory, Blocks(30, 8)))
    answer, early = engine.submit(PROMPTS[3], 30, stop=["nowhere"]), engine.submit("x", 5)
    stranger = other.submit(PROMPTS[3], 30)
    other.step()
    with pytest.raises(ValueError, match="answer 0 is another engine's: cancel it there"):
        engine.cancel(stranger)
    engine.cancel(early)  # it has not begun
    pieces = answer.pieces()
    first = next(pieces)
    held_back = len(answer.tokens) - len(first)
    assert held_back >= len("nowhere") - 1
    engine.cancel(answer)
    engine.cancel(answer)
    # it might have been the beginning of "nowhere", and now it is not
    said = b"".join(map(MODEL.tokenizer.piece, answer.tokens)).decode(errors="replace")
    assert first + "".join(pieces) == answer.text == said
    assert (answer.reason, early.reason, early.text) == ("cancelled", "cancelled", "")
    assert engine.idle
    assert memory.free == memory.blocks
    other.run()
    assert stranger.reason == "length"


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("place", ["last_states", "logits", "choose"])
def test_a_step_that_is_interrupted_is_computed_anew(place, memory, monkeypatch):
    expected = [
        MODEL.generate([prompt], 12, temperature=1.5, top_k=40, seed=seed).run()[0]
        for seed, prompt in enumerate(TOKENS)
    ]
    owner = answer_module if place == "choose" else MODEL
    works, calls = getattr(owner, place), iter(range(10**6))

    def fails(*args):
        if next(calls) in (0, 3, 15):
            raise KeyboardInterrupt
        return works(*args)

    monkeypatch.setattr(owner, place, fails)
    held = MEMORIES[memory](30, 8)
    engine = Engine(MODEL, VllmV1(40), held)
    answers = [
        engine.submit(prompt, 12, sampling=Sampling(1.5, top_k=40), seed=seed)
        for seed, prompt in enumerate(TOKENS)
    ]
    interrupted = 0
    while not engine.idle:
        try:
            engine.run()
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted == 3
    assert [answer.tokens for answer in answers] == expected
    assert engine.schedule().output_tokens.tolist() == [12] * len(TOKENS)
    assert held.free == held.blocks


def test_a_text_to_stop_at_may_be_written_by_several_tokens():
    whole = MODEL.generate([PROMPTS[3]], 30).texts()[0]
    stop = next(
        whole[place : place + 3] for place in range(8, 20) if whole[place : place + 3].isprintable()
    )
    engine = Engine(MODEL, Sarathi(8), Blocks(60, 8))
    stopped = engine.submit(PROMPTS[3], 30, stop=["nowhere", stop])
    other = engine.submit(PROMPTS[0], 30)
    pieces = list(stopped.pieces())
    engine.run()
    assert stopped.reason == "stop"
    assert "".join(pieces) == stopped.text == whole[: whole.index(stop)]
    assert stopped.tokens == MODEL.generate([PROMPTS[3]], 30, stop=[stop]).run()[0]
    assert_alone(other, TOKENS[0], 30)
    at_the_last = engine.submit(PROMPTS[3], len(stopped.tokens), stop=[stop])
    engine.run()
    assert (at_the_last.reason, at_the_last.text) == ("stop", stopped.text)


def test_an_end_token_ends_an_answer_and_is_not_in_it(monkeypatch):
    (whole,) = MODEL.generate([PROMPTS[3]], 20).run()
    end = whole[7]
    monkeypatch.setattr(MODEL, "config", replace(MODEL.config, eos=(end,)))
    engine = Engine(MODEL, Continuous(4), Blocks(60, 8))
    answer = engine.submit(PROMPTS[3], 20)
    engine.run()
    assert answer.reason == "end"
    assert answer.tokens == whole[: whole.index(end)]
    exact = engine.send(Request(9, engine.now, len(TOKENS[3]), 20, 30, tuple(TOKENS[3])))
    engine.run()
    assert exact.tokens == whole  # a trace says how long an answer is


@pytest.mark.parametrize("policy", POLICIES)
def test_draws_depend_on_the_request_alone(policy):
    warm = Sampling(1.5, top_k=40)
    engine = Engine(MODEL, POLICIES[policy], Blocks(60, 8))
    answers = [
        engine.submit(prompt, 15, sampling=warm, seed=place) if place % 2 else
        engine.submit(prompt, 15)
        for place, prompt in enumerate(TOKENS)
    ]  # fmt: skip
    engine.run()
    for place, (answer, prompt) in enumerate(zip(answers, TOKENS, strict=True)):
        if place % 2:
            alone = MODEL.generate([prompt], 15, temperature=1.5, top_k=40, seed=place)
            assert answer.tokens == alone.run()[0]
        else:
            assert_alone(answer, prompt, 15)


@pytest.mark.parametrize(
    ("prompt", "options", "sentence"),
    [
        ([], {}, "at least one token"),
        ([1, 256], {}, "token 256 is not in the vocabulary"),
        ("x", {"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ("x", {"seed": -1}, "seed must be at least 0, got -1"),
        ("x", {"stop": "x"}, "stop must be a list of texts, none of them empty, got 'x'"),
        ("x", {"stop": [""]}, "none of them empty"),
        ([1] * 120, {"max_new_tokens": 9}, "has 120 tokens, and 9 more would not fit the context"),
        ([1] * 90, {"max_new_tokens": 9}, "may have 99 tokens, and the memory holds 96"),
    ],
)
def test_what_cannot_be_answered_is_refused_at_the_door(prompt, options, sentence):
    engine = Engine(MODEL, Continuous(4), Blocks(12, 8))
    with pytest.raises((ValueError, TypeError), match=sentence):
        engine.submit(prompt, **{"max_new_tokens": 5, **options})
    answer = engine.submit("x", 2)  # the engine is as it was
    engine.run()
    assert len(answer.tokens) == 2


def test_without_a_tokenizer_there_are_tokens_and_no_texts():
    model = random_llama()
    model.tokenizer = None
    engine = Engine(model, Continuous(4), Blocks(12, 8))
    with pytest.raises(ValueError, match="without a tokenizer"):
        engine.submit("x", 2)
    with pytest.raises(ValueError, match="without a tokenizer"):
        engine.submit([5], 2, stop=["x"])
    answer = engine.submit(TOKENS[1], 5)
    assert len(list(answer)) == 5
    assert answer.text == ""


def test_a_model_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"the model is on meta: move it there by .cpu\(\)"):
        Engine(random_llama().to("meta"), Continuous(4), Blocks(12, 8))


def test_a_policy_that_waits_for_nobody_is_told():
    @dataclass
    class Idle:
        def next_batch(self, state):
            return Batch()

    engine = Engine(MODEL, Idle(), Blocks(12, 8))
    answer = engine.submit("x", 2)
    assert not engine.step().chunks  # somebody may still come
    with pytest.raises(PolicyError, match="iteration 1: the batch is empty"):
        next(iter(answer))


# Traces


@dataclass(frozen=True)
class Ticks:
    """An iteration takes a second."""

    stages: int = 1

    def seconds(self, work):
        return 1.0


def all_at_once() -> Trace:
    lengths = np.array([30, 4, 17, 25, 1, 9]), np.array([12, 3, 20, 1, 7, 30])
    return Trace(np.zeros(6), *lengths, max_tokens=30)


@pytest.mark.parametrize("blocks", [14, 60])
@pytest.mark.parametrize("policy", POLICIES)
def test_the_simulator_foretells_every_batch(policy, blocks):
    expected = simulate(all_at_once(), POLICIES[policy], Ticks(), lambda: Blocks(blocks, 8))
    found = replay(Engine(MODEL, POLICIES[policy], Blocks(blocks, 8)), all_at_once())
    for column in (
        "prefill_tokens", "decode_tokens", "padding", "context", "pairs", "blocks_used",
        "chunk_offsets", "chunk_request", "chunk_tokens", "preempted_iteration",
        "preempted_request", "prompt_tokens", "preemptions", "token_offsets",
    ):  # fmt: skip
        assert getattr(found, column).tolist() == getattr(expected, column).tolist(), column


def test_a_trace_is_sent_by_the_clock_and_measured():
    trace = Trace(
        np.array([0.0, 0.0, 0.4]), np.array([20, 3, 11]), np.array([8, 2, 4]), max_tokens=8
    )
    engine = Engine(MODEL, Sarathi(8), Blocks(30, 8))
    engine.submit("before", 1)
    engine.run()
    found = replay(engine, trace)
    assert found.output_tokens.tolist() == [1, 8, 2, 4]
    assert found.prompt_tokens.tolist() == [6, 20, 3, 11]
    sent = found.arrival[1:] - found.arrival[1]
    assert sent == pytest.approx([0.0, 0.0, 0.4])
    assert found.arrival[1] >= found.end[0]  # from now on, and not from the engine's beginning
    assert (found.began >= found.arrival).all()
    assert (found.start[1:] >= found.end[:-1]).all()
    assert (found.seconds > 0).all()
    for request in range(4):
        times = found.tokens(request)
        assert (np.diff(times) > 0).all()
        assert set(times) <= set(found.end)
    assert all(
        len(answer.tokens) == n for answer, n in zip(engine.answers, [1, 8, 2, 4], strict=True)
    )


def test_prompts_are_cut_from_the_text_and_round_its_end():
    asked = [Request(i, 0.0, 5, 1, 1) for i in range(40)]
    asked.append(replace(asked[0], tokens=(9, 9, 9, 9, 9)))
    given = with_prompts(asked, range(8), seed=1)
    *cut, kept = [request.tokens for request in given]
    assert all(row == tuple((row[0] + step) % 8 for step in range(5)) for row in cut)
    assert {row[0] for row in cut} == set(range(8))
    assert kept == (9, 9, 9, 9, 9)
    assert given == with_prompts(asked, range(8), seed=1)
    assert given != with_prompts(asked, range(8), seed=2)


def test_requests_out_of_order_are_refused():
    asked = [Request(0, 1.0, 2, 1, 1), Request(1, 0.5, 2, 1, 1)]
    with pytest.raises(ValueError, match=r"request 1 arrives at 0\.5, and stands behind request 0"):
        replay(Engine(MODEL, Continuous(4), Blocks(12, 8)), asked)


def test_a_text_without_a_word_is_refused():
    with pytest.raises(ValueError, match="the text has no tokens: give one of at least a word"):
        replay(Engine(MODEL, Continuous(4), Blocks(12, 8)), all_at_once(), text="")


def test_a_request_without_tokens_is_refused():
    engine = Engine(MODEL, Continuous(4), Blocks(12, 8))
    with pytest.raises(ValueError, match=r"request 4 has no tokens .* replay\(\) draws some"):
        engine.send(Request(4, 0.0, 5, 1, 1))
