"""The engine on a CPU: beside itself one at a time, transformers, and its own simulation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pydoc_data.topics import topics
from statistics import median

import torch

from toolkit import course
from toolkit.bench import Case
from toolkit.models.llama import Llama, load
from toolkit.serving.batching import (
    Blocks,
    Calibrated,
    Continuous,
    LogNormal,
    Sarathi,
    Schedule,
    Trace,
    metrics,
    simulate,
)
from toolkit.serving.batching.calibrate import steps
from toolkit.serving.batching.engine import Engine
from toolkit.serving.batching.replay import replay

sys.path.append(str(course.root()))

from tests.models.smollm_greedy import transformers_model

REQUESTS, PROMPT, ANSWER = 8, 32, 128
POLICY = Sarathi(128, 16)
BLOCKS = 1024
RUNS = 3


@cache
def model() -> Llama:
    """SmolLM2; without an end token, so that no answer ends early."""
    model = load("smollm2-135m-instruct")
    model.config = replace(model.config, eos=())
    return model


@cache
def prompts() -> list[list[int]]:
    ids = model().tokenizer.encode("\n".join(topics.values())[:20_000])
    return [ids[i * PROMPT : (i + 1) * PROMPT] for i in range(REQUESTS)]


def answering() -> Case:
    """Short prompts, long answers: nearly all steps decode."""
    theirs = cache(transformers_model)

    def ours(at_once: int) -> Callable[[], list[list[int]]]:
        def run() -> list[list[int]]:
            engine = Engine(model(), Continuous(at_once), Blocks(BLOCKS))
            answers = [engine.submit(prompt, ANSWER) for prompt in prompts()]
            engine.run()
            return [answer.tokens for answer in answers]

        return run

    @torch.inference_mode()
    def static() -> list[list[int]]:
        ids = torch.tensor(prompts())
        written = theirs().generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=ANSWER, eos_token_id=[],
            pad_token_id=0, do_sample=False,
        )  # fmt: skip
        return written[:, PROMPT:].tolist()

    return Case(
        f"SmolLM2, {REQUESTS} answers of {ANSWER} tokens",
        {"requests": REQUESTS, "prompt_tokens": PROMPT, "answer_tokens": ANSWER,
         "threads": torch.get_num_threads()},
        ours(REQUESTS),
        {"one at a time": ours(1), f"transformers, static batch of {REQUESTS}": static},
        lambda rows: {"tokens": float(sum(map(len, rows)))},
        rounds=2,
    )  # fmt: skip


def foretold() -> Case:
    """Sixty requests, served by the clock; the peer is the simulator, for each run calibrated on
    every other step of it.

    On its own steps, since a machine that others share can be slower by a third a minute later.
    """
    trace = Trace.synthetic(
        60, 1.5, prompts=LogNormal(mean=120, median=90, most=500),
        outputs=LogNormal(mean=24, median=16, most=80), seed=7,
    )  # fmt: skip

    @cache
    def served() -> list[Schedule]:
        return [replay(Engine(model(), POLICY, Blocks(BLOCKS)), trace) for _ in range(RUNS)]

    @cache
    def costs() -> list[Calibrated]:
        return [Calibrated.fit(steps(run)[::2], run.seconds[::2]) for run in served()]

    def seen(schedules: list[Schedule]) -> dict[str, float]:
        """The median of each figure."""
        runs = [metrics(schedule) for schedule in schedules]
        return {
            "ttft_mean_ms": median(run.ttft.mean for run in runs) * 1e3,
            "inter_token_p99_ms": median(run.inter_token.p99 for run in runs) * 1e3,
            "seconds_in_all": median(run.seconds for run in runs),
        }

    return Case(
        f"SmolLM2, {len(trace)} requests by the clock",
        {"requests": len(trace), "rate": trace.rate, "policy": "Sarathi, chunks of 128",
         "runs": RUNS, "threads": torch.get_num_threads()},
        served,
        {"foretold by the simulator": lambda: [
            simulate(trace, POLICY, cost, lambda: Blocks(BLOCKS)) for cost in costs()
        ]},
        seen,
        rounds=0,
    )  # fmt: skip
