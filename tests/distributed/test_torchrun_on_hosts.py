"""Torchrun over two hosts that share no loopback: one host's bits, and first causes on both, within seconds."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import tiny
from support.netns import needs_namespaces, two_hosts
from support.pipelines import PIPELINES
from support.staged import plans
from support.torchrun import start_on

import toolkit as tk

pytestmark = needs_namespaces
LIMIT = 20.0
"""Seconds from a failure on one host until the other host's command has ended: less than 6 where nothing else runs."""

LINK_LIMIT = 20.0
"""Seconds in which both hosts notice that the link has gone: most of it is the silence that they wait for."""


@pytest.fixture(scope="module")
def hosts():
    with two_hosts() as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hosts")
    tiny.kl().save_pretrained(folder / "vae")
    save_file({"latent": tiny.latent("kl", 12, 10)}, folder / "latent.safetensors")
    return folder


def ended(processes: list[subprocess.Popen], limit: float) -> list[str]:
    """What the processes have printed when the last has ended, which may be so long after the first."""
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.1)
        begin = time.monotonic()
        said = [process.communicate(timeout=60)[0] for process in processes]
        assert time.monotonic() - begin < limit, said
        return said
    finally:
        for process in processes:
            process.terminate()  # its ranks end with it
            process.communicate()


def test_a_model_that_one_host_lacks_is_named_on_both(hosts, folder):
    """The ranks loaded before they joined, and the other host waited for ever."""
    latent = str(folder / "latent.safetensors")
    processes = []
    for host, vae in enumerate(("vae", "none")):
        words = ("decode", "--vae", str(folder / vae), "--latent", latent, "--shards", "2x1")
        processes.append(start_on(hosts, host, "-m", "toolkit", *words, port=29502, ranks=1))
    said = ended(processes, limit=LIMIT)
    assert "raised ModelError" in said[0], said[0]
    assert "none: holds no config.json" in said[0]
    assert "in load_vae" in said[0]  # the other host's traceback
    assert "ModelError: " in said[1]
    assert "none: holds no config.json" in said[1]


SCRIPT = """
import sys, time, torch, toolkit as tk
from toolkit.distributed.comm.launched import launched_group
from support.pipelines import PIPELINES
vae, latent, plan, tiles, stages = torch.load(sys.argv[1], weights_only=False)
wan = PIPELINES["wan"]
with launched_group("cpu", timeout=60) as here, torch.no_grad():
    here.agree("the same")
    bands = []
    found = {
        "shards": tk.distributed.decode(vae, latent, plan),
        "tiles": tk.distributed.decode(vae, latent, tiles),
        "streamed": tk.distributed.decode(vae, latent, tiles, stream=lambda band, start: bands.append(band.clone())),
        "generated": tk.distributed.generate(wan.build(), stages, **wan.call(1)),
    }
    if here.rank == 0:
        torch.save(found | {"streamed": torch.cat(bands, -2)}, sys.argv[2])
    print("decoded", flush=True)
    try:
        while True:
            tk.distributed.decode(vae, latent, plan)
    except tk.RunError:
        print("raised at", time.time(), flush=True)
        raise
"""


def test_calls_have_one_hosts_bits_and_both_hosts_notice_that_the_link_has_gone(hosts, cluster, tmp_path):
    """Gloo and torch's store never look: a minute later nobody had noticed."""
    vae, latent, plan, wan = tiny.kl(), tiny.latent("kl", 12, 10), tk.ShardPlan(h=2, w=2), PIPELINES["wan"]
    grid = tk.TileGrid.cover({"h": 12, "w": 10}, tile=8, overlap=2)
    tiles, pipe = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 4)), wan.build()
    stages = plans(pipe, tk.Schedule.looped(2, 2, 2))
    torch.save((vae, latent, plan, tiles, stages), tmp_path / "job.pt")
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [str(tmp_path / name) for name in ("script.py", "job.pt", "sample.pt")]
    processes = [start_on(hosts, host, *words, port=29503) for host in (0, 1)]
    try:
        for process in processes:
            decoded = 0
            while decoded < 2:
                line = process.stdout.readline()
                assert line
                # Two ranks write to one pipe, and a line end may come after the other's word: two words, one line.
                decoded += line.count("decoded")
        time.sleep(1)  # a look for new connections
        hosts.link(1, up=False)
        begin = time.time()
        first, second = ended(processes, limit=60)
    finally:
        hosts.link(1, up=True)
        for process in processes:
            process.terminate()
    for said in (first, second):
        raised = re.findall(r"raised at ([\d.]+)", said)
        assert raised  # the launcher may end the host's other rank before it does
        assert all(float(one) - begin < LINK_LIMIT for one in raised)
    assert "or the link to it is gone" in first
    assert f"has lost the ranks' common store at {hosts.addresses[0]}:29503" in second
    found = torch.load(tmp_path / "sample.pt", weights_only=False)
    tiled = cluster.decode(vae, latent, tiles, progress=False)
    assert torch.equal(found["shards"], cluster.decode(vae, latent, plan, progress=False).output)
    assert torch.equal(found["tiles"], tiled.output)
    assert torch.equal(found["streamed"], tiled.output)
    assert torch.equal(torch.as_tensor(found["generated"][0]), wan.run(pipe, 1))
