"""Explore a tile grid: controls for tiles, overlap and ranks, the predicted cost, and a button that runs the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from toolkit.cluster import Cluster
from toolkit.errors import PlanError
from toolkit.geometry.assignment import Assignment
from toolkit.geometry.blend import Blend
from toolkit.geometry.checks import check_counts
from toolkit.geometry.grid import PerAxis, TileGrid
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.planning.cost import CallCost, call_cost
from toolkit.widgets.board import Board, Explorer
from toolkit.widgets.grid_view import Forecast, grid_view, sentence
from toolkit.widgets.markup import code
from toolkit.widgets.settings import Setting, choice, count
from toolkit.widgets.trial import Trial

POLICIES: dict[str, Callable[[TileGrid, int], Assignment]] = {
    "balanced": Assignment.balanced,
    "round_robin": Assignment.round_robin,
    "contiguous": Assignment.contiguous,
}
BLENDS: dict[str, Callable[[], Blend]] = {
    "linear": Blend.linear,
    "cosine": Blend.cosine,
    "crop": Blend.crop,
    "diffusers": Blend.diffusers,
}
MOST_RANKS = 16


class GridExplorer(Explorer):
    """A tile plan that follows sliders. Made by :func:`explore`.

    Every setting can be read and assigned: ``explorer.overlap = 8`` moves the slider.

    Attributes:
        tile_h: Largest tile size along h, in latent cells.
        tile_w: Largest tile size along w, in latent cells.
        overlap: Smallest overlap between neighbours.
        ranks: Number of ranks.
        policy: Name of a constructor of :class:`~toolkit.geometry.assignment.Assignment`.
        blend: Name of a constructor of :class:`~toolkit.geometry.blend.Blend`.
        controls: Sliders and lists, by name.
        plan: The plan, or the last one that was possible.
        forecast: The prediction for the plan.
        trial: Runs the plan.
    """

    tile_h = Setting[int]()
    tile_w = Setting[int]()
    overlap = Setting[int]()
    ranks = Setting[int]()
    policy = Setting[str]()
    blend = Setting[str]()

    controls: Mapping[str, Any]
    plan: TilePlan
    forecast: Forecast
    trial: Trial

    def __init__(
        self, vae: Any, latent: Tensor, *, cost: CallCost, cluster: Cluster | None, start: Mapping[str, Any]
    ) -> None:
        self._extent = {"h": latent.shape[-2], "w": latent.shape[-1]}
        self._cost = cost
        blends = [name for name in BLENDS if name != "diffusers" or not recipe_of(vae).other_blend]
        self.controls = _controls(self._extent, blends, **start)
        self.trial = Trial(vae, latent, cluster=cluster, present=lambda: (self.plan, self.forecast))
        super().__init__(Board("Tiles", self.controls, draw=self._draw, below=[self.trial.widget]))
        for control in self.controls.values():
            control.observe(lambda change: self.trial.check(self.error), names="value")

    @property
    def tile(self) -> dict[str, int]:
        """Largest tile size along each axis; assign an int for both, or one for each."""
        return {"h": self.tile_h, "w": self.tile_w}

    @tile.setter
    def tile(self, value: PerAxis) -> None:
        self.tile_h, self.tile_w = _both("tile", value)

    @property
    def grid(self) -> TileGrid:
        """The tiles."""
        return self.plan.grid

    @property
    def html(self) -> str:
        """What is shown now, for pages without a kernel."""
        return self._board.html + self.trial.html

    @property
    def snippet(self) -> str:
        """The code that makes the current plan."""
        tile, overlap, policy = self._made
        grid = f"grid = tk.TileGrid.cover({self._extent}, tile={tile}, overlap={overlap})"
        dealt = f"tk.Assignment.{policy}(grid, ranks={self.plan.ranks})"
        return f"{grid}\nplan = tk.TilePlan(grid, tk.{self.plan.blend!r}, {dealt})"

    def _draw(self) -> str:
        grid = TileGrid.cover(self._extent, self.tile, self.overlap)
        plan = TilePlan(grid, BLENDS[self.blend](), POLICIES[self.policy](grid, self.ranks))
        self.plan, self.forecast = plan, Forecast.of(plan, self._cost)
        self._made = self.tile, self.overlap, self.policy
        return grid_view(plan, self.forecast) + code(self.snippet)

    def __repr__(self) -> str:
        return f"GridExplorer({self.error or sentence(self.plan, self.forecast)})"


def explore(
    vae: Any,
    latent: Tensor,
    ranks: int = 4,
    cluster: Cluster | None = None,
    *,
    tile: PerAxis | None = None,
    overlap: int | None = None,
    policy: str = "balanced",
    blend: str = "linear",
    cost: CallCost | None = None,
) -> GridExplorer:
    """Explore tile plans of a decode with sliders; the picture, predicted time, memory and redundancy follow.

    With a cluster, a button decodes with the current plan, and shows the seams and the measured numbers beside the
    predicted ones. The reference is the model's own untiled call.

    Args:
        vae: A diffusers autoencoder whose class can be tiled.
        latent: The latent, as ``vae.decode`` takes it.
        ranks: Initial number of ranks.
        cluster: The cluster to run on.
        tile: Initial tile size in latent cells; by default two tiles along each axis.
        overlap: Initial overlap; by default an eighth of the latent, or a quarter of ``tile``.
        policy: Initial policy: ``"balanced"``, ``"round_robin"`` or ``"contiguous"``.
        blend: Initial blend: ``"linear"``, ``"cosine"``, ``"crop"``, or ``"diffusers"`` if the class has it.
        cost: Cost per latent cell; by default the model runs on two small inputs, on all ranks of the cluster at once
            or in this process.

    Raises:
        PlanError: If a value is outside its slider's range, or the initial plan is not possible.
        ModelError: If the class is not known to work in tiles.

    Example:
        >>> import torch
        >>> from toolkit.models import demo
        >>> latent = torch.zeros(1, 16, 60, 104)
        >>> explorer = explore(demo.image_vae(), latent, cost=CallCost(200_000, 768, 4_000_000, 0.001))
        >>> explorer.tile, explorer.overlap = 32, 8
        >>> explorer
        GridExplorer(12 tiles over 4 ranks, Blend.linear(): 1.60x the work, imbalance 1.00; predicted 2.5 s, peak
        172.0 MB per rank)
    """
    check_counts(ranks=ranks)
    recipe_of(vae)
    sides = {"h": latent.shape[-2], "w": latent.shape[-1]}
    if tile is None:
        overlap = min(sides.values()) // 8 if overlap is None else overlap
        tile = {axis: -(-(size + overlap) // 2) for axis, size in sides.items()}
    tile_h, tile_w = _both("tile", tile)
    start = {
        "tile_h": tile_h,
        "tile_w": tile_w,
        "overlap": min(tile_h, tile_w) // 4 if overlap is None else overlap,
        "ranks": ranks,
        "policy": policy,
        "blend": blend,
    }
    return GridExplorer(vae, latent, cost=cost or _measured(vae, latent, cluster=cluster), cluster=cluster, start=start)


def _measured(vae: Any, latent: Tensor, *, cluster: Cluster | None) -> CallCost:
    """The cost per cell where the plan will run: the slowest of ranks that run at the same time."""
    shape = tuple(latent.shape)
    if cluster is None:
        return call_cost(vae, shape, ModelCall())
    return max(cluster.run(call_cost, vae, shape, ModelCall()), key=lambda cost: cost.seconds)


def _both(name: str, value: PerAxis) -> tuple[int, int]:
    if isinstance(value, Mapping):
        if set(value) != {"h", "w"}:
            raise PlanError(f"{name}={dict(value)}: give one int for both axes, or one for each of h and w.")
        return value["h"], value["w"]
    return value, value


def _controls(
    extent: Mapping[str, int],
    blends: list[str],
    *,
    tile_h: int,
    tile_w: int,
    overlap: int,
    ranks: int,
    policy: str,
    blend: str,
) -> dict[str, Any]:
    cells = partial(count, hint="In latent cells. An axis no longer than its tile stays whole.")
    most = max(max(extent.values()) // 2, 1)
    return {
        "tile_h": cells("tile h", tile_h, most=extent["h"]),
        "tile_w": cells("tile w", tile_w, most=extent["w"]),
        "overlap": count(
            "overlap", overlap, most=most, hint="Smallest overlap between neighbours, in latent cells.", least=0
        ),
        "ranks": count("ranks", ranks, most=max(MOST_RANKS, ranks), hint="Number of ranks."),
        "policy": choice("policy", list(POLICIES), value=policy, hint="How tiles are assigned to ranks."),
        "blend": choice("blend", blends, value=blend, hint="How overlapping tiles are merged into one sample."),
    }
