"""The benchmark of stages."""

from __future__ import annotations

import json

import pytest

from toolkit.bench import stage_speed as stages


@pytest.mark.slow
def test_stages_are_held_against_one_rank():
    result = stages.bench_stages(turns=1, steps=2, block=0.001)
    json.dumps(result)
    rows = result["over one rank"]
    formulas = {name: row["formula"] for name, row in rows.items()}
    assert formulas == {
        "1 rank": 1.0,
        "interleaved, P=2": 0.75,
        "looped, P=2, V=2": 0.625,
        "requests, P=2, R=2": 0.5,
        "interleaved, P=4": 0.625,
        "looped, P=4, V=2": 0.5625,
        "requests, P=4, R=3": 0.25,
        "sequential, P=2": 1.0,
        "CFG-parallel, 2 groups": 0.5,
        "two experts, 1 rank": 1.0,
        "two experts, 1 rank each, R=3": pytest.approx(2 / 3),
        "two experts, 2 ranks each, R=3": pytest.approx(1 / 2),
    }
    assert rows["1 rank"]["measured"] == rows["two experts, 1 rank"]["measured"] == 1.0
    for name, row in rows.items():
        assert row["measured"] > 0
        # Requests fill and drain once in so short a loop, and no schedule beats its formula.
        assert row["bound"] >= row["formula"] - 1e-9
        ranks = result["where time goes"][name]
        assert len({round(sum(parts.values()), 9) for parts in ranks.values()}) == 1
    assert "two experts, 2 ranks each, R=3, rank 3" in stages.as_text(result)
