"""Bounds of memory in terms of latent cells: what explorers show while a slider moves."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.geometry.plan import Plan
from toolkit.geometry.shard_plan import AXES
from toolkit.planning.cost import CallCost
from toolkit.runs.run import Run


def rank_peaks(plan: Plan, extent: Mapping[str, int], *, cost: CallCost) -> tuple[int, ...]:
    """The most bytes that each rank may hold at one time, without weights: output and working memory.

    Args:
        plan: How the call is divided.
        extent: Latent cells along each axis, ``t`` included where the plan's grid has it.
        cost: The cost of a cell, all its frames together.

    Example:
        >>> from toolkit.geometry.shard_plan import ShardPlan
        >>> rank_peaks(ShardPlan(h=2), {"h": 6, "w": 5}, cost=CallCost(1000, 100, 0, 0.0))
        (22500, 19500)
    """
    return plan.rank_peaks(extent, output=cost.output_bytes, working=cost.working_bytes)


def latent_extent(run: Run) -> dict[str, int] | None:
    """Latent cells along each axis of a decode's or encode's input; None if the run does not say."""
    if run.way.seam_grid is not None:
        return run.way.seam_grid.extent
    shape, call = run.record.input.get("shape"), run.record.what.get("call")
    if not shape or call not in ("decode", "encode") or (call == "encode" and not run.ratio):
        return None
    sizes = dict(zip(AXES, shape[-2:], strict=True))
    return sizes if call == "decode" else {axis: size // run.ratio[axis] for axis, size in sizes.items()}


def in_bytes(count: float) -> str:
    """A number of bytes in words."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
