"""Bars as plotly traces: one trace per kind of bar, so that figures with thousands of bars stay small and fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolkit.plot.theme import Unit

GREY = "rgba(127,127,127,0.34)"
FAINT_GREY = "rgba(127,127,127,0.12)"


def lying_bars(name: str, rows: Any, *, starts: Any, lengths: Any, width: float) -> dict[str, Any]:
    """A trace of horizontal bars.

    Args:
        name: Name in the legend.
        rows: The bars' positions along y.
        starts: Where each bar begins along x.
        lengths: The bars' lengths along x.
        width: Thickness of a bar, in rows.

    Example:
        >>> lying_bars("sent", [0, 2], starts=[0.0, 1.5], lengths=[4, 3], width=0.8)["base"]
        [0.0, 1.5]
    """
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": np.asarray(rows, np.int32),
        # Plotly serialises `base` as text and the other arrays as packed bytes: rounding keeps the text short.
        "base": np.asarray(starts, np.float64).round(6).tolist(),
        "x": np.asarray(lengths, np.float32),
        "width": width,
    }


def event_bars(table: pd.DataFrame, name: str, *, unit: Unit, width: float) -> dict[str, Any]:
    """One bar per event (columns ``rank``, ``start`` and ``end`` in seconds); ``customdata`` holds the length too."""
    bars = lying_bars(
        name,
        table["rank"],
        starts=table["start"] * unit.scale,
        lengths=(table["end"] - table["start"]) * unit.scale,
        width=width,
    )
    return bars | {"customdata": bars["x"]}


def filled(
    colour: str, pattern: str = "", *, ink: str = "#FFFFFF", outline: str | None = None, solidity: float = 0.2
) -> dict[str, Any]:
    """A marker with both a colour and a pattern, because some readers can tell only one of them apart.

    Args:
        colour: Colour of the bars.
        pattern: Plotly's name for the pattern; ``""`` means no pattern.
        ink: Colour of the pattern.
        outline: Colour of the outline; the pattern's colour if None.
        solidity: Fraction of the bar that the pattern covers.
    """
    return {
        "color": colour,
        "pattern": {"shape": pattern, "size": 6, "solidity": solidity, "fgcolor": ink, "bgcolor": colour},
        "line": {"width": 0.5, "color": outline or ink},
    }


def rank_axis(ranks: Sequence[int]) -> dict[str, Any]:
    """A y axis with one row per rank, rank 0 at the top.

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
