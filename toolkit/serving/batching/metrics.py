"""What its clients and its owner say of a service.

    TTFT   time to first token            first token - arrival
    TPOT   time per output token          (last token - first) / (tokens - 1)
    ITL    inter-token latency            each token - the one before
    E2E    end to end                     last token - arrival

TPOT is a mean over a request, in which a stall of a second among hundreds of tokens is not seen.
Inter-token latency is over all tokens of all requests, and its P99 shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from jaxtyping import Bool, Float64, Int64

from .roofline import Roofline
from .schedule import Schedule


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of times, in seconds; nan where there are none."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Float64[np.ndarray, " times"]) -> Percentiles:
        """The mean, and below what 50, 90, 95 and 99 of 100 are."""
        if not len(seconds):
            return cls(*[np.nan] * 5)
        return cls(float(seconds.mean()), *np.percentile(seconds, (50, 90, 95, 99)).tolist())


@dataclass(frozen=True, slots=True)
class Targets:
    """What clients were promised, in seconds; infinite where nothing was.

    Attributes:
        ttft: to the first token.
        tpot: per token after it, on average over a request.
        inter_token: between two tokens, for 99 of 100.
    Raises:
        ValueError: a target that isn't positive.
    """

    ttft: float = inf
    tpot: float = inf
    inter_token: float = inf

    def __post_init__(self) -> None:
        for name in ("ttft", "tpot", "inter_token"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class Metrics:
    """A schedule in numbers.

    Attributes:
        ttft, tpot, inter_token, end_to_end: of requests that wrote a token; TPOT of
            those that wrote two or more.
        seconds: from the first arrival to the last token.
        requests_per_second, tokens_per_second: that it served, and that it wrote.
        goodput: requests a second that met the targets.
        attainment: the share of requests that did.
        padding: share of the tokens computed that were padding.
        preemptions: in all.
        blocks_used: share of the memory, on average over the time in which anything ran.
        bubbles: share of the stages' time that they waited for each other.
        mfu: model FLOPs utilisation: FLOPs needed for each FLOP that the cards could do while
            anything ran; nan without a roofline.
        mbu: likewise of the memory's bandwidth.
    """

    ttft: Percentiles
    tpot: Percentiles
    inter_token: Percentiles
    end_to_end: Percentiles
    seconds: float
    requests_per_second: float
    tokens_per_second: float
    goodput: float
    attainment: float
    padding: float
    preemptions: int
    blocks_used: float
    bubbles: float
    mfu: float
    mbu: float


def metrics(
    schedule: Schedule, targets: Targets | None = None, cost: Roofline | None = None
) -> Metrics:
    """Sum up a schedule. A request that was cancelled after its first token counts as served.

    Args:
        schedule: of at least one iteration, in which a token was written.
        targets: what each request was promised; by default nothing.
        cost: the cards it was computed on, for MFU and MBU.
    Raises:
        ValueError: a schedule without an iteration or a token.
    """
    served = schedule.output_tokens > 0
    if not (schedule.iterations and served.any()):
        raise ValueError(
            f"a schedule of {schedule.iterations:,} iterations and {len(schedule.token_times):,} "
            f"tokens has nothing to measure: it must have at least one of each"
        )
    targets = targets or Targets()
    first, last = schedule.first_token[served], schedule.last_token[served]
    arrival = schedule.arrival[served]
    tpot = _tpot(schedule)
    seconds = float(last.max() - schedule.arrival.min())
    met = meets(schedule, targets)
    work = schedule.work
    busy = schedule.busy
    needed = work._replace(padding=np.zeros_like(work.padding))
    used = schedule.blocks_used @ schedule.seconds / schedule.seconds.sum()
    return Metrics(
        ttft=Percentiles.of(first - arrival),
        tpot=Percentiles.of(tpot[~np.isnan(tpot)]),
        inter_token=Percentiles.of(_gaps(schedule)[0]),
        end_to_end=Percentiles.of(last - arrival),
        seconds=seconds,
        requests_per_second=int(served.sum()) / seconds,
        tokens_per_second=len(schedule.token_times) / seconds,
        goodput=int(met.sum()) / seconds,
        attainment=float(met.mean()),
        padding=float(work.padding.sum() / work.tokens.sum()),
        preemptions=int(schedule.preemptions.sum()),
        blocks_used=float(used / schedule.blocks),
        bubbles=schedule.bubbles,
        mfu=float(np.sum(cost.flops(needed)) / (busy * cost.peak)) if cost else np.nan,
        mbu=float(np.sum(cost.bytes(needed)) / (busy * cost.bandwidth)) if cost else np.nan,
    )


def meets(schedule: Schedule, targets: Targets) -> Bool[np.ndarray, " requests"]:
    """Which requests were served as promised; who has no token was not."""
    gaps, request = _gaps(schedule)
    written = schedule.output_tokens
    late = np.bincount(request[gaps > targets.inter_token], minlength=schedule.requests)
    return (
        (schedule.first_token - schedule.arrival <= targets.ttft)
        & ~(_tpot(schedule) > targets.tpot)
        & (100 * late <= written - 1)
    )


def _tpot(schedule: Schedule) -> Float64[np.ndarray, " requests"]:
    """nan where a request has no two tokens."""
    tpot = np.full(schedule.requests, np.nan)
    several = schedule.output_tokens > 1
    span = (schedule.last_token - schedule.first_token)[several]
    tpot[several] = span / (schedule.output_tokens[several] - 1)
    return tpot


def _gaps(
    schedule: Schedule,
) -> tuple[Float64[np.ndarray, " gaps"], Int64[np.ndarray, " gaps"]]:
    """The time between each token and the one before, and whose it is."""
    request = np.repeat(np.arange(schedule.requests), schedule.output_tokens)
    same = request[1:] == request[:-1]
    return np.diff(schedule.token_times)[same], request[1:][same]
