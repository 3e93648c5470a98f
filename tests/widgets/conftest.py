"""A sweep that has been run."""

from __future__ import annotations

import pytest
from support.explored_sweeps import SPACE, measure

import toolkit as tk


@pytest.fixture
def done():
    explorer = tk.widgets.sweep(measure, SPACE)
    explorer.start()
    assert explorer.wait(30)
    return explorer
