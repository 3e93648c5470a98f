"""Every figure of real runs, on two ranks that talk to each other."""

from __future__ import annotations

import json

import pytest
from support import tiny

import toolkit as tk
from toolkit import plot

CELL = 8 * 8 * 3 * 5 * 4
"""Bytes of sample per latent cell: 8x, RGB, five frames, fp32."""


@pytest.fixture(scope="module")
def decodes(cluster) -> dict[str, tk.Run]:
    vae, latent = tiny.wan21(), tiny.latent("wan21", 13, 11)
    grid = tk.TileGrid.cover({"h": 13, "w": 11}, tile=8, overlap=2)
    plans = {
        "whole": None,
        "tiles": tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2)),
        "shards": tk.ShardPlan(h=2),
    }
    return {name: cluster.decode(vae, latent, plan, progress=False) for name, plan in plans.items()}


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


def test_memory_of_a_rank_is_mostly_working_memory(decodes):
    table = plot.memory(decodes["tiles"], 1).to_dataframe()
    assert table["working (bytes)"].max() > 0.5 * decodes["tiles"].peaks[1]
    weights = sum(parameter.nbytes for parameter in tiny.wan21().parameters())
    assert (table["weights (bytes)"] == weights).all()
