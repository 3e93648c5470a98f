"""The error against the distance to the nearest seam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from toolkit.analysis.compare import Comparison
from toolkit.errors import ToolkitError
from toolkit.geometry.checks import check_choice, check_counts
from toolkit.geometry.drawing.palette import rank_colour
from toolkit.geometry.span import cores
from toolkit.numerics.seams import SeamProfile
from toolkit.plot.figure import ABOVE, Figure, make, nothing
from toolkit.plot.theme import ThemeName
from toolkit.plot.wanted import comparisons_of

Statistic = Literal["mean", "p99", "max"]
LEGEND_LETTERS = 110
NAMES = {"mean": "mean |error|", "p99": "99th percentile of |error|", "max": "largest |error|"}


def seam_profile(
    comparisons: Comparison | Iterable[Comparison],
    axis: str | None = None,
    *,
    reach: int | None = None,
    statistic: Statistic = "mean",
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw the absolute error against the signed distance to the nearest seam, one line per comparison.

    The dashed line of the same colour is the error in the interior: the half of the axis farthest from the seams. If
    the curve does not rise above it, the seam is invisible.

    Args:
        comparisons: One comparison or several; the legend shows their names.
        axis: The axis along which to measure the distance; by default the last axis along which all have a seam.
        reach: The largest distance in sample cells; by default half the usual distance between two seams.
        statistic: The statistic of the errors at each distance: ``"mean"``, ``"p99"`` or ``"max"``.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If there is nothing to draw, or a comparison has no seam along ``axis``.
    """
    every = comparisons_of(comparisons)
    check_choice("statistic", statistic, choices=get_args(Statistic))
    if reach is not None:
        check_counts(reach=reach)
    axis = axis or _common_axis(every)
    reach = reach or max(_half_core(comparison, axis) for comparison in every)
    profiles = [comparison.seam_profile(axis, reach) for comparison in every]
    references = sorted({comparison.reference for comparison in every})
    names = [c.name if len(references) == 1 else f"{c.name} vs {c.reference}" for c in every]
    against = references[0] if len(references) == 1 else f"{len(references)} references"
    drawn = [_values(profile, statistic) for profile in profiles]
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": f"distance to the nearest seam along {axis} (sample px)"}},
        "yaxis": {"title": {"text": NAMES[statistic]}, "type": "log", **_ticks(drawn)},
        **_legend(names),
        "shapes": [_line_at_seam()],
    }
    if not any((values > 0).any() for values, _ in drawn):
        layout["annotations"] = [nothing("no error at any distance")]
    parts = (f"{name} {_rise(values, floor)}" for name, (values, floor) in zip(names, drawn, strict=True))
    return make(
        [trace for i, profile in enumerate(profiles) for trace in _traces(profile, drawn[i], name=names[i], place=i)],
        layout,
        title=f"{NAMES[statistic].capitalize()} near the seams, against {against}; dashed: interior",
        description=f"{NAMES[statistic].capitalize()} by distance to the nearest seam along {axis}, against "
        f"{against}: {'; '.join(parts)}.",
        height=420,
        theme=theme,
        table=_table(every, profiles, drawn=drawn, name=NAMES[statistic]),
    )


def _common_axis(comparisons: tuple[Comparison, ...]) -> str:
    if not comparisons:
        raise ToolkitError("there are no comparisons to draw: give at least one.")
    grids = [comparison.grid for comparison in comparisons]
    if any(grid is None for grid in grids):
        raise ToolkitError("a comparison has no grid, and so no seams: pass the output's grid to compare(..., grid=).")
    common = [
        axis
        for axis in ("t", "h", "w")
        if all(len(dict(zip(grid.axes, grid.rows, strict=True)).get(axis, ())) > 1 for grid in grids if grid)
    ]
    if not common:
        raise ToolkitError(
            f"there is no axis along which every grid has a seam: {', '.join(map(repr, grids))}. Draw them separately."
        )
    return common[-1]


def _half_core(comparison: Comparison, axis: str) -> int:
    """Half the median length of a core. At larger distances only a few cells at the picture's border remain."""
    grid = comparison.grid
    if grid is None or axis not in grid.axes:
        return 1
    lengths = sorted(map(len, cores(grid.rows[grid.axes.index(axis)])))
    return max(1, lengths[(len(lengths) - 1) // 2] * comparison.ratio[axis] // 2)


def _values(profile: SeamProfile, statistic: Statistic) -> tuple[np.ndarray, float]:
    values = [getattr(level, statistic) for level in profile.levels]
    return np.array(values, np.float32), float(getattr(profile.interior, statistic))


def _rise(values: np.ndarray, floor: float) -> str:
    if not values.any():
        return "has no error"
    return f"at most {values.max():.3g}, {floor:.3g} in the interior"


def _traces(profile: SeamProfile, drawn: tuple[np.ndarray, float], *, name: str, place: int) -> list[dict[str, Any]]:
    (values, floor), colour = drawn, rank_colour(place)
    distance = np.array(profile.distance, np.float32)
    hover = f"%{{y:.3g}} at %{{x}} px<extra>{name}</extra>"
    # A log axis cannot show 0: leave gaps there, and draw nothing for a line of zeros.
    curve = np.where(values > 0, values, np.nan).astype(np.float32)
    common = {"type": "scatter", "mode": "lines", "legendgroup": str(place)}
    return [
        common
        | {
            "x": distance,
            "y": curve,
            "name": name if values.any() else f"{name} (no error)",
            "line": {"color": colour, "width": 2},
            "hovertemplate": hover,
        },
        common
        | {
            "x": [float(distance[0]), float(distance[-1])],
            "y": [floor or None] * 2,
            "line": {"color": colour, "width": 1, "dash": "dash"},
            "showlegend": False,
            "hovertemplate": f"interior %{{y:.3g}}<extra>{name}</extra>",
        },
    ]


def _table(
    every: tuple[Comparison, ...], profiles: list[SeamProfile], *, drawn: list[tuple[np.ndarray, float]], name: str
) -> pd.DataFrame:
    curves = zip(every, profiles, drawn, strict=True)
    parts = []
    for one, profile, (values, floor) in curves:
        columns = {"comparison": one.name, "reference": one.reference, "distance (px)": profile.distance}
        parts.append(pd.DataFrame({**columns, name: values, "interior": floor}))
    return pd.concat(parts)


def _ticks(drawn: list[tuple[np.ndarray, float]]) -> dict[str, Any]:
    """An axis that ends at members of 1, 2, 5, 10 ..., so that there are labels and noise does not fill the picture."""
    levels = np.concatenate([np.append(values, floor) for values, floor in drawn])
    levels = np.log10(levels[(levels > 0) & np.isfinite(levels)])
    if not len(levels):
        return {"dtick": "D2"}
    steps = np.array([decade + np.log10(step) for decade in range(-40, 40) for step in (1, 2, 5)])
    below = steps[steps < levels.min()].max(initial=steps[0])
    above = steps[steps > levels.max()].min(initial=steps[-1])
    return {"dtick": "D2", "tickformat": ".1~g", "range": [float(below), float(above)]}


def _legend(names: list[str]) -> dict[str, Any]:
    """A legend above the curves, because names of comparisons can be long, and a margin with room for all its lines."""
    lines = -(-len(names) // max(1, LEGEND_LETTERS // (max(map(len, names)) + 8)))
    above = 48 + 20 * lines
    return {"showlegend": True, "legend": ABOVE, "margin": {"l": 64, "r": 24, "t": above, "b": 52}}


def _line_at_seam() -> dict[str, Any]:
    stroke = {"color": "rgba(127,127,127,0.6)", "width": 1, "dash": "dot"}
    return {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": stroke}
