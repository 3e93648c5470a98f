"""The numbers of a report, against numbers made by hand."""

from __future__ import annotations

from math import isnan

import pandas as pd
import pytest
from support.reported import SHARDS, TILES, reported, video

import toolkit as tk
from toolkit.evidence.tables import peak_moment, readable
from toolkit.numerics.flip import flip


def test_the_one_table(whole, tiled):
    table = tk.report(tiled, whole).to_dataframe().set_index("run")
    before, after = table.loc["the model's own call"], table.loc["6 tiles over 2 ranks"]
    assert (before["speed-up"], before["efficiency"], before["peak ratio"]) == (1.0, 1.0, 1.0)
    assert before["identical"] == "the reference"
    assert isnan(before["PSNR (dB)"])
    assert (after["speed-up"], after["efficiency"]) == (1.6, 0.8)
    assert (after["peak (MB)"], after["peak ratio"]) == (80.0, 0.4)
    found = tk.compare(tiled, whole)
    assert (after["max |error|"], after["PSNR (dB)"], after["SSIM"]) == (found.max_abs, found.psnr, found.ssim)
    assert after["FLIP"] == pytest.approx(sum(flip(tiled.output, whole.output)) / 5, rel=1e-14)
    assert after["worst seam"] == found.worst_seam


def test_each_rank_before_and_after(whole, tiled):
    text = tk.report(tiled, whole).to_markdown()
    assert "| the model's own call | 0 | 1 | 3.500 | 0.000 | 0.000 | 0.00 | 200.0 | whole tile 0, at 2.00 s |" in text
    assert "| 6 tiles over 2 ranks | 1 | 1 | 2.000 | 0.000 | 0.250 | 3.00 | 80.0 | decode tile 1, at 1.25 s |" in text


def test_the_moment_of_the_peak_is_the_inner_event(tiled):
    inner = {"rank": 0, "kind": "blend", "label": "", "start": 1.2, "end": 1.3, "bytes": 0, "peer": -1}
    later = {**inner, "kind": "finish", "start": 1.26}
    trace = pd.concat([tiled.trace, pd.DataFrame([inner, later])], ignore_index=True)
    assert peak_moment(reported(None, TILES, seconds=2.5, trace=trace), 0) == "blend, at 1.25 s"
    assert peak_moment(reported(None, TILES, seconds=2.5, trace=trace[:0]), 0) == "at 1.25 s"
    assert peak_moment(reported(None, memory=pd.DataFrame()), 0) == ""


def test_memory_that_was_not_measured_is_a_dash(whole):
    none = reported(video(), SHARDS, memory=pd.DataFrame(), peaks=pd.Series(dtype=float))
    made = tk.report({"none": none}, whole)
    row = readable(made.to_dataframe()).iloc[1]
    assert (row["peak (MB)"], row["peak ratio"], row["PSNR (dB)"]) == ("-", "-", "∞")
