"""The store of a sweep: it belongs to one sweep, and one process at a time uses it."""

from __future__ import annotations

import sqlite3

import pytest
from support.sweeps import half

import toolkit as tk
from toolkit.errors import ToolkitError
from toolkit.sweeps.outcome import status_of
from toolkit.sweeps.points import points_of
from toolkit.sweeps.store import Store


class TestStore:
    def test_another_function_or_other_names(self, tmp_path):
        tk.sweep(half, {"x": [1]}, store=tmp_path / "s", progress=False)
        with pytest.raises(ToolkitError, match=r"function is .*half, not builtins.round"):
            tk.sweep(round, {"x": [1]}, store=tmp_path / "s")
        with pytest.raises(ToolkitError, match="parameters is"):
            tk.sweep(half, {"x": [1], "y": [1]}, store=tmp_path / "s")

    def test_other_files_are_left_alone(self, tmp_path):
        text, base = tmp_path / "text", tmp_path / "base"
        text.write_text("no database, but longer than its header would be: " * 20)
        with pytest.raises(ToolkitError, match="not the store of a sweep"):
            tk.sweep(half, {"x": [1]}, store=text)
        other = sqlite3.connect(base)
        other.execute("CREATE TABLE mine (x)")
        other.close()
        before = base.read_bytes()
        with pytest.raises(ToolkitError, match="a database but not a sweep's store"):
            tk.sweep(half, {"x": [1]}, store=base)
        assert base.read_bytes() == before
        with pytest.raises(ToolkitError, match=r"the folder .* does not exist"):
            tk.sweep(half, {"x": [1]}, store=tmp_path / "none" / "s")

    def test_one_sweep_at_a_time(self, tmp_path):
        def function(x):
            with pytest.raises(ToolkitError, match="in use by another sweep"):
                tk.sweep(function, {"x": [1]}, store=tmp_path / "s")
            read = sqlite3.connect(tmp_path / "s")
            status = read.execute("SELECT status FROM points").fetchall()
            read.close()
            return str(status)

        table = tk.sweep(function, {"x": [1]}, store=tmp_path / "s", progress=False)
        assert table["value"].tolist() == ["[('running',)]"]
        tk.sweep(function, {"x": [1]}, store=tmp_path / "s", progress=False)

    @pytest.mark.parametrize("share", [0.05, 0.4, 0.7, 0.95])
    def test_a_store_that_ends_early_is_named(self, tmp_path, share):
        path = tmp_path / "s"
        tk.sweep(half, {"x": list(range(200))}, store=path, progress=False)
        with sqlite3.connect(path) as base:
            base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        base.close()
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(
            ToolkitError, match=rf"store='{path}' is not the store .*damaged .*give another file, or rest"
        ):
            tk.sweep(half, {"x": list(range(200))}, store=path, progress=False)

    def test_a_cell_that_is_damaged(self, tmp_path):
        tk.sweep(half, {"x": [1]}, store=tmp_path / "s", progress=False)
        with sqlite3.connect(tmp_path / "s") as base:
            base.execute("UPDATE points SET measures = '{'")
        base.close()
        with pytest.raises(ToolkitError, match="damaged"):
            tk.sweep(half, {"x": [1]}, store=tmp_path / "s", progress=False)

    def test_a_store_that_another_program_has_locked(self, tmp_path, monkeypatch):
        monkeypatch.setattr("toolkit.sweeps.store.PATIENCE", 0.01)
        tk.sweep(half, {"x": [1]}, store=tmp_path / "s", progress=False)
        other = sqlite3.connect(tmp_path / "s", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ToolkitError, match="is locked by another program: close it there"):
            tk.sweep(half, {"x": [1, 2]}, store=tmp_path / "s", progress=False)
        other.close()
        assert len(tk.sweep(half, {"x": [1, 2]}, store=tmp_path / "s", progress=False)) == 2

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("", "is a folder"),
            ("none/s", "does not exist; create it first"),
            ("a\0b", "zero byte"),
            ("x" * 252, "long"),
        ],
    )
    def test_a_path_that_cannot_be_a_store(self, tmp_path, name, said):
        with pytest.raises(ToolkitError, match=rf"store=.*{said}"):
            tk.sweep(half, {"x": [1]}, store=tmp_path / name, progress=False)
        assert list(tmp_path.iterdir()) == []

    def test_a_store_is_for_its_owner(self, tmp_path):
        tk.sweep(half, {"x": [1]}, store=tmp_path / "s", progress=False)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}

    def test_a_full_disk_is_told(self, tmp_path):
        with Store(tmp_path / "s", "function", names=["x"]) as store:
            store._base.execute("PRAGMA max_page_count = 10")
            (point,) = points_of({"x": [1]})
            store.start(point, None, version=None)
            with pytest.raises(
                ToolkitError, match=r"could not be written \(database or disk is full\): free some space"
            ):
                store.end(point, "done", took=1.0, measures={"text": "x" * 300_000})


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Surrogate(Exception):
    def __str__(self) -> str:
        return "bad \ud800 name"


@pytest.mark.parametrize(("error", "said"), [(Mute(), "message cannot be read: RuntimeError"), (Surrogate(), "bad")])
@pytest.mark.parametrize("on_disk", [True, False])
def test_an_error_that_cannot_be_said_is_a_failed_point_like_others(tmp_path, error, said, on_disk):
    def function(x):
        if x == 1:
            raise error
        return x

    store = tmp_path / "s" if on_disk else None
    table = tk.sweep(function, {"x": [1, 2]}, store=store, progress=False)
    assert table["status"].tolist() == ["failed", "done"]
    assert said in table["error"][0]
    table["error"][0].encode()


def test_causes_that_go_round_in_a_circle():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert status_of(one) == "failed"
