"""What the simulator says of policies: on the Azure trace, and in shapes that were published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from toolkit import assets
from toolkit.bench import Case
from toolkit.kernels.roofline import CARDS
from toolkit.serving.batching import (
    MODELS,
    Continuous,
    Exponential,
    Fixed,
    LogNormal,
    Policy,
    Roofline,
    Sarathi,
    Schedule,
    SplitFuse,
    Static,
    Targets,
    Trace,
    VllmV0,
    VllmV1,
    max_rate,
    metrics,
    simulate,
)

CARD = CARDS["A100 80GB SXM"]
PROMISED = Targets(ttft=2.0, inter_token=0.2)

POLICIES: dict[str, Policy] = {
    "vLLM v1": VllmV1(),
    "Sarathi": Sarathi(),
    "SplitFuse": SplitFuse(),
    "vLLM v0": VllmV0(),
    "continuous": Continuous(),
    "static, batches of 32": Static(32),
}


@dataclass(frozen=True, slots=True)
class Setup:
    """A model on some cards, the target of its P99 between tokens, and Sarathi's published gain."""

    model: str
    tensor: int
    stages: int
    inter_token: float
    published: float | None

    @property
    def name(self) -> str:
        cards = f"tensor {self.tensor}, {self.stages} stage{'s' * (self.stages > 1)}"
        return f"capacity, {self.model}, {cards}"


SETUPS = (
    Setup("Mistral-7B", 1, 1, 0.1, 2.6),
    Setup("Yi-34B", 2, 1, 0.2, 3.7),
    Setup("Falcon-180B", 8, 1, 0.5, None),
    Setup("Falcon-180B", 4, 2, 0.5, 5.6),
)


def azure() -> Trace:
    """The conversation trace of 2023."""
    return Trace.load(assets.get("azure-llm-2023-conv"))


def tenfold(trace: Trace) -> Trace:
    """The trace ten times over, one after the other."""
    gap = trace.arrival[-1] + 1 / trace.rate
    return replace(
        trace,
        arrival=np.concatenate([trace.arrival + i * gap for i in range(10)]),
        prompt_tokens=np.tile(trace.prompt_tokens, 10),
        output_tokens=np.tile(trace.output_tokens, 10),
    )


def seen(schedule: Schedule) -> dict[str, float]:
    """What clients saw, and for how many iterations."""
    m = metrics(schedule, PROMISED)
    return {
        "ttft_mean_ms": m.ttft.mean * 1e3,
        "inter_token_p99_ms": m.inter_token.p99 * 1e3,
        "end_to_end_mean_s": m.end_to_end.mean,
        "goodput": m.goodput,
        "padding": m.padding,
        "iterations": float(schedule.iterations),
    }


def day() -> Case:
    """Every policy on the whole trace."""
    trace, cost = azure(), Roofline(MODELS["Mistral-7B"], CARD)
    ours, *peers = POLICIES

    def run(name: str) -> Schedule:
        return simulate(trace, POLICIES[name], cost, cost.memory)

    return Case(
        "Azure conversations",
        {
            "ours": ours, "requests": len(trace), "rate": trace.rate, "model": "Mistral-7B",
            "card": CARD.name, "ttft_target_s": PROMISED.ttft,
            "inter_token_target_s": PROMISED.inter_token,
        },
        partial(run, ours),
        {name: partial(run, name) for name in peers},
        seen,
        rounds=0,
    )  # fmt: skip


def ten_days() -> Case:
    """Ten times as many requests, by one policy; the peer is the same with the trace once."""
    once, cost = azure(), Roofline(MODELS["Mistral-7B"], CARD)
    trace = tenfold(once)
    return Case(
        "Azure conversations, ten times over",
        {"ours": "Sarathi", "requests": len(trace), "model": "Mistral-7B", "card": CARD.name},
        lambda: simulate(trace, Sarathi(), cost, cost.memory),
        {"once": lambda: simulate(once, Sarathi(), cost, cost.memory)},
        seen,
        rounds=0,
    )


def exponential_answers() -> Case:
    """A thousand requests at once, their answers exponentially distributed: tokens a second."""
    cost = Roofline(MODELS["OPT-13B"], CARD)
    trace = Trace.synthetic(1000, 1e6, prompts=Fixed(512), outputs=Exponential(128, 1536), seed=0)
    return _throughput(
        "exponential answers, OPT-13B",
        trace,
        cost,
        {
            "vLLM v0": VllmV0(),
            "continuous": Continuous(),
            "static, batches of 8": Static(8),
            "static, batches of 32": Static(32),
        },
    )


def _throughput(name: str, trace: Trace, cost: Roofline, policies: dict[str, Policy]) -> Case:
    ours, *peers = policies

    def run(policy: str) -> Schedule:
        return simulate(trace, policies[policy], cost, cost.memory)

    def quality(schedule: Schedule) -> dict[str, float]:
        m = metrics(schedule)
        return {
            "tokens_per_second": m.tokens_per_second,
            "end_to_end_mean_s": m.end_to_end.mean,
            "inter_token_p95_ms": m.inter_token.p95 * 1e3,
            "padding": m.padding,
        }

    return Case(
        name,
        {"ours": ours, "requests": len(trace), "model": cost.model.name, "card": CARD.name,
         "tensor": cost.tensor},
        partial(run, ours),
        {policy: partial(run, policy) for policy in peers},
        quality,
        rounds=0,
    )  # fmt: skip


def fused() -> Case:
    """SplitFuse beside vLLM v0 with FastGen's lengths: long prompts, short answers."""
    cost = Roofline(MODELS["Llama-2-70B"], CARD, tensor=4)
    prompts, outputs = LogNormal(2600, 2490, 8000), LogNormal(60, 57.5, 240)
    trace = Trace.synthetic(250, 3.0, prompts=prompts, outputs=outputs, seed=0)
    policies: dict[str, Policy] = {"SplitFuse": SplitFuse(), "vLLM v0": VllmV0()}
    return _throughput("fused, Llama-2-70B", trace, cost, policies)


def capacity(setup: Setup) -> Case:
    """The highest rate at which the targets are met."""
    cost = Roofline(MODELS[setup.model], CARD, tensor=setup.tensor, stages=setup.stages)
    trace = Trace.synthetic(800, 4.0, seed=0)
    targets = Targets(ttft=2.0, inter_token=setup.inter_token)

    def rate(policy: Policy) -> Callable[[], float]:
        return lambda: max_rate(trace, policy, cost, targets, cost.memory)

    return Case(
        setup.name,
        {"ours": "Sarathi", "requests": len(trace), "model": setup.model, "card": CARD.name,
         "tensor": setup.tensor, "stages": setup.stages, "ttft_target_s": targets.ttft,
         "inter_token_target_s": setup.inter_token},
        rate(Sarathi(512)),
        {"vLLM v0": rate(VllmV0(max_num_seqs=128)), "vLLM v1": rate(VllmV1(512, 128))},
        lambda requests: {"requests_per_second": requests},
        rounds=0,
    )  # fmt: skip
