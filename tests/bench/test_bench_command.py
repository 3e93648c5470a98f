"""The command ``bench``: options that do not fit are refused."""

from __future__ import annotations

import pytest

from toolkit.cli import main


def test_flags_of_other_benchmarks_are_refused(capsys):
    for flags, reason in (
        (["tiles", "--full"], "--full does not apply to bench tiles, only to bench models and shards"),
        (["tiles", "--compute"], "--compute does not apply to bench tiles, only to bench stages"),
        (["models", "--block", "0.1"], "--block does not apply to bench models, only to bench stages"),
    ):
        assert main(["bench", *flags]) == 1
        assert reason in capsys.readouterr().err


def test_unknown_commands_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "nothing"])
    assert "invalid choice" in capsys.readouterr().err
