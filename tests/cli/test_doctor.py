"""``doctor``: what is wrong is said, and two ranks are tried."""

from __future__ import annotations

import pytest

from toolkit.about import DISTRIBUTION
from toolkit.cli import doctor, main


def test_doctor_says_what_is_wrong(monkeypatch, capsys):
    needs = ["torch>=99", "einops>=0.1", "nosuchpackage>=1.0", "av>=12; extra == 'video'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: needs)
    found = {finding.what: finding for finding in doctor.required()}
    assert {name: one.state for name, one in found.items()} == {
        DISTRIBUTION: "ok",
        "torch": "wrong",
        "einops": "ok",
        "nosuchpackage": "wrong",
    }
    assert "torch>=99" in found["torch"].hint
    monkeypatch.setattr(doctor, "two_ranks", lambda device: [doctor.Finding("two ranks", "work")])
    assert main(["doctor"]) == 1
    assert "pip install 'torch>=99'" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_doctor_tries_two_ranks():
    *_, last = doctor.two_ranks("cpu")
    assert last.what == "shards against whole"
    assert last.state == "ok"
