"""The same calls over two hosts: one host's bits, what crosses the link, who listens."""

from __future__ import annotations

import os
import socket

import pytest
import torch
from support import tiny
from support.netns import needs_namespaces
from support.pipelines import PIPELINES
from support.staged import QUIET, plans

import toolkit as tk

pytestmark = needs_namespaces


def tiles(latent: torch.Tensor, ranks: int = 4) -> tk.TilePlan:
    grid = tk.TileGrid.cover({"h": latent.shape[-2], "w": latent.shape[-1]}, tile=8, overlap=2)
    return tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks))


def test_ranks_are_on_both_hosts_the_kernels_first(four, on_a):
    a, b = on_a.addresses
    name = socket.gethostname()
    assert f"2 on {name} ({a}), 2 on {name} ({b})" in repr(four)
    assert len(set(four.run(os.getpid))) == 4
    assert four.run(lambda: os.readlink("/proc/self/ns/net"))[0] == os.readlink("/proc/thread-self/ns/net")
    inside = four.run(lambda: os.readlink("/proc/self/ns/net"))
    assert inside[0] == inside[1] != inside[2] == inside[3]


@pytest.mark.parametrize("plan", [tiles, lambda latent: tk.ShardPlan(h=2, w=2)], ids=["tiles", "shards"])
@pytest.mark.parametrize("name", ["kl", "wan21"])
def test_decode_has_one_hosts_bits(four, here, on_a, name, plan):
    vae, latent = tiny.MODELS[name](), tiny.latent(name, 21, 18)
    run = four.decode(vae, latent, plan(latent), progress=False)
    assert torch.equal(run.output, here.decode(vae, latent, plan(latent), progress=False).output)
    assert [host.endswith(f"({on_a.addresses[place]})") for place, host in zip((0, 0, 1, 1), run.record.what["hosts"],
                                                                           strict=True)] == [True] * 4  # fmt: skip


def test_streams_in_order(four, here, on_a):
    vae, latent = tiny.kl(), tiny.latent("kl", 60, 14)
    bands = []
    four.decode(vae, latent, tiles(latent), stream=lambda band, start: bands.append(band), progress=False)
    assert torch.equal(torch.cat(bands, -2), here.decode(vae, latent, tiles(latent), progress=False).output)


def test_generates_by_looped_stages(four, on_a):
    wan = PIPELINES["wan"]
    pipe = wan.build()
    plan = plans(pipe, tk.Schedule.looped(2, 2, 2))
    run = four.generate(pipe, plan, **QUIET, **wan.call(1))
    assert torch.equal(run.output, wan.run(pipe, 1))


def test_a_model_crosses_the_link_once(four, on_a):
    vae = tiny.kl()
    vae.register_buffer("ballast", torch.zeros(4 << 20, dtype=torch.uint8))
    before = on_a.sent(0)
    four.run(lambda model: None, vae)
    sent = on_a.sent(0) - before
    assert 4 << 20 < sent < 1.2 * (4 << 20)


def test_events_are_on_one_clock(four, on_a):
    vae, latent = tiny.kl(), tiny.latent("kl", 21, 18)
    run = four.decode(vae, latent, tk.ShardPlan(h=2, w=2), progress=False)
    assert (run.trace["start"] >= 0).all()
    assert (run.trace["end"] <= run.seconds).all()
    assert set(run.record.what["clocks"]) == {run.record.what["hosts"][2]}
    assert 0 < run.record.what["clocks"][run.record.what["hosts"][2]]["within"] < 0.01


def test_nothing_listens_elsewhere(four, on_a):
    four.run(os.getpid)
    for host, address in enumerate(on_a.addresses):
        listeners = on_a.listeners(host)
        assert listeners
        assert {one.rpartition(":")[0] for one in listeners} == {address}


@pytest.mark.parametrize("block", [None, (2, 1)], ids=["rows", "columns"])
def test_what_crosses_the_link_is_what_was_predicted(four, on_a, block):
    vae, latent = tiny.kl(), tiny.latent("kl", 12, 30)
    plan, two = tk.ShardPlan(h=2, w=2, block=block), tk.Topology(hosts=2, per_host=2)
    run, rehearsal = four.decode(vae, latent, plan, progress=False), tk.rehearse(vae, latent, plan, topology=two)
    assert tk.Topology.of_hosts(run.hosts) == two
    columns = ["messages", "bytes"]
    assert run.host_messages()[columns].equals(rehearsal.host_messages()[columns])
    table = tk.plot.hosts(run, predicted=rehearsal).to_dataframe()
    assert table["measured bytes"].equals(table["predicted bytes"])


def test_a_plan_on_hosts_sends_less_between_them_and_gives_the_same_bits(four, on_a):
    vae, latent, two = tiny.kl(), tiny.latent("kl", 12, 30), tk.Topology(hosts=2, per_host=2)
    rows = tk.ShardPlan(h=2, w=2)
    far, outputs = [], []
    for plan in (rows, rows.on(two, {"h": 12, "w": 30})):
        run = four.decode(vae, latent, plan, progress=False)
        table = run.host_messages()
        far.append(table.loc[table["sender"] != table["receiver"], "bytes"].sum())
        outputs.append(run.output)
    assert far[1] < far[0]
    assert torch.equal(*outputs)
