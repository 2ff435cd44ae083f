"""``block_keys``: a chain, in which order, place and extras matter."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.serving.kv_cache import block_keys

TOKENS = st.lists(st.integers(0, 2**40), max_size=30)


@given(tokens=TOKENS, size=st.integers(1, 7), extras=st.binary(max_size=5))
def test_each_key_is_of_its_parent_its_tokens_and_extras(tokens, size, extras):
    """Written out: tokens as 8 bytes each, the lowest first."""
    keys, parent = [], b"\0" * 16
    for i in range(len(tokens) // size):
        block = b"".join(t.to_bytes(8, "little") for t in tokens[i * size : (i + 1) * size])
        parent = hashlib.blake2b(parent + block + extras, digest_size=16).digest()
        keys.append(parent)
    assert block_keys(tokens, size, extras=extras) == keys
    assert block_keys(np.array(tokens, np.int64), size, extras=extras) == keys


@given(tokens=TOKENS, size=st.integers(1, 4), split=st.integers(0, 30))
def test_a_text_may_come_in_parts(tokens, size, split):
    """As it does when an answer is written: the keys so far go on from the last one."""
    whole = block_keys(tokens, size)
    cut = min(split, len(whole))
    first = block_keys(tokens[: cut * size], size)
    rest = tokens[cut * size :]
    rest_keys = block_keys(rest, size, parent=first[-1]) if first else block_keys(rest, size)
    assert first + rest_keys == whole


@given(a=TOKENS, b=TOKENS, size=st.integers(1, 4))
def test_keys_are_equal_where_prefixes_are(a, b, size):
    for i, (one, other) in enumerate(
        zip(block_keys(a, size), block_keys(b, size), strict=False), start=1
    ):
        assert (one == other) == (a[: i * size] == b[: i * size])


def test_order_matters():
    assert block_keys([1, 2], 2) != block_keys([2, 1], 2)
    assert block_keys([1, 2], 1)[1] != block_keys([2, 1], 1)[0]  # the same token, elsewhere


def test_extras_matter_in_every_block():
    plain, adapter = block_keys(range(8), 4), block_keys(range(8), 4, extras=b"adapter 3")
    assert not set(plain) & set(adapter)
    parent = plain[0]
    assert block_keys(range(4, 8), 4, parent=parent) == plain[1:]
    assert block_keys(range(4, 8), 4, parent=parent, extras=b"image 7") != plain[1:]


def test_only_full_blocks_have_keys():
    assert [len(block_keys(range(n), 4)) for n in (0, 1, 3, 4, 7, 8)] == [0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("size", [0, -1])
def test_blocks_of_nothing_are_refused(size):
    with pytest.raises(ValueError, match=f"block_size must be at least 1, got {size}"):
        block_keys([1, 2], size)


@pytest.mark.parametrize("tokens", [[1.0, 2.5], np.array([1.0]), [2**63], ["a"], [[1, 2], [3]]])
def test_what_is_no_token_is_refused(tokens):
    with pytest.raises(TypeError, match="tokens must be whole numbers below 2"):
        block_keys(tokens, 1)


def test_keys_are_the_same_in_every_process():
    code = (
        "from toolkit.serving.kv_cache import block_keys; print(block_keys([5, 6, 7], 1)[2].hex())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == block_keys([5, 6, 7], 1)[2].hex()
