"""The map from tiles to ranks."""

from __future__ import annotations

from typing import Any

import pandas as pd

from toolkit.analysis.part_sheet import latent_extent
from toolkit.errors import ToolkitError
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.blend import Blend
from toolkit.geometry.counting import counted
from toolkit.geometry.plan import Plan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.plot.figure import WIDTH, Figure, make
from toolkit.plot.rank_panels import RankPanels
from toolkit.plot.theme import ThemeName
from toolkit.plot.tile_values import Shown, TileValues, check_shown, tile_values
from toolkit.plot.wanted import kind_of
from toolkit.runs.run import Run


def ranks(plan: Plan | Run, show: Shown = "owner", *, theme: ThemeName = "neutral") -> Figure:
    """Draw which rank computes which tile, or what each tile costs, took or sent.

    A grid over ``t`` as well gets one panel per position along ``t``. Owners and costs need only a plan of tiles.
    Shards depend on the extent, so to draw them, pass a run.

    Args:
        plan: A plan of tiles, or a run in tiles or shards.
        show: The quantity shown as colour: ``"owner"``, the rank, with overlaps hatched; ``"cost"``, the number of
            latent cells computed; ``"time"``, the time spent computing (norms included); ``"bytes"``, the bytes sent
            (edges, and the result). Numbers in the cells are always ranks.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If a run has no plan, if a plan of shards is given without an extent, or if time or bytes of a
            plan are requested.

    Example:
        >>> from toolkit.geometry import Assignment, Blend, TileGrid
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> plan = TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks=2))
        >>> ranks(plan).describe()
        '12 tiles on 2 ranks, 6 6 tiles per rank; 1.60x the work of the untiled call, imbalance 1.00.'
        >>> ranks(plan, "cost").describe()
        '12 tiles on 2 ranks: latent cells computed 832 to 832, mean 832.'
    """
    check_shown(show)
    tiles, noun = _drawable(plan)
    values = None if show == "owner" else tile_values(show, plan, plan=tiles)
    grid, what = tiles.grid, f"{counted(len(tiles.grid), noun)} on {counted(tiles.ranks, 'rank')}"
    picture = RankPanels(grid, noun)
    panels = list(picture.panels(tiles, values))
    # No hatches over values: they would change the colours that readers look up on the scale.
    overlaps = [] if values else list(picture.overlaps())
    numbered = any(text for panel in panels for row in panel["text"] for text in row)
    shown = f", overlaps {'light' if picture.dense else 'hatched'}" if overlaps else ""
    if values:
        shown = f"; colour: {values.column}"
    each = f"{_short(tiles.assignment.counts)} tiles" if noun == "tile" else "one"
    work = f"{grid.redundancy:.2f}x the work of the untiled call, imbalance {tiles.imbalance:.2f}"
    return make(
        [*panels, *overlaps],
        picture.layout(),
        title=f"{what}: {'numbers are ranks' if numbered else f'hover over a {noun} for its rank'}{shown}",
        description=f"{what}: {_spread(values)}." if values else f"{what}, {each} per rank; {work}.",
        height=picture.height,
        theme=theme,
        width=WIDTH,
        table=_table(tiles, noun, values=values),
    )


def _spread(values: TileValues) -> str:
    low, high, mean = (f"{getattr(values.numbers, what)():.4g}" for what in ("min", "max", "mean"))
    return f"{values.name} {low} to {high}{' ' * bool(values.unit)}{values.unit}, mean {mean}"


def _table(plan: TilePlan, noun: str, *, values: TileValues | None) -> pd.DataFrame:
    tiles = plan.grid.tiles
    columns: dict[str, Any] = {noun: range(len(tiles)), "rank": plan.assignment.owners}
    for place, axis in enumerate(plan.grid.axes):
        columns[f"{axis} (latent cells)"] = [str(tile.box[place]) for tile in tiles]
        columns[f"core {axis} (latent cells)"] = [str(tile.core_box[place]) for tile in tiles]
    columns["latent cells computed"] = [tile.cells for tile in tiles]
    return pd.DataFrame(columns | ({values.column: values.numbers} if values else {}))


def _drawable(plan: Plan | Run) -> tuple[TilePlan, str]:
    """The tiles to draw and the noun for them. Shards are drawn as tiles without overlap, one per rank."""
    way = plan.way if isinstance(plan, Run) else plan
    if not isinstance(way, Plan):
        raise ToolkitError(f"this figure draws a plan or a run, not {kind_of(way)}: pass a TilePlan, or a run.")
    if not way.part_owners:
        raise ToolkitError(
            f"there are no parts to draw, because {way.summary} does not divide the latent: give a TilePlan, or a run "
            "in tiles or shards."
        )
    grid = way.seam_grid
    if grid is None:
        extent = latent_extent(plan) if isinstance(plan, Run) else None
        grid = None if extent is None else way.part_grid(extent)
    if grid is None:
        raise ToolkitError(
            f"{way!r} does not say how large the map is: give a cluster's run in these shards, or draw the shards of "
            "a given extent with plan.as_grid({'h': 60, 'w': 104})."
        )
    tiles = TilePlan(grid, Blend.crop(), Assignment(way.part_owners, way.ranks), way.output_rank)
    return tiles, way.part_noun.removesuffix("s")


def _short(values: tuple[int, ...], limit: int = 12) -> str:
    shown = " ".join(map(str, values[:limit]))
    return shown if len(values) <= limit else f"{shown} ..."
