"""The same call under torchrun gives the same bits as a notebook's cluster."""

from __future__ import annotations

import subprocess
import sys

import torch
from support import tiny

import toolkit as tk

SCRIPT = """
import sys, torch, torch.distributed as dist, toolkit as tk
vae, latent, plan = torch.load(sys.argv[1], weights_only=False)
dist.init_process_group("gloo")
sample = tk.distributed.decode(vae, latent, plan)
if dist.get_rank() == plan.root:
    torch.save(sample, sys.argv[2])
dist.destroy_process_group()
"""


def test_same_bits(cluster, tmp_path):
    vae, latent = tiny.wan22(), tiny.latent("wan22", 7, 11)
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 2))
    torch.save((vae, latent, plan), tmp_path / "job.pt")
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "script.py", "job.pt", "sample.pt"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    run = cluster.decode(vae, latent, plan, progress=False)
    assert torch.equal(torch.load(tmp_path / "sample.pt"), run.output)


def test_a_group_without_rank_zero(cluster):
    """Plan ranks are ranks of the group, whatever their global numbers."""

    def in_group(vae, latent, plan):
        group = torch.distributed.new_group([3, 1])
        if torch.distributed.get_rank() in (1, 3):
            return tk.distributed.decode(vae, latent, plan, group)
        return None

    vae, latent = tiny.wan21(), tiny.latent("wan21", 13, 9)
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 2))
    outputs = cluster.run(in_group, vae, latent, plan)
    roots = [rank for rank, output in enumerate(outputs) if output is not None]
    assert len(roots) == 1
    assert roots[0] in (1, 3)
    assert torch.equal(outputs[roots[0]], cluster.decode(vae, latent, plan, progress=False).output)
