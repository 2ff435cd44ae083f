"""Models that several tests read and none changes."""

from __future__ import annotations

import pytest

from toolkit.models.llama import Llama, load


@pytest.fixture(scope="session")
def smollm() -> Llama:
    """The real model; loading it takes seconds."""
    return load("smollm2-135m-instruct")
