"""Is a GPTQ checkpoint v1 or v2, whatever its label says?

The two differ by 1 in every zero, and nothing in the arrays says which it is. Read with the wrong
one, every weight is off by a whole step of its scale, which no error reports: the model talks
nonsense (https://github.com/vllm-project/vllm/pull/26092).
"""

from __future__ import annotations

import torch

from .layouts import Packed
from .nibbles import from_words

CERTAIN = 0.25  # of a step: half-way to where v1 and v2 are equally likely
WRAPPED = 15  # in gptq_v1, a zero of 0 less 1: it says nothing


def zero_convention(packed: Packed) -> str | None:
    """Whether zeros are stored as in "gptq_v1" or "gptq_v2"; None where the numbers can't tell.

    The label is not looked at; ``dataclasses.replace(packed, layout=...)`` puts it right.

    A symmetric weight is easily told: its zero is 8, stored as 7 by v1 and as 8 by v2.

    Otherwise a trained weight's mean is near 0, next to its step. So the mean of code - stored is
    near 0 if zeros were stored as they are (v2), and near 1 if less 1 (v1). Rows give that mean a
    standard error; the answer must lie within a quarter step, three standard errors included.

    It can't tell small matrices, nor weights whose mean is half a step from 0, and says None. It is
    wrong where the weights' own mean is a whole step, as in a vector of gains: ask it about several
    layers. AWQ and Marlin have one convention only: None.
    """
    if packed.qzeros is None or packed.g_idx is None:
        return None
    stored = from_words(packed.qzeros).T  # (out, groups)
    for zero, convention in ((7, "gptq_v1"), (8, "gptq_v2")):
        if (stored == zero).all():
            return convention

    stored = stored[:, packed.g_idx.long()].float()
    steps = from_words(packed.qweight.T) - stored
    rows = steps.masked_fill(stored == WRAPPED, torch.nan).nanmean(1)
    rows = rows[rows.isfinite()]
    if len(rows) < 2:
        return None
    mean, error = rows.mean(), rows.std() / len(rows) ** 0.5
    for shift, convention in ((1, "gptq_v1"), (0, "gptq_v2")):
        if (mean - shift).abs() + 3 * error < CERTAIN:
            return convention
    return None
