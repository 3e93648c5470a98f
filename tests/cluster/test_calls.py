"""Calls on their own: models placed on workers within the call's time, and workers repaired after a fault."""

from __future__ import annotations

import os
import time

import pytest
import torch

import toolkit as tk
from toolkit.cluster import calls as calls_module
from toolkit.cluster.calls import Calls
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.engines.local.local_engine import LocalEngine
from toolkit.cluster.engines.setup import Setup


@pytest.fixture
def calls():
    calls = Calls(Setup(0, 2, "cpu", "gloo", 1, "onednn", True, None, 0, 60.0), LocalEngine("forkserver"))
    calls.prepare((), Listener())
    yield calls
    calls.close()


class Slow(torch.nn.Module):
    """A model that takes its time to be placed."""

    def to(self, *args, **kwargs):
        time.sleep(30)
        return self


def test_the_timeout_covers_the_placing_of_a_model(calls):
    """A call's timeout began once its models were on the workers."""
    begin = time.monotonic()
    with pytest.raises(tk.RunTimeout, match=r"rank\(s\) 0, 1 had not finished after timeout=1 s"):
        calls.prepare((Slow(),), Listener(timeout=1.0))
    assert time.monotonic() - begin < 5
    assert not calls.pool.running


def test_placing_a_model_has_a_limit_of_its_own(calls, monkeypatch):
    """Without a timeout it was waited for without an end, as for a device that hangs."""
    monkeypatch.setattr(calls_module, "PLACE_LIMIT", 0.5)
    begin = time.monotonic()
    with pytest.raises(tk.RunTimeout, match=r"rank\(s\) 0, 1 had not finished"):
        calls.prepare((Slow(),), Listener())
    assert time.monotonic() - begin < 5


def test_a_model_is_sent_once(calls):
    model = torch.nn.Linear(2, 2)
    first = calls.prepare((model, 3), Listener())
    assert first == calls.prepare((model, 3), Listener())
    with torch.no_grad():
        model.weight.add_(1)
    assert first != calls.prepare((model, 3), Listener())


def test_workers_that_all_raise_stay(calls):
    pids = calls.pool.pids
    with pytest.raises(tk.RankFailed, match="ZeroDivisionError"):
        calls.call(range(2), lambda: 1 / 0, (), {}, Listener())
    assert calls.pool.pids == pids
    assert calls.call([1], os.getpid, (), {}, Listener()) == {1: pids[1]}
