"""``report``: both files from one command, and refusals before a worker starts."""

from __future__ import annotations

import pytest
from safetensors.torch import save_file

import toolkit as tk
from toolkit.cli import main


@pytest.mark.usefixtures("quick")
def test_a_page_and_markdown(tmp_path, capsys):
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    save_file({"latent": tk.demo.latents("image")[..., :20, :20].contiguous()}, tmp_path / "latent.safetensors")
    words = ["report", "--vae", "demo-image", "--latent", str(tmp_path / "latent.safetensors"), "--ranks", "1", "2"]
    words += ["--tile", "12", "--overlap", "4"]
    assert main([*words, "--html", str(page), "--markdown", str(text)]) == 0
    said = capsys.readouterr().out
    assert "2 ranks" in said
    assert "1 run against the model&#x27;s own call" in page.read_text()
    written = text.read_text()
    assert "Each call was made once as a warm-up before it was measured." in written
    assert sorted(path.name for path in (tmp_path / "report_files").iterdir())[0] == "00.jpeg"
    assert written.count('"class": "AutoencoderKL"') == 2


def test_a_dry_run_only_says_the_plans(capsys, monkeypatch):
    monkeypatch.setattr("toolkit.cluster.calls.Calls.call", lambda *_, **__: pytest.fail("a worker was called"))
    words = ["report", "--vae", "demo-image", "--ranks", "1", "2", "3", "2"]
    assert main([*words, "--tile", "18", "--overlap", "4", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "decode 1x16x50x75: 24 tiles over 2 ranks",
        "decode 1x16x50x75: 24 tiles over 3 ranks",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--vae", "demo-image", "--ranks", "1"], "no plan divides the work"),
        (["--vae", "demo-image", "--ranks", "2", "--whole"], "no plan divides the work"),
        (["--vae", "nowhere"], "holds no config.json"),
    ],
)
def test_reports_are_refused_before_a_worker_starts(words, said, capsys, monkeypatch):
    monkeypatch.setattr("toolkit.cluster.calls.Calls.call", lambda *_, **__: pytest.fail("a worker was called"))
    assert main(["report", *words]) == 1
    assert said in capsys.readouterr().err
