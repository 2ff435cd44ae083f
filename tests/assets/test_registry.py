"""The list of assets is complete and well formed."""

from __future__ import annotations

import re

import pytest

from toolkit import assets


@pytest.mark.parametrize("entry", assets.entries(), ids=lambda entry: entry.name)
def test_an_entry_is_well_formed(entry):
    assert re.fullmatch(r"[a-z0-9-]+", entry.name)
    assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.size > 0
    assert entry.description
    assert entry.licence
    assert entry.purpose
    if entry.from_pypi:
        package, version = entry.source.split("==")
        assert entry.filename.startswith(f"{package.replace('-', '_')}-{version}")
    else:
        assert entry.source.endswith("/" + entry.filename)
        assert re.search(r"/[0-9a-f]{40}/", entry.source), "pin the commit"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        assets.AssetError, match="no asset 'licence-texts'; there are: license-texts, "
    ):
        assets.get("licence-texts")


def test_importing_fetches_nothing_and_stays_light():
    import subprocess
    import sys

    heavy = ("pooch", "requests", "torch", "numpy")
    code = f"import sys, toolkit.assets; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
