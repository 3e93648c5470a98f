"""Runs of a report: their names, what readers are warned of, and runs that cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from math import isnan, nan

import pytest
import torch
from support.reported import GRID, SHAPE, SHARDS, TILES, changed, reported, video

import toolkit as tk
from toolkit.geometry import Assignment, Blend, TilePlan


def test_a_second_own_call_keeps_its_own_name(whole):
    again = reported(video(), seconds=4.0)
    made = tk.report([again, whole], whole)
    assert made.to_dataframe()["run"].tolist() == ["the model's own call", "the model's own call (2)"]
    other = reported(video(), record=changed("input", sha256="b" * 64))
    with pytest.raises(tk.ToolkitError, match="different inputs"):
        tk.report(other, whole)
    with pytest.raises(tk.ToolkitError, match="another name"):
        tk.report({"the model's own call": again}, whole)


def test_a_speed_up_that_ranks_do_not_explain_is_doubted(whole):
    quick, usual = (reported(video(), SHARDS, seconds=seconds) for seconds in (1.0, 1.9))
    (said,) = tk.report({"quick": quick, "usual": usual}, whole).cautions
    assert said.startswith("quick: an efficiency of 200% cannot come from more ranks alone")


def test_a_streamed_run_has_time_and_memory_only(whole):
    streamed = reported(None, TILES, seconds=2.0, streamed=SHAPE)
    made = tk.report({"streamed": streamed}, whole)
    row = made.to_dataframe().iloc[1]
    assert row["speed-up"] == 2.0
    assert isnan(row["max |error|"])
    assert "streamed and not kept" in made.to_markdown()
    assert made.film is None


def test_a_rehearsal_stands_beside_its_run(whole, tiled):
    """Its record lacks what only a run has, and nobody is warned of that; other differences are said."""
    bare = {**whole.record.what, "rehearsed": True, "backend": None, "device": "cuda"}
    record = replace(whole.record, what=bare, input={**whole.record.input, "sha256": None})
    predicted = reported(None, TILES, seconds=2.0, streamed=SHAPE, record=record)
    made = tk.report([tiled, predicted], whole)
    name = f"{TILES.summary}, rehearsed"
    assert made.to_dataframe()["run"].tolist()[1:] == [TILES.summary, name]
    assert made.to_dataframe()["seconds"].tolist()[-1] == 2.0
    assert isnan(made.to_dataframe()["max |error|"].tolist()[-1])
    assert "time and memory are predicted, and there is no output" in made.to_markdown()
    assert [said for said in made.cautions if name in said] == [
        f"the model's own call and {name} differ in what.device: 'cpu' and 'cuda'."
    ]


def test_perceptual_measures_get_each_frame_of_both(whole, tiled):
    seen = []

    def measure(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.append((a, b))
        return (a - b).abs().mean().view(1, 1, 1, 1)

    made = tk.report({"tiled": tiled}, whole, perceptual={"LPIPS": measure})
    assert [tuple(a.shape) for a, _ in seen] == [(1, 3, 48, 80)] * 5
    assert all(torch.equal(a, tiled.output[:, :, t]) for t, (a, _) in enumerate(seen))
    assert all(torch.equal(b, whole.output[:, :, t]) for t, (_, b) in enumerate(seen))
    assert made.to_dataframe()["LPIPS"][1] == pytest.approx(0.125)
    assert "LPIPS was not computed" not in made.to_markdown()
    assert "LPIPS was not computed: it needs weights" in tk.report({"tiled": tiled}, whole).to_markdown()


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (changed("what", threads=2), "what.threads"),
        (changed("what", call="encode"), "what.call"),
        (changed("model", config_sha256="other"), "model.config_sha256"),
        (changed("versions", torch="2.12.0"), "versions.torch"),
        (changed("machine", cpu="another"), "machine.cpu"),
        (changed("git", commit="f"), "git.commit"),
    ],
)
def test_records_that_do_not_compare_are_named(whole, record, key):
    (said,) = tk.report({"other": reported(video(), SHARDS, record=record)}, whole).cautions
    assert said.startswith(f"the model's own call and other differ in {key}: ")


@pytest.mark.parametrize(
    "record",
    [changed("what", streamed=True, ranks=7), changed("git", dirty=True), changed("what", **{"norm passes": 1})],
)
def test_what_differs_with_the_plan_is_expected(whole, record):
    assert tk.report({"other": reported(video(), SHARDS, record=record)}, whole).cautions == ()


def test_shards_that_are_wrong_are_not_called_exact(whole):
    for off in (0.01, nan):
        output = video()
        output[0, 0, 0, 0, 0] += off
        (said,) = tk.report({"shards": reported(output, SHARDS)}, whole).cautions
        assert "more than rounding of float32 explains" in said
    # Tiles promise nothing of the kind.
    assert tk.report({"tiles": reported(video() + 0.01, TILES)}, whole).cautions == ()


def test_more_ranks_than_tiles_is_said(whole):
    plan = TilePlan(GRID, Blend.linear(), Assignment.balanced(GRID, 9))
    assert tk.report({"nine": reported(video(), plan)}, whole).cautions == ("nine: only 6 of 9 ranks have work.",)


def test_refused(whole, tiled):
    streamed = reported(None, streamed=SHAPE)
    other = reported(video(), SHARDS, record=changed("input", sha256="b" * 64))
    small = reported(video(shape=(1, 3, 5, 40, 80)), SHARDS)
    cases = [
        (lambda: tk.report([], whole), "there are no runs"),
        (lambda: tk.report({}, whole), "there are no runs"),
        (lambda: tk.report(tiled, streamed), "kept no output"),
        (lambda: tk.report(tiled, video()), "without a name"),
        (lambda: tk.report(other, whole), "different inputs"),
        (lambda: tk.report([tiled, other], video(), reference_name="a file"), "different inputs"),
        (lambda: tk.report(small, whole), "shapes"),
        (lambda: tk.report(reported(video().double(), SHARDS), whole), "dtypes"),
        (lambda: tk.report([video()], whole), "is a Tensor"),
        (lambda: tk.report(reported(["a picture"], SHARDS), whole), "output_type='pt'"),
    ]
    for make, said in cases:
        with pytest.raises(tk.ToolkitError, match=said):
            make()
