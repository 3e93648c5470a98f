"""The campaign of faults: a short one, and what its table says."""

from __future__ import annotations

import pytest
import torch

import toolkit as tk
from toolkit.bench import fault_campaign as campaign
from toolkit.bench.fault_kinds import RankBreaks, faults
from toolkit.bench.fault_subjects import subjects
from toolkit.cli import main


@pytest.mark.slow
def test_a_few_faults(monkeypatch):
    """The rest of the kinds are struck by hand: `python -m toolkit bench faults --number 500`."""
    names = {"rank killed while idle", "rank raises", "Stop, once"}
    struck = {"the model's own call", "tiles, streamed"}
    monkeypatch.setattr(campaign, "faults", lambda: [one for one in faults() if one.name in names])
    monkeypatch.setattr(campaign, "subjects", lambda: [one for one in subjects() if one.name in struck])
    result = campaign.bench_faults(1, "cpu", seed=3)
    rows = result["rows"]
    assert [row["fault"] for row in rows] == [one.name for one in campaign.faults()]
    assert not any(row["wrong"] or row["left"] for row in rows)
    assert {row["outcome"] for row in rows} >= {"RankDied"}
    taken = result["taken"]
    assert taken["after the faults"]["open files"] == taken["when all runs had run once"]["open files"]
    assert taken["after the faults"]["threads"] == taken["when all runs had run once"]["threads"]
    assert "Runs until the right result" in campaign.as_text(result)


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        ([torch.ones(2)], (campaign.FINISHED, False)),
        ([torch.zeros(2)], (campaign.FINISHED, True)),
        ([], (campaign.FINISHED, True)),
        (tk.RunCancelled("given up"), ("RunCancelled", False)),
        (AttributeError("from inside"), ("AttributeError: from inside", True)),
    ],
)
def test_what_is_wrong(made, outcome):
    def make() -> list[torch.Tensor]:
        if isinstance(made, Exception):
            raise made
        return made

    assert campaign._outcome(make, [torch.ones(2)]) == outcome


def test_every_fault_fits_a_run_and_has_a_name_of_its_own():
    kinds, chosen = faults(), subjects()
    assert len({one.name for one in kinds}) == len(kinds) == 20
    assert len({one.name for one in chosen}) == len(chosen) == 11
    assert all(any(kind.fits(one) for one in chosen) for kind in kinds)


def test_a_fuse_breaks_its_rank_only():
    assert RankBreaks("raise", rank=1, after=0.0)(1, 2) == 2
    with pytest.raises(Exception, match="by a fault of the campaign"):
        RankBreaks("raise", rank=0, after=0.0)(1, 2)


def test_the_command_takes_its_options_for_faults_only(capsys):
    assert main(["bench", "tiles", "--number", "3"]) == 1
    assert "--number does not apply to bench tiles, only to bench faults" in capsys.readouterr().err
