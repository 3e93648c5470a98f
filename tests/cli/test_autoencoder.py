"""Which autoencoder a command loads."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from toolkit.cli import main
from toolkit.models.autoencoders.census import specimen


def test_pickled_weights_are_taken_only_if_they_are_asked_for(folder, tmp_path, capsys):
    specimen("AutoencoderKL").build().save_pretrained(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    latent = str(folder / "latent.safetensors")
    words = ["decode", "--vae", str(tmp_path), "--latent", latent, "--whole", "--dry-run"]
    assert main(words) == 1
    assert "is a pickled file" in capsys.readouterr().err
    assert main([*words, "--pickled"]) == 0
    assert main(["generate", "--pipeline", "demo", "--pickled"]) == 1
    assert "apply only to a folder" in capsys.readouterr().err
