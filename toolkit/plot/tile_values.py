"""A number per tile or shard: its predicted cost, or the time and bytes that were measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.checks import check_choice
from toolkit.geometry.plan import Plan, PlanKind
from toolkit.geometry.tile_plan import TilePlan
from toolkit.plot.theme import byte_unit, time_unit
from toolkit.runs.run import Run
from toolkit.runs.trace import Kind

Shown = Literal["owner", "cost", "time", "bytes"]
NAMES = {"cost": "latent cells computed", "time": "time computing", "bytes": "bytes sent"}
COMPUTING = (Kind.DECODE.value, Kind.NORMS.value, Kind.SHARD.value)


@dataclass(frozen=True, slots=True)
class TileValues:
    """One number per tile.

    Attributes:
        name: Name of the quantity.
        unit: Unit of the numbers.
        numbers: The numbers, in the order of tiles.
    """

    name: str
    unit: str
    numbers: npt.NDArray[np.float64]

    @property
    def column(self) -> str:
        """The name of the column in a table."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def say(self, tile: int) -> str:
        """The number of a tile, in words."""
        return f"{self.name}: {self.numbers[tile]:.4g} {self.unit}".rstrip()


def check_shown(show: str) -> None:
    """Refuse an unknown quantity.

    Raises:
        PlanError: If the name is unknown.
    """
    check_choice("show", show, choices=get_args(Shown))


def tile_values(show: Shown, what: Plan | Run, *, plan: TilePlan) -> TileValues:
    """The numbers of one quantity.

    Args:
        show: The quantity: ``"cost"`` follows from the plan; ``"time"`` and ``"bytes"`` are measured.
        what: The object drawn; it must be a run if the quantity is measured.
        plan: The tiles, or the shards as tiles.

    Raises:
        ToolkitError: If a measured quantity of a plan is requested.

    Example:
        >>> from toolkit.geometry import Assignment, Blend, TileGrid
        >>> grid = TileGrid.cover({"w": 40}, tile=24)
        >>> plan = TilePlan(grid, Blend.linear(), Assignment.round_robin(grid, 2))
        >>> tile_values("cost", plan, plan=plan).numbers
        array([20., 20.])
    """
    if show == "cost":
        return TileValues(NAMES[show], "", np.array([tile.cells for tile in plan.grid.tiles], np.float64))
    if not isinstance(what, Run):
        raise ToolkitError(f"show={show!r} is measured, and a plan has not run yet: give a run, or show='cost'.")
    trace = what.trace
    if show == "time":
        spent = trace[trace["kind"].isin(COMPUTING)].assign(value=lambda t: t["end"] - t["start"])
        numbers = _by_part(spent, what, plan=plan)
        unit = time_unit(float(numbers.max()))
    else:
        numbers = _by_part(trace[trace["kind"] == Kind.SEND.value].assign(value=lambda t: t["bytes"]), what, plan=plan)
        unit = byte_unit(float(numbers.max()))
    return TileValues(NAMES[show].removeprefix("bytes "), unit.name, numbers * unit.scale)


def _by_part(events: pd.DataFrame, run: Run, *, plan: TilePlan) -> npt.NDArray[np.float64]:
    """The sum over the events of each part.

    An event names its tile; that of an edge is the tile that sends it. Everything that a rank does is for its own
    shard.
    """
    shards = run.way.kind is PlanKind.SHARDS
    total = events["value"].groupby((events["rank"] if shards else events["tile"]).to_numpy()).sum()
    parts = run.way.part_owners if shards else range(len(plan.grid))
    return total.reindex(parts, fill_value=0.0).to_numpy(np.float64)
