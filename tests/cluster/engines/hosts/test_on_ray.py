"""Ray places, starts and ends agents; the same calls have one host's bits."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support import tiny
from support.netns import needs_namespaces
from support.pipelines import PIPELINES

import toolkit as tk
from toolkit.cluster.engines.hosts.on_ray import deal
from toolkit.errors import ToolkitError

QUIET = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
# Not the token that may lie in this user's home folder.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}

KERNEL = '''
"""What a notebook on the first node does."""
import os, signal, sys, threading
import time; begun = time.time()
import ray, torch
import toolkit as tk
from support import tiny
from support.pipelines import PIPELINES
from support.staged import plans


if __name__ == "__main__":
    address, folder = sys.argv[1:]
    vae, latent = tiny.kl(), tiny.latent("kl", 40, 18)
    grid = tk.TileGrid.cover({"h": 40, "w": 18}, tile=8, overlap=2)
    tiles = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 4))
    quiet, bands, found = {"progress": False}, [], {}
    with tk.Cluster(4, "cpu", engine=tk.engines.Ray(address)) as cluster:
        found["tiles"] = cluster.decode(vae, latent, tiles, **quiet).output.clone()
        found["shards"] = cluster.decode(vae, latent, tk.ShardPlan(h=2, w=2), **quiet).output.clone()
        cluster.decode(vae, latent, tiles, stream=lambda band, start: bands.append(band.clone()), **quiet)
        found["streamed"] = torch.cat(bands, -2)
        wan = PIPELINES["wan"]
        pipe = wan.build()
        run = cluster.generate(pipe, plans(pipe, tk.Schedule.looped(2, 2, 2)), **quiet, **wan.call(1))
        found["generated"], found["hosts"] = run.output.clone(), run.record.what["hosts"]
        threading.Timer(0.5, os.kill, (cluster.pids[3], signal.SIGKILL)).start()
        try:
            cluster.run(time.sleep, 60)
        except tk.RankDied as error:
            found["died"] = f"{error} {error.__notes__}"
        found["after"] = cluster.decode(vae, latent, tk.ShardPlan(h=2, w=2), **quiet).output.clone()
    while ray.available_resources().get("CPU", 0) < 4 and time.time() - begun < 200:
        time.sleep(0.2)  # Ray gives room back in its own time
    found["left"] = ray.available_resources()["CPU"], len(ray.util.placement_group_table())
    torch.save(found, f"{folder}/found.pt")
'''


@pytest.fixture(scope="module")
def nodes(hosts, tmp_path_factory):
    """A Ray cluster of two nodes with two CPUs each; its address."""
    ray, folder = shutil.which("ray", path=Path(sys.executable).parent), tmp_path_factory.mktemp("ray")
    assert ray is not None
    a, b = hosts.addresses
    common = ["--num-cpus=2", "--disable-usage-stats", "--object-store-memory=80000000", "--block"]
    head = [f"--node-ip-address={a}", "--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={folder}"]
    started = []
    options = {"env": {**QUIET, **TOKEN}, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    for host, words in ((0, head), (1, [f"--node-ip-address={b}", f"--address={a}:6379"])):
        started.append(hosts.start(host, ray, "start", *words, *common, **options))
        if host == 0:
            until(lambda: any(one.endswith(":6379") for one in hosts.listeners(0)))
    yield f"{a}:6379"
    for one in reversed(started):
        one.send_signal(signal.SIGTERM)
    for one in started:
        one.wait(30)


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@needs_namespaces
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install -e '.[ray]' to try Ray")
def test_the_same_calls_have_one_hosts_bits(hosts, nodes, here, tmp_path):
    script = tmp_path / "kernel.py"
    script.write_text(KERNEL)
    environment = {**QUIET, **TOKEN, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    kernel = hosts.python(0, str(script), nodes, str(tmp_path), env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)  # fmt: skip
    said, _ = kernel.communicate(timeout=240)
    assert kernel.returncode == 0, said
    found = torch.load(tmp_path / "found.pt")
    vae, latent = tiny.kl(), tiny.latent("kl", 40, 18)
    grid = tk.TileGrid.cover({"h": 40, "w": 18}, tile=8, overlap=2)
    tiles = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 4))
    tiled = here.decode(vae, latent, tiles, progress=False).output
    sharded = here.decode(vae, latent, tk.ShardPlan(h=2, w=2), progress=False).output
    wan = PIPELINES["wan"]
    assert torch.equal(found["tiles"], tiled)
    assert torch.equal(found["streamed"], tiled)
    assert torch.equal(found["shards"], sharded)
    assert torch.equal(found["after"], sharded)
    assert torch.equal(found["generated"], wan.run(wan.build(), 1))
    assert [name.endswith(f"({hosts.addresses[place]})") for place, name in zip((0, 0, 1, 1), found["hosts"],
                                                                              strict=True)] == [True] * 4  # fmt: skip
    assert "rank 3 died: ended by SIGKILL" in found["died"]
    assert found["left"] == (4.0, 1)  # the room is given back; one group, which was removed, is remembered


@needs_namespaces
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install -e '.[ray]' to try Ray")
def test_who_shows_no_token_is_told_to(hosts, nodes):
    script = f"import toolkit as tk; tk.Cluster(2, 'cpu', engine=tk.engines.Ray({nodes!r}))"
    once = {"RAY_AUTH_MODE": "disabled", "RAY_gcs_server_port_wait_time_s": "1"}
    environment = {**QUIET, **once, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    kernel = hosts.python(0, "-c", script, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = kernel.communicate(timeout=60)
    assert kernel.returncode == 1
    assert f"ToolkitError: address='{nodes}': this Ray cluster was not joined. It asks for a token." in said


def test_ranks_are_dealt_to_this_node_first():
    nodes = [("10.0.0.3", 4, 0), ("10.0.0.1", 2, 0), ("10.0.0.2", 8, 0)]
    assert deal(nodes, 9, own="10.0.0.2", per_node=None) == [("10.0.0.2", 8, False), ("10.0.0.1", 1, False)]
    assert deal(nodes, 4, own="10.0.0.2", per_node=2) == [("10.0.0.2", 2, False), ("10.0.0.1", 2, False)]
    cards = [("10.0.0.1", 64, 0), ("10.0.0.2", 64, 2)]
    assert deal(cards, 2, own="10.0.0.1", per_node=None) == [("10.0.0.2", 2, True)]
    with pytest.raises(ToolkitError, match=r"3 ranks: the nodes of this Ray cluster have room for 2 \(accelerators"):
        deal(cards, 3, own="10.0.0.1", per_node=None)
