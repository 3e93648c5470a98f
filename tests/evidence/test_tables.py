"""The numbers of a report, against numbers made by hand; what is refused, and what a reader is warned of."""

from __future__ import annotations

from math import inf, isnan, nan

import pandas as pd
import pytest
import torch
from support.reported import GRID, RECORD, SHAPE, SHARDS, TILES, changed, reported, video

import toolkit as tk
from toolkit.evidence.tables import peak_moment, readable
from toolkit.geometry import Assignment, Blend, TilePlan
from toolkit.numerics.flip import flip


@pytest.fixture
def whole():
    return reported(video())


@pytest.fixture
def tiled():
    return reported(video() + 0.125, TILES, seconds=2.5, peak=80_000_000)


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


def test_one_bit_is_not_identical(whole):
    output = video()
    output[0, 1, 3, 17, 5] = torch.nextafter(output[0, 1, 3, 17, 5], torch.tensor(inf))
    off = float((output - video()).abs().max())
    assert 0 < off < 1e-7
    made = tk.report({"same": reported(video(), SHARDS), "a bit off": reported(output, SHARDS)}, whole)
    assert made.to_dataframe()["identical"].tolist() == ["the reference", "yes", "no"]
    text = made.to_markdown()
    assert "same (exact shards: the untiled call, to rounding): identical to the model's own call." in text
    name = "a bit off (exact shards: the untiled call, to rounding)"
    assert f"{name}: largest difference {off:.3g} in frame 3, PSNR" in text


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


def test_memory_that_was_not_measured_is_a_dash(whole):
    none = reported(video(), SHARDS, memory=pd.DataFrame(), peaks=pd.Series(dtype=float))
    made = tk.report({"none": none}, whole)
    row = readable(made.to_dataframe()).iloc[1]
    assert (row["peak (MB)"], row["peak ratio"], row["PSNR (dB)"]) == ("-", "-", "∞")


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


def test_what_is_no_picture_has_no_flip():
    shape = (1, 16, 12, 20)
    made = tk.report({"latent": reported(video(1, shape), SHARDS)}, reported(video(0, shape)))
    assert "FLIP" not in made.to_dataframe()
    assert "FLIP was not computed" in made.to_markdown()


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
        assert "more than rounding explains" in said
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


def test_the_record_is_whole(whole, tiled):
    text = tk.report(tiled, whole).to_markdown()
    assert text.count(RECORD.to_json()) == 2
