"""The map of a replay's figure: for each state, one filled outline around all parts that are in it.

plotly.js changes lines and fills in a quarter of the time that it takes to draw a figure anew, as heatmaps need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.analysis.part_sheet import Sheet
from toolkit.analysis.part_states import SHOWN, State
from toolkit.geometry.drawing.palette import text_on
from toolkit.plot.state_looks import COLOURS, SIGNS

MOST_SIGNS = 144
"""Most parts of a map whose cells show a sign."""

MOST_LINES = 16
"""Most rows, and most columns, of such a map."""

GAP = 0.005
"""Part of the map's width and height that is left free between cells with signs."""

NOWHERE = np.full(1, np.nan, np.float32)
"""The place of what is not there now: plotly.js would leave a trace without points as it was."""

Floats = npt.NDArray[np.float32]


def signed(sheet: Sheet, parts: int) -> bool:
    """Whether cells have room for a sign; if not, what moves is marked by symbols of its own."""
    return parts <= MOST_SIGNS and max(sheet.cells.shape) <= MOST_LINES


def fills(sheet: Sheet, states: npt.NDArray[np.uint8], *, apart: bool) -> Iterator[dict[str, Any]]:
    """One trace per state, without its axes.

    Args:
        sheet: The map.
        states: The state of each cell.
        apart: Whether each cell has an outline of its own.
    """
    for state in SHOWN:
        here = states == state
        x, y = outlines(sheet, cells_of(here) if apart else blocks(here), gap=GAP if apart else 0.0)
        yield {
            "type": "scatter",
            "mode": "lines",
            "fill": "toself",
            "x": x,
            "y": y,
            "fillcolor": COLOURS[state],
            "line": {"width": 0},
            "hoverinfo": "skip",
            "showlegend": False,
        }


def signs(sheet: Sheet, states: npt.NDArray[np.uint8], owners: npt.NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """The number of its rank and a sign on each cell: one trace per colour of text, without its axes.

    Args:
        sheet: The map.
        states: The state of each cell.
        owners: The rank of each part.
    """
    x, y = centres(sheet)
    inks = {state: text_on(COLOURS[state]) for state in SHOWN}
    for ink in sorted(set(inks.values())):
        rows, columns = np.nonzero(np.isin(states, [state for state in SHOWN if inks[state] == ink]))
        cells = zip(sheet.cells[rows, columns].tolist(), states[rows, columns].tolist(), strict=True)
        texts = [f"{owners[part]} {SIGNS[State(state)]}" for part, state in cells]
        yield {
            "type": "scatter",
            "mode": "text",
            "x": x[columns] if len(rows) else NOWHERE,
            "y": y[rows] if len(rows) else NOWHERE,
            "text": texts or [""],
            "textfont": {"color": ink, "size": 11 if max(sheet.cells.shape) <= MOST_LINES // 2 else 9},
            "hoverinfo": "skip",
            "showlegend": False,
        }


def names(sheet: Sheet, said: list[list[str]]) -> dict[str, Any]:
    """Invisible cells that say what they are under the pointer, without axes; they never change.

    Args:
        sheet: The map.
        said: What each cell says.
    """
    return {
        "type": "heatmap",
        "x": np.asarray(sheet.x, np.float32),
        "y": np.asarray(sheet.y, np.float32),
        "z": np.zeros(sheet.cells.shape, np.uint8),
        "opacity": 0,
        "showscale": False,
        "hovertext": said,
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def centres(sheet: Sheet) -> tuple[Floats, Floats]:
    """The middle of each column, and of each row."""
    across, down = (np.asarray(edges, np.float32) for edges in (sheet.x, sheet.y))
    return (across[:-1] + across[1:]) * np.float32(0.5), (down[:-1] + down[1:]) * np.float32(0.5)


def cells_of(here: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Each cell that is set, as :func:`blocks` gives them."""
    return [(row, row + 1, column, column + 1) for row, column in np.argwhere(here).tolist()]


def blocks(here: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """The cells that are set as few rectangles: first and last row, first and last column, the last ones excluded.

    Example:
        >>> blocks(np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]], bool))
        [(0, 2, 0, 2), (2, 3, 1, 3)]
    """
    found: list[tuple[int, int, int, int]] = []
    open_: dict[tuple[int, int], int] = {}
    for row, line in enumerate([*here, np.zeros(here.shape[1], bool)]):
        ends = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
        runs = {(left, right) for left, right in ends.tolist()}
        for run in sorted(set(open_) - runs):
            found.append((open_.pop(run), row, *run))
        for run in runs:
            open_.setdefault(run, row)
    return sorted(found)


def outlines(sheet: Sheet, rectangles: list[tuple[int, int, int, int]], *, gap: float) -> tuple[Floats, Floats]:
    """Rectangles as one line with gaps.

    Args:
        sheet: The map.
        rectangles: Rows and columns of each, as :func:`blocks` gives them.
        gap: Part of the map's width and height that is left free between two of them.
    """
    if not rectangles:
        return NOWHERE, NOWHERE
    across, down = (np.asarray(edges, np.float32) for edges in (sheet.x, sheet.y))
    wide, high = (gap * (edges[-1] - edges[0]) / 2 for edges in (across, down))
    top, bottom, left, right = np.array(rectangles).T
    begin, end, low, up = across[left] + wide, across[right] - wide, down[top] + high, down[bottom] - high
    free = np.full(len(rectangles), np.nan, np.float32)
    x = np.stack([begin, end, end, begin, free], 1).ravel()[:-1]
    y = np.stack([low, low, up, up, free], 1).ravel()[:-1]
    return x.astype(np.float32), y.astype(np.float32)
