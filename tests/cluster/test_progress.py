"""The bar says what it waits for, and its clock begins with the work."""

from __future__ import annotations

import time

import pytest
from support import tiny
from tqdm.std import tqdm

import toolkit as tk
from toolkit.cluster import progress
from toolkit.cluster.progress import Progress

PLAN = tk.ShardPlan(h=2)


class Told(tqdm):
    """A bar that remembers what it said."""

    said: list[str] = []

    def display(self, *args, **kwargs):
        self.said.append(self.desc)


@pytest.fixture
def told(monkeypatch) -> list[str]:
    monkeypatch.setattr(Told, "said", [])
    monkeypatch.setattr(progress, "tqdm", Told)
    return Told.said


def test_waiting_is_said_and_not_counted(told):
    shown = Progress(PLAN, True)
    shown.doing("starting 2 ranks")
    assert told == ["starting 2 ranks: "]
    time.sleep(0.05)
    begin = shown._bar.start_t
    shown.doing("")
    assert shown._bar.start_t >= begin + 0.05
    assert (told[-1], shown._bar.n, shown._bar.total) == ("", 0, 2)
    begin = shown._bar.start_t
    shown.doing("")
    assert shown._bar.start_t == begin
    shown.close("done")


def test_nothing_is_said_where_nothing_is_shown(told):
    shown = Progress(PLAN, False)
    shown.doing("starting 2 ranks")
    shown.doing("")
    shown.close("done")
    assert told == []


def test_a_first_run_says_that_ranks_start_and_models_travel(told):
    vae, latent = tiny.kl(), tiny.latent("kl", 9, 9)
    with tk.Cluster(2, device="cpu", start="forkserver") as cluster:
        cluster.decode(vae, latent, PLAN)
        first = list(dict.fromkeys(told))
        told.clear()
        cluster.decode(vae, latent, PLAN)
    assert first[:3] == ["starting 2 ranks: ", "sending the model: ", ""]
    assert set(told) <= {""}
