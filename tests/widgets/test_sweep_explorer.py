"""The sweep explorer: picks choose what runs, on a thread; brushes keep what they say; a point says how to run it."""

from __future__ import annotations

import threading
from math import inf, nan
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.widgets.ipywidgets_compat import WIDGET_MIME

SPACE = {"tile": [4, 8, 16], "blend": ["linear", "crop"]}


def measure(tile, blend):
    if tile == 4 and blend == "crop":
        raise ValueError("tile=4: too small to cut")
    return {"psnr": 20.0 + tile + 0.25 * (blend == "crop"), "seconds": 1.0 / tile, "same": 1}


class Gate:
    """A function whose points each wait until they are let through."""

    def __init__(self):
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.seen: list[tuple] = []

    def __call__(self, tile, blend):
        self.seen.append((tile, blend))
        self.begun.release()
        assert self.go.acquire(timeout=30)
        return {"psnr": 20.0 + tile}


@pytest.fixture
def done():
    explorer = tk.widgets.sweep(measure, SPACE)
    explorer.start()
    assert explorer.wait(30)
    return explorer


def options(explorer) -> list[str]:
    return [text for text, _ in explorer.controls["point"].options]


def test_all_that_is_picked_runs_and_is_in_the_order_of_the_space(done):
    expected = tk.sweep(measure, SPACE, progress=False)
    told = ["tile", "blend", "psnr", "seconds", "status", "error", "code"]
    pd.testing.assert_frame_equal(done.table[told], expected[told])
    assert done.outcome == "done"
    assert len(done.selected) == 6
    assert repr(done) == "SweepExplorer(done, 6 rows, 6 selected, point 5)"
    assert "6 configurations: 5 done, 1 failed; 6 selected" in done.html


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


def test_rows_appear_as_they_finish_and_cancel_ends_after_the_point_in_flight():
    gate = Gate()
    explorer = tk.widgets.sweep(gate, SPACE)
    explorer.panel.run.click()
    for count in range(3):
        assert gate.begun.acquire(timeout=30)
        assert (len(explorer.table), explorer.outcome) == (count, "running")
        if count < 2:
            gate.go.release()
    assert explorer.panel.run.disabled
    with pytest.raises(tk.ToolkitError, match="a sweep is already running"):
        explorer.start()
    explorer.panel.cancel.click()  # returns at once
    assert explorer.outcome == "running"
    gate.go.release()
    assert explorer.wait(30)
    assert explorer.outcome == "cancelled"
    assert explorer.table[["tile", "blend"]].to_numpy().tolist() == [[4, "linear"], [4, "crop"], [8, "linear"]]
    assert gate.seen == [(4, "linear"), (4, "crop"), (8, "linear")]
    assert "cancelled: 3 of 6 picked points have a row." in explorer.panel.note.value
    assert explorer.panel.cancel.disabled
    assert not explorer.panel.run.disabled


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


def test_a_store_has_its_rows_from_the_beginning_and_runs_the_others_only(tmp_path):
    seen = []

    def function(tile):
        seen.append(tile)
        return tile

    tk.sweep(function, {"tile": [2, 3]}, store=tmp_path / "s", progress=False)
    explorer = tk.widgets.sweep(function, {"tile": range(1, 5)}, tmp_path / "s")
    assert explorer.table.index.tolist() == [1, 2]
    assert seen == [2, 3]
    explorer.start()
    explorer.wait(30)
    assert explorer.table["value"].tolist() == [1, 2, 3, 4]
    assert seen == [2, 3, 1, 4]


def test_cancel_gives_up_a_run_on_the_cluster_and_the_cluster_stays_usable(tmp_path):
    vae, latent = tiny.wan21(), tiny.latent("wan21", 60, 60, frames=9)
    with tk.Cluster(ranks=1, device="cpu", start="forkserver") as cluster:
        started = threading.Event()

        def function(frames):
            if frames == 9:
                started.set()
            return cluster.decode(vae, latent[:, :, :frames, : 6 * frames, : 6 * frames], progress=False)

        explorer = tk.widgets.sweep(function, {"frames": [1, 9]}, tmp_path / "s", cluster=cluster)
        explorer.start()
        assert started.wait(60)
        explorer.cancel()
        assert explorer.outcome == "cancelled"
        assert explorer.table["frames"].tolist() == [1]
        assert cluster.run(int) == [0]
    known = tk.sweep(function, {"frames": [1, 9]}, store=tmp_path / "s", progress=False, stop=lambda table: True)
    assert known["frames"].tolist() == [1]


def test_any_error_ends_the_sweep_and_is_shown():
    def function(tile):
        raise SystemExit("out of patience")

    explorer = tk.widgets.sweep(function, {"tile": [4]})
    explorer.start()
    assert explorer.wait(30)
    assert explorer.outcome == "failed"
    assert "SystemExit: out of patience" in explorer.panel.note.value


def test_cancel_leaves_the_cluster_alone_when_the_point_in_flight_does_not_use_it():
    with tk.Cluster(ranks=1, device="cpu", start="forkserver") as cluster:
        cluster.run(int)
        workers, gate = cluster.pids, Gate()
        explorer = tk.widgets.sweep(gate, SPACE, cluster=cluster)
        explorer.start()
        assert gate.begun.acquire(timeout=30)
        vae, latent = tiny.kl(), tiny.latent("kl", 20, 20)
        other = cluster.decode(vae, latent, block=False, progress=False)
        explorer.cancel(wait=False)
        assert other.result(timeout=60).output.shape[-1] == 40, "a run that is not the sweep's goes on"
        gate.go.release()
        assert explorer.wait(30)
        assert explorer.outcome == "cancelled"
        assert cluster.pids == workers, "the workers are still the same processes"


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


def test_values_with_names_are_picked_by_name():
    explorer = tk.widgets.sweep(lambda vae: 1.0 if vae else 0.0, {"vae": {"small": object(), "none": None}})
    explorer.controls["vae"].index = (1,)
    assert explorer.space == {"vae": {"none": None}}
    explorer.start()
    explorer.wait(30)
    assert explorer.table["value"].tolist() == [0.0]


def test_a_sweep_that_fails_as_a_whole_says_why(tmp_path):
    (tmp_path / "s").mkdir()
    explorer = tk.widgets.sweep(lambda x: object(), {"x": [1]}, tmp_path / "none" / "s")
    explorer.start()
    explorer.wait(30)
    assert explorer.outcome == "failed"
    assert "does not exist; create it first" in explorer.html
    assert "does not exist; create it first" in explorer.panel.note.value


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


def test_boxes_and_code_say_the_same():
    explorer = tk.widgets.sweep(lambda blend: 1.0, {"blend": ["linear", "cosine", "crop"]})
    control, seen = explorer.controls["blend"], []
    control.observe(lambda change: seen.append(change["new"]), names="index")
    control.boxes[1].value = False
    assert explorer.space == {"blend": ["linear", "crop"]}
    explorer.space = {"blend": ["cosine"]}
    assert [box.value for box in control.boxes] == [False, True, False]
    assert seen == [(0, 2), (1,)]
