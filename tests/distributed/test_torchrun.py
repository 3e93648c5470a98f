"""The same call under torchrun gives the same bits as a notebook's cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from support import tiny
from support.pipelines import PIPELINES, load

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


def under_torchrun(script: str, job: object, folder: Path) -> torch.Tensor:
    """What a script on two ranks saves, given a job."""
    torch.save(job, folder / "job.pt")
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "script.py", "job.pt", "result.pt"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "result.pt")


def test_same_bits(cluster, tmp_path):
    vae, latent = tiny.wan22(), tiny.latent("wan22", 7, 11)
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.balanced(grid, 2))
    run = cluster.decode(vae, latent, plan, progress=False)
    assert torch.equal(under_torchrun(SCRIPT, (vae, latent, plan), tmp_path), run.output)


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


GENERATE = """
import sys, torch, torch.distributed as dist, toolkit as tk
from toolkit.models.transformers.stage_pipeline import load_pipeline
folder, plan, call = torch.load(sys.argv[1], weights_only=False)
dist.init_process_group("gloo")
spans = {"transformer": plan.layers_of(dist.get_rank())}
modules = [["vae"], ["text_encoder"]][dist.get_rank()]
pipe = load_pipeline(folder, spans, with_modules=modules)
run = tk.distributed.generate(pipe, plan, **call, generator=torch.Generator().manual_seed(3))
if dist.get_rank() == 0:
    torch.save(run.frames, sys.argv[2])
dist.destroy_process_group()
"""


def test_a_pipeline_in_stages(tmp_path):
    one = PIPELINES["wan"]
    folder = one.save(tmp_path / "wan")
    expected = one.run(load(folder), 3)
    plan = tk.StagePlan(tk.StageSplit.even(6, 4), tk.Schedule.looped(2, branches=2, chunks=2), encoders=1)
    call = {**one.arguments, "output_type": "latent"}
    assert torch.equal(under_torchrun(GENERATE, (str(folder), plan, call), tmp_path), expected)
