"""Runs and reports that tests share."""

from __future__ import annotations

import pytest
from support.report_pages import NASTY
from support.reported import SHARDS, TILES, reported, video

import toolkit as tk
from toolkit.evidence import Report


@pytest.fixture(scope="module")
def made() -> Report:
    runs = {"tiles": reported(video() + 0.1, TILES, seconds=2.5), NASTY: reported(video(), SHARDS, seconds=2.0)}
    return tk.report(runs, reported(video()), title="2 < 3 & 1")


@pytest.fixture
def whole():
    return reported(video())


@pytest.fixture
def tiled():
    return reported(video() + 0.125, TILES, seconds=2.5, peak=80_000_000)
