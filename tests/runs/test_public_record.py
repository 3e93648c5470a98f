"""Records for everybody: no prompts, no secrets, no folders of people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.reported import RECORD, SHARDS, reported, video

import toolkit as tk
from toolkit.runs.public_entries import public_entries, public_text
from toolkit.runs.record import Record

HOME = str(Path.home())
CALL = {
    "pipeline": f"{HOME}/models/wan",
    "prompt": "a private idea",
    "negative_prompt": ["another private idea"],
    "caption": "a third private idea",
    "num_frames": 81,
    "guidance_scale": 4.5,
    "sigmas": [1.0, 0.5],
    "output_type": "pt",
    "generator": torch.Generator().manual_seed(3),
    "cross_attention_kwargs": {"token": "hf_abcdefghijklmnop"},
    "use_auth_token": "hf_abcdefghijklmnop",
    "token": 12345678,
    "callback_on_step_end": print,
    "image": Path("/data/somebody/picture.png"),
    "latents": torch.zeros(1, 2),
}
WHAT = {"device": "cpu", "hostname": "box7", "environment": {"LANG": "C"}, "note": "https://me:word@example.org/x"}
GIVEN_AWAY = ("private idea", "hf_abc", "12345678", "box7", "LANG", "me:word", "somebody", f"{HOME}/", "models/")


@pytest.fixture(scope="module")
def record() -> Record:
    return Record.make(torch.nn.Linear(1, 1), CALL, plan=None, what=WHAT)


def test_a_public_record_has_no_prompt_secret_name_or_folder(record):
    text = record.public().to_json()
    assert [word for word in GIVEN_AWAY if word in text] == []
    kept = record.public().input
    assert {name for name, value in kept.items() if value != "left out"} == {
        "pipeline", "num_frames", "guidance_scale", "sigmas", "output_type", "generator", "latents"
    }  # fmt: skip
    assert kept["pipeline"] == "wan"
    assert kept["latents"] == record.input["latents"]
    assert record.public().public() == record.public()


def test_the_record_itself_stays_whole(record):
    text = record.to_json()
    assert "a private idea" in text
    assert f"{HOME}/models/wan" in text


def test_what_says_nothing_private_stays():
    run = replace(RECORD, what={**RECORD.what, "staged through the host": False, "token": None})
    assert run.public() == run


@pytest.mark.parametrize(
    ("text", "public"),
    [
        (HOME, "left out"),
        ("/", "left out"),
        ("~somebody", "left out"),
        ("~/wan", "wan"),
        (r"C:\Users\somebody\wan", "wan"),
        ("file:///home/somebody/x/wan.bin is read", "file:wan.bin is read"),
        ("PosixPath('/home/somebody/wan')", "PosixPath('wan')"),
        ("TilePlan(4 tiles / 2 ranks)", "TilePlan(4 tiles / 2 ranks)"),
        ("Bearer abcdef", "left out"),
    ],
)
def test_paths_in_texts(text, public):
    assert public_text(text) == public
    assert public_entries([text]) == [public]


def test_files_of_a_run_show_the_public_record_unless_asked(record, tmp_path):
    run = reported(video(), record=record)
    for extent, shown in {"public": record.public(), "full": record}.items():
        folder = run.to_parquet(tmp_path / extent, record=extent)
        assert (folder / "record.json").read_text() == shown.to_json()
        trace = json.loads(run.to_chrome_trace(tmp_path / "trace.json", record=extent).read_text())
        assert trace["otherData"]["record"] == shown.to_json()
    assert "private" not in (run.to_parquet(tmp_path / "default") / "record.json").read_text()
    with pytest.raises(tk.PlanError, match="record='all': must be one of public, full"):
        run.to_parquet(tmp_path / "default", record="all")


def test_a_sweep_keeps_the_public_record(record, tmp_path):
    table = tk.sweep(lambda x: reported(video(), record=record), {"x": [1]}, store=tmp_path / "s", progress=False)
    assert table["record"].tolist() == [record.public().to_json()]


def test_reports_show_public_records_unless_asked(record):
    other = replace(record, input={**record.input, "prompt": "a secret of mine"})
    runs = {"one": reported(video() + 0.1, SHARDS, record=other)}
    report = tk.report(runs, reported(video(), record=record))
    for text in (report.to_markdown(), report._repr_mimebundle_()["text/html"]):
        assert "private" not in text
        assert "a secret of mine" not in text
        assert "input.prompt, which a public record leaves out" in text.replace("\\", "")
    full = tk.report(runs, reported(video(), record=record), record="full").to_markdown()
    assert "a secret of mine" in full
    assert "a private idea" in full
    with pytest.raises(tk.PlanError, match="record='some'"):
        tk.report(runs, reported(video()), record="some")
