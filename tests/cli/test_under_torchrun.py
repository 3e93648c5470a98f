"""Commands under torchrun: the bits of a notebook's cluster, and commands that need one process."""

from __future__ import annotations

import json
import socket

import pytest
import torch
from safetensors.torch import load_file
from support.pipelines import PIPELINES
from support.torchrun import torchrun

import toolkit as tk
from toolkit.cli import main
from toolkit.models.autoencoders.census import specimen

SCRIPT = """
import json, sys
from toolkit.cli import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
"""


def test_the_same_bits_and_one_process_where_one_is_needed(folder, tmp_path, cluster):
    """All in one start of torchrun, because each takes seconds."""
    PIPELINES["flux"].save(tmp_path / "flux")
    (tmp_path / "script.py").write_text(SCRIPT)
    vae, latent = str(folder / "pipe"), f"{folder / 'latent.safetensors'}"
    out = {name: str(tmp_path / f"{name}.safetensors") for name in ("decode", "encode", "generate")}
    coding = ["--device", "cpu", "--shards", "2x1", "--out"]
    generating = ["--branches", "1", "--prompt", "a cat", "--steps", "2", "--height", "32", "--width", "32", "--call",
                  '{"max_sequence_length": 8}', "--seed", "3", "--device", "cpu", "--out", out["generate"]]  # fmt: skip
    commands = [
        ["decode", "--vae", vae, "--latent", latent, *coding, out["decode"]],
        ["encode", "--vae", vae, "--sample", out["decode"], *coding, out["encode"]],
        ["generate", "--pipeline", str(tmp_path / "flux"), *generating],
        ["rehearse", "--vae", "demo-image", "--shape", "1x16x16x20", "--shards", "2x1"],
    ]
    done = torchrun("script.py", json.dumps(commands), cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    model, plan = specimen("AutoencoderKL").build(), tk.ShardPlan(h=2)
    decoded = load_file(out["decode"])["sample"]
    assert torch.equal(decoded, cluster.decode(model, load_file(latent)["latent"], plan, progress=False).output)
    moments = cluster.encode(model, decoded, plan, progress=False).output
    assert torch.equal(load_file(out["encode"])["sample"], moments)
    call = {"prompt": "a cat", "num_inference_steps": 2, "height": 32, "width": 32, "max_sequence_length": 8}
    generator = torch.Generator().manual_seed(3)
    quiet = {"output_type": "latent", "generator": generator, "progress": False}
    assert torch.equal(
        load_file(out["generate"])["sample"], cluster.generate(tmp_path / "flux", **quiet, **call).output
    )
    assert f"it runs on rank 0, on host {socket.gethostname()}" in done.stdout
    assert "rank 1 has nothing to do" in done.stdout
    assert done.stdout.count("2 x 1 shards") == 3  # once for each coding, once for the rehearsal


@pytest.fixture
def launched(monkeypatch):
    """This process as one that a launcher has started, whose others are not there."""

    def as_rank(rank: int) -> None:
        variables = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": 1}
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")

    return as_rank


@pytest.mark.parametrize("words", [["report", "--html", "/no/such/folder/page.html"], ["bench", "tiles"], ["doctor"]])
def test_other_ranks_leave_a_command_for_one_process_to_rank_0(words, launched, capsys):
    launched(1)
    assert main(words) == 0
    assert "rank 1 has nothing to do: this command needs one process, and runs on rank 0." in capsys.readouterr().out


def test_rank_0_checks_what_it_writes_before_it_works(launched, capsys):
    launched(0)
    with pytest.raises(SystemExit):
        main(["report", "--html", "/no/such/folder/page.html"])
    assert "does not exist" in capsys.readouterr().err


def test_a_dry_run_needs_no_other_ranks(launched, capsys):
    words = ["decode", "--vae", "demo-image", "--latent", "demo", "--shards", "2x1", "--dry-run"]
    said = []
    for rank in (0, 1):
        launched(rank)
        assert main(words) == 0
        said.append(capsys.readouterr().out)
    assert "2 x 1 shards" in said[0]
    assert not said[1]
