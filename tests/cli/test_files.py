"""Files that are read and written."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from support.command_line import LATENT

from toolkit.cli import main


def test_several_tensors_need_a_name(folder, tmp_path, capsys):
    save_file({"a": torch.zeros(LATENT), "b": torch.zeros(LATENT)}, tmp_path / "two.safetensors")
    for name, said in {"": "name one as", ":c": "has no tensor 'c'"}.items():
        assert main(["decode", "--vae", str(folder / "pipe"), "--latent", f"{tmp_path}/two.safetensors{name}"]) == 1
        assert said in capsys.readouterr().err
