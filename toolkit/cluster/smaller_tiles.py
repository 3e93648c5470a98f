"""Smaller tiles for a run that has run out of memory."""

from __future__ import annotations

import warnings
from itertools import pairwise

from toolkit.errors import PlanError
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.plan import Plan
from toolkit.geometry.span import Span, cover_axis
from toolkit.geometry.tile_plan import TilePlan

STEP = 0.75
"""How large the next tiles are beside those that did not fit, along each axis."""


def check_smaller(plan: Plan, *, streamed: bool) -> None:
    """Refuse what has no tiles, or cannot begin anew.

    Raises:
        PlanError: If the plan has no tiles, or bands of the output may have been handed over already.
    """
    if streamed:
        raise PlanError("on_oom='smaller' with stream=: bands that were handed over cannot be taken back.")
    if not isinstance(plan, TilePlan):
        raise PlanError(f"on_oom='smaller' with {plan}: there are no tiles that could be smaller. Give a TilePlan.")


def smaller(plan: Plan) -> TilePlan | None:
    """A plan of smaller tiles with the same overlaps; None if they cannot be smaller.

    An axis of a single tile stays whole, because nothing says how far tiles must overlap there. Tiles along ``t`` stay
    as long as they are: what a causal model makes of a frame depends on the frames before it.

    Example:
        >>> from toolkit.geometry.blend import Blend
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> smaller(TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks=2))).grid
        TileGrid(h 60 in 6 x 18, w 104 in 6 x 24; 36 tiles, 2.49x the work)
    """
    if not isinstance(plan, TilePlan):
        return None
    rows = [
        row if axis == "t" or len(row) == 1 else _smaller_row(row)
        for axis, row in zip(plan.grid.axes, plan.grid.rows, strict=True)
    ]
    grid = TileGrid(plan.grid.axes, tuple(rows))
    if max(tile.cells for tile in grid.tiles) >= max(tile.cells for tile in plan.grid.tiles):
        return None
    return TilePlan(grid, plan.blend, Assignment.balanced(grid, plan.ranks), plan.root)


def _smaller_row(row: tuple[Span, ...]) -> tuple[Span, ...]:
    overlap = min(before.stop - after.start for before, after in pairwise(row))
    size = max(int(max(map(len, row)) * STEP), 2 * overlap, 1)
    return cover_axis(row[-1].stop, size, overlap)


def say_smaller(before: Plan, after: Plan) -> None:
    """Warn that a run goes on with other tiles than it was asked for."""
    warnings.warn(f"out of memory with {before}: the run goes on with {after}.", stacklevel=2)
