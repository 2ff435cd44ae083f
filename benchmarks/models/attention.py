"""One step of decoding by each kind of attention beside transformers', and whole prompts.

One layer of width 1,024 with 16 query heads of 64 numbers, in fp32, batch 1, one thread: MHA with
16 KV heads, GQA with 4, MQA with 1, and MLA in DeepSeek-V2's proportions, with a latent as wide as
4 heads and a rotated key of half a head. Weights and cached tokens are random. The cache holds all
tokens but the newest, which each contestant adds to it. transformers has two caches: the usual one
grows by a copy at each step, the static one is made for a number of tokens; of its layer of
DeepSeek-V2 there is one way only, the naive. A call does the same step ``steps`` times, and the
seconds are the call's. ``error_millionths`` is the greatest difference from the same layer in
double precision, ``cache_mib`` what the tensors of the cache take with the newest token, and
``peak_mib`` what our step takes beyond weights and cache.

Ledger
------
Heads of their own, shared in fours, shared by all
    Predicted: a step reads its cache once and waits for it, so that at 32,768 tokens GQA takes a
    quarter of MHA's time and MQA a sixteenth.
    Measured: 20 ms, 12 and 5; at 8,192 tokens 6.6, 3.9 and 2.2. MHA does wait, for 13 GB a second.
    The others wait for one core, which does the same 134 million operations for all three.
MLA
    Predicted: the absorbed way takes a seventh of MHA's time, as its cache does, and a sixtieth of
    the naive way's, as its operations do.
    Measured: about MHA's time, since it does 4.25 times the operations, and a thirtieth of the
    naive way's at 8,192 tokens, a fortieth at 32,768. There the naive way takes 645 MiB for keys,
    values and scores beside a cache of 36, the absorbed way 5.
Beside transformers
    Predicted: as fast with its static cache; the growing one costs a copy of the cache.
    Measured: so for MHA. The copy makes it 4 times as slow at 8,192 tokens and 7.5 at 32,768. Where
    heads share, ours is ahead of the static cache too, 1.5 times with GQA at 32,768 tokens and 2.3
    with MQA: it hands a group's heads to the kernel as queries of one key. The angles of its
    rotation, in fp32, cost a digit there: an error of 3.4 millionths where ours is 0.1.
Prompts
    Predicted: copies of shared keys cost little, the formula twice the time.
    Measured: copies nothing; the formula 2.6 times at 512 tokens and 8 at 2,048, where its scores
    no longer fit in the processor's cache.
Where ours loses
    The naive way of MLA and MHA at 32,768 tokens to transformers' with a static cache, by a few
    hundredths.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch

from toolkit import course
from toolkit.bench import Case

sys.path.append(str(course.root()))  # the command doesn't look there

from benchmarks.models.attention_peers.prompts import prefill
from benchmarks.models.attention_peers.steps import decoding

PACKAGES = ("torch", "transformers")

torch.set_num_threads(1)

CONTEXTS = (512, 2048, 8192, 32_768)


def cases() -> Iterator[Case]:
    """Ours and each peer on the same input, one after the other, as the inputs are large."""
    for context in CONTEXTS:
        for kind in ("MHA", "GQA", "MQA"):
            yield decoding(kind, context, rounds=9)
        yield decoding("MLA, absorbed", context, rounds=5)
        yield decoding("MLA, naive", context, rounds=3)
    for tokens in (512, 2048):
        yield prefill(tokens, rounds=5)
