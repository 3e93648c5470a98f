"""Rehearsals beside published tables: errors on the points that were not fitted. Those of tiles are in a doctest."""

from __future__ import annotations

import pandas as pd
import pytest

from toolkit.bench.published_tables import halo_exchange_table, stages_table, worst


def _fitted(rows: pd.DataFrame) -> list[int]:
    return rows.groupby("what", sort=False)["fitted"].sum().tolist()


def test_a_decoder_that_exchanges_halos():
    rows = halo_exchange_table()
    assert _fitted(rows) == [2, 2]
    assert rows["devices"].tolist() == [1, 2, 4, 8] * 2
    time = rows[rows["what"] == "seconds"]
    assert time.loc[time["fitted"], "off"].abs().max() < 0.001
    assert worst(rows) == pytest.approx({"seconds": 0.033, "GB": 0.048}, abs=0.002)
    # One factor for both ends: it is as much too small for one device as too large for eight.
    assert rows.loc[rows["what"] == "GB", "off"].tolist() == pytest.approx([-0.042, 0.023, 0.048, 0.044], abs=0.002)


def test_a_pipeline_in_stages():
    """The smaller one: the other takes as long again, and a doctest of ``StagePlan.step_time`` has its times."""
    rows = stages_table(["TI2V-5B"])
    assert _fitted(rows) == [2, 1]
    assert list(worst(rows).values()) == pytest.approx([-0.0037, 0.012], abs=0.001)
