"""Files as they are written: whole or not at all, private where they are records, errors that name the path."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.reported import SHARDS, reported, video

import toolkit as tk
from toolkit.errors import PlanError, ToolkitError
from toolkit.runs.record import Record
from toolkit.runs.video_file import VideoFile
from toolkit.runs.written import check_folder, check_writable, write, write_all

ODD = {
    "no/such/folder/x.mp4": r"the folder '.*no/such/folder' does not exist; create it first",
    "folder.mp4": "is a folder; give the name of a file in it",
    "file/x.mp4": "file' is not a folder",
    "x" * 300 + ".mp4": "File name too long; give a shorter name",
    "a\0b.mp4": "contains a zero byte",
    "\ud800.mp4": "contains a character that no file name can have",
    "circle.mp4": "do not lead in a circle",
}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "circle.mp4").symlink_to("circle.mp4")
    return tmp_path


@pytest.mark.parametrize(("name", "said"), ODD.items(), ids=range(len(ODD)))
def test_whatever_writes_refuses_a_path_in_the_same_words(place, name, said):
    before = sorted(place.rglob("*"))
    run = reported(video())
    for writes in (check_writable, run.to_chrome_trace, VideoFile(name).check, lambda path: write(path, b"")):
        with pytest.raises(PlanError, match=said) as caught:
            writes(name) if writes.__name__ != "check" else writes()
        assert repr(name)[1:20] in str(caught.value)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no/such/folder", "the folder 'no/such' does not exist"),
        ("file", "is a file, but must be a folder"),
        ("a\0b", "zero byte"),
        ("x" * 300, "too long"),
    ],
)
def test_a_folder_of_tables_is_refused_and_no_other_is_made(place, name, said):
    before = sorted(place.rglob("*"))
    for writes in (check_folder, reported(video()).to_parquet):
        with pytest.raises(PlanError, match=said):
            writes(name)
    assert sorted(place.rglob("*")) == before


def test_what_is_no_path_is_refused():
    for value in (16, None, b"bytes.mp4"):
        with pytest.raises(PlanError, match="must be a str or a Path"):
            check_writable(value)
        with pytest.raises(PlanError, match="must be a str or a Path"):
            VideoFile(value)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(PlanError, match="you may not write into"):
        check_writable(tmp_path / "x")


def test_a_full_disk_is_told_with_the_path():
    run = reported(video())
    with pytest.raises(ToolkitError, match=r"'/dev/full' could not be written \(No space left on device\): free some"):
        run.to_chrome_trace("/dev/full")


def limited(words: str, folder: Path) -> str:
    """What a program prints in which no file may become longer than 500 bytes; EFBIG is written as ENOSPC would be."""
    start = f"""
import resource
from pathlib import Path
import torch
from support.reported import SHARDS, reported, video
from toolkit.errors import ToolkitError
from toolkit.runs.record import Record
from toolkit.runs.video_file import VideoFile
run, folder = reported(video()), Path({str(folder)!r})
{FILM}
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
for function in ({words}):
    try:
        function()
        print("written")
    except ToolkitError as error:
        print(error)
"""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests), str(tests.parent)])
    done = subprocess.run(
        [sys.executable, "-c", start],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FILM = """
def film():
    with VideoFile(folder / "video.mp4").writing() as write:
        for start in range(0, 40, 4):
            write(torch.randn(1, 3, 4, 64, 64), start)
"""


def test_a_disk_that_fills_up_leaves_the_old_files_and_nothing_half_written(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "video.mp4").write_text("before")
    (tmp_path / "trace.json").write_text("before")
    words = 'film, lambda: run.to_parquet(folder / "tables"), lambda: run.to_chrome_trace(folder / "trace.json"),'
    said = limited(words, tmp_path)
    assert [line.partition(" (File too large)")[1] for line in said.splitlines()] == [" (File too large)"] * 3
    for name in ("video.mp4", "trace.json"):
        assert f"{str(tmp_path / name)!r} could not be written" in said
        assert (tmp_path / name).read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace.json", "video.mp4"]


def test_a_link_stays_and_its_file_is_written(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for text in ("new", "newer"):
        write(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_text() == text


def test_new_files_are_private_or_follow_the_umask_and_old_ones_keep_their_mode(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "record", b"")
        write(tmp_path / "sample", b"", private=False)
    finally:
        os.umask(before)
    (tmp_path / "sample").chmod(0o604)
    write(tmp_path / "sample", b"more")
    (tmp_path / "record2").write_text("")
    (tmp_path / "record2").chmod(0o644)
    write(tmp_path / "record2", "more")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"record": 0o600, "sample": 0o604, "record2": 0o644}


def test_files_that_belong_together_are_all_written_or_none_is(tmp_path):
    (tmp_path / "page").write_text("before")

    def fails(name: Path) -> None:
        name.write_text("half")
        raise OSError(28, "full")

    with pytest.raises(ToolkitError, match="No space left"):
        write_all({tmp_path / "page": "after", tmp_path / "new" / "picture": fails}, folder=tmp_path / "new")
    assert (tmp_path / "page").read_text() == "before"
    assert list(tmp_path.iterdir()) == [tmp_path / "page"]


def test_a_video_leaves_alone_the_file_that_a_draft_was_once_named_after(tmp_path):
    pytest.importorskip("av")
    mine = tmp_path / "mine.part.mp4"
    mine.write_text("my own")
    with VideoFile(tmp_path / "mine.mp4").writing() as write_frames:
        write_frames(torch.zeros(1, 3, 2, 16, 16), 0)
    assert mine.read_text() == "my own"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.mp4", "mine.part.mp4"]


def test_without_a_working_folder_runs_are_recorded_and_written_by_absolute_paths(tmp_path, monkeypatch):
    gone, run = tmp_path / "gone", reported(video())
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    record = Record.make(torch.nn.Linear(1, 1), torch.zeros(1), plan=None, what={})
    assert record.git == {}
    report = tk.report(reported(video() + 0.1, SHARDS), run)
    assert run.to_chrome_trace(tmp_path / "trace.json").is_file()
    assert run.to_parquet(tmp_path / "tables").is_dir()
    assert report.to_html(tmp_path / "report.html").is_file()
    for writes in (run.to_chrome_trace, run.to_parquet, report.to_html, report.to_markdown):
        with pytest.raises(PlanError, match="the working folder no longer exists; give an absolute path"):
            writes("here")
    with pytest.raises(ToolkitError, match="the working folder no longer exists"):
        tk.sweep(abs, [{"x": 1}], store="here", progress=False)
