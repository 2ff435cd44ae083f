"""Batching: policies on a recorded service, capacities beside the published ones, a real engine.

Simulations are on an A100's data sheet, on one core. What is compared there is policies, so the
peers are other policies, and what counts is the quality: the seconds are those of simulating. The
engine writes with SmolLM2 in fp32, beside itself with one request at a time, and transformers.

Ledger
------
The trace
    Predicted: P99 between tokens falls from whole prompts to chunks, by the ratio of their lengths.
    Measured: 111 ms with vLLM v0, 107 with Orca's, 95 with v1's budget of 2,048 tokens, 38 with
    SplitFuse's 768, 26 with Sarathi's 512. Static batches of 32 can't keep up with the arrivals:
    69 % of what they compute is padding, and a request waits for 20 minutes.
    A policy serves the trace in 8 to 13 seconds on one core, ten traces in 11 to 12 times as long.
Capacity
    Predicted: Sarathi over vLLM v0 as published, 2.6 for Mistral-7B, 3.7 for Yi-34B, 5.6 for
    Falcon-180B in a pipeline.
    Measured: 2.5, 3.3 and 5.5. Without a pipeline Falcon has 1.8: most of its gain is bubbles that
    are not there. vLLM v1 with the same budget has the same capacities as Sarathi.
Exponential answers
    Predicted: 23 times static batching, as Anyscale's post has it for vLLM.
    Measured: 6.0 times with static batches of 8, 2.9 with 32. The post's baseline was slower by
    more than its batching. Reserving for the longest costs a fifth of the tokens a second.
SplitFuse
    Predicted: 2 times lower mean latency, 3.7 times lower P95 between tokens.
    Measured: 2.4 and 4.4. Under more load, or for longer, both grow: the queue does.
The engine
    Predicted: eight at once write at least 3 times as fast as one at a time, for a step reads all
    weights either way; and as fast as transformers with the same eight in a static batch.
    Measured: 3.7 times, and 1.29 times. It was 4.5 and 1.07 until few rows were multiplied with the
    weights on the left, see models/llama: one row a step gained more by that than eight.
The simulator beside the engine
    Predicted: mean TTFT, P99 between tokens and the total within 10 %.
    Measured: medians of three runs, each foretold by a cost fitted to every other of its steps:
    TTFT 0.5 % low, the total right to a tenth of a percent, P99 10.2 % low: no step is slow by
    accident in a simulation. Fitted to 60 other requests, served between the runs, TTFT was 14 %
    and P99 17 % low, the total still right: the machine is shared, and a chunk of 128 tokens took
    259 ms in one minute and 354 in another.
Where ours loses
    Nowhere to a peer here. P99 misses its 10 % by little, and by more from other minutes' steps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from toolkit import course
from toolkit.bench import Case

sys.path.append(str(course.root()))  # the command doesn't look there

from benchmarks.serving.batching_peers import engine, simulations

PACKAGES = ("torch", "numpy", "numba", "scipy", "transformers")


def cases() -> Iterator[Case]:
    """The trace, the shapes, then the engine."""
    yield simulations.day()
    yield simulations.ten_days()
    yield simulations.exponential_answers()
    for setup in simulations.SETUPS:
        yield simulations.capacity(setup)
    yield simulations.fused()
    yield engine.answering()
    yield engine.foretold()
