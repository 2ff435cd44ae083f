"""What is trained on, held out and encoded: licence texts and Chinese reviews, by fixed seeds.

Every process of the benchmark needs them, so what is made once is kept in the cache folder, for
as long as this file and Python stay as they are.
"""

from __future__ import annotations

import json
import random
import sys
import sysconfig
import unicodedata
import zlib
from collections.abc import Callable, Iterable
from functools import cache, wraps
from pathlib import Path

from toolkit import assets
from toolkit.data.tokenizers import BPE, load
from toolkit.data.tokenizers.files import write_atomically

from .processes import cache_folder

SEED = 0
SPECIAL = 17
"""SmolLM2's first ids are special tokens; tiktoken's ranks are the others, counted from 0."""
ENCODED = 2_000_000
"""Bytes of the texts in one language that are encoded."""
TRAINED, HELD_OUT = 2_500_000, 250_000
"""Bytes of the lines in each language that a vocabulary is learnt from, and that measure it."""
VERSION = zlib.crc32(Path(__file__).read_bytes() + sys.version.encode())


def kept(make: Callable[[], list[str]]) -> Callable[[], list[str]]:
    """Make it once, then read it from its file."""

    @cache
    @wraps(make)
    def found() -> list[str]:
        path = cache_folder() / f"{make.__name__}-{VERSION:08x}.json"
        if not path.exists():
            for stale in cache_folder().glob(f"{make.__name__}-*.json"):
                stale.unlink(missing_ok=True)
            write_atomically(path, json.dumps(make()))
        held: list[str] = json.loads(path.read_bytes())
        return held

    return found


@cache
def licences() -> list[str]:
    return [text for text in assets.texts("license-texts").texts if text.strip()]


@cache
def reviews() -> list[str]:
    return assets.texts("chinese-reviews").texts


def size_of(texts: Iterable[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def share_equal(found: Iterable[object], wanted: Iterable[object]) -> float:
    """Of two answers text by text, the share in which they are the same."""
    pairs = [a == b for a, b in zip(found, wanted, strict=True)]
    return sum(pairs) / len(pairs)


def first(texts: Iterable[str], size: int) -> list[str]:
    """The first of the texts, until they have so many bytes together."""
    taken, so_far = [], 0
    for text in texts:
        if so_far >= size:
            break
        taken.append(text)
        so_far += len(text.encode())
    return taken


@cache
def distinct_lines(corpus: Callable[[], list[str]]) -> list[str]:
    """The lines of a corpus in NFC, each once, in a random order."""
    normal = (unicodedata.normalize("NFC", text) for text in corpus())
    lines = list(dict.fromkeys(x for text in normal for x in text.split("\n") if x.strip()))
    random.Random(SEED).shuffle(lines)
    return lines


@kept
def held_out() -> list[str]:
    """Lines of both languages, none of which is in ``training``."""
    return [
        line for corpus in (licences, reviews) for line in first(distinct_lines(corpus), HELD_OUT)
    ]


@kept
def training() -> list[str]:
    lines = []
    for corpus in (licences, reviews):
        every = distinct_lines(corpus)
        lines += first(every[len(first(every, HELD_OUT)) :], TRAINED)
    random.Random(SEED).shuffle(lines)
    return lines


@kept
def every_line() -> list[str]:
    """All distinct lines of both, mixed."""
    lines = distinct_lines(licences) + distinct_lines(reviews)
    random.Random(SEED).shuffle(lines)
    return lines


@cache
def smollm2() -> BPE:
    """SmolLM2's tokenizer; reading its GGUF takes seconds, a file of ours does not."""
    path = cache_folder() / "smollm2.json"
    if not path.exists():
        BPE.from_gguf(assets.get("smollm2-135m-instruct")).save(path)
    return load(path)


@cache
def ranks() -> dict[bytes, int]:
    return {piece: id for id, piece in enumerate(smollm2().tokens[SPECIAL:])}


@cache
def by_ranks() -> BPE:
    path = cache_folder() / "smollm2-ranks.json"
    if not path.exists():
        BPE.from_ranks(ranks()).save(path)
    return load(path)


def spelt(texts: Iterable[str]) -> list[str]:
    """Those whose bytes all have a token: SmolLM2 has none for some control characters."""
    known = {piece[0] for piece in ranks() if len(piece) == 1}
    return [text for text in texts if known.issuperset(text.encode())]


@kept
def english() -> list[str]:
    return first(spelt(random.Random(SEED).sample(licences(), 5000)), ENCODED)


@kept
def chinese() -> list[str]:
    return first(spelt(random.Random(SEED).sample(reviews(), 10_000)), ENCODED)


@kept
def varied() -> list[str]:
    """10,000 short texts: licences, reviews, Python's library in pieces, and random Unicode."""
    rng = random.Random(SEED)
    texts = [text[:1000] for text in spelt(licences())[::5][:4000]]
    texts += rng.sample(spelt(reviews()), 3000)
    texts += spelt(code())[:1500]
    points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    signs = spelt(map(chr, points))
    texts += [
        "".join(rng.choices(signs, k=rng.randint(1, 100))) for _ in range(10_000 - len(texts))
    ]
    rng.shuffle(texts)
    return texts


def code() -> list[str]:
    pieces = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        pieces += ["".join(rows[at : at + 30]) for at in range(0, len(rows), 30)]
    random.Random(SEED).shuffle(pieces)
    return pieces


def long_lines(length: int, total: int) -> list[str]:
    """Single lines of so many bytes, up to a character, with ``total`` bytes together."""
    content = " ".join(training()).encode()[:total]
    return [content[at : at + length].decode(errors="ignore") for at in range(0, total, length)]
