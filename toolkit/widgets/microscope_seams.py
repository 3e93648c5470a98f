"""The seams of a comparison: where they are, which is worst, and where along it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isinf
from typing import Self

import pandas as pd
import torch
from torch import Tensor

from toolkit.analysis.compare import Comparison
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.span import Span
from toolkit.numerics.boxes import DIMS
from toolkit.numerics.sample_grid import sample_grid
from toolkit.numerics.seams import seam_lines


@dataclass(frozen=True, slots=True)
class Seams:
    """The seams of a grid, in sample cells.

    Attributes:
        table: One row per seam as in a comparison, worst first.
        grid: The tiles in sample cells, or None.
        lines: Positions of the seams along h and along w.
        edges: Positions where overlaps begin and end, along h and along w.
    """

    table: pd.DataFrame
    grid: TileGrid | None
    lines: Mapping[str, tuple[int, ...]]
    edges: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, comparison: Comparison) -> Self:
        """The seams of a comparison; empty if it has no grid."""
        if comparison.grid is None or comparison.per_seam is None:
            return cls(pd.DataFrame(columns=["axis", "position", "tiles", "ratio"]), None, {}, {})
        grid = sample_grid(comparison.grid, comparison.error.shape, ratio=comparison.ratio)
        rows = {axis: row for axis, row in zip(grid.axes, grid.rows, strict=True) if axis != "t"}
        overlaps = {axis: [a & b for a, b in pairwise(row)] for axis, row in rows.items()}
        return cls(
            comparison.per_seam.sort_values("ratio", ascending=False, kind="stable", ignore_index=True),
            grid,
            {axis: tuple(seam_lines(row)) for axis, row in rows.items()},
            {
                axis: tuple(end for o in found if len(o) for end in (o.start, o.stop))
                for axis, found in overlaps.items()
            },
        )

    def box(self, place: int) -> dict[str, Span]:
        """The overlap of a seam's two tiles along each axis; if they only touch, the cells on either side."""
        assert self.grid is not None
        row = self.table.iloc[place]
        one, other = (self.grid.tiles[index].spans for index in row["tiles"])
        spans = {axis: one[axis] & other[axis] for axis in one}
        axis, line = str(row["axis"]), int(row["position"])
        spans[axis] = Span(min(spans[axis].start, line - 1), max(spans[axis].stop, line + 1))
        return spans


def in_words(place: int, seam: pd.Series) -> str:
    """A line in the list of seams.

    Example:
        >>> in_words(0, pd.Series({"axis": "h", "position": 96, "tiles": (0, 2), "ratio": 3.14159}))
        '1: h 96, tiles 0 and 2, 3.14x'
        >>> in_words(1, pd.Series({"axis": "w", "position": 8, "tiles": (0, 1), "ratio": float("inf")}))
        '2: w 8, tiles 0 and 1, no error elsewhere'
    """
    one, other = seam["tiles"]
    size = "no error elsewhere" if isinf(seam["ratio"]) else f"{seam['ratio']:.3g}x"
    return f"{place + 1}: {seam['axis']} {seam['position']}, tiles {one} and {other}, {size}"


def worst_cell(comparison: Comparison, seams: Seams, *, place: int | None) -> tuple[int, int, int]:
    """Frame, row and column of the largest error of all, or of the largest error along one seam of the table.

    Example:
        >>> from toolkit.analysis.compare import compare
        >>> sample = torch.zeros(1, 1, 3, 16, 16)
        >>> off = sample.clone()
        >>> off[0, 0, 2, 5, 9] = 1.0
        >>> comparison = compare(off, sample)
        >>> worst_cell(comparison, Seams.of(comparison), place=None)
        (2, 5, 9)
    """
    spans = {} if place is None else seams.box(place)
    part: Tensor = comparison.error
    for axis, span in spans.items():
        part = part.narrow(DIMS[axis], span.start, len(span))
    size = part.abs().amax(dim=1)
    batch, *rest = (int(index) for index in torch.unravel_index(size.argmax(), size.shape))
    t, h, w = (
        index + (spans[axis].start if axis in spans else 0)
        for axis, index in zip("thw", rest if len(rest) == 3 else [0, *rest], strict=True)
    )
    return batch * (comparison.error.shape[2] if len(rest) == 3 else 1) + t, h, w
