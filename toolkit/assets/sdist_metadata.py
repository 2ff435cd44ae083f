"""A build backend that builds nothing: it only tells pip what a source archive is called.

``pip download`` asks the build backend of a source archive for its metadata, which would run the
archive's own code and fetch tools to do so. Here the archive is data, so this file stands in for
``setuptools/build_meta.py`` and answers from the ``PKG-INFO`` that every source archive carries.
"""

from __future__ import annotations

import shutil
import sys
from email import message_from_string
from pathlib import Path


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: dict[str, str] | None = None
) -> str:
    """Write ``NAME-VERSION.dist-info/METADATA`` and return that folder's name (PEP 517)."""
    info = message_from_string(Path("PKG-INFO").read_text(encoding="utf-8"))
    name = info["Name"].replace("-", "_")
    folder = Path(metadata_directory) / f"{name}-{info['Version']}.dist-info"
    folder.mkdir()
    shutil.copyfile("PKG-INFO", folder / "METADATA")
    return folder.name


__legacy__ = sys.modules[__name__]
