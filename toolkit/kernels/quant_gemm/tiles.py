"""How large the tiles of a four-bit product are, by chip and by rows of x.

These compile for their chip without a spilled register; tests compile them all again. How fast
they are is not known from that: on a GPU, ``autotune`` measures a few and remembers the best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from toolkit.kernels.engine import row_for


@dataclass(frozen=True, slots=True)
class Tiles:
    """A program's rows of x, columns of y and depth of K, its warps, its pipeline's stages."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


TABLE = {
    "sm_90": {
        16: Tiles(16, 128, 128, 4, 4),
        32: Tiles(32, 128, 128, 4, 4),
        64: Tiles(64, 128, 128, 8, 4),
        128: Tiles(128, 128, 128, 8, 3),
    },
    "sm_80": {
        16: Tiles(16, 64, 128, 4, 4),
        32: Tiles(32, 64, 128, 4, 4),
        64: Tiles(64, 64, 64, 8, 4),
        128: Tiles(128, 128, 64, 8, 4),
    },
    "gfx942": {
        16: Tiles(16, 64, 128, 4, 2),
        32: Tiles(32, 64, 128, 4, 2),
        64: Tiles(64, 64, 64, 4, 2),
        128: Tiles(128, 128, 64, 8, 2),
    },
    "small": {
        16: Tiles(16, 64, 64, 4, 3),
        32: Tiles(32, 64, 64, 4, 3),
        64: Tiles(64, 64, 64, 4, 3),
        128: Tiles(64, 64, 64, 4, 3),
    },
    "fp32": {
        16: Tiles(16, 32, 64, 4, 2),
        32: Tiles(32, 32, 64, 4, 2),
        64: Tiles(32, 32, 64, 4, 2),
        128: Tiles(32, 32, 64, 4, 2),
    },
}
"""By chip and by rows of x, at most so many; 128 stands for more, too."""

INTERPRETED = Tiles(16, 64, 128, 4, 1)
"""The interpreter takes as long for a large tile as for a small one."""


def pick(rows: int, depth: int, itemsize: int, chip: str) -> Tiles:
    """The tiles for so many rows of x; a chip that has no line has little shared memory.

    They are 64 deep where 128 would reach past the end of K.
    """
    table = TABLE["fp32"] if itemsize == 4 else row_for(TABLE, chip)
    tiles = table[next((most for most in table if rows <= most), 128)]
    if chip == "cpu":
        tiles = INTERPRETED
    return replace(tiles, depth=tiles.depth if depth % tiles.depth == 0 else 64)
