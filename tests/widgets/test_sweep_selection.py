"""Picks choose what runs, and brushes keep what they say."""

from __future__ import annotations

from math import inf, nan

import pytest
from support.explored_sweeps import SPACE, measure

import toolkit as tk


def options(explorer) -> list[str]:
    return [text for text, _ in explorer.controls["point"].options]


def test_picks_choose_what_runs_and_rows_keep_their_numbers():
    explorer = tk.widgets.sweep(measure, SPACE)
    explorer.controls["tile"].index = (1, 2)  # as the front end does
    explorer.controls["blend"].index = (1,)
    assert explorer.space == {"tile": [8, 16], "blend": ["crop"]}
    explorer.start()
    explorer.wait(30)
    assert explorer.table.index.tolist() == [3, 5]
    explorer.space = {"tile": [4], "blend": ["linear"]}
    assert len(explorer.selected) == 0
    assert explorer.point is None
    explorer.start()
    explorer.wait(30)
    assert explorer.table.index.tolist() == [0, 3, 5]
    assert explorer.selected.index.tolist() == [0] == [explorer.point]
    explorer.space = SPACE
    assert explorer.selected["psnr"].tolist() == [24.0, 28.25, 36.25]


def test_nothing_picked_is_nothing_to_run():
    explorer = tk.widgets.sweep(measure, SPACE)
    explorer.controls["blend"].index = ()
    assert explorer.panel.run.disabled
    with pytest.raises(tk.PlanError, match="blend has no value"):
        explorer.start()
    assert explorer.outcome == "not started"


@pytest.mark.parametrize("ends", [(28.0, 36.0), (24.0, 24.0), (36.25, inf), (-inf, 28.25)])
def test_a_brush_keeps_what_is_within_its_ends(done, ends):
    done.brush(psnr=ends)
    psnr = done.table["psnr"]
    assert done.selected.index.tolist() == done.table.index[(psnr >= ends[0]) & (psnr <= ends[1])].tolist()
    assert done.brushed == {"psnr": ends}
    assert done.point == done.selected["psnr"].idxmax(), "the best that stays"
    assert len(options(done)) == len(done.selected)
    control = done.controls["psnr"]
    assert [control.options[place] for place in control.index] == [
        f"{done.selected['psnr'].min():.4g}",
        f"{done.selected['psnr'].max():.4g}",
    ]
    done.brush(psnr=(-inf, inf))
    assert len(done.selected) == 6, "the failed row too"


def test_the_slider_brushes(done):
    control = done.controls["seconds"]
    assert control.description == "time (ms)"
    assert control.options == ("62.5", "125", "250")
    control.index = (0, 1)  # as the front end does
    assert sorted(set(done.selected["tile"])) == [8, 16]
    assert done.brushed == {"seconds": (-inf, 0.125)}
    control.index = (1, 1)
    assert set(done.selected["tile"]) == {8}
    control.index = (0, 2)
    assert done.brushed == {}


def test_brushes_stay_where_they_are_when_rows_come():
    explorer = tk.widgets.sweep(measure, SPACE)
    explorer.space = {"tile": [8, 16], "blend": ["linear"]}
    explorer.start()
    explorer.wait(30)
    explorer.brush(psnr=(30, inf))
    explorer.space = SPACE
    explorer.start()
    explorer.wait(30)
    assert explorer.brushed == {"psnr": (30, inf)}
    assert explorer.selected["psnr"].tolist() == [36.0, 36.25]
    assert explorer.controls["psnr"].options == ("24", "28", "28.25", "36", "36.25")
    assert explorer.controls["psnr"].index == (3, 4)


def test_values_with_names_are_picked_by_name():
    explorer = tk.widgets.sweep(lambda vae: 1.0 if vae else 0.0, {"vae": {"small": object(), "none": None}})
    explorer.controls["vae"].index = (1,)
    assert explorer.space == {"vae": {"none": None}}
    explorer.start()
    explorer.wait(30)
    assert explorer.table["value"].tolist() == [0.0]


def test_what_is_not_there_is_refused(done):
    for space in ({"tile": [5]}, {"size": [4]}, {"tile": 4}):
        with pytest.raises(tk.PlanError, match=r"must be among|is not a parameter|give a list"):
            done.space = space
    for ends in ({"psnr": (30, 20)}, {"psnr": (100, 200)}, {"ssim": (0, 1)}, {"same": (1, 1)}, {"psnr": (nan, 1)}):
        with pytest.raises(tk.PlanError, match=r"must be the low|no row is in|is not a measure"):
            done.brush(**ends)
    assert len(done.selected) == 6
    with pytest.raises(tk.ToolkitError, match=r"objective='ssim'|no column 'ssim'"):
        tk.widgets.sweep(done.table, objective="ssim")


def test_boxes_and_code_say_the_same():
    explorer = tk.widgets.sweep(lambda blend: 1.0, {"blend": ["linear", "cosine", "crop"]})
    control, seen = explorer.controls["blend"], []
    control.observe(lambda change: seen.append(change["new"]), names="index")
    control.boxes[1].value = False
    assert explorer.space == {"blend": ["linear", "crop"]}
    explorer.space = {"blend": ["cosine"]}
    assert [box.value for box in control.boxes] == [False, True, False]
    assert seen == [(0, 2), (1,)]
