"""The sweep explorer: a point is in focus, and says how to run it again."""

from __future__ import annotations

from math import inf, nan
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from support.explored_sweeps import SPACE, Gate, measure

import toolkit as tk
from toolkit.widgets.ipywidgets_compat import WIDGET_MIME


def test_all_that_is_picked_runs_and_is_in_the_order_of_the_space(done):
    expected = tk.sweep(measure, SPACE, progress=False)
    told = ["tile", "blend", "psnr", "seconds", "status", "error", "code"]
    pd.testing.assert_frame_equal(done.table[told], expected[told])
    assert done.outcome == "done"
    assert len(done.selected) == 6
    assert repr(done) == "SweepExplorer(done, 6 rows, 6 selected, point 5)"
    assert "6 configurations: 5 done, 1 failed; 6 selected" in done.html


def test_the_point_is_the_best_until_somebody_chooses_one():
    gate = Gate()
    explorer = tk.widgets.sweep(gate, {"tile": [4, 8, 16], "blend": ["linear"]})
    explorer.start()
    for rows, best in enumerate([None, 0, 1]):
        assert gate.begun.acquire(timeout=30)
        explorer.refresh()  # as the sweep's thread does, now and then
        assert (len(explorer.table), explorer.point) == (rows, best)
        if rows == 2:
            explorer.controls["point"].value = 0
        gate.go.release()
    assert explorer.wait(30)
    assert explorer.point == 0, "the choice stays when a better row comes"
    explorer.brush(psnr=(28, inf))
    assert explorer.point == 2, "the best that stays"
    explorer.brush(psnr=(-inf, 28))
    assert explorer.point == 1, "the choice went with its row"


def test_a_point_shows_its_configuration_and_the_program_that_runs_it_again(done):
    for label, row in done.table.iterrows():
        done.controls["point"].value = label
        assert done.point == label
        assert done.snippet == tk.reproduce(done.table, label)
        page = ElementTree.fromstring(f"<p>{done.html}</p>")
        assert page.findall(".//pre")[-1].text == done.snippet
        cells = {line[0].text: line[1].text for line in list(page.iter("table"))[-1].iter("tr")}
        assert (cells["tile"], cells["blend"]) == (str(row["tile"]), row["blend"])
        if row["status"] == "failed":
            assert cells["failed"] == "ValueError: tile=4: too small to cut"
        else:
            assert cells["psnr"] == f"{row['psnr']:g} dB"
            assert eval(done.snippet.splitlines()[-1], {"measure": measure})["psnr"] == row["psnr"]


def test_code_chooses_a_point_and_a_point_that_fades_is_let_go(done):
    done.point = 2
    assert done.controls["point"].value == 2
    done.brush(psnr=(30, inf))
    assert done.point == 5
    with pytest.raises(tk.PlanError, match="point=2 is not a selected row"):
        done.point = 2
    assert done.point == 5


def test_a_finished_table_will_do(done):
    table = tk.sweep(measure, SPACE, progress=False)
    explorer = tk.widgets.sweep(table)
    assert explorer.html == done.html
    assert explorer.panel.buttons.layout.display == "none"
    explorer.space = {"blend": ["crop"]}
    assert explorer.selected.index.tolist() == [1, 3, 5]
    assert "code" in table.columns
    with pytest.raises(tk.ToolkitError, match="there is no function to run"):
        explorer.start()


def test_any_table_will_do_with_the_names_of_its_columns():
    table = pd.DataFrame({"n": range(40), "word": [None, "b"] * 20, "x": np.linspace(0, 1, 40), "y": [nan, 2.0] * 20})
    explorer = tk.widgets.sweep(table, parameters=["n", "word"], measures=["x", "y"], objective="x")
    explorer.space = {"n": range(3, 9), "word": [None]}
    assert explorer.selected["n"].tolist() == [4, 6, 8]
    assert explorer.controls["n"].index == (3, 8)
    with pytest.raises(tk.PlanError, match="n: a slider can only pick neighbouring values"):
        explorer.space = {"n": [1, 3]}
    with pytest.raises(tk.ToolkitError, match="no column 'code'"):
        _ = explorer.snippet
    assert list(explorer.selection.brushes) == ["x"], "all values of y are the same"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((measure, [{"tile": 4, "blend": "crop"}]), "space must map parameters to values"),
        ((measure, {"tile": 4}), "tile=4: give a list of values"),
        ((measure, {}), "contains no points"),
        ((pd.DataFrame({"a": [1]}),), "does not say which columns are parameters"),
    ],
)
def test_what_is_no_sweep_is_refused(arguments, words):
    with pytest.raises(tk.ToolkitError, match=words):
        tk.widgets.sweep(*arguments)


def test_an_objective_that_no_row_has_is_said():
    explorer = tk.widgets.sweep(measure, SPACE, objective="ssim")
    explorer.start()
    explorer.wait(30)
    assert "is not a measure: choose one of psnr, seconds, same." in explorer.html
    assert not explorer.panel.run.disabled
    assert explorer.outcome == "done"


def test_large_tables_stay_small_pages():
    rows = torch.rand(5000, 3, generator=torch.Generator().manual_seed(0)).numpy()
    table = pd.DataFrame(rows, columns=["a", "b", "c"])
    explorer = tk.widgets.sweep(table, parameters=["a"], measures=["b", "c"])
    assert len(explorer.html) < 100_000
    explorer.brush(b=(0.5, inf))
    assert len(explorer.selected) == int((rows[:, 1] >= 0.5).sum())


def test_the_page_is_the_same_twice_and_needs_nothing(done):
    assert done.html == tk.widgets.sweep(done.table).html
    assert not any(text in done.html for text in ("<script", "http:", "https:", "javascript:"))
    assert set(done._repr_mimebundle_()) == {WIDGET_MIME, "text/html", "text/plain"}
    assert len(done.html) < 50_000
    for control in [one for whole in done.controls.values() for one in getattr(whole, "boxes", [whole])]:
        assert control.description
        assert len(control.tooltip) > 10
        assert control.tabbable
