"""SmolLM2 by ours and by transformers, from the same GGUF file, in fp32 on the CPU.

Input: the tests' prompts, as tokens, and English text: CPython's own help. Both write the likeliest
token each time, as many as are asked for (the end token is switched off). transformers writes as
its ``generate`` does by default; prompts of unequal lengths it gets padded on the left, with their
mask. "From nothing" is a process of its own: it imports, loads, writes one token and ends.

Ledger
------
Writing
    Predicted: a little faster. A token costs reading half a gigabyte of weights, which both do;
    ours has four matrices a block and not seven, and its cache is not copied.
    Measured: 1.05 times at batch 1, at 54 ms a token: 10 GB of weights a second, far from what the
    memory gives. With the weights as the left factor of each product of up to 8 rows, 1.96 times at
    batch 1, 31 ms a token; 1.42 times at batch 8. Every token is the same.
Reading
    Predicted: the same, since large matrices are all there is. Measured: 1.00 times, the same
    perplexity.
From nothing
    Predicted: loaded within 6 s, in 1.2 GB. Measured: after 4.4 s, more than half of which is
    opening the file, and the process never has more than 1,080 MiB. transformers takes 18 s and
    1,242 MiB. It was 1,398 MiB until the tokenizer was read before the weights, and the model was
    laid out without weights of its own.
Where ours loses
    Reading a long text is as fast and no faster. A batch waits for its longest answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pydoc_data.topics import topics
from typing import Any

import torch

from toolkit import course
from toolkit.bench import Case
from toolkit.models.llama import Llama, load

sys.path.append(str(course.root()))  # the command doesn't look there

from tests.models.smollm_greedy import PROMPTS, transformers_model

PACKAGES = ("torch", "transformers", "gguf", "numpy", "accelerate")
"""The distributions whose versions belong to the results."""

MODEL = "smollm2-135m-instruct"
NEW_TOKENS = 64
READ = 512

FROM_NOTHING = """
import json, re, time
from pathlib import Path
{imports}
start = time.perf_counter()
{loading}
seconds = time.perf_counter() - start
answer = {answer}
peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({{"answer": answer, "loading_s": seconds, "peak_mib": peak}}))
"""
OURS = FROM_NOTHING.format(
    imports="from toolkit.models.llama import load",
    loading=f"model = load({MODEL!r})",
    answer="model.generate(['The capital of France is'], 1).texts()[0]",
)
THEIRS = FROM_NOTHING.format(
    imports="""import torch
from toolkit import assets
from transformers import AutoModelForCausalLM, AutoTokenizer""",
    loading=f"""path = assets.get({MODEL!r})
held = path.parent, {{"gguf_file": path.name}}
model = AutoModelForCausalLM.from_pretrained(held[0], **held[1], dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(held[0], **held[1])""",
    answer="""tokenizer.decode(model.generate(
    **tokenizer("The capital of France is", return_tensors="pt"), max_new_tokens=1)[0, -1:])""",
)


@cache
def ours() -> Llama:
    """Without an end token, so that as many tokens are written as are asked for."""
    model = load(MODEL)
    model.config = replace(model.config, eos=())
    return model


theirs = cache(transformers_model)


def prompts(batch: int) -> list[list[int]]:
    """The first prompts, as tokens."""
    return [ours().tokenizer.encode(prompt) for prompt in PROMPTS[:batch]]


def write(batch: int) -> Callable[[], list[list[int]]]:
    rows = prompts(batch)
    return lambda: ours().generate(rows, NEW_TOKENS).run()


def write_by_transformers(batch: int) -> Callable[[], list[list[int]]]:
    rows = prompts(batch)
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])

    def run() -> list[list[int]]:
        found = theirs().generate(
            ids,
            attention_mask=mask,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=[],
            pad_token_id=0,
            do_sample=False,
        )
        return found[:, longest:].tolist()

    return run


def decoding(batch: int) -> Case:
    """Prompts of unequal lengths, continued at once."""
    by_transformers = write_by_transformers(batch)
    expected = cache(by_transformers)

    def quality(found: list[list[int]]) -> dict[str, float]:
        pairs = [
            (a, b)
            for row, other in zip(found, expected(), strict=True)
            for a, b in zip(row, other, strict=True)
        ]
        return {
            "tokens": len(pairs),
            "tokens_of_transformers": sum(a == b for a, b in pairs) / len(pairs),
        }

    return Case(
        name=f"writing, batch {batch}",
        params={"batch": batch, "new_tokens": NEW_TOKENS, "dtype": "float32"},
        ours=write(batch),
        peers={"transformers": by_transformers},
        quality=quality,
    )


def reading() -> Case:
    """The logits of every token of a text."""
    ids = torch.tensor([ours().tokenizer.encode("\n".join(topics.values())[:8_000])[:READ]])

    def quality(logits: torch.Tensor) -> dict[str, float]:
        loss = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:])
        return {"perplexity": float(loss.exp())}

    return Case(
        name=f"reading {READ} tokens",
        params={"tokens": READ, "dtype": "float32"},
        ours=torch.inference_mode()(lambda: ours()(ids)),
        peers={"transformers": torch.inference_mode()(lambda: theirs()(ids).logits)},
        quality=quality,
    )


def from_nothing(code: str) -> Callable[[], dict[str, Any]]:
    def run() -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])

    return run


def starting() -> Case:
    """From no process to the first token."""
    return Case(
        name="from nothing to a token",
        params={"dtype": "float32"},
        ours=from_nothing(OURS),
        peers={"transformers": from_nothing(THEIRS)},
        quality=lambda found: {
            "loading_s": found["loading_s"],
            "peak_mib": found["peak_mib"],
            "says_paris": float(found["answer"] == " Paris"),
        },
        rounds=3,
    )


def cases() -> list[Case]:
    """Ours and transformers on the same input, with the quality that each reaches."""
    return [starting(), reading(), decoding(1), decoding(8)]
