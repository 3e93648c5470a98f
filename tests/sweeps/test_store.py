"""The store of a sweep: it belongs to one sweep, and one process at a time uses it."""

from __future__ import annotations

import sqlite3

import pytest
from support.sweeps import half

import toolkit as tk
from toolkit.errors import ToolkitError


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
