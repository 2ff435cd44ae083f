"""The roofline: how fast a kernel could be at best, from the FLOPs and bytes that it needs.

A kernel with an arithmetic intensity of I FLOP a byte can't be faster than the chip's units,
peak, nor than its memory feeds them, I · bandwidth. Where the two meet, at the ridge, a kernel
goes from bound by memory to bound by compute. The model knows nothing of caches, latencies or
launches: it says what can't be, not what will be.

Source: Williams, Waterman, Patterson, Roofline: an insightful visual performance model for
multicore architectures, Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """What a vendor publishes of a GPU.

    ``bandwidth`` is of its memory, bytes a second. ``peaks`` are FLOP a second: "16-bit" of the
    matrix units, dense and accumulated in fp32, for fp16 and, where the chip has it, bf16; "fp32"
    of the vector units. ``sram`` is the most shared memory of a multiprocessor, in bytes.
    """

    name: str
    bandwidth: float
    peaks: dict[str, float]
    sram: int
    multiprocessors: int
    source: str


@dataclass(frozen=True, slots=True)
class Point:
    """A kernel's place under the roof: what it computes and moves, and how long that took.

    Args:
        name: of the kernel, as a reader should see it.
        flops: floating-point operations of one launch.
        bytes: moved between the card's memory and the chip.
        seconds: measured for one launch; None where there is no measurement.
        card: the name of the card it was measured on; empty where there is no measurement.
    Raises:
        ValueError: a number isn't positive, or only one of seconds and card is given.
    """

    name: str
    flops: float
    bytes: float
    seconds: float | None = None
    card: str = ""

    def __post_init__(self) -> None:
        numbers = {"flops": self.flops, "bytes": self.bytes, "seconds": self.seconds}
        for field, value in numbers.items():
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{field} of {self.name!r} must be positive, got {value!r}")
        if (self.seconds is None) != (not self.card):
            raise ValueError(
                f"{self.name!r} has seconds={self.seconds!r} and card={self.card!r}: a time counts "
                "on the card it was measured on, so give both or neither"
            )

    @property
    def intensity(self) -> float:
        """FLOP for each byte moved."""
        return self.flops / self.bytes

    @property
    def achieved(self) -> float | None:
        """FLOP a second as measured; None without a measurement."""
        return None if self.seconds is None else self.flops / self.seconds


def attainable(card: Card, intensity: float, dtype: str = "16-bit") -> float:
    """FLOP a second that a kernel of some FLOP a byte can reach at best: min(peak, I · bandwidth).

    Raises:
        ValueError: intensity isn't positive, or the card has no peak for dtype.
    """
    if not intensity > 0:
        raise ValueError(f"intensity must be positive, in FLOP a byte, got {intensity!r}")
    return min(_peak(card, dtype), intensity * card.bandwidth)


def ridge(card: Card, dtype: str = "16-bit") -> float:
    """The least intensity, in FLOP a byte, at which the peak is in reach: peak / bandwidth.

    Raises:
        ValueError: the card has no peak for dtype.
    """
    return _peak(card, dtype) / card.bandwidth


def _peak(card: Card, dtype: str) -> float:
    if dtype not in card.peaks:
        raise ValueError(f"{card.name} has a peak for {', '.join(card.peaks)}, not for {dtype!r}")
    return card.peaks[dtype]


CARDS = {
    card.name: card
    for card in (
        Card(
            name="H200 SXM",
            bandwidth=4.8e12,
            peaks={"16-bit": 989.4e12, "fp32": 66.9e12},
            sram=228 * 1024,
            multiprocessors=132,
            source="NVIDIA H200 datasheet (4.8 TB/s; the chip is the H100's); "
            "NVIDIA H100 Tensor Core GPU Architecture, table of H100 SXM5",
        ),
        Card(
            name="H100 SXM",
            bandwidth=3.35e12,
            peaks={"16-bit": 989.4e12, "fp32": 66.9e12},
            sram=228 * 1024,
            multiprocessors=132,
            source="NVIDIA H100 datasheet (3.35 TB/s); "
            "NVIDIA H100 Tensor Core GPU Architecture, table of H100 SXM5",
        ),
        Card(
            name="A100 80GB SXM",
            bandwidth=2.039e12,
            peaks={"16-bit": 312e12, "fp32": 19.5e12},
            sram=164 * 1024,
            multiprocessors=108,
            source="NVIDIA A100 80GB datasheet; NVIDIA A100 Tensor Core GPU Architecture",
        ),
        Card(
            name="RTX 4090",
            bandwidth=1.008e12,
            peaks={"16-bit": 165.2e12, "fp32": 82.6e12},
            sram=100 * 1024,
            multiprocessors=128,
            source="NVIDIA Ada GPU Architecture, appendix A (fp16 with fp32 accumulate)",
        ),
        Card(
            name="T4",
            bandwidth=320e9,
            peaks={"16-bit": 65e12, "fp32": 8.1e12},
            sram=64 * 1024,
            multiprocessors=40,
            source="NVIDIA T4 datasheet; NVIDIA Turing GPU Architecture (fp16 only, no bf16)",
        ),
    )
}
"""Cards by name, with the figures that NVIDIA publishes: dense, at boost clock."""
