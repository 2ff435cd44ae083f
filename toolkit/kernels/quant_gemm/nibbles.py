"""Eight 4-bit codes in an int32, and the orders that layouts lay them in.

A word holds nibble i in bits 4i to 4i + 3. What differs from layout to layout is which eight codes
share a word, and which of them is nibble i.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float16, Int32, Int64, Shaped, UInt8
from torch import Tensor

PER_WORD = 8
TILE = 16  # Marlin's tiles are 16 x 16, what one tensor-core instruction takes
TILES = 4  # side by side: a thread reads a word of each, 16 bytes in one load

# Nibble i holds code ORDER[i], so that codes 2j and 2j + 1 lie 16 bits apart: see unpack_pairs.
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
INVERSE = (0, 4, 1, 5, 2, 6, 3, 7)  # code i is in nibble INVERSE[i]


def to_words(codes: UInt8[Tensor, "*rows codes"]) -> Int32[Tensor, "*rows words"]:
    """Each eight codes of a row, 0 to 15, as one word, the first lowest."""
    words = torch.zeros_like(codes[..., ::PER_WORD], dtype=torch.int32)
    for i in range(PER_WORD):
        words |= codes[..., i::PER_WORD].int() << 4 * i
    return words


def from_words(words: Int32[Tensor, "*rows words"]) -> UInt8[Tensor, "*rows codes"]:
    """The codes of :func:`to_words`."""
    nibbles = [(words >> 4 * i & 15).to(torch.uint8) for i in range(PER_WORD)]
    return torch.stack(nibbles, -1).flatten(-2)


def reorder(codes: UInt8[Tensor, "*rows codes"], order: tuple[int, ...]) -> Tensor:
    """Each eight codes of a row in another order: the new code i is the old code order[i]."""
    return codes.unflatten(-1, (-1, PER_WORD))[..., order].flatten(-2)


def unpack_pairs(words: Int32[Tensor, "*rows words"]) -> Float16[Tensor, "*rows codes"]:
    """Codes of words in ``ORDER`` as fp16, in their own order, two at a time with no conversion.

    The fp16 number 1024 is 0x6400, and from there one unit of the last bit is 1: or a code into
    the low bits of 0x6400 and you have the number 1024 + code. In the interleaved order codes 2j
    and 2j + 1 are the same four bits of a word's two halves, so one shift, one ``and`` and one
    ``or`` make both:

        (word >> 4j) & 0x000F000F | 0x64006400

    A GPU does the ``and`` and the ``or`` in one instruction, ``lop3``, and takes off 1024 for both
    in one more; eight conversions from integers would cost several times that. In order 0 to 7 the
    same instructions would pair code j with code j + 4.

    Source:
        Kim, Henry, Fahim, Awadalla, Who Says Elephants Can't Run, arXiv 2211.10017.
    """
    pairs = [words >> 4 * j & 0x000F000F | 0x64006400 for j in range(PER_WORD // 2)]
    return torch.stack(pairs, -1).view(torch.float16).flatten(-2) - 1024


@lru_cache
def marlin_order() -> Int64[Tensor, " chunk"]:
    """Where each nibble of 128 Marlin words comes from, in four 16 x 16 tiles laid end to end.

    Lane t of a warp multiplies column t // 4 of a tile's left and of its right half, at rows
    2 (t % 4) + {0, 1, 8, 9}: tensor cores say so (``mma.m16n8k16``). Those eight codes, in
    ``ORDER``, are its word. A lane's words of the four tiles follow each other.

    Source:
        Frantar et al., MARLIN, arXiv 2408.11743; the layout is its code's, IST-DASLab/marlin.
    """
    with torch.device("cpu"):  # kept for all that follows, whatever the default is now
        return _marlin_order()


def _marlin_order() -> Int64[Tensor, " chunk"]:
    lane = torch.arange(32)[:, None, None]
    tile = torch.arange(TILES)[:, None]
    slot = torch.tensor(ORDER)
    row = 2 * (lane % 4) + torch.tensor((0, 1, 8, 9))[slot % 4]
    column = lane // 4 + 8 * (slot // 4)
    return (tile * TILE**2 + row * TILE + column).flatten()


def to_tiles(codes: UInt8[Tensor, "in out"]) -> UInt8[Tensor, "in/16 out*16"]:
    """Codes in the order of Marlin's nibbles, a row of tiles in a row."""
    rows, columns = codes.shape
    tiles = codes.reshape(rows // TILE, TILE, columns // TILE, TILE).transpose(1, 2)
    chunks = tiles.reshape(-1, TILES * TILE**2)
    return chunks[:, marlin_order().to(codes.device)].reshape(rows // TILE, columns * TILE)


def from_tiles(nibbles: UInt8[Tensor, "in/16 out*16"]) -> UInt8[Tensor, "in out"]:
    """The codes of :func:`to_tiles`."""
    rows, columns = nibbles.shape[0], nibbles.shape[1] // TILE
    chunks = nibbles.reshape(-1, TILES * TILE**2)
    tiles = chunks[:, marlin_order().argsort().to(nibbles.device)]
    tiles = tiles.reshape(rows, columns // TILE, TILE, TILE)
    return tiles.transpose(1, 2).reshape(rows * TILE, columns)


def permute_scales(scales: Shaped[Tensor, "groups out"]) -> Shaped[Tensor, "groups out"]:
    """Scales as Marlin's threads load them, 16 bytes at a time; applied again, it undoes itself.

    With several groups a thread scales its codes before multiplying, and wants the scales of
    columns i, i + 8, i + 16 to i + 56 together. With one group it scales its results, which are
    pairs of columns: 2i and 2i + 1 and those 8, 16 and 24 further.
    """
    if len(scales) > 1:
        return scales.unflatten(-1, (-1, 8, 8)).transpose(-1, -2).flatten(-3)
    return scales.unflatten(-1, (-1, 4, 4, 2)).transpose(-2, -3).flatten(-4)
