"""Tiny pipelines of the real classes run, repeat themselves, and come back from disk."""

from __future__ import annotations

import pytest
import torch
from support.pipelines import PIPELINES, aligned, load

NAMES = sorted(PIPELINES)


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_pipeline_runs_and_repeats_itself_from_memory_and_from_disk(name, tmp_path):
    one = PIPELINES[name]
    pipe = one.build()
    latents = one.run(pipe)
    assert latents.isfinite().all()
    assert torch.equal(one.run(pipe), latents)
    assert not torch.equal(one.run(pipe, seed=1), latents)

    again = load(one.save(tmp_path))
    assert type(again).__name__ == one.cls
    assert len(list((tmp_path / "transformer").glob("*.safetensors"))) >= 3
    assert torch.equal(one.run(again), one.run(load(tmp_path)))
    assert torch.equal(one.run(aligned(again)), latents)
