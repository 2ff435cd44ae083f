"""How many requests a second a service can take and still keep its promises."""

from __future__ import annotations

from collections.abc import Callable

from .cost import Cost
from .metrics import Targets, metrics
from .simulate import simulate
from .state import Memory, Policy
from .trace import Trace

STEPS = 6
"""Halvings of a factor of two: the rate is within 2^(1/64), 1.1 per cent, of where it fails."""

OCTAVES = 12
"""How often the rate is doubled or halved, from the trace's own, in search of where it fails."""


def max_rate(
    trace: Trace,
    policy: Policy,
    cost: Cost,
    targets: Targets,
    memory: Callable[[], Memory] | None = None,
) -> float:
    """The highest rate of arrivals at which the targets are met, by bisection of its logarithm.

    They are met where 90 of 100 requests keep to those of TTFT and TPOT, and 99 of 100 gaps between
    tokens to that of inter-token latency. The trace's requests keep their lengths and rhythm, and
    come faster or slower. Take at least some hundreds of them: at its end a queue has no time to
    grow, and a short trace is served at any rate.

    Args:
        trace: whose requests come.
        policy, cost, memory: see ``simulate``.
        targets: at least one of them.
    Returns:
        Requests a second; 0 where they are missed at any rate.
    Raises:
        ValueError: the targets are met at any rate.
    Source:
        Agrawal et al. 2024, Sarathi-Serve, section 5, and Vidur.
    """

    def met(rate: float) -> bool:
        run = metrics(simulate(trace.at_rate(rate), policy, cost, memory))
        return not (
            run.ttft.p90 > targets.ttft
            or run.tpot.p90 > targets.tpot
            or run.inter_token.p99 > targets.inter_token
        )

    low = trace.rate
    if met(low):
        for _ in range(OCTAVES):
            if not met(2 * low):
                break
            low *= 2
        else:
            raise ValueError(
                f"the targets are met even at {low:,.0f} requests a second: take a trace of more "
                f"than its {len(trace):,} requests, or tighter targets"
            )
    else:
        for _ in range(OCTAVES):
            low /= 2
            if met(low):
                break
        else:
            return 0.0
    factor = 2.0
    for _ in range(STEPS):
        factor **= 0.5
        if met(low * factor):
            low *= factor
    return low
