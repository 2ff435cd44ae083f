"""Models that several tests read and none changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from toolkit.models.llama import Llama, load


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other take minutes where other programs work as well."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def smollm() -> Llama:
    """The real model; loading it takes seconds."""
    return load("smollm2-135m-instruct")
