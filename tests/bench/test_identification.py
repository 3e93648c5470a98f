"""The cost of recognising a model: an unchanged one is not sent again, and the table has its columns."""

from __future__ import annotations

import pytest
from torch import nn

from toolkit.bench import identification as bench


@pytest.mark.parametrize("identify", ["contents", "versions"])
def test_an_unchanged_model_is_timed(identify):
    assert 0 < bench._recognise(nn.Linear(3, 3), identify, 2) < 1


def test_the_table_has_shares():
    row = {"model": "a", "MB": 1.0, "contents, ms": 2.0, "versions, ms": 1.0, "its call, ms": 100.0}
    assert "0.02" in bench.as_text({"rows": [row]})
