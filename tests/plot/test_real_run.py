"""Every figure of real runs, on two ranks that talk to each other."""

from __future__ import annotations

import json

import pytest
from support import tiny
from support.pipelines import PIPELINES
from support.staged import plans

import toolkit as tk
from toolkit import plot
from toolkit.analysis.part_states import State
from toolkit.analysis.replaying import replaying

CELL = 8 * 8 * 3 * 5 * 4
"""Bytes of sample per latent cell: 8x, RGB, five frames, fp32."""


@pytest.fixture(scope="module")
def decodes(cluster) -> dict[str, tk.Run]:
    vae, latent = tiny.wan21(), tiny.latent("wan21", 13, 11)
    grid = tk.TileGrid.cover({"h": 13, "w": 11}, tile=8, overlap=2)
    ways = {
        "whole": None,
        "tiles": tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2)),
        "shards": tk.ShardPlan(h=2),
    }
    return {name: cluster.decode(vae, latent, plan, progress=False) for name, plan in ways.items()}


@pytest.fixture(scope="module")
def rehearsals(decodes) -> dict[str, tk.Rehearsal]:
    vae, latent = tiny.wan21(), tiny.latent("wan21", 13, 11)
    return {name: tk.rehearse(vae, latent, run.plan) for name, run in decodes.items()}


def test_every_figure_is_drawn_and_small(decodes, rehearsals):
    tiles, shards, whole = (decodes[name] for name in ("tiles", "shards", "whole"))
    compared = tk.compare(tiles, whole)
    figures = [
        *(plot.ranks(tiles, show) for show in ("owner", "cost", "time", "bytes")),
        *(plot.ranks(shards, show) for show in ("owner", "time", "bytes")),
        plot.halos(shards),
        plot.seams(compared, frames=range(5), signed=True),
        plot.seam_profile(compared),
        plot.compare(compared),
        plot.compare(shards, whole, mode="wipe"),
        plot.peak_memory([whole, tiles, shards], [rehearsals[name] for name in ("whole", "tiles", "shards")]),
        plot.scaling([whole, tiles]),
        plot.scaling([whole, shards]),
    ]
    for name, run in (("tiles", tiles), ("shards", shards)):
        figures += [plot.timeline(run), plot.utilisation(run), plot.communication(run)]
        figures += [plot.peak_memory(run, rehearsals[name])]
        figures += [plot.memory(run, limit=10**9), plot.memory(run, 1)]
    for figure in figures:
        bundle = figure._repr_mimebundle_()
        assert len(json.dumps(bundle)) < 500_000, figure.describe()
        assert bundle["text/plain"].endswith(".")
        assert len(figure.to_dataframe())


def test_tiles_send_what_the_plan_says_to_whom_it_says(decodes):
    run = decodes["tiles"]
    measured = plot.communication(run).to_dataframe()
    predicted = plot.communication(run.plan, CELL).to_dataframe()
    assert measured.equals(predicted)


def test_what_one_rank_sends_the_other_receives(decodes):
    for name in ("tiles", "shards"):
        trace = decodes[name].trace
        sent, received = (trace[trace["kind"] == kind] for kind in ("send", "receive"))
        assert len(sent)
        there = sorted(zip(sent["rank"], sent["peer"], sent["label"], sent["bytes"], strict=True))
        here = sorted(zip(received["peer"], received["rank"], received["label"], received["bytes"], strict=True))
        assert there == here
        others = trace[~trace["kind"].isin(("send", "receive", "wait"))]
        assert (others["peer"] == -1).all()


def test_tiles_and_shards_were_timed_one_by_one(decodes):
    for name in ("tiles", "shards"):
        run = decodes[name]
        spent = plot.ranks(run, "time").to_dataframe()["time computing (ms)"]
        assert (spent > 0).all()
        kinds = run.trace[run.trace["kind"].isin(("decode", "shard"))]
        assert spent.sum() == pytest.approx(1000 * (kinds["end"] - kinds["start"]).sum())


@pytest.fixture(scope="module")
def looped(cluster) -> tk.Run:
    """A pipeline's call in four stages on two ranks."""
    tiny_pipe = PIPELINES["wan_a14b"]
    pipe = tiny_pipe.build()
    schedule = tk.Schedule.looped(2, branches=2, chunks=2)
    return cluster.generate(pipe, plans(pipe, schedule), progress=False, **tiny_pipe.call())


def test_tiles_and_shards_are_replayed_to_their_end(decodes, rehearsals):
    speed = tk.Profile.assume(operations=1e9, bandwidth=1e9)
    for name, parts in (("tiles", 4), ("shards", 2), ("whole", 1)):
        run, rehearsal = decodes[name], rehearsals[name].with_profile(speed)
        replay = replaying(run)
        assert len(replay.parts.names) == parts
        assert (replay.states(replay.end) == State.DONE).all()
        assert set(replay.states(0.0).tolist()) == {State.WAITING}
        # Every message was taken, and belongs to a part.
        assert (replay.messages["taken"] >= 0).all()
        assert (replay.messages["end"] >= replay.messages["start"]).all()
        assert (replay.messages["part"] >= 0).all()
        sent = replay.messages["bytes"].sum()
        assert sent == run.trace.loc[run.trace["kind"] == "send", "bytes"].sum()
        most = max(replay.counts(time)[State.COMPUTING] for time in run.trace["start"])
        assert most == min(parts, 2)
        figure = plot.replay(run, rehearsal, moments=8)
        assert len(json.dumps(figure._repr_mimebundle_())) < 500_000
        assert figure.describe().startswith(replay.subject)


def test_looped_stages_are_replayed(looped):
    replay = replaying(looped)
    transformers = looped.trace.loc[looped.trace["kind"] == "stage", "expert"].nunique()
    assert len(replay.parts.names) == 4 * transformers
    assert len(replay.parts.sheet.rows) == 2 * transformers
    assert (replay.states(replay.end) == State.DONE).all()
    stages = looped.trace[looped.trace["kind"] == "stage"]
    for event in stages.itertuples():
        part = replay.parts.of_event[event.Index]
        assert replay.parts.owners[part] == event.rank
        assert replay.states((event.start + event.end) / 2)[part] == State.COMPUTING
    between = replay.messages[replay.messages["branch"] >= 0]
    assert (between["part"] >= 0).all()  # results, which name no stage, belong to the last one
    assert (replay.parts.owners[between["part"]] == between["sender"]).all()
    figure = plot.replay(looped, moments=8)
    assert len(json.dumps(figure._repr_mimebundle_())) < 500_000
    assert figure.layout.xaxis.title.text == "layers"


def test_memory_of_a_rank_is_mostly_working_memory(decodes):
    table = plot.memory(decodes["tiles"], 1).to_dataframe()
    assert table["working (bytes)"].max() > 0.5 * decodes["tiles"].peaks[1]
    weights = sum(parameter.nbytes for parameter in tiny.wan21().parameters())
    assert (table["weights (bytes)"] == weights).all()
