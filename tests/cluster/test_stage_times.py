"""Times of stages of a real run: two transformers, two requests in flight."""

from __future__ import annotations

import pytest
import torch
from support.pipelines import PIPELINES

from toolkit import plot
from toolkit.analysis.stage_times import stage_times
from toolkit.cluster import Cluster
from toolkit.geometry import Schedule, StagePlan, StageSplit


def test_every_action_of_every_request_is_found_and_all_time_accounted_for():
    tiny = PIPELINES["wan_a14b"]
    schedule = Schedule.requests(stages=2, branches=2, requests=2)
    plans = {
        "transformer": StagePlan(StageSplit.even(6, 2), schedule),
        "transformer_2": StagePlan(StageSplit.at([1], 5), schedule),
    }
    requests = [{"generator": torch.Generator().manual_seed(seed)} for seed in range(2)]
    call = {name: value for name, value in tiny.call().items() if name != "generator"}
    with Cluster(2, start="forkserver") as cluster:
        run = cluster.generate(tiny.build(), plans, requests=requests, progress=False, memory=False, **call)
    times = stage_times(run)
    steps = call["num_inference_steps"]
    assert list(times.steps) == ["transformer", "transformer_2"]
    assert sum(times.steps.values()) == steps
    assert times.requests == 2
    rows = times.actions
    found = set(zip(rows["rank"], rows["chunk"], rows["branch"], rows["request"], rows["step"], strict=True))
    assert found == {(c, c, b, b // 2, step) for c in range(2) for b in range(4) for step in range(steps)}
    assert len(rows) == len(found)
    early = set(rows.loc[rows["expert"] == "transformer", "step"])
    assert early == set(range(times.steps["transformer"]))
    assert times.ranks.sum(axis=1).tolist() == pytest.approx([times.loop] * 2)
    assert (times.ranks[["compute", "send", "wait for stages", "wait for results"]] >= 0).all(axis=None)
    assert (rows["seconds"] >= rows["end"] - rows["start"] - 1e-9).all()
    assert 0 < times.hop < times.loop
    assert 0 < times.bound < times.one_rank
    assert len(plot.schedule(run).to_png()) > 1000
