"""Streaming from a cluster into the kernel: a function, a file; slow, broken and cancelled consumers; memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.cluster.outlet import BANDS_IN_FLIGHT
from toolkit.geometry.bands import bands
from toolkit.models.autoencoders.census import specimen
from toolkit.runs.video_file import pixels


def tall(ranks: int, h: int = 90, w: int = 14):
    vae, latent = tiny.kl(), tiny.latent("kl", h, w)
    grid = tk.TileGrid.cover({"h": h, "w": w}, tile=8, overlap=2)
    return vae, latent, tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks))


@pytest.mark.parametrize("ranks", [1, 3])
def test_bands_come_while_the_run_goes_on_and_are_its_output(cluster, ranks, capsys):
    vae, latent, plan = tall(ranks)
    expected = cluster.decode(vae, latent, plan, progress=False).output
    given = []
    job = cluster.decode(
        vae, latent, plan, stream=lambda band, start: given.append((start, band, job_done())), block=False
    )

    def job_done() -> int:
        return sum(done for done, _ in job.progress.values())

    run = job.result()
    assert torch.equal(torch.cat([band for _, band, _ in given], -2), expected)
    assert [start for start, _, _ in given] == [2 * band.box[0].start for band in bands(plan.grid)]
    assert given[0][2] < len(plan.grid)  # the first came before the last tile was computed
    assert run.shape == expected.shape
    assert repr(run).startswith(f"Run(1x3x180x28 streamed by {len(plan.grid)} tiles over {ranks} ranks")
    assert run.record.what["streamed"]
    assert "streamed" in capsys.readouterr().out
    with pytest.raises(tk.ToolkitError, match=r"kept no output: .* run without stream="):
        tk.compare(run, expected)


@pytest.mark.parametrize("ranks", [1, 2])
def test_no_rank_holds_the_output(cluster, ranks):
    vae, latent, plan = tall(ranks, h=400)
    kept = cluster.decode(vae, latent, plan, progress=False)
    streamed = cluster.decode(vae, latent, plan, stream=lambda band, start: None, progress=False)
    assert streamed.peaks[0] < kept.peaks[0] - kept.output.nbytes / 2
    assert streamed.peaks.max() < kept.output.nbytes


def test_a_slow_consumer_holds_the_root_up(cluster):
    vae, latent, plan = tall(2)
    times = []

    def slow(band: torch.Tensor, start: int) -> None:
        time.sleep(0.1)
        times.append(time.monotonic())

    run = cluster.decode(vae, latent, plan, stream=slow, progress=False)
    handed = run.trace[run.trace["kind"] == "stream"]
    assert len(handed) == len(times) == len(bands(plan.grid))
    # A band is handed over once the one that many before it was taken.
    waited = (handed["end"] - handed["start"]).to_numpy()
    assert waited[BANDS_IN_FLIGHT:].sum() > 0.05 * (len(times) - BANDS_IN_FLIGHT)


def test_a_consumer_that_raises_ends_the_run():
    vae, latent, plan = tall(2)

    def broken(band: torch.Tensor, start: int) -> None:
        if start:
            raise OSError("disk full")

    with tk.Cluster(2, device="cpu", start="forkserver") as cluster:
        begin = time.monotonic()
        with pytest.raises(tk.RunError, match=r"stream= raised OSError for the band at 10: disk full") as caught:
            cluster.decode(vae, latent, plan, stream=broken, progress=False)
        assert isinstance(caught.value.__cause__, OSError)
        assert time.monotonic() - begin < 10
        assert cluster.decode(vae, latent, plan, progress=False).shape == (1, 3, 180, 28)


def test_cancelling_while_streaming():
    vae, latent, plan = tall(2)
    with tk.Cluster(2, device="cpu", start="forkserver") as cluster:
        cluster.run(int)
        first = []
        job = cluster.decode(
            vae, latent, plan, stream=lambda *band: (first.append(band), time.sleep(0.3)), block=False, progress=False
        )
        while not first:
            time.sleep(0.01)
        job.cancel()
        with pytest.raises(tk.RunCancelled):
            job.result()
        assert len(first) < len(bands(plan.grid))
        assert cluster.run(int) == [0, 0]


def in_time(h: int = 9) -> tuple:
    one = specimen("AutoencoderKLHunyuanVideo")
    latent = one.latent(h, 8, frames=7)
    grid = tk.TileGrid.cover({"t": 7, "h": h, "w": 8}, tile=4, overlap=1)
    return one.build(), latent, tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 2))


def test_a_video_file(cluster, tmp_path):
    iio = pytest.importorskip("imageio.v3")
    pytest.importorskip("av")
    vae, latent, plan = in_time()
    expected = pixels(cluster.decode(vae, latent, plan, progress=False).output)
    for stream in (tk.VideoFile(tmp_path / "a.mp4", fps=8), str(tmp_path / "b.mp4")):
        cluster.decode(vae, latent, plan, stream=stream, progress=False)
    frames = iio.imread(tmp_path / "a.mp4", plugin="pyav")
    assert frames.shape == expected.shape
    assert iio.immeta(tmp_path / "a.mp4", plugin="pyav")["fps"] == 8
    # A codec is between them: the picture is the same, its values are not.
    error = torch.from_numpy(frames).float() - torch.from_numpy(expected).float()
    assert error.abs().mean() < 0.1 * torch.from_numpy(expected).float().std()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_video_that_fails_leaves_the_file_as_it_was(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    path.write_text("before")

    def fails_at_the_second() -> None:
        with tk.VideoFile(path).writing() as write:
            write(torch.zeros(1, 3, 2, 16, 16), 0)
            write(torch.zeros(2, 3, 2, 16, 16), 2)

    with pytest.raises(tk.PlanError, match="1 x 3 x t x h x w"):
        fails_at_the_second()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_has_no_meaning_is_refused_before_anything_runs(cluster):
    vae, latent, plan = tall(2)
    for words, stream in {
        "stream is a int": 3,
        "must end in .mp4": "video.avi",
        r"grid along h, w: no frame is complete before the last band": Path("video.mp4"),
    }.items():
        with pytest.raises(tk.PlanError, match=words):
            cluster.decode(vae, latent, plan, stream=stream)
    for words, other in {"a ShardPlan": tk.ShardPlan(h=2), "the model's own call": None}.items():
        with pytest.raises(tk.PlanError, match=f"stream= with {words}"):
            cluster.decode(vae, latent, other, stream=print)
    vae, latent, plan = in_time()
    with pytest.raises(tk.PlanError, match="a file holds one video"):
        cluster.decode(vae, latent.repeat(2, 1, 1, 1, 1), plan, stream="video.mp4")
    for fps in (0, float("nan"), float("inf"), "16", True):
        with pytest.raises(tk.PlanError, match=f"fps={fps!r}: must be a finite number above 0"):
            tk.VideoFile("video.mp4", fps=fps)


def test_a_video_that_cannot_be_written_is_refused_before_anything_runs(cluster, tmp_path, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.setattr("toolkit.cluster.calls.Calls.call", lambda *_, **__: pytest.fail("a worker was called"))
    vae, latent, plan = in_time()
    (tmp_path / "folder.mp4").mkdir()
    for name, words in {"no/such/folder/x.mp4": "does not exist; create it first", "folder.mp4": "is a folder"}.items():
        with pytest.raises(tk.PlanError, match=rf"stream='{tmp_path / name}': .*{words}"):
            cluster.decode(vae, latent, plan, stream=tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]
