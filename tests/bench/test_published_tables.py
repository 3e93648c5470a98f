"""Rehearsals beside a published table: errors on the points that were not fitted. The other tables take minutes."""

from __future__ import annotations

import pandas as pd
import pytest

from toolkit.bench.published_tables import stages_table, worst


def _fitted(rows: pd.DataFrame) -> list[int]:
    return rows.groupby("what", sort=False)["fitted"].sum().tolist()


def test_a_pipeline_in_stages():
    """The smaller one: the other takes as long again, and a doctest of ``StagePlan.step_time`` has its times."""
    rows = stages_table(["TI2V-5B"])
    assert _fitted(rows) == [2, 1]
    assert list(worst(rows).values()) == pytest.approx([-0.0037, 0.012], abs=0.001)
