"""Each rank's memory over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.drawing.palette import RANK_COLOURS, rank_colour
from toolkit.plot.figure import Figure, make, nothing
from toolkit.plot.memory_parts import limit_line, memory_parts, peak_of, thin, weights_of
from toolkit.plot.theme import ThemeName, Unit, byte_unit, time_unit
from toolkit.plot.wanted import check_run
from toolkit.runs.run import Run

MAX_POINTS = 16000
LISTED = 8
DASHES = ("solid", "dash", "dot", "dashdot")


def memory(
    run: Run,
    rank: int | None = None,
    *,
    limit: int | None = None,
    weights: int | None = None,
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw allocated memory over time: every rank's curve, or what one rank's consists of.

    The legend gives the true peaks. Of more than eight ranks, the eight highest are in it and in strong colours,
    the others faint behind them. Long curves are thinned so that none of their peaks is lost. Curves begin at the
    level when the run began, with the weights below it in one rank's picture, and in all with a limit.

    Args:
        run: a run.
        rank: one rank: what it held all through a computation and between them, and what it needed on top.
        limit: bytes that a rank may hold, weights among them; drawn as a line.
        weights: bytes of the weights on a rank; from the run's record where every rank has the whole model.
        theme: ``"neutral"`` reads on light and dark pages.

    Raises:
        ToolkitError: for a rank that was not measured, and for a limit where the weights are not known.
    """
    check_run(run)
    if limit is not None and weights is None and weights_of(run) is None:
        raise ToolkitError(
            f"limit={limit} for {run!r}, whose record does not say how many bytes of weights each rank holds: give "
            "weights=, or leave the limit out."
        )
    if rank is not None:
        return memory_parts(run, rank, limit, weights, theme)
    base = 0 if limit is None else int((weights_of(run) if weights is None else weights) or 0)
    curves = {
        rank: run.memory[run.memory["rank"] == rank].assign(bytes=lambda curve: curve["bytes"] + base)
        for rank in _ranks(run.memory)
    }
    peaks = {rank: peak_of(run.peaks + base, rank, curve) for rank, curve in curves.items()}
    highest = sorted(peaks, key=lambda rank: -peaks[rank])
    end = float(run.memory["time"].max()) if curves else 0.0
    time, size = time_unit(end), byte_unit(max([*peaks.values(), limit or 0], default=0.0))
    drawn = {rank: thin(curve, MAX_POINTS // len(curves)) for rank, curve in curves.items()}
    traces = [
        trace
        for rank, curve in sorted(drawn.items(), key=lambda item: item[0] in highest[:LISTED])
        for trace in _traces(rank, curve, peaks[rank], (time, size), rank in highest[:LISTED])
    ]
    if limit is not None:
        traces.append(limit_line(limit, end * time.scale, size))
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": f"time since the run began ({time.name})"}},
        "yaxis": {"title": {"text": f"allocated ({size.name})"}, "rangemode": "tozero"},
        "showlegend": True,
    }
    if not peaks:
        layout["annotations"] = [nothing("memory was not measured")]
    above = "above its level when the run began" if limit is None else "with its weights"
    return make(
        traces,
        layout,
        title=f"Memory of each rank {above}, peaks marked",
        description=_describe(peaks, highest, size),
        height=420,
        theme=theme,
        table=_table(run, drawn),
    )


def _table(run: Run, drawn: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(drawn.values()) if drawn else run.memory
    return table[["rank", "time", "bytes"]].rename(columns={"time": "time (s)", "bytes": "allocated (bytes)"})


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


def _describe(peaks: dict[int, float], highest: list[int], size: Unit) -> str:
    if not peaks:
        return "A memory chart without curves: memory was not measured."
    most, least = highest[0], highest[-1]
    return (
        f"Memory over time on {len(peaks)} rank{'s' * (len(peaks) != 1)}: "
        f"highest peak {peaks[most] * size.scale:.3g} {size.name} on rank {most}, "
        f"lowest {peaks[least] * size.scale:.3g} {size.name} on rank {least}."
    )
