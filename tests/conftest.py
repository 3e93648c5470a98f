"""Fixtures: clusters of real processes, shared where a test does not break them."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest
import torch

from toolkit.cluster import Cluster

# diffusers warns, once per cast, of an empty list of modules to keep in float32.
logging.getLogger("diffusers.models.modeling_utils").setLevel(logging.ERROR)


def pytest_collection_finish() -> None:
    """Keep what is loaded out of garbage collections, which would look through torch, diffusers and all tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The processor's threads are for the workers; and results do not depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Five ranks, quick to start; for tests that leave it as it was."""
    with Cluster(ranks=5, device="cpu", start="forkserver") as five:
        yield five
