"""Traces, records and the files they are written to."""

from __future__ import annotations

import gzip
import json
from subprocess import run as run_git

import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.runs.export import read_parquet
from toolkit.runs.record import Record
from toolkit.runs.run_tables import trace_table
from toolkit.runs.surroundings import Surroundings, tensor_hash
from toolkit.runs.trace import Event, Kind, Label, Recorder


@pytest.fixture(scope="module")
def run(cluster):
    vae, latent = tiny.kl(), tiny.latent("kl", 13, 17)
    grid = tk.diffusers_grid(vae, latent.shape)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2))
    return cluster.decode(vae, latent, plan, progress=False)


def test_a_recorder_times_and_tells():
    heard = []
    trace = Recorder(rank=2, listener=heard.append)
    with trace(Kind.SEND, Label(tile=1), bytes=10, peer=3):
        pass
    with pytest.raises(KeyError), trace(Kind.DECODE, Label(tile=2)):
        raise KeyError
    (event,) = trace.events
    assert heard == [event]
    assert (event.rank, event.kind, event.label, event.bytes, event.peer) == (2, Kind.SEND, Label(tile=1), 10, 3)
    assert 0 <= event.start <= event.end


def test_tables_are_in_order_of_time_also_when_empty():
    table = trace_table([Event(1, Kind.WAIT, Label(), 2.0, 3.0), Event(0, Kind.DECODE, Label(tile=0), 1.0, 2.0, 5)])
    assert table["rank"].tolist() == [0, 1]
    old = ["rank", "kind", "label", "start", "end", "bytes", "peer"]
    assert trace_table([]).columns.tolist()[:7] == old


def test_parquet_round_trip(run, tmp_path):
    folder = run.to_parquet(tmp_path / "run")
    trace, memory = read_parquet(folder)
    assert trace.equals(run.trace)
    assert memory.equals(run.memory)
    assert json.loads((folder / "record.json").read_text())["plan"] == repr(run.plan)


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_chrome_trace(run, tmp_path, name):
    data = run.to_chrome_trace(tmp_path / name).read_bytes()
    events = json.loads(gzip.decompress(data) if name.endswith("gz") else data)["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert len(spans) == len(run.trace)
    assert {event["pid"] for event in spans} == {0, 1}
    assert all(event["dur"] >= 0 for event in spans)
    assert data == run.to_chrome_trace(tmp_path / name).read_bytes()


def test_a_record_names_what_matters_and_no_host(run):
    record = run.record
    assert record.model["class"] == "AutoencoderKL"
    assert record.model["parameters"] == sum(weight.numel() for weight in tiny.kl().parameters())
    assert record.input["shape"] == [1, 4, 13, 17]
    assert record.what["ranks taking part"] == 2
    assert record.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert record.machine["cores"] > 0
    text = record.to_json()
    assert "/" + "home" not in text
    assert json.loads(text)["input"]["dtype"] == "torch.float32"


def test_two_records_differ_where_they_differ():
    vae, latent = tiny.kl(), tiny.latent("kl", 9, 9)
    one = Record.make(vae, latent, plan=None, what={"ranks": 1})
    two = Record.make(vae, latent + 1, plan=None, what={"ranks": 2})
    assert set(one.diff(two)) - {"when"} == {"input.sha256", "what.ranks"}
    assert one.diff(two)["what.ranks"] == (1, 2)
    assert one.diff(one) == {}


def test_hashes_are_of_values_not_of_strides():
    x = torch.arange(6.0).view(2, 3)
    assert tensor_hash(x) == tensor_hash(x.t().contiguous().t())
    assert tensor_hash(x) != tensor_hash(x.to(torch.float64))
    assert len(tensor_hash(torch.zeros(2, dtype=torch.bfloat16))) == 64


def test_a_run_says_itself_in_a_line(run):
    assert repr(run).startswith("Run(1x3x26x34 by 9 tiles over 2 ranks in ")
    assert run.summary()["tiles"].sum() == 9
    assert run.busy.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (Label(), ""),
        (Label(text="output"), "output"),
        (Label(tile=7), "tile 7"),
        (Label(tile=3, text="pass 1"), "tile 3, pass 1"),
        (Label(tile=3, purpose="edge", text="to tile 4"), "edge 3, to tile 4"),
        (Label(chunk=2, branch=0, step=3), "2F0 step 3"),
        (Label(branch=1, step=0, expert="transformer_2"), "F1 step 0 transformer_2"),
        (Label(purpose="halo h", module="decoder.conv_in"), "halo h of decoder.conv_in"),
        (Label(purpose="statistics"), "statistics"),
    ],
)
def test_a_label_in_words(label, words):
    assert str(label) == words


def test_the_fields_of_a_label_are_columns():
    label = Label(chunk=2, branch=1, step=3, expert="transformer", purpose="result", module="proj")
    row = trace_table([Event(1, Kind.STAGE, label, 0.0, 1.0)]).iloc[0]
    assert row[["tile", "chunk", "branch", "step"]].tolist() == [-1, 2, 1, 3]
    assert row[["expert", "purpose", "module"]].tolist() == ["transformer", "result", "proj"]
    assert type(row["kind"]) is str


def test_a_hash_is_paid_once_and_again_after_any_write(monkeypatch):
    """Every run hashed its whole input, and asked git twice."""
    hashed, asked = [], []
    monkeypatch.setattr("toolkit.runs.surroundings.tensor_hash", lambda x: hashed.append(x) or tensor_hash(x))
    monkeypatch.setattr("toolkit.runs.surroundings.git_state", lambda: asked.append(1) or {})
    where, x, vae = Surroundings(), torch.arange(10.0), tiny.kl()
    first = Record.make(vae, x, plan=None, what={}, where=where)
    again = Record.make(vae, x, plan=None, what={}, where=where)
    assert first.diff(again).keys() <= {"when"}
    assert (len(hashed), len(asked)) == (1, 1)
    x.add_(1)
    assert Record.make(vae, x, plan=None, what={}, where=where).input["sha256"] == tensor_hash(x)
    x.data[3] = 7  # the version counter does not see this
    assert Record.make(vae, x, plan=None, what={}, where=where).input["sha256"] == tensor_hash(x)
    assert len(hashed) == 3


def test_the_hash_of_an_odd_number_of_bytes_follows_its_last_byte():
    where, x = Surroundings(), torch.zeros(11, dtype=torch.uint8)
    before = where.hash_of(x)
    x.data[10] = 1
    assert where.hash_of(x) == tensor_hash(x) != before


def test_the_state_of_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Surroundings().git == {}
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        run_git(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)
    clean = Surroundings().git
    assert len(clean["commit"]) == 40
    assert not clean["dirty"]
    (tmp_path / "file").write_text("x")
    assert Surroundings().git == {"commit": clean["commit"], "dirty": True}


def test_a_tensor_without_values_has_no_hash():
    record = Record.make(torch.nn.Linear(1, 1), {"embeds": torch.empty(2, 3, device="meta")}, plan=None, what={})
    assert record.input["embeds"] == {"shape": [2, 3], "dtype": "torch.float32"}


@pytest.mark.parametrize("attack", ["core.fsmonitor", "filter.own.clean", "filter.own.process"])
def test_what_a_folder_configures_is_not_run(tmp_path, monkeypatch, attack):
    """A folder that somebody has sent may name commands in its .git/config: asking for its state must not run them."""
    monkeypatch.chdir(tmp_path)
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        run_git(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)
    (tmp_path / "file.txt").write_text("one")
    (tmp_path / ".gitattributes").write_text("*.txt filter=own\n")
    run_git(["git", "add", "file.txt"], check=True)
    (tmp_path / "file.txt").write_text("two")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o700)
    run_git(["git", "config", attack, str(trap)], check=True)
    found = Surroundings().git
    assert not (tmp_path / "sprung").exists()
    assert found["dirty"] is True
