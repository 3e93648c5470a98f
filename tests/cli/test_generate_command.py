"""``generate``: the pipeline's bits, and plans from options."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from support.pipelines import PIPELINES

import toolkit as tk
from toolkit.cli import main


@pytest.mark.usefixtures("quick")
def test_generate_gives_the_pipeline_s_bits(tmp_path, capsys):
    PIPELINES["flux"].save(tmp_path / "flux")
    words = ["--ranks", "2", "--branches", "1", "--prompt", "a cat", "--steps", "2", "--height", "32", "--width", "32"]
    further = ["--call", '{"max_sequence_length": 8}', "--seed", "3"]
    out = tmp_path / "latents.safetensors"
    assert main(["generate", "--pipeline", str(tmp_path / "flux"), *words, *further, "--out", str(out)]) == 0
    capsys.readouterr()
    call = {"prompt": "a cat", "num_inference_steps": 2, "height": 32, "width": 32, "max_sequence_length": 8}
    with tk.Cluster(1, "cpu", start="forkserver") as alone:
        generator = torch.Generator().manual_seed(3)
        run = alone.generate(str(tmp_path / "flux"), output_type="latent", generator=generator, progress=False, **call)
    assert torch.equal(load_file(out)["sample"], run.output)


def test_stage_plans_from_options(capsys):
    words = ["generate", "--pipeline", "demo", "--dry-run"]
    assert main([*words, "--ranks", "4", "--cfg", "2", "--schedule", "looped", "--chunks", "2"]) == 0
    split, schedule = tk.StageSplit.even(8, 4), tk.Schedule.looped(2, 1, chunks=2)
    assert repr(tk.StagePlan(split, schedule, cfg=2)) in capsys.readouterr().out
    for wrong in (["--ranks", "3", "--stages", "2"], ["--chunks", "2"], ["--ranks", "3", "--cfg", "3"]):
        assert main([*words, *wrong]) == 1
        assert capsys.readouterr().err.startswith("PlanError")
