"""Plans as plain values: grids, blends, assignments. No torch here."""

from toolkit.geometry.assignment import Assignment
from toolkit.geometry.blend import Blend
from toolkit.geometry.grid import Seam, Tile, TileGrid
from toolkit.geometry.plan import TilePlan
from toolkit.geometry.shards import ShardPlan
from toolkit.geometry.span import Span

__all__ = ["Assignment", "Blend", "Seam", "ShardPlan", "Span", "Tile", "TileGrid", "TilePlan"]
