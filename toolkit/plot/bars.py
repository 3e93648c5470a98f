"""Bars as traces: one for as many as there are of a kind, so that thousands are small and quick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolkit.plot.theme import Unit

GREY = "rgba(127,127,127,0.34)"
FAINT_GREY = "rgba(127,127,127,0.12)"


def lying_bars(name: str, rows: Any, starts: Any, lengths: Any, width: float) -> dict[str, Any]:
    """A trace of lying bars.

    Args:
        name: in the legend.
        rows: where along y.
        starts: where along x each begins.
        lengths: along x.
        width: across, in rows.

    Example:
        >>> lying_bars("sent", [0, 2], [0.0, 1.5], [4, 3], width=0.8)["base"]
        [0.0, 1.5]
    """
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": np.asarray(rows, np.int32),
        # Plotly sends a base as text, the others packed.
        "base": np.asarray(starts, np.float64).round(6).tolist(),
        "x": np.asarray(lengths, np.float32),
        "width": width,
    }


def event_bars(table: pd.DataFrame, name: str, unit: Unit, width: float) -> dict[str, Any]:
    """A bar for each row of ``rank``, ``start`` and ``end`` in seconds; its length is in ``customdata`` too."""
    bars = lying_bars(
        name, table["rank"], table["start"] * unit.scale, (table["end"] - table["start"]) * unit.scale, width
    )
    return bars | {"customdata": bars["x"]}


def filled(
    colour: str, pattern: str = "", ink: str = "#FFFFFF", *, outline: str | None = None, solidity: float = 0.2
) -> dict[str, Any]:
    """A marker: colour and pattern together, since some readers see only one of them.

    Args:
        colour: of the bars.
        pattern: plotly's name of it; ``""`` for none.
        ink: of the pattern.
        outline: its colour; that of the pattern where None.
        solidity: part of the bar that the pattern covers.
    """
    return {
        "color": colour,
        "pattern": {"shape": pattern, "size": 6, "solidity": solidity, "fgcolor": ink, "bgcolor": colour},
        "line": {"width": 0.5, "color": outline or ink},
    }


def rank_axis(ranks: Sequence[int]) -> dict[str, Any]:
    """A y axis with a row for each rank, the first on top.

    Example:
        >>> rank_axis([0, 1])["range"]
        [1.6, -0.6]
    """
    return {
        "tickvals": list(ranks),
        "ticktext": [f"rank {rank}" for rank in ranks],
        "range": [max(ranks, default=0) + 0.6, min(ranks, default=0) - 0.6],
        "showgrid": False,
    }
