"""The parts of one rank's memory over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from toolkit.errors import ToolkitError
from toolkit.geometry.drawing.palette import rank_colour
from toolkit.geometry.plan import PlanKind
from toolkit.plot.figure import ABOVE, Figure, make
from toolkit.plot.theme import ORANGE, SKY, VERMILION, ThemeName, Unit, byte_unit, time_unit
from toolkit.runs.run import Run
from toolkit.runs.trace import COMPUTING

STYLES = {
    "weights": ("rgba(127,127,127,0.45)", ""),
    "held": (SKY, "."),
    "working": (ORANGE, "/"),
}
"""Colour and pattern of each part, the lowest first."""

HATCH = "rgba(0,0,0,0.35)"
KINDS = [kind.value for kind in COMPUTING]
"""The kinds of event that are computations."""

MAX_POINTS = 600
"""Most points in a curve; one per pixel is enough."""


def memory_parts(run: Run, rank: int, *, limit: int | None, weights: int | None, theme: ThemeName) -> Figure:
    """The picture of one rank in :func:`toolkit.plot.memory`.

    ``held`` is the memory that was allocated throughout a computation (its lowest level during it), and everything that
    is allocated between two computations: finished tiles, edges waiting to be sent, the output. ``working`` is what a
    computation allocated on top. A shard computes in many short stretches between messages, which count as one
    computation.
    """
    curve = _curve_of(run, rank).sort_values("time", kind="stable", ignore_index=True)
    base = weights_of(run) if weights is None else weights
    peak = (base or 0) + peak_of(run.peaks, rank, curve=curve)
    time, size = time_unit(float(curve["time"].max())), byte_unit(max(peak, limit or 0))
    table = thin(_parts(curve, run, rank=rank).assign(weights=base or 0), MAX_POINTS)
    known = "" if base is None else ", weights included"
    described = (
        f"Memory of rank {rank} over time{known}: peak {peak * size.scale:.3g} {size.name}, of which at most "
        f"{table['working'].max() * size.scale:.3g} {size.name} while computing."
    )
    traces = [*_areas(table, (time, size)), _outline(table, rank, peak=peak, units=(time, size))]
    if limit is not None:
        traces.append(limit_line(limit, float(curve["time"].max()) * time.scale, size=size))
    layout = {
        "xaxis": {"title": {"text": f"time since the run began ({time.name})"}},
        "yaxis": {"title": {"text": f"allocated ({size.name})"}, "rangemode": "tozero"},
        "showlegend": True,
        "legend": ABOVE,
        "margin": {"l": 64, "r": 24, "t": 80, "b": 52},
    }
    return make(
        traces,
        layout,
        title=f"Memory of rank {rank} by use{known or ', above its level at the start of the run'}",
        description=described,
        height=420,
        theme=theme,
        table=_named(table, rank),
    )


def weights_of(run: Run) -> int | None:
    """Bytes of the model's weights by the run's record; None if the size is unknown or ranks hold only parts."""
    model = run.record.model
    if run.way.divides_weights or not {"parameters", "dtype"} <= set(model):
        return None
    return int(model["parameters"]) * int(getattr(torch, str(model["dtype"]).removeprefix("torch.")).itemsize)


def limit_line(limit: int, end: float, *, size: Unit) -> dict[str, Any]:
    """The most memory that a rank may use, as a line across the whole run."""
    label = f"limit {limit * size.scale:.3g} {size.name}"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label,
        "x": [0.0, end],
        "y": [limit * size.scale] * 2,
        "line": {"color": VERMILION, "width": 2, "dash": "dash"},
        "hovertemplate": f"{label}<extra></extra>",
    }


def peak_of(peaks: pd.Series, rank: int, *, curve: pd.DataFrame) -> float:
    """The exact peak, which may fall between points of the curve; the curve's highest point if it was not measured."""
    return float(peaks[rank]) if rank in peaks.index else float(curve["bytes"].max())


def thin(curve: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The curve reduced to the highest point of each of ``limit`` equal stretches, and the last point."""
    curve = curve.sort_values("time", kind="stable", ignore_index=True)
    if len(curve) <= limit:
        return curve
    stretch = np.arange(len(curve)) * limit // len(curve)
    kept = curve["bytes"].groupby(stretch).idxmax()
    return curve.loc[sorted({*kept, len(curve) - 1})]


def _curve_of(run: Run, rank: int) -> pd.DataFrame:
    curve = run.memory[run.memory["rank"] == rank]
    if curve.empty:
        measured = ", ".join(str(one) for one in sorted(run.memory["rank"].unique())) or "none"
        raise ToolkitError(f"rank={rank!r}: no memory was measured on this rank; measured ranks: {measured}.")
    # The curve is relative to the level at the start of the run, so it begins at 0.
    begin = pd.DataFrame({"rank": [rank], "time": [0.0], "bytes": [0]})
    return pd.concat([begin, curve]) if curve["time"].min() > 0 else curve


def _parts(curve: pd.DataFrame, run: Run, *, rank: int) -> pd.DataFrame:
    """The columns ``time``, ``bytes``, and its two parts ``held`` and ``working``."""
    time, level = curve["time"].to_numpy(np.float64), curve["bytes"].to_numpy(np.float64).clip(min=0)
    held = level.copy()
    for start, end in _computations(run, rank):
        inside = (time >= start) & (time <= end)
        if inside.any():
            held[inside] = np.minimum(held[inside], level[inside].min())
    return pd.DataFrame({"time": time, "bytes": level, "held": held, "working": level - held})


def _computations(run: Run, rank: int) -> list[tuple[float, float]]:
    trace = run.trace
    found = trace[(trace["rank"] == rank) & trace["kind"].isin(KINDS)]
    if run.way.kind is PlanKind.SHARDS and len(found):
        return [(float(found["start"].min()), float(found["end"].max()))]
    return list(zip(found["start"], found["end"], strict=True))


def _areas(table: pd.DataFrame, units: tuple[Unit, Unit]) -> list[dict[str, Any]]:
    """A closed outline for each part that is not empty, stacked on the part before."""
    time, size = units
    below, areas = np.zeros(len(table)), []
    for name, (colour, pattern) in STYLES.items():
        above = below + table[name].to_numpy() * size.scale
        if table[name].any():
            x = _stepped(table["time"].to_numpy() * time.scale)[1:]
            top, bottom = (_stepped(edge)[:-1] for edge in (above, below))
            areas.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": name,
                    "x": np.concatenate([x, x[::-1]]).astype(np.float32),
                    "y": np.concatenate([top, bottom[::-1]]).astype(np.float32),
                    "fill": "toself",
                    "fillcolor": colour,
                    "fillpattern": {"shape": pattern, "fgcolor": HATCH, "bgcolor": colour, "size": 6, "solidity": 0.15},
                    "line": {"width": 0},
                    "hoverinfo": "skip",
                }
            )
        below = above
    return areas


def _stepped(values: np.ndarray) -> np.ndarray:
    return np.repeat(values, 2)


def _outline(table: pd.DataFrame, rank: int, *, peak: float, units: tuple[Unit, Unit]) -> dict[str, Any]:
    """The measured curve; hovering over a point shows all numbers."""
    time, size = units
    parts = table[["held", "working"]].to_numpy() * size.scale
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"rank {rank}, peak {peak * size.scale:.3g} {size.name}",
        "x": (table["time"] * time.scale).to_numpy(np.float32),
        "y": (table[list(STYLES)].sum(axis=1) * size.scale).to_numpy(np.float32),
        "customdata": parts.astype(np.float32),
        "line": {"shape": "hv", "width": 1, "color": rank_colour(rank)},
        "hovertemplate": f"%{{y:.4~g}} {size.name} at %{{x:.4~g}} {time.name}<br>held %{{customdata[0]:.4~g}}, "
        "working %{customdata[1]:.4~g}<extra></extra>",
    }


def _named(table: pd.DataFrame, rank: int) -> pd.DataFrame:
    columns = {"time": "time (s)", **{name: f"{name} (bytes)" for name in STYLES}}
    return table.rename(columns=columns).assign(rank=rank)[["rank", *columns.values()]]
