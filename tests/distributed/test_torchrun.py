"""The same calls under torchrun, in a script with a group of its own, give the same bits as a notebook's cluster."""

from __future__ import annotations

import pytest
import torch
from support import tiny
from support.pipelines import PIPELINES, load
from support.torchrun import torchrun

import toolkit as tk

SCRIPT = """
import torch, torch.distributed as dist, toolkit as tk
vae, latent, tiles, folder, plan, call = torch.load("job.pt", weights_only=False)
dist.init_process_group("gloo")
sample = tk.distributed.decode(vae, latent, tiles)
pipe = tk.distributed.load(folder, plan)
run = tk.distributed.generate(pipe, plan, **call, generator=torch.Generator().manual_seed(3))
if dist.get_rank() == 0:
    torch.save((sample, run.frames), "results.pt")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_tiles_and_stages_have_the_same_bits(cluster, tmp_path):
    """Both in one start of torchrun, because each takes seconds."""
    vae, latent = tiny.wan22(), tiny.latent("wan22", 7, 11)
    grid = tk.diffusers_grid(vae, latent.shape)
    tiles = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 2))
    wan = PIPELINES["wan"]
    folder = wan.save(tmp_path / "wan")
    plan = tk.StagePlan(tk.StageSplit.even(6, 4), tk.Schedule.looped(2, branches=2, chunks=2), encoders=1)
    torch.save((vae, latent, tiles, str(folder), plan, {**wan.arguments, "output_type": "latent"}), tmp_path / "job.pt")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = torchrun("script.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sample, frames = torch.load(tmp_path / "results.pt")
    assert torch.equal(sample, cluster.decode(vae, latent, tiles, progress=False).output)
    assert torch.equal(frames, wan.run(load(folder), 3))


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
