"""Who sends what and when: requests of a service that ran, or drawn to be like them.

A trace holds no text, only times and lengths, and where it was recorded what prompts share. Its
columns are arrays, and it is iterated as ``Request`` records, whose ids are their rows.

Source:
    Azure LLM inference trace 2023 (Patel et al. 2024, Splitwise): times and lengths.
    Qin et al. 2025, Mooncake: those, and ids of the 512-token blocks that prompts share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from reprlib import repr as short

import numpy as np
from jaxtyping import Float64, Int64

from toolkit.arguments import at_least_one, whole_number

from .lengths import Lengths, LogNormal
from .reading import read_rows
from .state import Request

# Published of the Azure conversation trace: input mean 1,155, median 1,020; output 211 and 129.
AZURE_PROMPTS = LogNormal(mean=1155, median=1020, most=14_050)
AZURE_OUTPUTS = LogNormal(mean=211, median=129, most=1000)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests by arrival.

    Attributes:
        arrival: seconds, ascending. In a trace that is loaded or drawn the first is 0.
        prompt_tokens: at least 1.
        output_tokens: how many each will write, at least 1.
        max_tokens: the most that any may write, which policies know. In a file that is what the
            longest wrote.
        blocks: of each prompt, what its blocks hold; None where a trace doesn't say.
    Raises:
        TypeError: a column that is no array of its type, or max_tokens no whole number.
        ValueError: columns of unequal length or none, or numbers out of order or range.
    """

    arrival: Float64[np.ndarray, " requests"]
    prompt_tokens: Int64[np.ndarray, " requests"]
    output_tokens: Int64[np.ndarray, " requests"]
    max_tokens: int
    blocks: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        counts = {len(self.arrival), len(self.prompt_tokens), len(self.output_tokens)}
        if self.blocks is not None:
            counts.add(len(self.blocks))
        if len(counts) > 1 or 0 in counts:
            raise ValueError(
                "the columns must be of one length, at least 1, got "
                + " and ".join(map(str, sorted(counts)))
            )
        _check_column("arrival", self.arrival, "float64")
        for name in ("prompt_tokens", "output_tokens"):
            column = getattr(self, name)
            _check_column(name, column, "int64")
            at_least_one(**{name: column.min()})
        wrong = self.arrival[~np.isfinite(self.arrival) | (self.arrival < 0)]
        if len(wrong):
            raise ValueError(f"arrival must be finite and at least 0, in seconds, got {wrong[0]}")
        if not (np.diff(self.arrival) >= 0).all():
            raise ValueError("arrival must be ascending: sort the requests by it")
        if self.output_tokens.max() > whole_number("max_tokens", self.max_tokens):
            raise ValueError(
                f"max_tokens must be at least {self.output_tokens.max()}, which is the most that "
                f"a request writes, got {self.max_tokens}"
            )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Trace:
        """Read a file: CSV, or Mooncake's JSON lines where its name ends in ``.jsonl``.

        A CSV has a header line with the columns of the Azure trace, TIMESTAMP, ContextTokens and
        GeneratedTokens, or with ``arrival`` (seconds), ``prompt_tokens`` and ``output_tokens``;
        any others are passed over. Rows need not be in order of time.

        Raises:
            ValueError: no requests, columns that are missing, or a row that isn't one; it is named.
        """
        rows = read_rows(path)
        order = np.argsort(rows.arrival, kind="stable")
        arrival = rows.arrival[order]
        output = rows.output_tokens[order]
        return cls(
            arrival=arrival - arrival[0],
            prompt_tokens=rows.prompt_tokens[order],
            output_tokens=output,
            max_tokens=int(output.max()),
            blocks=None if rows.blocks is None else tuple(rows.blocks[i] for i in order),
        )

    @classmethod
    def synthetic(
        cls,
        count: int,
        rate: float,
        *,
        cv: float = 1.0,
        prompts: Lengths = AZURE_PROMPTS,
        outputs: Lengths = AZURE_OUTPUTS,
        seed: int,
    ) -> Trace:
        """Draw requests that come independently of each other.

        Args:
            count: of requests.
            rate: requests a second, on average.
            cv: coefficient of variation of the Gamma-distributed times between arrivals, 0 or from
                0.001 to 100: 1 is a Poisson process, 0 a clock, and over 1 they come in bursts.
            prompts: lengths of prompts; by default as published of the Azure conversation trace.
            outputs: lengths of answers; likewise.
            seed: for the random numbers.
        Raises:
            TypeError: count or seed is no whole number.
            ValueError: count < 1, a rate that isn't positive, cv out of range, or seed < 0.
        """
        at_least_one(count=count)
        _check_rate(rate)
        if cv and not 1e-3 <= cv <= 100:
            raise ValueError(
                "cv must be 0 for a clock, 1 for a Poisson process, or any number from 0.001 to "
                f"100, got {cv!r}"
            )
        if whole_number("seed", seed) < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        times, prompt, output = (np.random.default_rng([seed, i]) for i in range(3))
        gaps = times.gamma(1 / cv**2, cv**2, count) if cv else np.ones(count)
        arrival = np.cumsum(gaps) / rate
        return cls(
            arrival=arrival - arrival[0],
            prompt_tokens=prompts.draw(prompt, count),
            output_tokens=outputs.draw(output, count),
            max_tokens=outputs.most,
        )

    def __len__(self) -> int:
        return len(self.arrival)

    def __iter__(self) -> Iterator[Request]:
        columns = zip(
            self.arrival.tolist(),
            self.prompt_tokens.tolist(),
            self.output_tokens.tolist(),
            strict=True,
        )
        for row, (arrival, prompt, output) in enumerate(columns):
            blocks = None if self.blocks is None else self.blocks[row]
            yield Request(row, arrival, prompt, output, self.max_tokens, blocks=blocks)

    @property
    def rate(self) -> float:
        """Requests a second from the first arrival to the last; infinite if all come at once."""
        span = float(self.arrival[-1] - self.arrival[0])
        return (len(self) - 1) / span if span else np.inf

    def first(self, count: int) -> Trace:
        """Its first requests, or all if it hasn't so many.

        Raises:
            ValueError: count < 1.
        """
        at_least_one(count=count)
        return replace(
            self,
            arrival=self.arrival[:count],
            prompt_tokens=self.prompt_tokens[:count],
            output_tokens=self.output_tokens[:count],
            blocks=None if self.blocks is None else self.blocks[:count],
        )

    def at_rate(self, rate: float) -> Trace:
        """The same requests in the same rhythm, so many a second from the first arrival on.

        Raises:
            ValueError: a rate that isn't positive, or requests that all come at once.
        """
        _check_rate(rate)
        if not np.isfinite(self.rate):
            raise ValueError(
                "requests that all come at once have no rate to change: give them other arrivals"
            )
        first = self.arrival[0]
        return replace(self, arrival=first + (self.arrival - first) * (self.rate / rate))


def _check_column(name: str, column: np.ndarray, dtype: str) -> None:
    if not isinstance(column, np.ndarray) or column.dtype != dtype or column.ndim != 1:
        raise TypeError(
            f"{name} must be a NumPy array of {dtype}, a number a request, got {short(column)}"
        )


def _check_rate(rate: float) -> None:
    if not 0 < rate < np.inf:
        raise ValueError(f"rate must be a positive number of requests a second, got {rate!r}")
