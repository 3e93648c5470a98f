"""Each rank's memory over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from toolkit.geometry.palette import RANK_COLOURS, rank_colour
from toolkit.measure.run import Run
from toolkit.plot.figure import Figure, make, nothing
from toolkit.plot.theme import ThemeName, Unit, byte_unit, time_unit

MAX_POINTS = 16000
LISTED = 8
DASHES = ("solid", "dash", "dot", "dashdot")


def memory(run: Run, *, theme: ThemeName = "neutral") -> Figure:
    """Draw each rank's allocated memory over time, with its true peak marked.

    The legend gives the peaks. Of more than eight ranks, the eight highest are in it and in strong colours,
    the others faint behind them. Long curves are thinned so that none of their peaks is lost.

    Args:
        run: a run.
        theme: ``"neutral"`` reads on light and dark pages.
    """
    curves = {rank: run.memory[run.memory["rank"] == rank] for rank in _ranks(run.memory)}
    peaks = {rank: _peak(run.peaks, rank, curve) for rank, curve in curves.items()}
    highest = sorted(peaks, key=lambda rank: -peaks[rank])
    time = time_unit(float(run.memory["time"].max()) if curves else 0.0)
    size = byte_unit(max(peaks.values(), default=0.0))
    traces = [
        trace
        for rank, curve in sorted(curves.items(), key=lambda item: item[0] in highest[:LISTED])
        for trace in _traces(
            rank,
            _thin(curve, MAX_POINTS // len(curves)),
            peaks[rank],
            (time, size),
            rank in highest[:LISTED],
        )
    ]
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": f"time since the run began ({time.name})"}},
        "yaxis": {"title": {"text": f"allocated ({size.name})"}, "rangemode": "tozero"},
        "showlegend": True,
    }
    if not peaks:
        layout["annotations"] = [nothing("memory was not measured")]
    return make(
        traces,
        layout,
        title="Memory of each rank above its level when the run began, peaks marked",
        description=_describe(peaks, highest, size),
        height=420,
        theme=theme,
    )


def _traces(
    rank: int, curve: pd.DataFrame, peak: float, units: tuple[Unit, Unit], listed: bool
) -> Iterator[dict[str, Any]]:
    time, size = units
    top = float(curve["time"].iloc[int(curve["bytes"].argmax())])
    label, colour = f"{peak * size.scale:.3g} {size.name}", rank_colour(rank)
    common = {"type": "scatter", "legendgroup": str(rank), "opacity": 1 if listed else 0.2}
    dash = DASHES[rank // len(RANK_COLOURS) % len(DASHES)] if listed else "solid"
    yield common | {
        "mode": "lines",
        "x": (curve["time"] * time.scale).to_numpy(np.float32),
        "y": (curve["bytes"] * size.scale).to_numpy(np.float32),
        "line": {"shape": "hv", "width": 1.5, "color": colour, "dash": dash},
        "name": f"rank {rank}, peak {label}",
        "showlegend": listed,
        "hovertemplate": f"rank {rank}<br>%{{y:.4~g}} {size.name} at %{{x:.4~g}} {time.name}<extra></extra>",
    }
    yield common | {
        "mode": "markers",
        "x": [top * time.scale],
        "y": [peak * size.scale],
        "marker": {"color": colour, "size": 10, "symbol": "triangle-down"},
        "showlegend": False,
        "hovertemplate": f"rank {rank}: peak {label}<extra></extra>",
    }


def _ranks(memory: pd.DataFrame) -> list[int]:
    return [int(rank) for rank in sorted(memory["rank"].unique())]


def _peak(peaks: pd.Series, rank: int, curve: pd.DataFrame) -> float:
    """The true peak, which may lie between the curve's points; their highest where it was not measured."""
    return float(peaks[rank]) if rank in peaks.index else float(curve["bytes"].max())


def _thin(curve: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The highest point of each of ``limit`` equal stretches, and the last point."""
    curve = curve.sort_values("time", kind="stable", ignore_index=True)
    if len(curve) <= limit:
        return curve
    stretch = np.arange(len(curve)) * limit // len(curve)
    kept = curve["bytes"].groupby(stretch).idxmax()
    return curve.loc[sorted({*kept, len(curve) - 1})]


def _describe(peaks: dict[int, float], highest: list[int], size: Unit) -> str:
    if not peaks:
        return "A memory chart without curves: memory was not measured."
    most, least = highest[0], highest[-1]
    return (
        f"Memory over time on {len(peaks)} rank{'s' * (len(peaks) != 1)}: "
        f"highest peak {peaks[most] * size.scale:.3g} {size.name} on rank {most}, "
        f"lowest {peaks[least] * size.scale:.3g} {size.name} on rank {least}."
    )
