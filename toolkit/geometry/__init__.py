"""Plans as plain values: grids, blends, assignments, shards, stages and their schedules. No torch here."""

from toolkit.geometry.assignment import Assignment
from toolkit.geometry.blend import Blend
from toolkit.geometry.grid import Seam, Tile, TileGrid
from toolkit.geometry.plan import Plan, PlanKind, WholeCall
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.span import Span
from toolkit.geometry.stage_plan import StagePlan
from toolkit.geometry.stage_split import StageSplit
from toolkit.geometry.tile_plan import TilePlan
from toolkit.geometry.topology import Link, Topology

__all__ = [
    "Assignment",
    "Blend",
    "Link",
    "Plan",
    "PlanKind",
    "Schedule",
    "Seam",
    "ShardPlan",
    "Span",
    "StagePlan",
    "StageSplit",
    "Tile",
    "TileGrid",
    "TilePlan",
    "Topology",
    "WholeCall",
]
