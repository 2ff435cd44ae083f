"""Corpora, weights and traces by name: found, checked by sha256, kept in a cache.

```python
from toolkit import assets

corpus = assets.texts("license-texts")          # 37,169 texts, a label each
corpus.texts[0], corpus.labels[0]

assets.get("smollm2-135m-instruct")             # the path of a file, or of a folder of files
assets.entries()                                # all there are, with size, licence and source
```

The first ``get`` of a name fetches it with a progress bar; importing never does. From then on
the answer comes at once and without a network. The same from a shell:

```
toolkit assets list                  # what there is, and where it lies
toolkit assets get license-texts     # fetch; prints the path
toolkit assets verify                # hash everything that is here, byte for byte
```

Where an asset is looked for, in this order:

1. **The cache**: the platform's cache folder, or the folder that ``TOOLKIT_ASSETS`` names.
   One folder an asset, with the sha256 of each file. Files whose size and time have not changed
   are trusted; any other is hashed again, and replaced if it is damaged.
2. **Folders that are only read**: those that ``TOOLKIT_ASSETS_PATH`` lists (separated as in
   ``PATH``). A file there is known by its size and sha256, whatever its name. This is how a
   machine without a network is served: put the source's file into such a folder by hand.
3. **Its source**: a file on PyPI, fetched with pip and so through whatever index or proxy pip
   is set up for (none of the package's code is run), or a URL.

What was fetched is checked against the sha256 written in ``registry.toml``, put together aside,
and renamed into place. So nothing half-written ever has the final name, two processes download
once (the second one waits), and a killed one leaves only a folder that the next cleans up. Of an
archive only what the course uses is kept; the archive itself is not, unless it is read directly.

Whatever goes wrong is an ``AssetError``: one sentence that says what to do.

To add an asset, add a table to ``registry.toml``.
"""

from pathlib import Path

from toolkit.assets import store
from toolkit.assets.corpora import Texts, texts
from toolkit.assets.registry import AssetError, Entry, entries, find
from toolkit.assets.store import Status

__all__ = ["AssetError", "Entry", "Status", "Texts", "entries", "get", "status", "texts", "verify"]


def get(name: str) -> Path:
    """The path of an asset on this machine, which is fetched first if need be.

    Args:
        name: one of ``entries()``, such as ``"smollm2-135m-instruct"``.
    Returns:
        A file where the asset is one file, else the folder that holds its files.
    Raises:
        AssetError: no such asset, or it can't be had; one sentence that says what to do.
    """
    return store.get(find(name))


def status(name: str) -> Status:
    """How an asset stands, without fetching it: its state, and its path if it is here."""
    return store.status_of(find(name))


def verify(name: str) -> Path:
    """Hash every byte of an asset that is here, and return its path.

    Raises:
        AssetError: it is not here, or it is damaged.
    """
    return store.verify(find(name))
