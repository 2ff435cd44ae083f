"""The corpora among the assets, as lists of texts with a label each."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.assets.registry import AssetError, find
from toolkit.assets.store import get


@dataclass(frozen=True, slots=True)
class Texts:
    """A corpus: ``labels[i]`` is that of ``texts[i]``, and the order never changes."""

    texts: list[str]
    labels: list[str]


def texts(name: str) -> Texts:
    """Every text of a corpus with its label.

    ``"license-texts"`` gives the 37,169 texts of ScanCode's licence data in the order of their
    paths, each without its YAML front matter; the label is the licence's key or expression, and
    ``""`` for the 1,228 that were collected because they name no licence.
    ``"chinese-reviews"`` gives 35,123 reviews, one a line, labelled ``"neg"`` (first) or ``"pos"``.

    Raises:
        AssetError: not a corpus, it can't be had, or its bytes are not UTF-8.
    """
    readers = {"license-texts": _license_texts, "chinese-reviews": _reviews}
    if name not in readers:
        raise AssetError(f"{name!r} is not a corpus of texts; there are: {', '.join(readers)}")
    pairs = list(readers[name](get(find(name))))
    return Texts([text for text, _ in pairs], [label for _, label in pairs])


def _license_texts(wheel: Path) -> Iterator[tuple[str, str]]:
    front_matter = re.compile(r"---\n(.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
    label = re.compile(r"^(?:license_expression|key): *(.+(?:\n +.+)*)", re.MULTILINE)
    kept = re.compile(r"licensedcode/data/(?:licenses/[^/]+\.LICENSE|rules/[^/]+\.RULE)")
    for path, content in _zip_members(wheel, kept):
        text = _decode(content, path).replace("\r\n", "\n")
        header = front_matter.match(text)
        if header is None:
            raise AssetError(
                f"{path} of license-texts has no front matter: bring the course up to date"
            )
        found = label.search(header[1])
        yield text[header.end() :], " ".join(found[1].split()) if found else ""


def _reviews(folder: Path) -> Iterator[tuple[str, str]]:
    for label in ("neg", "pos"):
        path = folder / f"{label}.txt"
        for line in _decode(path.read_bytes(), path.name).split("\n"):
            if line.strip():
                yield line, label


def _decode(content: bytes, path: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise AssetError(
            f"{path} is not UTF-8 at byte {error.start}: run `toolkit assets verify`"
        ) from error


def _zip_members(path: Path, kept: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    """The kept files of a zip, in the order of their names.

    ``zipfile`` spends most of its time on an object a member, so with tens of thousands of small
    ones the bytes are cut straight out of the file: a local header of 30 bytes, whose last two
    16-bit numbers are the lengths of the name and the extra field, stands before each member.
    """
    archive = path.read_bytes()
    with zipfile.ZipFile(path) as wheel:
        infos = [info for info in wheel.infolist() if kept.fullmatch(info.filename)]
    for info in sorted(infos, key=lambda info: info.filename):
        name_length, extra_length = struct.unpack_from("<HH", archive, info.header_offset + 26)
        start = info.header_offset + 30 + name_length + extra_length
        content = archive[start : start + info.compress_size]
        if info.compress_type == zipfile.ZIP_DEFLATED:
            content = zlib.decompress(content, wbits=-15)
        yield info.filename, content
