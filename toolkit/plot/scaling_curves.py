"""How the time falls with more ranks, and where the lost time goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolkit.analysis.scaling import CAUSES, scaling_table
from toolkit.plot.bars import GREY, filled
from toolkit.plot.figure import Figure, make
from toolkit.plot.theme import BLUE, ORANGE, PINK, SKY, VERMILION, ThemeName, time_unit
from toolkit.plot.wanted import check_run
from toolkit.runs.run import Run

STYLES = {
    "extra computing": (SKY, "x"),
    "moving": (ORANGE, "/"),
    "imbalance": (PINK, "."),
    "waiting": (VERMILION, "\\"),
    "other": (GREY, ""),
}
"""Colour and pattern of each cause."""

GAP, SPLIT = 0.1, 0.5
WIDEST = 0.5
"""Greatest width of a bar, in doublings of ranks."""


def scaling(runs: Sequence[Run], base: Run | None = None, *, theme: ThemeName = "neutral") -> Figure:
    """Draw the speed-up of runs of the same work against their number of ranks, and below it the lost time by cause.

    The dashed line is the ideal: n ranks are n times faster. Each bar shows the fraction of all ranks' time that is
    lost; see :func:`toolkit.analysis.scaling.scaling_table` for the causes. Bars below 0 are gains.

    Args:
        runs: Runs of the same call. Of several runs on the same number of ranks, the fastest counts.
        base: The reference, a run on one rank; by default the fastest one-rank run among ``runs``.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If there are no runs, or there is no reference, or the reference is not on one rank.
    """
    for run in [*runs, base] if isinstance(runs, Sequence) else [runs]:
        if run is not None:
            check_run(run)
    table = scaling_table(runs, base)
    widest = table.iloc[-1]
    unit = time_unit(float(table["seconds"].max()))
    head = f"{widest['speed-up']:.2f}x on {widest['ranks']:.0f} ranks"
    lost = ", ".join(f"{cause} {100 * widest[cause]:.0f} %" for cause in CAUSES if abs(widest[cause]) >= 0.005)
    took = f"{widest['seconds'] * unit.scale:.3g} {unit.name}, efficiency {100 * widest['efficiency']:.0f} %"
    return make(
        [*_curves(table, unit.scale, unit=unit.name), *_bars(table)],
        _layout(table),
        title=f"Speed-up {head}: {took}; below, the lost time",
        description=f"Speed-up {head}: {took}; lost to {lost or 'nothing'}.",
        height=600,
        theme=theme,
        table=table.rename(columns={"seconds": "time (s)"}),
    )


def _curves(table: pd.DataFrame, scale: float, *, unit: str) -> Iterator[dict[str, Any]]:
    """Speed-up curves with both axes in doublings, so that the ideal is a straight line."""
    x, ideal = np.log2(table["ranks"].to_numpy(float)), [0.0, float(np.log2(table["ranks"].max()))]
    common = {"type": "scatter", "showlegend": False, "xaxis": "x2", "yaxis": "y2"}
    yield common | {
        "mode": "lines",
        "x": ideal,
        "y": ideal,
        "line": {"color": "rgba(127,127,127,0.8)", "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
    }
    yield common | {
        "mode": "lines+markers",
        "x": x,
        "y": np.log2(table["speed-up"].to_numpy(float)),
        "line": {"color": BLUE, "width": 2},
        "marker": {"color": BLUE, "size": 9},
        "customdata": np.stack([table["seconds"] * scale, table["speed-up"], 100 * table["efficiency"]], axis=1),
        "hovertext": [f"{count:.0f} ranks" for count in table["ranks"]],
        "hovertemplate": f"<b>%{{hovertext}}</b><br>%{{customdata[0]:.4~g}} {unit}, %{{customdata[1]:.2f}}x"
        "<br>efficiency %{customdata[2]:.0f} %<extra></extra>",
    }


def _bars(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Losses stacked upwards from 0, gains stacked downwards."""
    x = np.log2(table["ranks"].to_numpy(float))
    up, down = np.zeros(len(table)), np.zeros(len(table))
    wide = min([WIDEST, *(0.85 * np.diff(x))])
    for cause in CAUSES:
        share = 100 * table[cause].to_numpy(float)
        base = np.where(share >= 0, up, down)
        yield {
            "type": "bar",
            "name": cause,
            "x": x,
            "base": base.round(6).tolist(),
            "y": share.astype(np.float32),
            "customdata": share.astype(np.float32),
            "hovertext": [f"{count:.0f} ranks" for count in table["ranks"]],
            "width": wide,
            "marker": filled(*STYLES[cause], ink="#8A8A8A" if cause == "other" else "#FFFFFF"),
            "hovertemplate": f"<b>{cause}</b>, %{{hovertext}}<br>%{{customdata:.3~g}} % of all ranks' time"
            "<extra></extra>",
        }
        up, down = up + share.clip(min=0), down + share.clip(max=0)


def _layout(table: pd.DataFrame) -> dict[str, Any]:
    counts = table["ranks"].to_numpy(float)
    top = max(1.0, float(np.log2(counts.max())))
    highest = float(np.log2(table["speed-up"]).min())
    doubled = [float(power) for power in range(int(np.floor(min(highest, 0.0))), int(np.ceil(top)) + 1)]
    ticks = {"tickvals": np.log2(counts).tolist(), "ticktext": [f"{count:.0f}" for count in counts]}
    across = {**ticks, "range": [-0.5, top + 0.5]}
    return {
        "barmode": "overlay",
        "xaxis": {**across, "anchor": "y", "title": {"text": "ranks (doublings)"}},
        "xaxis2": {**across, "anchor": "y2", "matches": "x", "showticklabels": False},
        "yaxis": {
            "domain": [0.0, SPLIT - GAP / 2],
            "anchor": "x",
            "title": {"text": "lost time of all ranks (%)"},
        },
        "yaxis2": {
            "domain": [SPLIT + GAP / 2, 1.0],
            "anchor": "x2",
            "title": {"text": "speed-up (times)"},
            "tickvals": doubled,
            "ticktext": [f"{2**power:g}" for power in doubled],
            "range": [doubled[0] - 0.2, top + 0.3],
        },
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": SPLIT - GAP / 2, "yanchor": "bottom"},
    }
