"""A model on disk, and clusters that start quickly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.command_line import LATENT

import toolkit as tk
from toolkit.models.autoencoders.census import specimen


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small autoencoder as save_pretrained writes it, and a latent for it."""
    folder = tmp_path_factory.mktemp("files")
    specimen("AutoencoderKL").build().save_pretrained(folder / "pipe" / "vae")
    (folder / "pipe" / "model_index.json").write_text("{}")
    save_file(
        {"latent": torch.randn(LATENT, generator=torch.Generator().manual_seed(0))}, folder / "latent.safetensors"
    )
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Clusters that start quickly."""
    spawned = tk.Cluster.__init__
    monkeypatch.setattr(tk.Cluster, "__init__", lambda *args, **more: spawned(*args, **{"start": "forkserver", **more}))
