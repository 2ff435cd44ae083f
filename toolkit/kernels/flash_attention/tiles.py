"""How large the tiles are, by kernel, chip, head size, dtype and rules.

Larger tiles read K and V less often; what bounds them is registers and shared memory. These are
the largest, of those tried, that compile without a spilled register up to head_dim 128, in code
for each chip; tests compile them all again. How fast they are is not known from that.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.kernels.engine import row_for


@dataclass(frozen=True, slots=True)
class Tiles:
    """A program's tile of queries, its tile of keys, its warps, its software pipeline's stages."""

    queries: int
    keys: int
    warps: int
    stages: int


Table = dict[str, dict[int, tuple[Tiles, Tiles]]]
"""By chip and padded head_dim: without window, softcap or packing, and with any of them."""


def _table(**chips: dict[int, tuple[tuple[int, ...], tuple[int, ...]]]) -> Table:
    return {
        chip: {dim: (Tiles(*plain), Tiles(*ruled)) for dim, (plain, ruled) in sizes.items()}
        for chip, sizes in chips.items()
    }


FORWARD = _table(
    sm_90={
        64: ((128, 128, 8, 3), (128, 128, 8, 3)),
        128: ((128, 64, 8, 3), (128, 64, 8, 3)),
        256: ((128, 64, 8, 2), (128, 64, 8, 2)),
    },
    sm_80={
        64: ((128, 64, 4, 3), (128, 64, 8, 3)),
        128: ((128, 64, 8, 3), (64, 64, 4, 3)),
        256: ((64, 64, 8, 2), (64, 64, 8, 2)),
    },
    gfx942={
        64: ((128, 64, 4, 1), (128, 64, 4, 1)),
        128: ((128, 64, 4, 1), (128, 64, 4, 1)),
        256: ((64, 32, 4, 1), (64, 32, 4, 1)),
    },
    small={
        64: ((64, 64, 4, 2), (64, 64, 4, 2)),
        128: ((64, 64, 4, 2), (64, 32, 4, 2)),
        256: ((64, 16, 4, 2), (32, 32, 4, 1)),
    },
    fp32={
        64: ((16, 32, 4, 1), (16, 32, 4, 1)),
        128: ((16, 32, 4, 1), (16, 32, 4, 1)),
        256: ((16, 16, 8, 1), (16, 16, 8, 1)),
    },
)
KEYS_GRADIENT = _table(
    sm_90={
        64: ((64, 128, 8, 2), (32, 128, 8, 2)),
        128: ((32, 128, 8, 2), (16, 128, 8, 2)),
        256: ((16, 32, 8, 1), (16, 32, 8, 1)),
    },
    sm_80={
        64: ((32, 128, 8, 2), (32, 64, 8, 2)),
        128: ((32, 64, 8, 2), (16, 64, 8, 2)),
        256: ((32, 64, 8, 1), (16, 64, 8, 1)),
    },
    gfx942={
        64: ((32, 128, 4, 1), (32, 128, 4, 1)),
        128: ((32, 64, 4, 1), (32, 64, 4, 1)),
        256: ((16, 32, 4, 1), (16, 32, 4, 1)),
    },
    small={
        64: ((32, 64, 4, 2), (32, 64, 8, 2)),
        128: ((32, 64, 8, 1), (32, 64, 8, 1)),
        256: ((16, 32, 4, 1), (16, 32, 4, 1)),
    },
    fp32={
        64: ((16, 32, 8, 1), (16, 32, 8, 1)),
        128: ((16, 16, 8, 1), (16, 16, 8, 1)),
        256: ((16, 16, 8, 1), (16, 16, 8, 1)),
    },
)
QUERIES_GRADIENT = _table(
    sm_90={
        64: ((128, 64, 8, 2), (128, 64, 8, 2)),
        128: ((128, 64, 8, 2), (128, 32, 8, 2)),
        256: ((32, 16, 4, 1), (32, 16, 4, 1)),
    },
    sm_80={
        64: ((64, 64, 4, 2), (128, 32, 8, 2)),
        128: ((128, 32, 8, 2), (128, 32, 8, 2)),
        256: ((64, 32, 8, 1), (64, 32, 8, 1)),
    },
    gfx942={
        64: ((128, 32, 4, 1), (128, 32, 4, 1)),
        128: ((64, 32, 4, 1), (64, 32, 4, 1)),
        256: ((32, 16, 4, 1), (32, 16, 4, 1)),
    },
    small={
        64: ((64, 32, 4, 2), (64, 32, 4, 2)),
        128: ((64, 32, 8, 1), (64, 32, 8, 1)),
        256: ((32, 16, 8, 1), (32, 16, 8, 1)),
    },
    fp32={
        64: ((32, 16, 8, 1), (32, 16, 8, 1)),
        128: ((16, 16, 8, 1), (16, 16, 8, 1)),
        256: ((16, 16, 8, 1), (16, 16, 8, 1)),
    },
)
DECODE = _table(
    sm_90={
        64: ((16, 64, 4, 3), (16, 64, 4, 3)),
        128: ((16, 64, 4, 3), (16, 64, 4, 3)),
        256: ((16, 64, 4, 2), (16, 64, 4, 2)),
    },
    sm_80={
        64: ((16, 64, 4, 3), (16, 64, 4, 3)),
        128: ((16, 64, 4, 3), (16, 64, 4, 3)),
        256: ((16, 32, 4, 2), (16, 32, 4, 2)),
    },
    gfx942={
        64: ((16, 64, 4, 1), (16, 64, 4, 1)),
        128: ((16, 64, 4, 1), (16, 64, 4, 1)),
        256: ((16, 32, 4, 1), (16, 32, 4, 1)),
    },
    small={
        64: ((16, 64, 4, 2), (16, 64, 4, 2)),
        128: ((16, 32, 4, 2), (16, 32, 4, 2)),
        256: ((16, 16, 4, 2), (16, 16, 4, 2)),
    },
    fp32={
        64: ((16, 32, 4, 2), (16, 32, 4, 2)),
        128: ((16, 32, 4, 1), (16, 32, 4, 1)),
        256: ((16, 16, 4, 1), (16, 16, 4, 1)),
    },
)
INTERPRETED = Tiles(64, 64, 4, 1)
"""The interpreter takes as long for a large tile as for a small one."""


def pick(table: Table, padded: int, itemsize: int, chip: str, ruled: bool) -> Tiles:
    """The tiles for a padded head_dim; a chip that has no row has little shared memory."""
    if chip == "cpu":
        return INTERPRETED
    row = table["fp32"] if itemsize == 4 else row_for(table, chip)
    return row[max(64, padded)][ruled]
