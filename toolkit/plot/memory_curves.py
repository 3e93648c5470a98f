"""The memory of each rank over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import PlanError, ToolkitError
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
    """Draw allocated memory over time: one curve per rank, or the parts of one rank's memory.

    The legend gives the exact peaks. With more than eight ranks, only the eight with the highest peaks are listed and
    drawn strongly; the others are faint. Long curves are thinned in a way that keeps every peak. Curves start from the
    level at the beginning of the run. The weights are added below it in the picture of one rank, and if a limit is
    given.

    Args:
        run: A run.
        rank: A single rank, split into the memory that it held throughout computations and the working memory on top.
        limit: Bytes that a rank may use, weights included; drawn as a line.
        weights: Bytes of weights on each rank; by default taken from the run's record, if every rank holds the whole
            model.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If the rank was not measured, or a limit is given and the size of the weights is unknown.
    """
    check_run(run)
    if limit is not None and not limit > 0:
        raise PlanError(f"limit={limit}: must be a positive number of bytes.")
    if weights is not None and not weights >= 0:
        raise PlanError(f"weights={weights}: must be a number of bytes, 0 or more.")
    if limit is not None and weights is None and weights_of(run) is None:
        raise ToolkitError(
            f"limit={limit}: a limit includes the weights, and the record of {run!r} does not say how many bytes of "
            "them each rank holds. Pass weights=, or leave limit out."
        )
    if rank is not None:
        return memory_parts(run, rank, limit=limit, weights=weights, theme=theme)
    base = 0 if limit is None else int((weights_of(run) if weights is None else weights) or 0)
    curves = {
        rank: run.memory[run.memory["rank"] == rank].assign(bytes=lambda curve: curve["bytes"] + base)
        for rank in _ranks(run.memory)
    }
    peaks = {rank: peak_of(run.peaks + base, rank, curve=curve) for rank, curve in curves.items()}
    highest = sorted(peaks, key=lambda rank: -peaks[rank])
    end = float(run.memory["time"].max()) if curves else 0.0
    time, size = time_unit(end), byte_unit(max([*peaks.values(), limit or 0], default=0.0))
    drawn = {rank: thin(curve, MAX_POINTS // len(curves)) for rank, curve in curves.items()}
    traces = [
        trace
        for rank, curve in sorted(drawn.items(), key=lambda item: item[0] in highest[:LISTED])
        for trace in _traces(rank, curve, peak=peaks[rank], units=(time, size), listed=rank in highest[:LISTED])
    ]
    if limit is not None:
        traces.append(limit_line(limit, end * time.scale, size=size))
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": f"time since the run began ({time.name})"}},
        "yaxis": {"title": {"text": f"allocated ({size.name})"}, "rangemode": "tozero"},
        "showlegend": True,
    }
    if not peaks:
        layout["annotations"] = [nothing("memory was not measured")]
    above = "above its level at the start of the run" if limit is None else "including weights"
    return make(
        traces,
        layout,
        title=f"Memory of each rank, {above}; triangles mark peaks",
        description=_describe(peaks, highest, size=size),
        height=420,
        theme=theme,
        table=_table(run, drawn),
    )


def _table(run: Run, drawn: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(drawn.values()) if drawn else run.memory
    return table[["rank", "time", "bytes"]].rename(columns={"time": "time (s)", "bytes": "allocated (bytes)"})


def _traces(
    rank: int, curve: pd.DataFrame, *, peak: float, units: tuple[Unit, Unit], listed: bool
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


def _describe(peaks: dict[int, float], highest: list[int], *, size: Unit) -> str:
    if not peaks:
        return "A memory chart without curves: memory was not measured."
    most, least = highest[0], highest[-1]
    return (
        f"Memory over time on {len(peaks)} rank{'s' * (len(peaks) != 1)}: "
        f"highest peak {peaks[most] * size.scale:.3g} {size.name} on rank {most}, "
        f"lowest {peaks[least] * size.scale:.3g} {size.name} on rank {least}."
    )
