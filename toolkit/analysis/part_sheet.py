"""Where the parts of a run lie on a flat map: tiles and shards as on the latent, stages by their layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.geometry.grid import TileGrid
from toolkit.geometry.shard_plan import AXES
from toolkit.geometry.span import Span, cores
from toolkit.runs.run import Run

PANELS_PER_ROW = 4
MOST_CELLS = 64
"""Most rows and most columns of a map; a larger grid is drawn in blocks of tiles."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A flat map made of rows and columns of cells.

    Attributes:
        x: Edges of the columns.
        y: Edges of the rows, the top one first.
        cells: The part in each cell, ``rows x columns``; -1 where there is none, as between two panels.
        names: What is along x and along y.
        notes: The text at the upper left corner of each panel, with its position.
        rows: The name of each row; empty where y is a scale.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    cells: npt.NDArray[np.int64]
    names: tuple[str, str]
    notes: tuple[tuple[float, float, str], ...] = ()
    rows: tuple[str, ...] = ()


def sheet_of_grid(grid: TileGrid) -> Sheet:
    """The map of a grid's cores: one panel per position along ``t``, at most four in a row.

    Example:
        >>> sheet = sheet_of_grid(TileGrid.cover({"h": 8, "w": 12}, tile=6, overlap=2))
        >>> sheet.x, sheet.y, sheet.cells.tolist()
        ((0, 4, 7, 12), (0, 4, 8), [[0, 1, 2], [3, 4, 5]])
    """
    rows = dict(zip(grid.axes, grid.rows, strict=True))
    flat = [axis for axis in grid.axes if axis != "t"] or ["t"]
    across = "w" if "w" in flat else flat[-1]
    down = next((axis for axis in flat if axis != across), None)
    # A single row of tiles is drawn an eighth as high as it is wide.
    lines = _edges(rows[down]) if down else (0, max(1, rows[across][-1].stop // 8))
    columns = _edges(rows[across])
    times = rows["t"] if "t" in rows and across != "t" else (Span(0, 1),)
    panels_across = min(len(times), PANELS_PER_ROW)
    panels_down = -(-len(times) // PANELS_PER_ROW)
    gap = max(1, max(columns[-1], lines[-1]) // 8)
    x, y = _repeated(columns, panels_across, gap), _repeated(lines, panels_down, gap)
    cells = np.full((len(y) - 1, len(x) - 1), -1, np.int64)
    notes = []
    for time, span in enumerate(times):
        line, column = divmod(time, PANELS_PER_ROW)
        for i, j in product(range(len(lines) - 1), range(len(columns) - 1)):
            place = {"t": time, across: j} | ({down: i} if down else {})
            cells[line * len(lines) + i, column * len(columns) + j] = grid.index(tuple(place[a] for a in grid.axes))
        notes.append((x[column * len(columns)], y[line * len(lines)], f"t {span}"))
    names = (f"{across} (latent cells)", f"{down} (latent cells)" if down else "")
    return Sheet(x, y, cells, names, tuple(notes) if len(times) > 1 else ())


def sheet_of_layers(rows: Sequence[str], stages: Sequence[tuple[int, Span]]) -> Sheet:
    """The map of stages: layers from left to right, one row for each name.

    Args:
        rows: Names of the rows.
        stages: Row and layers of each part.

    Example:
        >>> sheet = sheet_of_layers(["rank 0", "rank 1"], [(0, Span(0, 2)), (1, Span(2, 5))])
        >>> sheet.x, sheet.cells.tolist()
        ((0, 2, 5), [[0, -1], [-1, 1]])
    """
    x = tuple(sorted({end for _, span in stages for end in (span.start, span.stop)}))
    cells = np.full((len(rows), len(x) - 1), -1, np.int64)
    for part, (row, span) in enumerate(stages):
        cells[row, x.index(span.start) : x.index(span.stop)] = part
    return Sheet(x, tuple(range(len(rows) + 1)), cells, ("layers", ""), (), tuple(rows))


def small(sheet: Sheet) -> Sheet:
    """A map of at most 64 rows and columns: where there are more, a cell is a block of parts, named after its last."""
    starts, edges, cells = _blocks(sheet), [], sheet.cells
    for axis, ends in enumerate((sheet.y, sheet.x)):
        edges.append((*(ends[start] for start in starts[axis]), ends[-1]))
        cells = np.maximum.reduceat(cells, starts[axis], axis=axis)
    return Sheet(edges[1], edges[0], cells, sheet.names, sheet.notes, sheet.rows)


def pooled(sheet: Sheet, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values of the cells of :func:`small`, ``rows x columns``: of each block of parts, the largest.

    Args:
        sheet: The map.
        values: A value for each part, at least 0; cells without a part have 0.
    """
    full = np.append(values, values.dtype.type(0))[sheet.cells]
    for axis, starts in enumerate(_blocks(sheet)):
        full = np.maximum.reduceat(full, starts, axis=axis)
    return full


def _blocks(sheet: Sheet) -> list[npt.NDArray[np.int64]]:
    """The first row of each block of rows, and the first column of each block of columns."""
    return [np.arange(0, count, -(-count // MOST_CELLS)) for count in sheet.cells.shape]


def latent_extent(run: Run) -> dict[str, int] | None:
    """Latent cells along each axis of a decode's or encode's input; None if the run does not say."""
    shape, call = run.record.input.get("shape"), run.record.what.get("call")
    if not shape or call not in ("decode", "encode") or (call == "encode" and not run.ratio):
        return None
    sizes: Mapping[str, int] = dict(zip(AXES, shape[-2:], strict=True))
    return {axis: size if call == "decode" else size // run.ratio[axis] for axis, size in sizes.items()}


def _edges(row: tuple[Span, ...]) -> tuple[int, ...]:
    bounds = cores(row)
    return (*(core.start for core in bounds), bounds[-1].stop)


def _repeated(edges: Iterable[int], times: int, gap: int) -> tuple[int, ...]:
    """The edges of several panels beside each other; each pair of panels has a gap in between, which is a cell too."""
    one = tuple(edges)
    return tuple(edge + place * (one[-1] + gap) for place in range(times) for edge in one)
