"""What a four-bit product moves between the GPU's memory and its chip, in bytes.

Counted tile by tile, for x and y of 2 bytes a number: what the kernels really ask for, were no
cache in between. The ideal reads and writes each number once.
"""

from __future__ import annotations

from math import gcd

from .tiles import Tiles


def ideal_bytes(
    rows: int, columns: int, depth: int, group_size: int, *, zeros: bool = False
) -> int:
    """x (rows, depth), y (rows, columns), codes of half a byte, scales of 2, zeros of half."""
    groups = depth // group_size
    side = 2 * columns + (4 * -(-columns // 8) if zeros else 0)
    return 2 * rows * (depth + columns) + depth * columns // 2 + groups * side


def w4a16_bytes(
    rows: int, columns: int, depth: int, group_size: int, *, tiles: Tiles, splits: int = 1,
    zeros: bool = False,
) -> int:  # fmt: skip
    """Bytes of the kernels.

    Each tile of columns reads all of x, each tile of rows all of the weight, in whole blocks of 64
    columns. Scales, and zeros in whole words, are read for as many columns as lie in one tile and
    one group. Parts of a split walk are fp32, written and read once.
    """
    row_tiles, column_tiles = -(-rows // tiles.rows), -(-columns // tiles.columns)
    reached = -(-depth // tiles.depth) * tiles.depth
    side = 2 * columns + (4 * -(-columns // 8) if zeros else 0)
    weight = reached * columns // 2 + reached // gcd(group_size, tiles.depth) * side
    parts = 2 * splits * rows * columns * 4 if splits > 1 else 0
    x_and_y = 2 * rows * (column_tiles * depth + columns)
    return x_and_y + row_tiles * weight + parts
