"""What each rank spent its time on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from toolkit.analysis.time_use import time_use
from toolkit.geometry.counting import counted
from toolkit.plot.bars import GREY, filled, lying_bars, rank_axis
from toolkit.plot.figure import ABOVE, Figure, make
from toolkit.plot.gantt import STYLES as KINDS
from toolkit.plot.theme import ThemeName, Unit, time_unit
from toolkit.plot.wanted import check_run
from toolkit.runs.run import Run

STYLES = {
    "compute": KINDS["decode"],
    "send": KINDS["send"],
    "receive": KINDS["receive"],
    "wait": (GREY, "/"),
    "other": ("rgba(127,127,127,0.12)", ""),
}
"""Colour and pattern of each use of time, as in the timeline."""


def utilisation(run: Run | pd.DataFrame, *, theme: ThemeName = "neutral") -> Figure:
    """Draw how much of the run each rank spent computing, moving data and waiting: one bar per rank, 100 % long.

    Every instant counts once. Where events overlap, computing comes before sending, receiving and waiting. ``other`` is
    time that no event covers. A run ends when the output has arrived in the kernel.

    Args:
        run: A run in tiles, shards or stages, or a trace: a table of rank, kind, start and end (s).
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If the trace has no events.

    Example:
        >>> trace = pd.DataFrame({"rank": [0, 1, 1], "kind": ["decode", "decode", "wait"], "start": [0.0, 0.0, 0.75],
        ...                       "end": [1.0, 0.75, 1.0]})
        >>> utilisation(trace).describe()
        '2 ranks over 1 s: compute 88 %, wait 12 %; least computing on rank 1, 75 %.'
    """
    check_run(run, trace=True)
    table = time_use(run)
    total = float(table.iloc[0].sum())
    unit, shares = time_unit(total), 100 * table / total
    ranks = [int(rank) for rank in table.index]
    least = int(shares["compute"].to_numpy().argmin())
    mean = shares.mean()
    parts = ", ".join(f"{use} {mean[use]:.0f} %" for use in STYLES if mean[use] >= 0.5)
    took = f"{total * unit.scale:.3g} {unit.name}"
    return make(
        _bars(table, shares, unit=unit),
        {
            "barmode": "overlay",
            "xaxis": {"title": {"text": f"share of the run's {took} (%)"}, "range": [0, 100]},
            "yaxis": rank_axis(ranks),
            "showlegend": True,
            "legend": ABOVE,
            "margin": {"l": 64, "r": 24, "t": 88, "b": 52},
        },
        title=f"Ranks compute {mean['compute']:.0f} % of {took}",
        description=f"{counted(len(ranks), 'rank')} over {took}: {parts}; least computing on rank {ranks[least]}, "
        f"{shares['compute'].iloc[least]:.0f} %.",
        height=min(max(len(ranks) * (14 if len(ranks) > 16 else 36), 100), 900) + 142,
        theme=theme,
        table=table.rename(columns=lambda use: f"{use} (s)").reset_index(),
    )


def _bars(table: pd.DataFrame, shares: pd.DataFrame, *, unit: Unit) -> Iterator[dict[str, Any]]:
    ends = shares[list(STYLES)].cumsum(axis=1)
    for use, (colour, pattern) in STYLES.items():
        if not (shares[use] > 0).any():
            continue
        seconds = table[use] * unit.scale
        yield lying_bars(use, table.index, starts=ends[use] - shares[use], lengths=shares[use], width=0.72) | {
            "customdata": np.stack([seconds, shares[use]], axis=1).astype(np.float32),
            "marker": filled(colour, pattern, ink="#8A8A8A" if use in ("wait", "other") else "#FFFFFF"),
            "hovertemplate": f"<b>{use}</b>, %{{y}}<br>%{{customdata[0]:.4~g}} {unit.name}, %{{customdata[1]:.3~g}} %"
            "<extra></extra>",
        }
