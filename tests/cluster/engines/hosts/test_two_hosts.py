"""Two hosts: the same calls have one host's bits, and every fault is named within seconds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time

import psutil
import pytest
import torch
import torch.distributed as dist
from support import tiny
from support.netns import Agents, needs_namespaces
from support.pipelines import PIPELINES
from support.staged import QUIET, plans

import toolkit as tk

pytestmark = needs_namespaces
PER_MESSAGE = 700
"""Bytes that a message of gloo takes beside what is sent: its headers, TCP's, and what acknowledges both."""


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


@pytest.mark.parametrize("plan", [tiles, lambda latent: tk.ShardPlan(h=2, w=2)], ids=["tiles", "shards"])
def test_bytes_on_the_link_are_those_that_a_rehearsal_predicts(four, on_a, plan):
    vae, latent, topology = tk.demo.image_vae(), tk.demo.latents("image"), tk.Topology(2, 2)
    predicted = tk.rehearse(vae, latent, plan(latent), topology=topology).host_messages()
    four.decode(vae, latent, plan(latent), progress=False)  # the model crosses, and ranks connect
    line = four._workers._calls.pool.engine._placed[1].line

    def counted() -> tuple[int, int]:
        """What each host has sent beside the line between kernel and agent."""
        return on_a.sent(0) - line.sent, on_a.sent(1) - line.received

    time.sleep(0.2)
    before = counted()
    four.decode(vae, latent, plan(latent), progress=False)
    time.sleep(0.2)
    for sender, now in enumerate(counted()):
        row = predicted[predicted["sender"] == f"host {sender}"]
        row = row[row["receiver"] == f"host {1 - sender}"].sum()
        over = now - before[sender] - row["bytes"] - PER_MESSAGE * row["messages"]
        assert abs(over) < 0.02 * row["bytes"] + 20_000  # what acknowledges the other host's


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


LIMIT, LINK_LIMIT = 6.0, 8.0


@pytest.fixture
def right(four, here, on_a):
    """Whether the cluster gives one host's bits, after whatever has happened."""
    vae, latent, plan = tiny.kl(), tiny.latent("kl", 12, 10), tk.ShardPlan(h=2, w=2)
    expected = here.decode(vae, latent, plan, progress=False).output

    def check(cluster: tk.Cluster = four) -> bool:
        return torch.equal(cluster.decode(vae, latent, plan, progress=False).output, expected)

    assert check()
    return check


def sleeps() -> None:
    time.sleep(60)


def soon(does, *args) -> None:
    threading.Timer(0.7, does, args).start()


def gone(pids: list[int]) -> bool:
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=5)
    return not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_rank_of_the_other_host_is_killed(four, right):
    pids = four.pids
    soon(os.kill, pids[3], signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(tk.RankDied, match="rank 3 died: ended by SIGKILL") as caught:
        four.run(sleeps)
    assert caught.value.__notes__[0].startswith("rank 3 is on ")
    assert time.monotonic() - begin < LIMIT
    assert gone(pids)
    assert right()


def test_a_rank_raises(four, right):
    pids, begin = four.pids, time.monotonic()

    def fails() -> None:
        if dist.get_rank() == 2:
            raise ValueError("on purpose")
        dist.barrier()

    with pytest.raises(tk.RankFailed, match="rank 2 raised ValueError: on purpose") as caught:
        four.run(fails)
    assert "in fails" in caught.value.remote_traceback
    assert time.monotonic() - begin < LIMIT
    assert right()
    assert pids == four.pids or gone(pids)


def test_a_run_is_cancelled(four, right):
    vae, latent = tiny.kl(), tiny.latent("kl", 200, 100)
    grid = tk.TileGrid.cover({"h": 200, "w": 100}, tile=8, overlap=2)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 4))
    job = four.decode(vae, latent, plan, block=False, progress=False)
    time.sleep(1)
    begin = time.monotonic()
    job.cancel()
    with pytest.raises(tk.RunCancelled):
        job.result(timeout=60)
    assert time.monotonic() - begin < LIMIT
    assert right()


def test_a_rank_of_the_other_host_is_stopped(four, right):
    soon(os.kill, four.pids[2], signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(tk.RunTimeout, match=r"rank\(s\) 2 have been stopped by a signal"):
        four.run(sleeps)
    assert time.monotonic() - begin < LINK_LIMIT + 1
    assert right()


def test_the_link_goes_down_and_up(four, right, on_a, agents):
    pids = four.pids
    soon(lambda: on_a.link(1, up=False))
    begin = time.monotonic()
    with pytest.raises(tk.RankDied, match=rf"its host .*\({on_a.addresses[1]}\) is lost"):
        four.run(sleeps)
    assert time.monotonic() - begin < LINK_LIMIT
    on_a.link(1, up=True)
    assert right()
    assert gone(pids)


def test_an_agent_is_killed(four, right, on_a, agents):
    pids = four.pids
    soon(agents.running[1].kill)
    begin = time.monotonic()
    with pytest.raises(tk.RankDied, match=rf"its host .*\({on_a.addresses[1]}\) is lost"):
        four.run(sleeps)
    assert time.monotonic() - begin < LIMIT
    agents.running[1].communicate()
    agents.start(1)
    assert right()
    assert gone(pids)


def test_a_sweep_goes_on_when_a_host_is_lost(four, right, on_a, agents):
    vae, latent = tiny.kl(), tiny.latent("kl", 12, 10)

    def measure(h: int) -> dict[str, float]:
        if h == 2:
            soon(agents.running[1].kill)
            four.run(sleeps)
        if h == 3:  # started by whoever starts agents there, such as SLURM
            agents.running[1].communicate()
            agents.start(1)
        return {"sum": float(four.decode(vae, latent, tk.ShardPlan(h=h), progress=False).output.sum())}

    table = tk.sweep(measure, {"h": [1, 2, 3]}, progress=False)
    assert table["status"].tolist() == ["done", "failed", "done"]
    assert "is lost" in table["error"][1]
    assert table["sum"][2] == pytest.approx(table["sum"][0], rel=1e-4)


def test_a_folder_that_one_host_lacks(four, right, on_a, agents, tmp_path):
    """It was found out by the ranks of that host, when the others had loaded theirs."""
    wan = PIPELINES["wan_ti2v"]
    folder = wan.save(tmp_path / "pipe")
    pipe = wan.build()
    plan = plans(pipe, tk.Schedule.interleaved(2, 2))
    # A mount of the second host's own hides the folder there.
    hide = ["nsenter", "-t", str(agents.running[1].pid), "-m", "-n", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    subprocess.run(hide, check=True)
    try:
        pids = four.pids
        with pytest.raises(tk.PlanError, match=rf"pipe: not on .*\({on_a.addresses[1]}\)\. Copy it there"):
            four.generate(folder, plan, **QUIET, **wan.call(1))
        assert four.pids == pids
    finally:
        subprocess.run([*hide[:5], "umount", str(tmp_path)], check=True)
    assert torch.equal(four.generate(folder, plan, **QUIET, **wan.call(1)).output, wan.run(pipe, 1))


SECOND = """
import os, sys, time
import toolkit as tk
cluster = tk.Cluster(2, "cpu", engine=tk.engines.Hosts(sys.argv[1], sys.argv[2]))
print(*cluster.run(os.getpid), flush=True)
cluster.run(time.sleep, 60)
"""


def test_the_kernel_of_a_second_cluster_is_killed(four, right, hosts, key):
    """Two clusters at once know nothing of each other; what the killed one had on both hosts ends within seconds."""
    second = Agents(hosts, key, 7001)
    for host in (0, 1):
        second.start(host, slots=1)
    kernel = hosts.python(0, "-c", SECOND, second.address, str(key), stdout=subprocess.PIPE)
    try:
        ranks = [int(word) for word in kernel.stdout.readline().split()]
        assert len(ranks) == 2
        assert right()
        kernel.kill()
        begin = time.monotonic()
        assert gone(ranks)
        assert time.monotonic() - begin < LIMIT
        assert right()
    finally:
        kernel.kill()
        kernel.communicate()
        second.end()
