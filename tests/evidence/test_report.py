"""Reports: the base, the reference, and how a notebook shows them."""

from __future__ import annotations

import pytest
from support.report_pages import Page
from support.reported import RECORD, SHARDS, reported, video

import toolkit as tk


def test_in_a_notebook_it_is_small_and_static(made):
    bundle = made._repr_mimebundle_()
    assert bundle["text/plain"] == "Report(2 runs, 2 compared with the model's own call)"
    assert len(bundle["text/html"]) < 50_000
    assert Page(bundle["text/html"]).named("script") == []


def test_base_is_another_run_than_the_reference(whole, tiled):
    sharded = reported(video(), SHARDS, seconds=2.0)
    table = tk.report([tiled, sharded], whole, base=tiled).to_dataframe().set_index("run")
    assert table.loc["2 x 1 shards", "speed-up"] == 1.25
    assert table.loc["2 x 1 shards", "efficiency"] == 1.25
    with pytest.raises(tk.ToolkitError, match="must be one of the runs"):
        tk.report(tiled, whole, base=sharded)


def test_a_tensor_as_reference_has_no_row(tiled):
    made = tk.report([tiled, tiled], video(), reference_name="a file")
    assert made.to_dataframe()["run"].tolist() == ["6 tiles over 2 ranks", "6 tiles over 2 ranks (2)"]
    assert made.to_dataframe()["speed-up"].tolist() == [1.0, 1.0]
    assert "against a file" in made.to_markdown()


def test_the_reference_among_the_runs_is_one_row(whole, tiled):
    assert tk.report([whole, tiled], whole).to_dataframe()["run"].tolist() == [
        "the model's own call",
        "6 tiles over 2 ranks",
    ]


def test_the_record_is_whole(whole, tiled):
    text = tk.report(tiled, whole).to_markdown()
    assert text.count(RECORD.to_json()) == 2
